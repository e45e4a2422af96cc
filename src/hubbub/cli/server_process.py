"""``hubbub serve`` as a process of its own, for commands that need a whole server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import Sequence
from pathlib import Path

from hubbub.core.errors import HubbubError

READY = re.compile(r"^Hubbub is ready on (http\S+)$", re.MULTILINE)
LOOK_SECONDS = 0.1
DEATH_SECONDS = 1.0
"""Its connections break a moment before a dying process has ended."""
STOP_SECONDS = 20.0
"""How long an orderly stop may take before the process is killed."""


class ServerDied(HubbubError):
    """The server ended by itself."""

    code = "server_died"


class ServerProcess:
    """Its output, both streams, goes to ``log``: a file, so that the server can outlive the command that started it."""

    def __init__(self, process: Process, log: Path, start: int) -> None:
        self.process = process
        self.log = log
        self._start = start

    @classmethod
    async def launch(cls, arguments: Sequence[str], log: Path) -> ServerProcess:
        """Start ``hubbub serve`` with these flags in a session of its own: Ctrl-C reaches the caller alone."""
        log.parent.mkdir(parents=True, exist_ok=True)
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = await create_subprocess_exec(
                sys.executable,
                "-m",
                "hubbub",
                "serve",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(process, log, start)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def ready(self, seconds: float) -> str:
        """Its address, once it serves. Raises ServerDied with the last lines of its log, also when time runs out."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            found = READY.search(self.output())
            if found:
                return found[1]
            if not self.alive:
                raise ServerDied(f"the server ended with exit code {self.process.returncode}:\n{self.tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise ServerDied(f"the server is not ready after {seconds:.0f} s:\n{self.tail()}")
            await asyncio.sleep(LOOK_SECONDS)

    def output(self) -> str:
        """What it has printed since this start."""
        with self.log.open("rb") as lines:
            lines.seek(self._start)
            return lines.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.output().splitlines()[-lines:]) or "(it printed nothing)"

    async def check(self) -> None:
        """After something went wrong: raises ServerDied if the server has ended, or is about to."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), DEATH_SECONDS)
        if not self.alive:
            raise ServerDied(f"the server ended with exit code {self.process.returncode}:\n{self.tail()}")

    async def stop(self) -> None:
        """End it in order, or by force when it takes too long. Does nothing when it has ended."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
