"""The runner: keeps requests in flight, decides answers in order, and makes data and progress durable together.

::

    fill --> work(index): call, ask, ... --> screen --> Reorder --> decide: admit in index order --> Group --> commit
     ^                                                                                                  |
     '---- window moves on <----------------------------------------------------------------------------'

State: an index is *out* (a task works on it), *held* (its answers wait in the window for one before it), *pending* (it
is decided, its group not committed) or *done*. Only ``done`` is on the disk: a kill loses the work of the others, never
a record, and the next start does them again from ``judge.next_index``, with the same prompts and seeds.

Why the result does not depend on timing: what item i is follows from (run seed, i, weights of its epoch), its answers
from prompt and seed on an engine that repeats itself, acceptance from the items before it, and the end from what was
accepted. How many are in flight, which copy of a hedged request wins and where groups are cut changes none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from hubbub.core.errors import StorageError
from hubbub.corpus.answers import RejectedAnswer
from hubbub.corpus.asking import Asker, GivenUp, Patience
from hubbub.corpus.board import Board, Live
from hubbub.corpus.client import Answering
from hubbub.corpus.items import Items, Said, WorkItem
from hubbub.corpus.judge import Judge, Screened
from hubbub.corpus.pending import Pending
from hubbub.corpus.pressure import Pressure
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.reorder import Reorder
from hubbub.corpus.runlog import RunLog
from hubbub.corpus.screening import Here, Screener
from hubbub.corpus.slots import Slots

T = TypeVar("T")

ATTEMPTS = 3
"""Answers that an item may have rejected as unusable (empty, broken JSON), each with another seed."""
COMMIT_S = 0.5
COMMIT_RECORDS = 2048
PENDING_MOST = 4 * COMMIT_RECORDS
"""Decided records that may wait for the disk before deciding waits, too."""
YIELD_EVERY = 32
"""Items decided before the event loop gets a turn: about 10 ms."""
STOP_S = 30.0
"""How long a stop waits for requests that are in flight."""
ASKED_LEAST = 8
ASKED_FACTOR = 1.5
"""Items asked for beyond those decided: these, and this many times what the target seems to need."""
LOST_IN_A_ROW = 50
"""A run whose items were given up so many times in a row, with none between that was not, stops."""


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """``concurrency``: most requests in flight. ``window``: items that may wait for one before them; 0: by that."""

    concurrency: int = 64
    window: int = 0
    patience: Patience = field(default_factory=Patience)

    def window_of(self, epoch: int) -> int:
        return self.window or min(max(4 * self.concurrency, 256), max(epoch, self.concurrency))


@dataclass(frozen=True, slots=True)
class Outcome:
    state: State
    reason: str
    live: Live


class Runner:
    """One run of one recipe into one log. ``judge`` and ``items`` know already what the log holds.

    ``screener`` runs the filters, where that is not to be here. ``hangs`` is called when the engine is taken to hang,
    ``told`` about once a second with how it goes, ``keep`` on the disk's thread after each commit.
    """

    def __init__(
        self,
        recipe: Recipe,
        items: Items,
        judge: Judge,
        log: RunLog,
        endpoint: Answering,
        config: RunnerConfig | None = None,
        *,
        screener: Screener | None = None,
        hangs: Callable[[], None] | None = None,
        told: Callable[[Live], None] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> None:
        self.recipe, self.items, self.judge, self.log = recipe, items, judge, log
        self.config = config or RunnerConfig()
        self.board = Board()
        self.state = State.RUNNING
        self.reason = ""
        self._screener = screener or Here(judge)
        self._told = told
        self._keep = keep
        self._slots = Slots(Pressure(self.config.concurrency), self._fill)
        self._asker = Asker(endpoint, self._slots, self.board, self.config.patience, hangs)
        start = judge.next_index
        self._window: Reorder[Screened | GivenUp] = Reorder(start, self.config.window_of(recipe.epoch))
        self._next = start
        self._pending = Pending(start)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._lost_in_a_row = 0
        self._fault: BaseException | None = None
        self._stop_s = STOP_S
        self._over = False
        self._screening = 0
        output = next(step for step in recipe.steps if step.name == recipe.output.step)
        self._tokens = output.sampling.max_tokens
        self._measured: tuple[int, dict[str, float | None]] = (0, {})
        self._disk = ThreadPoolExecutor(1, "corpus-disk")

    async def run(self) -> Outcome:
        """Until the target, a stop or a reason to stop. Raises StorageFull, StorageError, RequestFault; what was
        accepted is on the disk, whatever happens."""
        await self._on_disk(self.log.set_meta, state=State.RUNNING, reason="", want="run")
        if self._reached():
            self._finish(State.FINISHED, "the target is reached")
        elif self.judge.stopped:
            self._finish(State.FAILED, self.judge.stopped)
        others = [self._begun(work) for work in (self._asker.watch(), self._decide(), self._look(), self._heed())]
        writer = self._begun(self._commit())
        self._fill()
        await self._stopping.wait()
        await self._wind_up()
        for task in others:
            task.cancel()
        await asyncio.wait([writer, *others])
        return await self._closed()

    def stop(self, reason: str = "it was told to stop", *, wait_s: float = STOP_S) -> None:
        """Let requests in flight end, for ``wait_s`` at most, and keep what is done."""
        self._stop_s = wait_s
        self._finish(State.STOPPED, reason)

    def pause(self, paused: bool) -> None:
        """No new requests while paused; those in flight end and are kept."""
        if self.state in (State.RUNNING, State.PAUSED):
            self.state = State.PAUSED if paused else State.RUNNING
            self._slots.paused = paused
            self._slots.serve()

    # From index to answers -----------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin as many items as there are free places, while the window and the recorded weights allow."""
        if self._stopping.is_set():
            return
        wanted = self._wanted()
        for _ in range(self._slots.free - self._starting()):
            index = self._next
            if index >= wanted or not self._window.admits(index) or not self.items.ready(index):
                return
            self._next += 1
            task = asyncio.get_running_loop().create_task(self._work(index))
            self._tasks.add(task)
            task.add_done_callback(self._worked)

    def _wanted(self) -> int:
        """The index before which the target should be reached, and a half more: what is asked beyond it is waste."""
        decided, amount = self.judge.next_index, self._amount()
        if amount:
            share = amount / decided
        else:
            share = self.recipe.target.of(bytes=2 * self._tokens, tokens=self._tokens, records=1)
        return decided + ASKED_LEAST + int(ASKED_FACTOR * (self.recipe.target.amount - amount) / share)

    def _starting(self) -> int:
        """Items whose task exists and has not asked for its place yet."""
        return len(self._tasks) - self._slots.in_flight - self._slots.waiting - self._screening

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended(task)
        self._fill()

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault of any part ends the run, which raises it when all is put away."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = self._fault or fault
            self._finish(State.FAILED, str(fault))

    async def _work(self, index: int) -> None:
        item = self.items.item(index)
        try:
            said = await self._answers(item)
        except GivenUp as gone:
            self._window.put(index, gone)
        else:
            self._screening += 1
            try:
                screened = await self._screener.screen(item, said)
            finally:
                self._screening -= 1
            self._window.put(index, screened)
        self._arrived.set()

    async def _answers(self, item: WorkItem) -> list[Said]:
        """Ask for each step; an answer that cannot be used is asked for again with the seed of another attempt."""
        said: list[Said] = []
        attempt = 0
        while True:
            try:
                call = self.items.next_call(item, said, attempt)
            except RejectedAnswer as unusable:
                attempt = said.pop().attempt + 1
                self._again(unusable.reason, attempt)
                continue
            if call is None:
                return said
            answer = await self._asker.ask(item.index, call)
            self.board.counts["answer_tokens"] += answer.tokens
            self.board.counts["prompt_tokens"] += answer.prompt_tokens
            if not answer.text.strip():
                attempt += 1
                self._again("empty", attempt)
                continue
            said.append(Said(answer.text, answer.tokens, answer.finish, attempt, answer.model))
            attempt = 0

    def _again(self, reason: str, attempt: int) -> None:
        """Raises GivenUp once there were ATTEMPTS."""
        self.board.counts[f"retry:{reason}"] += 1
        if attempt >= ATTEMPTS:
            raise GivenUp(reason, f"{ATTEMPTS} answers in a row were unusable: {reason}")

    # From answers to records ---------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        decided = 0
        while not self._reached():
            await self._arrived.wait()
            self._arrived.clear()
            for outcome in self._window.ready():
                self._admit(outcome)
                if self.state in (State.FINISHED, State.FAILED):
                    return
                decided += 1
                if decided % YIELD_EVERY == 0:
                    self._fill()
                    await asyncio.sleep(0)
                while self._pending.records >= PENDING_MOST:
                    self._room.clear()
                    await self._room.wait()
            self._settled.set()
            self._fill()

    def _admit(self, outcome: Screened | GivenUp) -> None:
        index = self.judge.next_index
        if isinstance(outcome, GivenUp):
            self._pending.give_up(index, outcome.reason, outcome.detail)
            self._lost_in_a_row += 1
            verdict = self.judge.give_up(index, outcome.reason)
        else:
            self._lost_in_a_row = 0
            verdict = self.judge.admit(outcome)
        self._pending.add(verdict)
        if verdict.epoch is not None:
            self.items.learn(verdict.epoch)
        if self._pending.records >= COMMIT_RECORDS:
            self._full.set()
        if self._reached():
            self._finish(State.FINISHED, "the target is reached")
        elif self.judge.stopped:
            self._finish(State.FAILED, self.judge.stopped)
        elif isinstance(outcome, GivenUp) and self._lost_in_a_row >= LOST_IN_A_ROW:
            words = f"the last {LOST_IN_A_ROW} items were all given up, this one for {outcome.reason}: {outcome.detail}"
            self._finish(State.FAILED, words)

    def _reached(self) -> bool:
        return self._amount() >= self.recipe.target.amount

    def _amount(self) -> int:
        totals = self.judge.totals
        return self.recipe.target.of(bytes=totals.bytes, tokens=totals.tokens, records=totals.records)

    # To the disk ---------------------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        """Group commits: what was decided while the last group was written is the next, and the very last one, too."""
        while not (self._over and self._pending.empty):
            if not self._over:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COMMIT_S):
                        await self._full.wait()
                self._full.clear()
            if not self._pending.empty:
                live = msgspec.json.encode(self.live())
                await self._on_disk(self.log.commit, self._pending.cut(self.judge.drain(), self.board.counts, live))
                if self._keep is not None:
                    await self._on_disk(self._keep)
            self._room.set()

    async def _on_disk(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, lambda: work(*args, **named))

    # The end -------------------------------------------------------------------------------------------------------

    def _finish(self, state: State, reason: str) -> None:
        """The first reason counts, but for a target that a stop's last answers reach, or a fault on the way."""
        if not self._stopping.is_set() or self.state is State.STOPPED:
            self.state, self.reason = state, reason
            self._stopping.set()
            self._settled.set()

    async def _wind_up(self) -> None:
        """A stop lets answers come for a while; any other end needs nothing that is still out."""
        if self.state is State.STOPPED and self._tasks:
            self._slots.paused = False
            self._slots.serve()
            await asyncio.wait(self._tasks, timeout=self._stop_s)
        while self.state is State.STOPPED and not self._window.blocked:
            self._settled.clear()
            await self._settled.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._asker.close()
        self._slots.close()
        self._over = True
        self._full.set()

    async def _closed(self) -> Outcome:
        live = self.live()
        if not isinstance(self._fault, StorageError):
            if self._fault is None and self.log.done.first_gap() != self.judge.next_index:
                raise RuntimeError(f"items up to {self.judge.next_index} are decided, {self.log.done} are on the disk")
            await self._on_disk(self.log.end)
            encoded = msgspec.json.encode(live).decode()
            await self._on_disk(self.log.set_meta, state=self.state, reason=self.reason, live=encoded)
            if self._keep is not None:
                await self._on_disk(self._keep)
        self._disk.shutdown()
        if self._told is not None:
            self._told(live)
        if self._fault is not None:
            raise self._fault
        return Outcome(self.state, self.reason, live)

    # How it goes ---------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Once a second: rates, and whoever listens."""
        while True:
            await asyncio.sleep(1.0)
            totals = self.judge.totals
            self.board.mark(amount=self._amount(), bytes=totals.bytes, records=totals.records)
            if self._told is not None:
                self._told(self.live())

    async def _heed(self) -> None:
        """Once a second: what another process wants of this run."""
        while True:
            await asyncio.sleep(1.0)
            want = await self._on_disk(self.log.meta, "want")
            if want == "stop":
                self.stop()
            elif (want == "pause") is not (self.state is State.PAUSED):
                self.pause(want == "pause")
                live = msgspec.json.encode(self.live()).decode()
                await self._on_disk(self.log.set_meta, state=self.state, live=live)

    def _diversity(self) -> dict[str, float | None]:
        """Of the last whole epoch; it changes once an epoch, and is dear."""
        epoch = self.judge.next_index // self.recipe.epoch
        if epoch and epoch != self._measured[0]:
            found = self.judge.diversity()
            self._measured = (epoch, msgspec.to_builtins(found.whole))
        return self._measured[1]

    def live(self) -> Live:
        totals, board, target = self.judge.totals, self.board, self.recipe.target
        amount = self._amount()
        left = max(0, target.amount - amount)
        slow, fast = board.band("amount")
        rate = board.rate("amount")
        texts = totals.records + totals.rejected.total()
        return Live(
            at=time.time(),
            state=self.state,
            unit=target.unit,
            amount=amount,
            target=target.amount,
            bytes=totals.bytes,
            records=totals.records,
            items=self.judge.next_index,
            tokens_s=board.rate("answer_tokens"),
            bytes_s=board.rate("bytes"),
            records_s=board.rate("records"),
            accept_rate=totals.records / texts if texts else 0.0,
            near_duplicates=totals.rejected["near_duplicate"] / texts if texts else 0.0,
            in_flight=self._slots.in_flight,
            limit=self._slots.pressure.limit,
            window=len(self._window),
            eta_s=left / rate if rate else None,
            eta_low_s=left / fast if fast else None,
            eta_high_s=left / slow if slow else None,
            rejected=dict(totals.rejected),
            diversity=self._diversity(),
            faults={name[6:]: count for name, count in board.counts.items() if name.startswith("fault:")},
            note=self.reason,
        )
