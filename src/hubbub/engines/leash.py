"""``python leash.py FD COMMAND...``: become COMMAND, and leave a watcher in its process group that kills the whole
group when the other end of the pipe FD closes, as it does when whoever holds it dies, even by kill -9.

A pipe instead of Linux's PR_SET_PDEATHSIG: it also works on macOS, and it reaches the command's own children. Run by
path, with ``-S``: nothing of the package or of site-packages is imported, so that a start costs milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence


def _watch(pipe: int) -> None:
    # SIGTERM goes to the whole group when the command is asked to stop; the watcher must outlast its grace.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The command's log pipes must close when the command does.
    os.closerange(0, pipe)
    os.closerange(pipe + 1, 256)
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    pipe, command = int(arguments[0]), list(arguments[1:])
    # Forked twice: the watcher is nobody's child, so a command that waits for all of its children does not meet it.
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            _watch(pipe)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(pipe)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as fault:
        sys.stderr.write(f"cannot run {command[0]}: {fault.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
