"""A whole service on a virtual clock: the real scheduler, the simulated engine's batching, people and bulk rows.

No asyncio: one step of the engine after the other, events in between at their times.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from hubbub.core.events import (
    Arrived,
    Command,
    Dispatch,
    EngineUp,
    Finished,
    Progressed,
    Queueing,
    Refuse,
    Ticked,
    Wait,
)
from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import ChatId, EngineId, EngineState, FinishReason, Priority, Request, RequestId, UserId
from hubbub.engines.sim_batch import Batch, Pace
from hubbub.engines.sim_prompt import Speech

ENGINE = EngineId("e")
SMALL_CPU = Pace(base=0.02, per_sequence=0.0011, per_context_token=5e-7, per_prefill_token=0.0009, jitter=0.1,
                 max_sequences=256, kv_tokens=200_000, batch_tokens=256)  # fmt: skip
"""About what a model of 135M parameters does on two cores (benchmarks/results/real_engine.md)."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a length. Answers that are all of one length, begun together, end together for
ever: waves, which no real engine has, and in which who comes waits for half an answer whatever the scheduler does."""


@dataclass(slots=True)
class Asked:
    """One request as its client sees it. Seconds of the hall's clock."""

    request: Request
    began: float
    sent: float | None = None
    foreseen: float | None = None
    first: float | None = None
    ended: float | None = None
    tokens: int = 0
    refused: float | None = None
    then: Callable[[], None] = lambda: None

    @property
    def ttft(self) -> float:
        assert self.first is not None
        return self.first - self.began


def _then(asked: Asked) -> None:
    asked.then()


def length(dice: Random, mean: float) -> int:
    """Tokens, log-normal."""
    return max(1, round(dice.lognormvariate(-SPREAD * SPREAD / 2, SPREAD) * mean))


@dataclass
class Hall:
    """``told``: every request, in order of arrival."""

    pace: Pace = SMALL_CPU
    config: SchedulerConfig = field(default_factory=SchedulerConfig)
    seed: int = 1

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.config)
        self.batch = Batch(self.pace, self.seed)
        self.dice = Random(self.seed)
        self.now = 0.0
        self.told: list[Asked] = []
        self.limits: list[int] = []
        self._prompts: dict[RequestId, tuple[str, ...]] = {}
        self._flying: dict[RequestId, tuple[Asked, int]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        state = EngineState(("m",), 8192, self.pace.max_sequences, self.pace.kv_tokens, self.pace.prefix_cache)
        self._obey(self.scheduler.handle(EngineUp(ENGINE, state), self.now))
        self.at(1.0, self._tick)

    def at(self, after: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + after, self._count, what))

    def ask(
        self, user: str, chat: str, prompt: tuple[str, ...], answer: int, priority: Priority = Priority.CHAT
    ) -> Asked:
        self._count += 1
        request = Request(RequestId(f"r{self._count}"), UserId(user), ChatId(chat), "m", len(prompt), priority)
        asked = Asked(request, self.now)
        self.told.append(asked)
        self._flying[request.id] = (asked, answer)
        self._prompts[request.id] = prompt
        self._obey(self.scheduler.handle(Arrived(request), self.now))
        return asked

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            if self.batch.idle:
                self.now = min(until, self._due[0][0])
            else:
                self._step()
            self._pass(self.now)

    def _pass(self, until: float) -> None:
        """What is due by then, each at its time: who comes while a step is under way waits for it."""
        while self._due and self._due[0][0] <= until:
            when, _, what = heapq.heappop(self._due)
            self.now = max(self.now, when)
            what()
        self.now = until

    def _step(self) -> None:
        self._pass(self.now + self.batch.begin())
        said: Counter[RequestId] = Counter()
        ended = []
        for flight, chunk in self.batch.end(self.now):
            asked, _ = self._flying[flight.key]
            asked.tokens += chunk.tokens
            asked.first = self.now if asked.first is None else asked.first
            said[flight.key] += chunk.tokens
            if chunk.finish is not None and chunk.usage is not None:
                ended.append((flight.key, chunk.usage))
        self._obey(self.scheduler.handle(Progressed(said), self.now))
        for key, usage in ended:
            asked, _ = self._flying.pop(key)
            asked.ended = self.now
            self._obey(self.scheduler.handle(Finished(key, usage), self.now))
            asked.then()

    def _tick(self) -> None:
        if self.batch.waiting:
            self._obey(self.scheduler.handle(Queueing(ENGINE), self.now))
        self._obey(self.scheduler.handle(Ticked(), self.now))
        self.limits.append(self.scheduler.view().bulk_limits[ENGINE])
        self.at(1.0, self._tick)

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Dispatch(request=key):
                    asked, answer = self._flying[key]
                    asked.sent = self.now
                    speech = Speech(self._prompts.pop(key), ("x",) * answer, FinishReason.STOP)
                    self.batch.add(key, speech, self.now)
                case Wait(request=key, seconds=seconds):
                    asked, _ = self._flying[key]
                    asked.foreseen = seconds if asked.foreseen is None else asked.foreseen
                case Refuse(request=key, retry_after=after):
                    asked, _ = self._flying.pop(key)
                    del self._prompts[key]
                    asked.refused = after
                    self.at(after, partial(_then, asked))


