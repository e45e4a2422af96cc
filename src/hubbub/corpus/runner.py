"""The runner: keeps requests in flight, decides answers in order, and makes data and progress durable together.

::

    next place --> Producer: ask, screen --> Reorder --> decide: admit in order of places --> Group --> commit
        ^                                                                                         |
        '---- window moves on <-------------------------------------------------------------------'

State: a place is *out* (the producer works on it), *held* (its texts wait in the window for one before it), *pending*
(it is decided, its group not committed) or *done*. Only ``done`` is on the disk: a kill loses the work of the others,
never a record, and the next start does them again from ``judge.next_place``, with the same prompts and seeds.

Why the result does not depend on timing: what stands at place i follows from (run seed, i, recorded epochs), answers
from prompt and seed on an engine that repeats itself, acceptance from the items before it, and the end from what was
accepted. How many are in flight, which copy of a hedged request wins and where groups are cut changes none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from hubbub.core.errors import StorageError
from hubbub.corpus.asking import GivenUp
from hubbub.corpus.board import Board, Live
from hubbub.corpus.items import Items
from hubbub.corpus.judge import Judge
from hubbub.corpus.pending import Pending
from hubbub.corpus.producing import Intake, Produced, Producer
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.reorder import Reorder
from hubbub.corpus.runlog import RunLog
from hubbub.corpus.vista import Flight, Vista

T = TypeVar("T")

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
class Outcome:
    state: State
    reason: str
    live: Live


class Runner:
    """One run of one recipe into one log. ``judge`` and ``items`` know already what the log holds.

    ``producer`` makes what the run takes its texts from. ``window``: places that may wait for one before them. ``told``
    is called about once a second with how it goes, ``keep`` on the disk's thread after each commit.
    """

    def __init__(
        self,
        recipe: Recipe,
        items: Items,
        judge: Judge,
        log: RunLog,
        producer: Callable[[Intake, Board], Producer],
        window: int,
        *,
        told: Callable[[Live], None] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> None:
        self.recipe, self.items, self.judge, self.log = recipe, items, judge, log
        self.board = Board()
        self.state = State.RUNNING
        self.reason = ""
        self._told = told
        self._keep = keep
        start = judge.next_place
        self._window: Reorder[Produced] = Reorder(start, window)
        self._next = start
        self._pending = Pending(start)
        self._stopping = asyncio.Event()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._lost_in_a_row = 0
        self._fault: BaseException | None = None
        self._stop_s = STOP_S
        self._over = False
        output = next(step for step in recipe.steps if step.name == recipe.output.step)
        self._tokens = output.sampling.max_tokens
        self._view = Vista(recipe, judge, self.board)
        self._disk = ThreadPoolExecutor(1, "corpus-disk")
        self._producer = producer(self, self.board)

    async def run(self) -> Outcome:
        """Until the target, a stop or a reason to stop. Raises StorageFull, StorageError, RequestFault; what was
        accepted is on the disk, whatever happens."""
        await self._on_disk(self.log.set_meta, state=State.RUNNING, reason="", want="run")
        if self._reached():
            self._finish(State.FINISHED, "the target is reached")
        elif self.judge.stopped:
            self._finish(State.FAILED, self.judge.stopped)
        others = [self._begun(work) for work in (self._producer.watch(), self._decide(), self._look(), self._heed())]
        writer = self._begun(self._commit())
        self._producer.fill()
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
            self._producer.pause(paused)

    # What the producer is given ------------------------------------------------------------------------------------

    def next(self) -> int | None:
        """The next place to work on, while the window, the recorded epochs and the target allow."""
        place = self._next
        if self._stopping.is_set() or not self._window.admits(place) or place >= self._wanted():
            return None
        if not self.items.ready(place):
            return None
        self._next += 1
        return place

    def put(self, place: int, produced: Produced) -> None:
        self._window.put(place, produced)
        self._arrived.set()

    def fail(self, fault: BaseException) -> None:
        """A fault of any part ends the run, which raises it when all is put away."""
        self._fault = self._fault or fault
        self._finish(State.FAILED, str(fault))

    def _wanted(self) -> int:
        """The place before which the target should be reached, and a half more: what is asked beyond it is waste."""
        decided, amount = self.judge.next_place, self._amount()
        if amount:
            share = amount / decided
        else:
            share = self.recipe.target.of(bytes=2 * self._tokens, tokens=self._tokens, records=1)
        return decided + ASKED_LEAST + int(ASKED_FACTOR * (self.recipe.target.amount - amount) / share)

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.fail(fault)

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
                    self._producer.fill()
                    await asyncio.sleep(0)
                while self._pending.records >= PENDING_MOST:
                    self._room.clear()
                    await self._room.wait()
            self._settled.set()
            self._producer.fill()

    def _admit(self, outcome: Produced) -> None:
        if isinstance(outcome, GivenUp):
            self._lost_in_a_row += 1
            verdict = self.judge.give_up(self.judge.next_place, outcome.reason, outcome.detail)
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
        return self._view.amount

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
        if self.state is State.STOPPED:
            await self._producer.settle(self._stop_s)
        while self.state is State.STOPPED and not self._window.blocked:
            self._settled.clear()
            await self._settled.wait()
        await self._producer.close()
        self._over = True
        self._full.set()

    async def _closed(self) -> Outcome:
        live = self.live()
        if not isinstance(self._fault, StorageError):
            if self._fault is None and self.log.done.first_gap() != self.judge.next_place:
                raise RuntimeError(f"items up to {self.judge.next_place} are decided, {self.log.done} are on the disk")
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
            self._view.mark()
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

    def live(self) -> Live:
        flight = Flight(self._producer.in_flight, self._producer.limit, len(self._window))
        return self._view.live(self.state, self.reason, flight)
