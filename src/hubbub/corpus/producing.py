"""From a place of the run to its screened texts: in this process, by requests to one endpoint.

A ``Producer`` is told when there may be work to begin, takes places from its ``Intake`` and puts back what came of
each, in any order. Another one has them made on a cluster (``on_ray``): the runner decides, and cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from hubbub.corpus.answers import RejectedAnswer
from hubbub.corpus.asking import Asker, GivenUp, Patience
from hubbub.corpus.board import Board
from hubbub.corpus.client import Answering
from hubbub.corpus.items import Items, Said, WorkItem
from hubbub.corpus.judge import Screened
from hubbub.corpus.pressure import Pressure
from hubbub.corpus.screening import Screener
from hubbub.corpus.slots import Slots

ATTEMPTS = 3
"""Answers that an item may have rejected as unusable (empty, broken JSON) in one round, each with another seed."""

Produced = Screened | GivenUp


class Intake(Protocol):
    """Where places come from and results go."""

    def next(self) -> int | None:
        """The next place to work on, or None while none may be begun."""

    def put(self, place: int, produced: Produced) -> None: ...

    def fail(self, fault: BaseException) -> None:
        """End the run with this fault."""


class Producer(Protocol):
    @property
    def in_flight(self) -> int:
        """Requests that are out."""

    @property
    def limit(self) -> int:
        """Most requests at once, as things are."""

    @property
    def busy(self) -> bool:
        """Whether anything is being worked on."""

    def fill(self) -> None:
        """Begin as much as there is room for."""

    def pause(self, paused: bool) -> None:
        """Begin nothing while paused."""

    async def watch(self) -> None:
        """Runs beside, as long as the run does. Raises RequestFault when there is no use in going on."""

    async def settle(self, timeout_s: float) -> None:
        """Let what was begun end, for so long."""

    async def close(self) -> None:
        """Give up what is left."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """``concurrency``: most requests in flight. ``window``: items that may wait for one before them; 0: by that."""

    concurrency: int = 64
    window: int = 0
    patience: Patience = field(default_factory=Patience)

    def window_of(self, epoch: int) -> int:
        return self.window or min(max(4 * self.concurrency, 256), max(epoch, self.concurrency))


class LocalProducer:
    """``hangs`` is called when the engine is taken to hang. ``board`` counts requests, faults and tokens. ``pressure``:
    what is known of how much the endpoint takes."""

    def __init__(
        self,
        intake: Intake,
        board: Board,
        items: Items,
        screener: Screener,
        endpoint: Answering,
        config: RunnerConfig,
        hangs: Callable[[], None] | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self._intake = intake
        self._board = board
        self._items = items
        self._screener = screener
        self._slots = Slots(pressure or Pressure(config.concurrency), self.fill)
        self._asker = Asker(endpoint, self._slots, board, config.patience, hangs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._screening = 0

    @property
    def in_flight(self) -> int:
        return self._slots.in_flight

    @property
    def limit(self) -> int:
        return self._slots.pressure.limit

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def fill(self) -> None:
        for _ in range(self._slots.free - self._starting()):
            place = self._intake.next()
            if place is None:
                return
            task = asyncio.get_running_loop().create_task(self._work(place))
            self._tasks.add(task)
            task.add_done_callback(self._worked)

    def pause(self, paused: bool) -> None:
        self._slots.paused = paused
        self._slots.serve()

    async def watch(self) -> None:
        await self._asker.watch()

    async def settle(self, timeout_s: float) -> None:
        self.pause(False)  # who waits for a place has begun
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._asker.close()
        self._slots.close()

    def _starting(self) -> int:
        """Items whose task exists and has not asked for its place yet."""
        return len(self._tasks) - self._slots.in_flight - self._slots.waiting - self._screening

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._intake.fail(fault)
        self.fill()

    async def _work(self, place: int) -> None:
        item = self._items.item(place)
        try:
            said = await self._answers(item)
        except GivenUp as gone:
            self._intake.put(place, gone)
            return
        self._screening += 1
        try:
            screened = await self._screener.screen(item, said)
        finally:
            self._screening -= 1
        self._intake.put(place, screened)

    async def _answers(self, item: WorkItem) -> list[Said]:
        """Ask for each step; an answer that cannot be used is asked for again with the seed of another attempt."""
        said: list[Said] = []
        first = attempt = item.round * ATTEMPTS
        while True:
            try:
                call = self._items.next_call(item, said, attempt)
            except RejectedAnswer as unusable:
                if not said:
                    raise GivenUp(unusable.reason, "no step of this item is asked: see when") from None
                attempt = said.pop().attempt + 1
                self._again(unusable.reason, attempt - first)
                continue
            if call is None:
                return said
            answer = await self._asker.ask(item.place, call)
            self._board.counts["answer_tokens"] += answer.tokens
            self._board.counts["prompt_tokens"] += answer.prompt_tokens
            if not answer.text.strip():
                attempt += 1
                self._again("empty", attempt - first)
                continue
            said.append(Said(answer.text, answer.tokens, answer.finish, attempt, answer.model))
            attempt = first

    def _again(self, reason: str, attempts: int) -> None:
        """Raises GivenUp once there were ATTEMPTS."""
        self._board.counts[f"retry:{reason}"] += 1
        if attempts >= ATTEMPTS:
            raise GivenUp(reason, f"{ATTEMPTS} answers in a row were unusable: {reason}")
