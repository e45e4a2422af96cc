"""``run.log.jsonl``: what happened in a run and when, one JSON object a line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

FILE = "run.log.jsonl"


class Journal:
    """Lines are written at once and not forced to the disk: nothing depends on them. A disk without room loses them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path) -> Iterator[Journal]:
        with (folder / FILE).open("ab", buffering=0) as file:
            yield cls(file)

    def write(self, action: str, **facts: Any) -> None:
        line = msgspec.json.encode({"at": round(time.time(), 3), "action": action, **facts})
        with contextlib.suppress(OSError):
            self._file.write(line + b"\n")
