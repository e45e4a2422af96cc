"""Finished rows to the log: one commit for all that came while the last was written."""

from __future__ import annotations

import asyncio
import logging

from hubbub.core.errors import StorageError
from hubbub.corpus.batches.log import Row
from hubbub.corpus.batches.shelf import LogThread

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""How long to wait for a disk that cannot take a row. Nothing is asked anew meanwhile."""


class RowWriter:
    def __init__(self, thread: LogThread) -> None:
        self._thread = thread
        self._waiting: list[tuple[Row | None, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, row: Row | None) -> None:
        """Durable when it returns; None waits for all that was added before."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await done

    async def close(self) -> None:
        """Write what is left, or give it up if the disk does not take it: it is asked again after the next start."""
        task = self._task
        if task is not None:
            await asyncio.wait([task], timeout=RETRY_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit([row for row, _ in group if row is not None])
                for _, done in group:
                    if not done.done():
                        done.set_result(None)
        finally:
            self._task = None

    async def _commit(self, rows: list[Row]) -> None:
        while True:
            try:
                return await self._thread.run(self._thread.log.add_rows, rows)
            except StorageError as error:
                log.error("results of batches wait to be stored: %s", error, extra={"action": "batch_rows"})
            await asyncio.sleep(RETRY_S)
