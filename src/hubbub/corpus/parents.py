"""Processes of a pool that end with whoever began them, also when that one is killed."""

from __future__ import annotations

import os
import threading
import time

PARENT_S = 1.0


def ends_with_parent(parent: int) -> None:
    """A killed parent takes nobody with it, and the queue between them never ends: so look."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_S)
    os._exit(1)
