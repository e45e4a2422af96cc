"""The way of every word from an engine to its readers: collected, journaled, shown; and the end of every answer.

Theory of operation. Chunks collect in their run; one pump task takes what all runs have collected, appends it to the
journal in a single write, and only then publishes it to readers: nobody ever sees what a restart could lose. While one
flush is being written the next one collects, so that under load many tokens share a write. Between two flushes of
everything, answers that have shown nothing yet are flushed as they come, by themselves: somebody waits for their first
word, and it need not wait for the words of hundreds of others.

When the dispatcher closes a run, the pump publishes its rest and hands it to a task of its own, which commits the
finished answer and then shows the end. A stored answer's end is never shown before it is stored, else a restart would
tell another one: while the store takes nothing, its readers are parted with the reason after a while, and the task
tries on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hubbub.core.errors import Conflict, HubbubError, StorageError
from hubbub.core.types import Answer, AnswerId, AnswerStatus, Node
from hubbub.ports import AnswerSaved, Clock, JournalEntry, NodesAdded, Store
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.feeds import Feeds
from hubbub.runtime.question import closing
from hubbub.runtime.run import Run, concluded
from hubbub.runtime.telemetry import Telemetry

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0


@dataclass(frozen=True, slots=True)
class HubConfig:
    """A publication costs the same for one token as for two hundred. So they keep apart by a time that grows with the
    number of live answers, up to ``coalesce_seconds``: alone, an answer streams token by token; among hundreds it gets
    more text less often. A first token does not wait."""

    coalesce_seconds: float = field(default=0.025, metadata={"help": "most seconds between publications"})
    coalesce_seconds_per_stream: float = field(
        default=0.0001, metadata={"help": "seconds between publications for each live answer"}
    )
    store_patience_seconds: float = field(
        default=10.0,
        metadata={"help": "seconds the end of an answer waits for the store before its readers are sent away"},
    )
    max_interruptions: int = field(
        default=10,
        metadata={"help": "kills of the server that one answer may live through; it ends as failed after one more"},
    )

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("coalesce_seconds", "coalesce_seconds_per_stream"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be 0 to 1 second")
        for key in ("store_patience_seconds", "max_interruptions"):
            if not getattr(self, key) >= 0:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be 0 or more")


class Publisher:
    """``runs``: all live ones. ``ended`` is told of every run whose end was stored, just before it is shown.
    ``feeds`` hear of all that is published."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        clock: Clock,
        telemetry: Telemetry,
        config: HubConfig,
        runs: Mapping[AnswerId, Run],
        ended: Callable[[Run, Answer], None],
        feeds: Feeds,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._telemetry = telemetry
        self._config = config
        self._runs = runs
        self._ended = ended
        self._feeds = feeds
        self._dirty: dict[AnswerId, Run] = {}
        self._first: dict[AnswerId, Run] = {}
        """Of the dirty ones, those that have shown nothing yet."""
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._pump_task: asyncio.Task[None] | None = None
        self._concluding: dict[asyncio.Task[None], Run] = {}

    def start(self) -> None:
        self._pump_task = asyncio.create_task(self._pump())

    async def crashed(self) -> None:
        """Return never, or raise what ended the pump: without it no stream moves, so the process has to end."""
        if self._pump_task is None:
            raise RuntimeError("the hub was not started")
        await asyncio.shield(self._pump_task)

    def mark(self, run: Run) -> None:
        """It has something to publish, or has ended."""
        answer = run.live.answer.id
        self._dirty[answer] = run
        self._wake.set()
        if not run.live.deltas:
            self._first[answer] = run
            self._hurry.set()

    async def finish(self, patience: float) -> None:
        """Publish what is left, and store the ends there are, for ``patience`` seconds at most; then stop."""
        if self._pump_task is not None and not self._pump_task.done():
            await self._flush_dirty()
            while self._dirty:
                await self._flush_dirty()
            self._pump_task.cancel()
            await asyncio.wait([self._pump_task])
        if self._concluding:
            _, late = await asyncio.wait(self._concluding, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # Publishing ------------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            await self._flush_dirty()
            pause = min(self._config.coalesce_seconds, self._config.coalesce_seconds_per_stream * len(self._runs))
            until = asyncio.get_running_loop().time() + pause
            while await self._hurried(until):
                await self._flush_first()

    async def _hurried(self, until: float) -> bool:
        """Whether a first word came, waited for until that time of the loop's clock."""
        if asyncio.get_running_loop().time() >= until:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                return await self._hurry.wait()
        return False

    async def _flush_dirty(self) -> None:
        async with self._flushing:
            self._wake.clear()
            self._hurry.clear()
            self._first.clear()
            runs, self._dirty = self._dirty, {}
            await self._flush(runs.values())

    async def _flush_first(self) -> None:
        async with self._flushing:
            self._hurry.clear()
            runs, self._first = self._first, {}
            for answer in runs:
                self._dirty.pop(answer, None)
            await self._flush(runs.values())

    async def _flush(self, runs: Iterable[Run]) -> None:
        taken = [(run, run.take()) for run in runs if run.open and not run.ending]
        entries = {
            run.live.answer.id: JournalEntry(run.live.answer.id, len(run.live.deltas), deltas)
            for run, deltas in taken
            if deltas and run.live.answer.store
        }
        failed = await self._append(list(entries.values())) if entries else {}
        self._dispatcher.flush_progress()
        self._telemetry.flushes += 1
        for run, deltas in taken:
            error = failed.get(run.live.answer.id)
            if error is not None:
                run.fail(error)
                self._dispatcher.withdraw(run.request.id)
            elif deltas:
                self._telemetry.deltas += len(deltas)
                run.live.publish(deltas)
            if run.close is not None and not run.pending and not run.parked:
                self._end(run)
        self._feeds.published(run.live.answer.user for run, deltas in taken if deltas)

    async def _append(self, entries: Sequence[JournalEntry]) -> dict[AnswerId, StorageError]:
        """Keep them; which could not be kept. One that is refused takes no others with it."""
        try:
            await self._store.append(entries)
        except StorageError as error:
            if len(entries) == 1:
                log.error("the journal was not written: %s", error, extra={"action": "journal_append"})
                return {entries[0].answer: error}
        else:
            return {}
        alone = await asyncio.gather(*(self._append([entry]) for entry in entries))
        return {answer: error for one in alone for answer, error in one.items()}

    # Ending ----------------------------------------------------------------------------------------------------------

    def _end(self, run: Run) -> None:
        run.ending = True
        task = asyncio.create_task(self._conclude(run))
        self._concluding[task] = run
        task.add_done_callback(self._concluding.pop)

    async def _conclude(self, run: Run) -> None:
        """Make the end durable, then show it."""
        answer, nodes = concluded(run)
        try:
            answer = await self._keep(run, answer, nodes)
        except Exception as error:  # noqa: BLE001 - a request's task boundary: whatever happens, its stream must end
            log.error("the end of %s was not stored: %s", answer.id, error, extra={"action": "answer_end"})
            code = error.code if isinstance(error, HubbubError) else HubbubError.code
            answer = replace(answer, status=AnswerStatus.FAILED, finish=None, error_code=code, error_message=str(error))
        self._ended(run, answer)
        run.live.end(answer)
        self._feeds.ended(answer)

    async def _keep(self, run: Run, answer: Answer, nodes: tuple[Node, ...]) -> Answer:
        """The answer as it was stored. Raises what kept an unstored answer's items out of its chat."""
        pause, began = RETRY_FIRST_S, self._clock.now()
        changes, alone = closing(answer, nodes), False
        while True:
            try:
                await self._store.commit(*changes)
            except Conflict:
                if alone or not answer.store:
                    raise
                # Its chat was deleted or has gone on: the answer is kept by itself.
                changes, alone = [NodesAdded(nodes), AnswerSaved(answer)], True
            except StorageError as error:
                if not answer.store:
                    raise
                log.error("the end of %s is not stored yet: %s", answer.id, error, extra={"action": "answer_end"})
                if self._clock.now() - began >= self._config.store_patience_seconds:
                    run.live.part(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MOST_S)
            else:
                return answer
