"""One batch, from where it stands to its end.

Theory of operation. The log has the batch's status and its finished rows, so a run needs no memory of the one before:
after a kill the next start takes up the status, and asks the lines that have no row. A row is one only when it is
durable together with what it counts; an answer that a kill took before is asked anew. A batch ends in one transaction:
its status, its files' names, and the end of its rows. To stop a run (cancel, expiry) is to close its window: what is
being asked is given up, what was answered is written, and the results tell of the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from hubbub.core.batches import Batch, BatchStatus, LineFault
from hubbub.core.errors import EngineLost, HubbubError, RateLimited, StorageError
from hubbub.corpus.batches.lines import Bounds, answered, check, numbered, read_line
from hubbub.corpus.batches.log import ENDINGS, Row
from hubbub.corpus.batches.results import write_results
from hubbub.corpus.batches.shelf import Shelf
from hubbub.corpus.batches.writer import RETRY_S, RowWriter
from hubbub.corpus.ranges import IndexRanges
from hubbub.corpus.slots import Slots
from hubbub.ports import AskRow, Clock

log = logging.getLogger(__name__)

TRIES = 3
"""Of a line whose engine died while it answered: the line may be what kills it."""
LINES_READ, BYTES_READ = 64, 1 << 20
"""At once, ahead of their turn; whichever comes first."""
REST_S = 60.0
"""The longest that a batch waits for its key's quota before it looks again: quotas can be raised."""
OK = 200
UNREADABLE = LineFault("input_file_unreadable", "The input file can no longer be read.", param="input_file_id")


@dataclass(frozen=True, slots=True)
class Shop:
    """What all runs share."""

    shelf: Shelf
    slots: Slots
    writer: RowWriter
    ask: AskRow
    clock: Clock
    bounds: Bounds
    new_id: Callable[[str], str]


