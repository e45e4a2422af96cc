"""Any sequence of events: the books balance, and every accepted request has one story with one end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.core.events import (
    Abort,
    Arrived,
    Close,
    Command,
    Dispatch,
    EngineDown,
    EngineDraining,
    EngineUp,
    Event,
    Failed,
    Finished,
    Outcome,
    Progressed,
    Queueing,
    Refuse,
    Ticked,
    Wait,
    Withdrawn,
)
from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import (
    ChatId,
    EngineId,
    EngineState,
    Message,
    Priority,
    Request,
    RequestId,
    Role,
    Sampling,
    Usage,
    UserId,
)

MODELS = ("m", "n")
ADAPTERS = ("x", "y")
ENGINES = tuple(EngineId(name) for name in "ef")


@dataclass
class Life:
    """What the world knows of one request."""

    request: Request
    engine: EngineId | None = None
    attempts: int = 0
    ended: bool = False


@dataclass
class World:
    """The model: what commands allow, written without a look inside the scheduler."""

    lives: dict[RequestId, Life] = field(default_factory=dict)
    engines: dict[EngineId, EngineState] = field(default_factory=dict)
    draining: set[EngineId] = field(default_factory=set)

    def live(self) -> list[Life]:
        return [life for life in self.lives.values() if not life.ended]

    def on(self, engine: EngineId) -> list[Life]:
        return [life for life in self.live() if life.engine == engine]

    def waiting(self, priority: Priority) -> list[Life]:
        return [life for life in self.live() if life.engine is None and life.request.priority is priority]


def serves(state: EngineState, request: Request) -> bool:
    return request.model in state.models and request.adapter in ("", *state.adapters)


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        config=st.builds(
            SchedulerConfig,
            max_queued=st.sampled_from([0, 3, 50]),
            max_queued_bulk=st.sampled_from([0, 3]),
            max_predicted_ttft_s=st.sampled_from([None, 30.0]),
            max_attempts=st.integers(1, 3),
            max_bypass=st.integers(0, 2),
            lookahead=st.integers(1, 3),
            chat_reserve=st.sampled_from([0.0, 0.3]),
            expected_output=st.sampled_from([0.0, 100.0]),
            affinity_bound=st.sampled_from([1.0, 1.25, float("inf")]),
            half_life_s=st.sampled_from([0.01, 60.0, float("inf")]),
            user_weights=st.sampled_from([{}, {"u0": 3.0}]),
        ),
    )
    def start(self, config: SchedulerConfig) -> None:
        self.config = config
        self.scheduler = Scheduler(config)
        self.world = World()
        self.now = 0.0
        self.count = 0

    def feed(self, event: Event, after: float = 1.0) -> list[Command]:
        """Hand the event over and hold each command against the world."""
        self.now += after
        arriving = event.request.id if isinstance(event, Arrived) else None
        commands = self.scheduler.handle(event, self.now)
        for command in commands:
            life = self.world.lives[command.request]
            assert not life.ended, f"{command} after the end"
            match command:
                case Dispatch(engine=engine):
                    self.check_dispatch(life, engine)
                    life.engine, life.attempts = engine, life.attempts + 1
                case Wait(position=position):
                    assert life.engine is None
                    assert (
                        1 <= position <= len(self.world.waiting(Priority.CHAT)) + len(self.world.waiting(Priority.BULK))
                    )
                case Refuse(retry_after=after_s, reason=reason):
                    assert command.request == arriving
                    assert reason
                    assert 1 <= after_s <= 120
                    life.ended = True
                case Abort(engine=engine):
                    assert isinstance(event, Withdrawn)
                    assert life.engine == engine
                case Close(outcome=outcome):
                    assert (outcome is Outcome.FINISHED) == isinstance(event, Finished)
                    assert (outcome is Outcome.CANCELLED) == isinstance(event, Withdrawn)
                    life.ended, life.engine = True, None
        if arriving is not None:
            assert [c.request for c in commands].count(arriving) == 1, "an arrival is answered once"
        return commands

    def check_dispatch(self, life: Life, engine: EngineId) -> None:
        state = self.world.engines[engine]
        request = life.request
        assert life.engine is None
        assert life.attempts < self.config.max_attempts
        assert request.model in state.models
        assert engine not in self.world.draining
        assert request.adapter in ("", *state.adapters)
        running = self.world.on(engine)
        assert state.mixes_adapters or {other.request.adapter for other in running} <= {request.adapter}
        assert len(running) < state.max_sequences
        prompts = sum(other.request.prompt_tokens for other in running) + request.prompt_tokens
        assert not running or prompts <= state.kv_tokens * self.config.kv_headroom
        if request.priority is Priority.BULK:
            chats = [chat for chat in self.world.waiting(Priority.CHAT) if serves(state, chat.request)]
            assert not chats, "bulk went before a chat"
            free = state.max_sequences - len(running) - 1
            assert free >= state.max_sequences * self.config.chat_reserve - 1e-9 or not running
        earlier = [
            other
            for other in self.world.waiting(request.priority)
            if self.line(other.request) == self.line(request)
            and list(self.world.lives).index(other.request.id) < list(self.world.lives).index(request.id)
        ]
        assert not earlier, "a chat's requests changed places"

    def line(self, request: Request) -> tuple[str, str, str]:
        return request.chat, request.model, request.adapter

    def pick(self, data: st.DataObject, lives: list[Life]) -> RequestId:
        return data.draw(st.sampled_from([life.request.id for life in lives]))

    # Events --------------------------------------------------------------------------------------------------------

    @rule(
        who=st.integers(0, 5),
        model=st.sampled_from(MODELS[:1] * 3 + MODELS),
        prompt=st.sampled_from([1, 100, 100, 400, 2000]),
        most=st.sampled_from([None, 1, 50]),
        bulk=st.sampled_from([False, False, True]),
        adapter=st.sampled_from(["", "", *ADAPTERS]),
        said=st.integers(0, 2),
    )
    def arrive(self, who: int, model: str, prompt: int, most: int | None, bulk: bool, adapter: str, said: int) -> None:
        self.count += 1
        request = Request(
            RequestId(f"r{self.count}"),
            UserId(f"u{who % 3}"),
            ChatId(f"c{who}"),
            model,
            prompt,
            Priority.BULK if bulk else Priority.CHAT,
            messages=tuple(Message(role, "hello") for role in (Role.USER, Role.ASSISTANT, Role.USER)[:said]),
            sampling=Sampling(max_tokens=most),
            adapter=adapter,
        )
        self.world.lives[request.id] = Life(request)
        self.feed(Arrived(request))

    @precondition(lambda self: self.world.live())
    @rule(data=st.data())
    def arrive_again(self, data: st.DataObject) -> None:
        request = self.world.lives[self.pick(data, self.world.live())].request
        with pytest.raises(ValueError, match="already arrived"):
            self.scheduler.handle(Arrived(request), self.now)

    @rule(tokens=st.sampled_from([1, 30, 1000]))
    def progress(self, tokens: int) -> None:
        self.feed(Progressed({life.request.id: tokens for life in self.world.lives.values()}))

    @precondition(lambda self: self.world.lives)
    @rule(data=st.data(), output=st.sampled_from([0, 10, 500]), cached=st.sampled_from([0, 50]), silent=st.booleans())
    def finish(self, data: st.DataObject, output: int, cached: int, silent: bool) -> None:
        running = [life for life in self.world.live() if life.engine is not None]
        request = self.pick(data, running or list(self.world.lives.values()))
        self.feed(Finished(request, Usage() if silent else Usage(100, output, cached)), 0.1)

    @precondition(lambda self: self.world.lives)
    @rule(data=st.data(), retryable=st.booleans())
    def fail(self, data: st.DataObject, retryable: bool) -> None:
        request = self.pick(data, list(self.world.lives.values()))
        life = self.world.lives[request]
        before, life.engine = life.engine, None
        commands = self.feed(Failed(request, "engine_error", "broke", retryable))
        if before is not None:
            assert any(command.request == request for command in commands)

    @precondition(lambda self: self.world.lives)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        request = self.pick(data, list(self.world.lives.values()))
        self.feed(Withdrawn(request))
        assert self.world.lives[request].ended

    @rule(
        engine=st.sampled_from(ENGINES),
        models=st.sampled_from([MODELS[:1], MODELS[:1], MODELS, MODELS[1:]]),
        sequences=st.sampled_from([0, 1, 2, 4, 4]),
        kv=st.sampled_from([300, 1000, 1000]),
        adapters=st.sampled_from([ADAPTERS, ADAPTERS, ADAPTERS[:1], ()]),
        mixes=st.booleans(),
    )
    def engine_up(
        self,
        engine: EngineId,
        models: tuple[str, ...],
        sequences: int,
        kv: int,
        adapters: tuple[str, ...] = ADAPTERS,
        mixes: bool = True,
    ) -> None:
        state = EngineState(models, 8192, sequences, kv, adapters=adapters, mixes_adapters=mixes)
        self.world.engines[engine] = state
        self.feed(EngineUp(engine, state))

    @rule(engine=st.sampled_from(ENGINES))
    def engine_down(self, engine: EngineId) -> None:
        self.world.engines.pop(engine, None)
        for life in self.world.on(engine):
            life.engine = None
        self.feed(EngineDown(engine))

    @rule(engine=st.sampled_from(ENGINES))
    def engine_queues(self, engine: EngineId) -> None:
        self.feed(Queueing(engine))

    @rule(engine=st.sampled_from(ENGINES), draining=st.booleans())
    def drain(self, engine: EngineId, draining: bool) -> None:
        (self.world.draining.add if draining else self.world.draining.discard)(engine)
        self.feed(EngineDraining(engine, draining))

    @rule(seconds=st.sampled_from([1.0, 100.0, 1e6]))
    def tick(self, seconds: float) -> None:
        self.feed(Ticked(), seconds)

    # What always holds ---------------------------------------------------------------------------------------------

    @invariant()
    def books_balance(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.validate()
        view = self.scheduler.view()
        live = self.world.live()
        for priority in Priority:
            mine = [life for life in live if life.request.priority is priority]
            assert view.running[priority] == sum(life.engine is not None for life in mine)
            assert view.queued[priority] == sum(life.engine is None for life in mine)
            users = self.scheduler.users(priority)
            assert sum(load.queued + load.running for load in users.values()) == len(mine)
        for engine, load in view.engines.items():
            assert load.sequences == len(self.world.on(engine))

    @invariant()
    def nobody_waits_beside_an_idle_engine(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        for engine, state in self.world.engines.items():
            if state.max_sequences and not self.world.on(engine) and engine not in self.world.draining:
                waiting = [life for life in self.world.live() if life.engine is None]
                assert not any(serves(state, life.request) for life in waiting)

    def teardown(self) -> None:
        """Whatever happened: with an engine up and finishing, all that wait are served, in bounded dispatches."""
        if not hasattr(self, "scheduler"):
            return
        for engine in ENGINES:
            self.drain(engine, False)
            self.engine_up(engine, MODELS, 2, 1000, mixes=False)
        for _ in range(2 * len(self.world.live()) * self.config.max_attempts + 1):
            running = [life for life in self.world.live() if life.engine is not None]
            if not running:
                break
            self.feed(Finished(running[0].request.id, Usage(100, 5)))
        assert not self.world.live()
        self.books_balance()


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(stateful_step_count=40)
