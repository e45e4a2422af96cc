"""Dying with one's parent: no engine is left behind holding gigabytes when Hubbub is killed with -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
PARENT_POLL_S = 1.0


def die_with_parent() -> None:
    """SIGKILL by the kernel on Linux; elsewhere a thread that looks whether the parent is still the same."""
    parent = os.getppid()
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()
    else:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)
