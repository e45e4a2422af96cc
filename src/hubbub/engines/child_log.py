"""What a child process prints: kept in a rotating file, its last lines at hand for error messages."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAST_LINES = 40
MAX_LINE_BYTES = 16_384
"""A line without an end is broken here: progress bars and dumps must not fill the memory."""


class ChildLog:
    """``path`` None keeps no file. At most ``keep + 1`` files of ``max_bytes`` each."""

    def __init__(self, path: Path | None, *, max_bytes: int, keep: int) -> None:
        self.path = path
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._file: logging.Handler = logging.NullHandler()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = logging.handlers.RotatingFileHandler(
                path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", errors="replace", delay=True
            )

    def line(self, text: str) -> None:
        self._last.append(text)
        # The file is flushed at each line: a log must tell what came last before a crash.
        self._file.handle(logging.makeLogRecord({"msg": text}))

    def clear_last(self) -> None:
        self._last.clear()

    def last(self, count: int = 8) -> str:
        """The last lines with something on them, as one text."""
        lines = [line for line in self._last if line.strip()]
        return "\n".join(lines[-count:])

    def close(self) -> None:
        self._file.close()


class LogPipe:
    """A pipe whose ``write_fd`` a child gets as its stdout or stderr; every line goes to ``hear``.

    Not asyncio's own pipes: with those, waiting for a process also waits until its children have let go of them.
    """

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._read_fd, self.write_fd = os.pipe()
        self._transport: asyncio.ReadTransport | None = None
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Call when the child has its end."""
        os.close(self.write_fd)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        pipe = os.fdopen(self._read_fd, "rb", 0)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        self._task = asyncio.create_task(_read_lines(reader, self._hear))

    def discard(self) -> None:
        """Call instead of ``listen`` when there is no child."""
        os.close(self.write_fd)
        os.close(self._read_fd)

    async def drain(self, timeout_s: float) -> None:
        """Hear the rest, and close: a process that left its group may hold the other end for ever."""
        if self._task is not None and self._transport is not None:
            await asyncio.wait([self._task], timeout=timeout_s)
            self._transport.close()
            self._task.cancel()
            await asyncio.wait([self._task])


async def _read_lines(stream: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    """CR ends a line, too: progress bars."""
    rest = b""
    while data := await stream.read(65_536):
        lines = (rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        for line in lines:
            hear(line.decode("utf-8", "replace"))
    if rest:
        hear(rest.decode("utf-8", "replace"))


def announcement(line: str) -> dict[str, Any] | None:
    """The JSON object a child says of itself when its port is open, if ``line`` is one that names a port."""
    if not line.startswith("{"):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("port"), int) else None