class BatchRun:
    def __init__(self, batch: Batch, shop: Shop) -> None:
        self.batch = batch
        self._shop = shop
        self._path = shop.shelf.path(batch.order.input_file)
        self._window: asyncio.Timeout | None = None
        self._stopped = False
        self._faults: tuple[LineFault, ...] = ()
        self._rest_until = 0.0

    def stop(self) -> None:
        """Ask no more: the batch was cancelled, or its time is over."""
        if self._window is not None and not self._stopped:
            self._window.reschedule(_now())
        self._stopped = True

    async def run(self) -> None:
        """To the end of the batch."""
        try:
            await self._validate()
            if self.batch.status is BatchStatus.IN_PROGRESS and not self._stopped:
                await self._ask_all()
        except OSError as fault:
            log.error("batch %s: its input is gone: %s", self.batch.id, fault, extra={"action": "batch"})
            self._faults = (UNREADABLE,)
        await self._shop.writer.add(None)
        await self._finish()

    async def _change(self, change: Callable[[Batch], Batch]) -> None:
        """Change the batch as the log has it. Waits while the disk does not take it."""
        thread = self._shop.shelf.thread
        while True:
            try:
                self.batch = (await thread.run(thread.log.change, self.batch.id, change))[1]
            except StorageError as error:
                log.error("batch %s waits: %s", self.batch.id, error, extra={"action": "batch"})
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _to(self, was: BatchStatus, status: BatchStatus) -> Callable[[Batch], Batch]:
        return moved(was, status, self._shop.clock.wall())

    # Phases --------------------------------------------------------------------------------------------------------

    async def _validate(self) -> None:
        if self.batch.status is not BatchStatus.VALIDATING or self._stopped:
            return
        checked = await asyncio.to_thread(check, self._path, self.batch.order.endpoint, self._shop.bounds)
        if checked.faults:
            self._faults = checked.faults
            return
        begin = self._to(BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)
        await self._change(lambda batch: replace(begin(batch), total=checked.total, model=checked.model))

    async def _ask_all(self) -> None:
        thread = self._shop.shelf.thread
        done = await thread.run(thread.log.done_lines, self.batch.id)
        left = self.batch.total - len(done)
        with self._path.open("rb") as file:
            feed = _Feed(file, done)
            try:
                async with asyncio.timeout(None) as self._window, asyncio.TaskGroup() as group:
                    if self._stopped:
                        return
                    for _ in range(min(left, self._shop.slots.pressure.ceiling)):
                        group.create_task(self._work(feed))
            except TimeoutError:
                return  # stopped
            finally:
                self._window = None
        if feed.fault is not None:
            raise feed.fault
        await self._change(self._to(BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING))

    async def _finish(self) -> None:
        """Write the results and the batch's end."""
        thread = self._shop.shelf.thread
        while True:
            await self._change(lambda batch: batch)
            if self.batch.status.final:
                return
            ending, now, shop = ENDINGS[self.batch.status], self._shop.clock.wall(), self._shop
            if self._faults and ending is not BatchStatus.CANCELLED:
                ending = BatchStatus.FAILED
            batch = replace(self.batch, faults=self._faults)
            try:
                ended, files = await asyncio.to_thread(write_results, shop.shelf, batch, ending, now, shop.new_id)
                await thread.run(thread.log.change, batch.id, always(ended), files)
            except (StorageError, OSError) as error:
                log.error("the results of batch %s wait: %s", self.batch.id, error, extra={"action": "batch"})
                await asyncio.sleep(RETRY_S)
            else:
                return

    # Rows ----------------------------------------------------------------------------------------------------------

    async def _work(self, feed: _Feed) -> None:
        """Line after line. One is read when it has its place, so that what waits takes no memory."""
        shop, line, tries = self._shop, None, 0
        while True:
            await asyncio.sleep(max(0.0, self._rest_until - _now()))
            async with shop.slots.one(0):
                if self._rest_until > _now():
                    continue
                line = line or await feed.next()
                if line is None:
                    return
                number, text = line
                asked = read_line(text)
                answer = await shop.ask(self.batch.order, bytes(asked.body))
                tries += isinstance(answer.again, EngineLost)
                if answer.again is not None and tries < TRIES:
                    self._put_off(answer.again)
                    continue
                shop.slots.pressure.answered()
            line, tries = None, 0
            output = answered(shop.new_id("batch_req_"), asked.custom_id, answer.status, answer.body)
            await shop.writer.add(Row(self.batch.id, number, answer.status == OK, output, answer.usage))

    def _put_off(self, error: HubbubError) -> None:
        """A used-up quota holds up the batches of its key, anything else all of them."""
        if isinstance(error, RateLimited):
            self._rest_until = _now() + min(error.retry_after or REST_S, REST_S)
        else:
            self._shop.slots.pressure.refused(_now(), self._shop.slots.in_flight, error.retry_after)


class _Feed:
    """The lines that are not done, in order, for many workers. Reads a few at a time, on another thread."""

    def __init__(self, file: BinaryIO, done: IndexRanges) -> None:
        self._lines = (line for line in numbered(file, 1 << 40) if line[0] not in done)
        self._ready: list[tuple[int, bytes]] = []
        self._lock = asyncio.Lock()
        self.fault: OSError | None = None

    async def next(self) -> tuple[int, bytes] | None:
        """None at the end, or when the file cannot be read on: ``fault`` says so."""
        async with self._lock:
            try:
                if not self._ready and self.fault is None:
                    self._ready = (await asyncio.to_thread(_few, self._lines))[::-1]
            except OSError as fault:
                self.fault = fault
            return self._ready.pop() if self._ready else None


def _few(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    read: list[tuple[int, bytes]] = []
    size = 0
    for line in lines:
        read.append(line)
        size += len(line[1])
        if len(read) == LINES_READ or size >= BYTES_READ:
            break
    return read


def _now() -> float:
    return asyncio.get_running_loop().time()


def always(batch: Batch) -> Callable[[Batch], Batch]:
    return lambda _: batch


def moved(was: BatchStatus, status: BatchStatus, now: float) -> Callable[[Batch], Batch]:
    """A change from one status to another, which does nothing to a batch that has left the first."""

    def change(batch: Batch) -> Batch:
        if batch.status is not was:
            return batch
        return replace(batch, status=status, since={**batch.since, status: now})

    return change