@dataclass
class People:
    """Chats in a closed loop: think, ask with all that was said before, read, think. After some turns a new chat.
    Lengths are means. Each person throws dice of their own: with bulk beside they ask the same."""

    hall: Hall
    count: int
    think_s: float = 10.0
    question: int = 30
    answer: int = 48
    turns: int = 6
    name: str = "u"
    """Users are called so and by their number."""
    one_user: bool = False
    """All are chats of one user."""
    long_share: float = 0.0
    """Of the questions: those that bring a text of ``long`` tokens."""
    long: int = 600

    def come(self) -> None:
        self._dice = [Random(f"{self.hall.seed}.{self.name}{number}") for number in range(self.count)]
        for number, dice in enumerate(self._dice):
            self.hall.at(dice.random() * self.think_s, partial(self._ask, number, 0, 1, ()))

    def _ask(self, who: int, turn: int, chat: int, history: tuple[str, ...]) -> None:
        dice = self._dice[who]
        if turn == self.turns:
            turn, chat, history = 0, chat + 1, ()
        words = 2 + length(dice, self.question) + (self.long if dice.random() < self.long_share else 0)
        prompt = (*history, *(f"{who}.{chat}.{turn}.{word}" for word in range(words)))
        user = self.name if self.one_user else f"{self.name}{who}"
        answer = length(dice, self.answer)
        asked = self.hall.ask(user, f"{self.name}{who}.{chat}", prompt, answer)

        def then() -> None:
            if asked.refused is not None:
                self._ask(who, turn, chat, history)
                return
            said = (*prompt, *("x",) * answer)
            self.hall.at(dice.expovariate(1 / self.think_s), lambda: self._ask(who, turn + 1, chat, said))

        asked.then = then


@dataclass
class Rows:
    """Bulk: so many in flight or in line at any time, each a prompt whose beginning is shared and a chat of its own.
    ``answer``: the mean."""

    hall: Hall
    count: int
    shared: int = 20
    prompt: int = 40
    answer: int = 96
    on: bool = True

    def come(self) -> None:
        for number in range(self.count):
            self._ask(number, 0)

    def _ask(self, lane: int, row: int) -> None:
        if not self.on:
            return
        answer = length(self.hall.dice, self.answer)
        asked = self.hall.ask("bulk", f"bulk{lane}.{row}", self.text(lane, row), answer, Priority.BULK)
        asked.then = lambda: self._ask(lane, row + 1)

    def text(self, lane: int, row: int) -> tuple[str, ...]:
        own = (f"{lane}.{row}.{word}" for word in range(self.prompt - self.shared))
        return (*(f"shared{word}" for word in range(self.shared)), *own)
