"""Users, the scheduler and engines on a virtual clock.

The scheduler is ``core.Scheduler`` itself: requests reach the engines only by its commands, and it hears of progress
and ends as it does in the server. Users are closed loops: think, ask, read the answer, think again; a chat that grew
to its limit starts anew. Bulk rows keep a number of requests in flight. Everything random comes from one seed.

Only a window is simulated: until a number of requests have ended after a warm-up. What a month looks like follows
from the window's rates, because the system is in its steady state; ``spread`` says how much the halves differ.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hubbub.core.config import SchedulerConfig
from hubbub.core.events import Arrived, Command, Dispatch, EngineUp, Finished, Progressed, Refuse, Ticked
from hubbub.core.scheduler import Scheduler
from hubbub.core.types import ChatId, EngineId, EngineState, Priority, Request, RequestId, Usage, UserId
from hubbub.planner.enginesim import EngineLimits, EngineSim, Sequence
from hubbub.planner.setup import Setup, step_model

PROGRESS_EVERY_S = 1.0
TOLD_STEPS = 10
ALONE_TOLD = 8
"""Times as seldom a corpus without chats is told of."""
LOOK_EVERY = 50
"""Requests between two looks whether it is enough."""


@dataclass(frozen=True, slots=True)
class Chats:
    """``count`` people who talk. Lengths in tokens are means of a log-normal with a deviation of ``spread`` in
    logarithms; thinking time in seconds is exponential. ``turns``: questions in a chat before a new one begins."""

    count: int = 200
    think_s: float = 20.0
    question: float = 60.0
    answer: float = 250.0
    system: int = 150
    turns: float = 12.0
    context: int = 8192
    spread: float = 0.7


@dataclass(frozen=True, slots=True)
class Bulk:
    """Rows of a corpus: ``in_flight`` at once, each a prompt whose first ``shared`` tokens are the same for all."""

    in_flight: int = 0
    prompt: float = 200.0
    shared: float = 100.0
    answer: float = 400.0
    spread: float = 0.4


@dataclass(slots=True)
class Outcome:
    """What the window showed. Times in seconds, rates a second over all engines, lists one value a chat request."""

    seconds: float = 0.0
    ttft: list[float] = field(default_factory=list)
    itl: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    e2e: list[float] = field(default_factory=list)
    chat_tokens: int = 0
    bulk_tokens: int = 0
    bulk_requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    refused: int = 0
    queue: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    kv_fill: list[tuple[float, float]] = field(default_factory=list)
    spread: float = 0.0

    @property
    def tokens_s(self) -> float:
        return (self.chat_tokens + self.bulk_tokens) / self.seconds if self.seconds else 0.0

    @property
    def bulk_tokens_s(self) -> float:
        return self.bulk_tokens / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _User:
    number: int
    chat: int = 0
    history: int = 0
    turns_left: int = 1


class Simulation:
    def __init__(self, setup: Setup, chats: Chats, bulk: Bulk | None = None, *, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation, nothing secret
        self._chats, self._bulk = chats, bulk or Bulk()
        plan = setup.memory
        per_chat = setup.shape.kv_bytes_at(chats.context, setup.quant.kv_bytes) / max(chats.context, 1)
        per_token = setup.shape.kv_bytes_per_token(setup.quant.kv_bytes)
        room = int(plan.kv_tokens * per_token / max(per_chat, 1.0)) if per_chat else plan.kv_tokens
        most = max(1, min(setup.max_sequences, chats.count + self._bulk.in_flight or 1))
        model = step_model(setup, most)
        slots = setup.engine.admission == "slots"
        limits = EngineLimits(
            max_sequences=min(setup.max_sequences, 256) if slots else setup.max_sequences,
            kv_tokens=max(room, 256),
            budget=setup.load.token_budget or setup.engine.token_budget(setup.machine.card),
            admission=setup.engine.admission,
            prefix_cache=setup.engine.admission != "static",
        )
        self._request_s = model.request_s
        self._engines = {EngineId(f"e{i}"): EngineSim(model, limits) for i in range(setup.machine.replicas)}
        waiting = chats.count + self._bulk.in_flight + 10
        self.scheduler = Scheduler(SchedulerConfig(max_queued=waiting, max_queued_bulk=waiting))
        for engine, simulated in self._engines.items():
            state = EngineState(
                ("m",), chats.context, simulated.limits.max_sequences, simulated.limits.kv_tokens, prefix_cache=True
            )
            self.scheduler.handle(EngineUp(engine, state), 0.0)
        self._clock = dict.fromkeys(self._engines, 0.0)
        self._events: list[tuple[float, int, str, int]] = []
        self._sequence = self._requests = 0
        self._users = [_User(i) for i in range(chats.count)]
        self._flying: dict[str, tuple[Sequence, int]] = {}
        self._progress: dict[str, int] = {}
        self._told = 0.0
        # a slow engine's seconds hold no step at all: telling of them every one would cost more than the steps
        self._tell_every = max(PROGRESS_EVERY_S, TOLD_STEPS * model.decode(most, most * 512))
        if not chats.count:  # one user alone: there is nobody to be fair to
            self._tell_every *= ALONE_TOLD
        self._last_end = [0.0, 0.0]
        self.outcome = Outcome()

    # Drawing -------------------------------------------------------------------------------------------------------

    def _draw(self, mean: float, spread: float) -> int:
        if mean <= 0:
            return 0
        sigma = spread
        return max(1, round(self._random.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)))

    def _push(self, when: float, kind: str, who: int) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (when, self._sequence, kind, who))

    # Running -------------------------------------------------------------------------------------------------------

    def run(
        self, requests: int = 1500, warmup: int = 400, enough: Callable[[Outcome], bool] = lambda outcome: False
    ) -> Outcome:
        """Until ``requests`` have ended after ``warmup`` of them, or ``enough`` says so, which is asked now and then.
        Raises nothing; an empty workload ends at once."""
        chats = self._chats
        for user in self._users:
            self._new_chat(user)
            # people are met in the middle of their chats, not all at the first word
            said = self._random.randrange(user.turns_left) if user.turns_left > 1 else 0
            grown = user.history + round(said * (chats.question + chats.answer))
            if grown < chats.context * 0.9:
                user.history, user.turns_left = grown, user.turns_left - said
            self._push(self._random.uniform(0, chats.think_s + 1e-3), "ask", user.number)
        for row in range(self._bulk.in_flight):
            self._push(0.001 * row / max(self._bulk.in_flight, 1), "row", row)
        if not self._events:
            return self.outcome
        ended, half, start = 0, 0.0, 0.0
        target = warmup + requests
        while ended < target:
            engine = min((e for e, s in self._engines.items() if not s.idle), key=self._clock.__getitem__, default=None)
            arrival = self._events[0][0] if self._events else math.inf
            if engine is None or arrival <= self._clock[engine]:
                if not self._events:
                    break
                when, _, kind, who = heapq.heappop(self._events)
                self._ask(when, kind, who)
                continue
            before = ended
            ended += self._step(engine, arrival)
            if before < warmup <= ended:
                start = self._reset(self._clock[engine])
            if ended // LOOK_EVERY > before // LOOK_EVERY and before >= warmup and enough(self.outcome):
                break
            if before < warmup + requests // 2 <= ended and self.outcome.chat_tokens + self.outcome.bulk_tokens:
                span = self._clock[engine] - start
                half = (self.outcome.chat_tokens + self.outcome.bulk_tokens) / max(span, 1e-9)
        self._finish(start, half)
        return self.outcome

    def _reset(self, now: float) -> float:
        self.outcome = Outcome()
        for simulated in self._engines.values():
            simulated.counters = type(simulated.counters)()
        return now

    def _finish(self, start: float, half: float) -> None:
        out = self.outcome
        out.seconds = max(max(self._clock.values()) - start, 1e-9)
        for simulated in self._engines.values():
            out.preemptions += simulated.counters.preemptions
            out.prompt_tokens += simulated.counters.prompt_tokens
            out.cached_tokens += simulated.counters.cached_tokens
        if half:
            out.spread = abs(out.tokens_s / half - 1)

    def _step(self, engine: EngineId, arrival: float) -> int:
        simulated, clock = self._engines[engine], self._clock
        now = clock[engine]
        after, ended = simulated.advance(now, arrival)
        clock[engine] = after
        if simulated.ready:  # the scheduler learns from first tokens, and gives the next bulk row after one
            known = self._progress
            first = {s.key: s.done for s in simulated.ready if s.key not in known}
            known.update(first)
            told = {RequestId(key): done for key, done in first.items()}
            self._obey(self.scheduler.handle(Progressed(told), after), after)
        for sequence in ended:
            self._end(sequence, after)
        if after - self._told >= self._tell_every:
            self._tell(after)
        return len(ended)

    def _tell(self, now: float) -> None:
        """Progress for the scheduler's books, and a sample of the gauges."""
        self._told = now
        grown: dict[RequestId, int] = {}
        fill, running = 0.0, 0
        for simulated in self._engines.values():
            for sequence in simulated.running:
                known = self._progress.get(sequence.key, 0)
                if sequence.done > known:
                    grown[RequestId(sequence.key)] = sequence.done - known
                    self._progress[sequence.key] = sequence.done
            fill += simulated.fill / len(self._engines)
            running += len(simulated.running) + len(simulated.reading)
        if grown:
            self._obey(self.scheduler.handle(Progressed(grown), now), now)
        self._obey(self.scheduler.handle(Ticked(told=False), now), now)
        view = self.scheduler.view()
        inside = sum(len(s.waiting) for s in self._engines.values())
        self.outcome.queue.append(sum(view.queued.values()) + inside)
        self.outcome.running.append(running)
        self.outcome.kv_fill.append((now, fill))

    # People and rows -----------------------------------------------------------------------------------------------

    def _new_chat(self, user: _User) -> None:
        user.chat += 1
        user.history = self._chats.system
        user.turns_left = max(1, round(self._random.expovariate(1 / max(self._chats.turns, 1.0))))

    def _ask(self, now: float, kind: str, who: int) -> None:
        if kind == "row":
            bulk = self._bulk
            prompt, answer = self._draw(bulk.prompt, 0.3), self._draw(bulk.answer, bulk.spread)
            self._arrive(now, "b", "corpus", "template", prompt, answer, Priority.BULK, who)
            return
        user, chats = self._users[who], self._chats
        question, answer = self._draw(chats.question, chats.spread), self._draw(chats.answer, chats.spread)
        answer = min(answer, max(chats.context - chats.system - question, 16))
        if user.turns_left <= 0 or user.history + question + answer > chats.context:
            self._new_chat(user)
        user.turns_left -= 1
        prompt = min(user.history + question, chats.context - 1)
        chat = f"u{who}.{user.chat}"
        self._arrive(now, "r", f"u{who}", chat, prompt, answer, Priority.CHAT, who)

    def _arrive(
        self, now: float, key: str, user: str, chat: str, prompt: int, answer: int, priority: Priority, who: int
    ) -> None:
        self._requests += 1
        key = f"{key}{self._requests}"
        sequence = Sequence(key, chat, prompt, answer, now)
        self._flying[key] = (sequence, who)
        request = Request(RequestId(key), UserId(user), ChatId(chat), "m", prompt, priority)
        self._obey(self.scheduler.handle(Arrived(request), now), now)

    def _obey(self, commands: list[Command], now: float) -> None:
        for command in commands:
            if isinstance(command, Dispatch):
                simulated = self._engines[command.engine]
                if simulated.idle:
                    self._clock[command.engine] = max(self._clock[command.engine], now)
                sequence, _ = self._flying[command.request]
                if self._bulk.shared and sequence.chat == "template" and simulated.limits.prefix_cache:
                    simulated.kept["template"] = int(self._bulk.shared)
                    simulated.kept_tokens = sum(simulated.kept.values())
                simulated.submit(sequence)
            elif isinstance(command, Refuse):
                sequence, who = self._flying.pop(command.request)
                self.outcome.refused += 1
                self._push(now + max(command.retry_after, 1.0), "row" if sequence.chat == "template" else "ask", who)

    def _end(self, sequence: Sequence, now: float) -> None:
        out = self.outcome
        _, who = self._flying.pop(sequence.key)
        rest = sequence.done - self._progress.pop(sequence.key, 0)
        if rest > 0:
            self._obey(self.scheduler.handle(Progressed({RequestId(sequence.key): rest}), now), now)
        usage = Usage(sequence.prompt, sequence.done, sequence.cached)
        if sequence.chat == "template":
            out.bulk_tokens += sequence.done
            out.bulk_requests += 1
            self._push(now, "row", who)
        else:
            out.chat_tokens += sequence.done
            first = sequence.first if sequence.first is not None else now
            out.ttft.append(first - sequence.arrived + self._request_s)
            out.e2e.append(now - sequence.arrived + self._request_s)
            if sequence.done > 1:
                out.itl.append((now - first) / (sequence.done - 1))
                out.gap.append(sequence.worst_gap)
            user = self._users[who]
            user.history = sequence.prompt + sequence.done
            self._push(now + self._random.expovariate(1 / max(self._chats.think_s, 1e-3)), "ask", who)
        self._obey(self.scheduler.handle(Finished(RequestId(sequence.key), usage), now), now)
