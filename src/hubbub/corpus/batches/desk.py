"""The desk where files are left and batches are ordered: the ports ``Files`` and ``Batches`` on one folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from hubbub.core.batches import Batch, BatchId, BatchOrder, BatchStatus, FileId, StoredFile, Upload
from hubbub.core.errors import Conflict, NotFound, StorageError
from hubbub.core.types import UserId
from hubbub.corpus.batches.lines import Bounds
from hubbub.corpus.batches.log import BatchLog
from hubbub.corpus.batches.run import BatchRun, Shop
from hubbub.corpus.batches.shelf import LogThread, Shelf
from hubbub.corpus.batches.writer import RowWriter
from hubbub.corpus.pressure import Pressure
from hubbub.corpus.slots import Slots
from hubbub.ports import AskRow, Clock, Draft, FileQuery, Page

log = logging.getLogger(__name__)

WINDOW_S = 24 * 3600.0
LOOK_S = 1.0
"""How often to look for batches and files whose time is over."""


@dataclass(frozen=True, slots=True)
class DeskConfig:
    """``file_bytes``: of one file; ``files`` and ``batches``: of one user, the batches while they run."""

    file_bytes: int
    files: int
    batches: int
    bounds: Bounds


class Desk:
    """``places``: how many rows of all batches to have asked at once."""

    def __init__(self, shelf: Shelf, config: DeskConfig, clock: Clock, new_id: Callable[[str], str]) -> None:
        self._shelf = shelf
        self._thread = shelf.thread
        self._config = config
        self._clock = clock
        self._new_id = new_id
        self._shop: Shop | None = None
        self._runs: dict[BatchId, BatchRun] = {}
        self._tasks: dict[BatchId, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path, config: DeskConfig, clock: Clock, new_id: Callable[[str], str]) -> Desk:
        """Raises StorageError, StorageFull."""
        thread = LogThread(await asyncio.to_thread(BatchLog.open, folder))
        shelf = Shelf(folder, thread, new_id, file_bytes=config.file_bytes, files=config.files)
        return cls(shelf, config, clock, new_id)

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self, ask: AskRow, places: int) -> None:
        """Take up the batches that have not ended. ``places``: rows of all batches asked at once. Raises
        StorageError."""
        await self._shelf.tidy()
        slots = Slots(Pressure(max(1, places)), lambda: None)
        writer = RowWriter(self._thread)
        self._shop = Shop(self._shelf, slots, writer, ask, self._clock, self._config.bounds, self._new_id)
        for batch in await self._thread.run(self._thread.log.active):
            self._begin(batch, self._shop)
        self._watch = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Ask no more. What is answered is written; the rest is asked after the next start."""
        tasks = [*self._tasks.values(), *([self._watch] if self._watch is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shop is not None:
            self._shop.slots.close()
            await self._shop.writer.close()

    async def close(self) -> None:
        await self.stop()
        await self._thread.close()

    async def ended(self, batch: BatchId) -> None:
        """Return once nothing runs for the batch any more."""
        task = self._tasks.get(batch)
        if task is not None:
            await asyncio.wait([task])

    def _begin(self, batch: Batch, shop: Shop) -> None:
        run = self._runs[batch.id] = BatchRun(batch, shop)
        task = self._tasks[batch.id] = asyncio.create_task(run.run())
        task.add_done_callback(lambda done: self._done(batch.id, done))

    def _done(self, batch: BatchId, task: asyncio.Task[None]) -> None:
        del self._runs[batch], self._tasks[batch]
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            log.error("batch %s broke off; the next start goes on", batch, exc_info=fault, extra={"action": "batch"})

    async def _look(self) -> None:
        while True:
            now = self._clock.wall()
            for run in self._runs.values():
                if now >= run.batch.expires_at:
                    run.stop()
            try:
                await self._shelf.sweep(now)
            except StorageError as error:
                log.error("old files cannot be deleted: %s", error, extra={"action": "files"})
            await asyncio.sleep(LOOK_S)

    # Files ---------------------------------------------------------------------------------------------------------

    def draft(self, user: UserId) -> AbstractAsyncContextManager[Draft]:
        return self._draft(user)

    @contextlib.asynccontextmanager
    async def _draft(self, user: UserId) -> AsyncIterator[Draft]:
        async with self._shelf.draft(user) as draft:
            yield draft

    async def keep(self, user: UserId, draft: Draft, upload: Upload) -> StoredFile:
        file = self._shelf.stored(user, draft, upload, self._clock.wall())
        await self._shelf.keep(draft, file)
        return file

    async def file(self, user: UserId, file: FileId) -> StoredFile:
        return await self._shelf.file(user, file)

    async def files(self, user: UserId, query: FileQuery) -> Page[StoredFile]:
        return await self._shelf.files(user, query)

    async def content(self, user: UserId, file: FileId) -> Path:
        await self._shelf.file(user, file)
        path = self._shelf.path(file)
        if not path.is_file():
            raise NotFound(f"the bytes of file {file!r} are gone from the disk", param="file_id")
        return path

    async def delete(self, user: UserId, file: FileId) -> None:
        await self._shelf.delete(user, file)

    # Batches -------------------------------------------------------------------------------------------------------

    async def create(self, order: BatchOrder) -> Batch:
        if self._shop is None:
            raise RuntimeError("the desk has not been started")
        now, made = self._clock.wall(), BatchStatus.VALIDATING
        batch = Batch(BatchId(self._new_id("batch_")), order, now, now + WINDOW_S, made, {made: now})
        await self._thread.run(self._thread.log.add_batch, batch, self._config.batches)
        self._begin(batch, self._shop)
        return batch

    async def batch(self, user: UserId, batch: BatchId) -> Batch:
        return await self._thread.run(self._thread.log.batch, user, batch)

    async def batches(self, user: UserId, after: BatchId | None, limit: int) -> Page[Batch]:
        return await self._thread.run(self._thread.log.batches, user, after, limit)

    async def cancel(self, user: UserId, batch: BatchId) -> Batch:
        await self.batch(user, batch)
        now = self._clock.wall()
        changed = (await self._thread.run(self._thread.log.change, batch, lambda found: _cancelling(found, now)))[1]
        run = self._runs.get(batch)
        if run is not None:
            run.stop()
        return changed


def _cancelling(batch: Batch, now: float) -> Batch:
    """Raises Conflict."""
    cancelling = BatchStatus.CANCELLING
    if batch.status in (cancelling, BatchStatus.CANCELLED):
        return batch
    if batch.status.final or batch.status is BatchStatus.FINALIZING:
        raise Conflict(f"batch {batch.id!r} cannot be cancelled: it is {batch.status}", param="batch_id")
    return replace(batch, status=cancelling, since={**batch.since, cancelling: now})
