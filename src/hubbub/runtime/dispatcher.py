"""Drives the scheduler: its commands become calls of engines, what engines say becomes its events.

Theory of operation. The dispatcher owns the engines and the one Scheduler. Every request goes through three steps:

1. ``reserve`` hands it to the scheduler, which refuses it or takes it in. It may be given a slot at once.
2. ``release`` lets it run: until then a slot given is only held, so that the caller can first make the question
   durable.
3. The owner (a ``Job``) hears ``started``, ``said`` for every chunk, and ``closed`` exactly once.

A chunk belongs to one attempt: when an engine is lost and the request goes to another, late words of the first are
dropped, so that never two engines write one stream. Events are handled one after the other: what a command leads to
waits until the commands before it are obeyed.

One watch task an engine asks for its state once a second; that is how engines come, go and change capacity. It also
listens: an engine that has work in flight and says nothing for ``silence_seconds`` hangs, whatever its health says. It
is taken as lost, killed where its process is ours, and its requests go on elsewhere or after its restart. Silence is
counted by watches, so that a pause of this process is not taken for one of the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from hubbub.core.errors import EngineError, EngineLost, EngineUnavailable, HubbubError, Overloaded
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
    Progressed,
    Queueing,
    Refuse,
    Ticked,
    Wait,
    Withdrawn,
)
from hubbub.core.scheduler import Scheduler
from hubbub.core.types import Chunk, EngineId, EngineState, FinishReason, Message, Request, RequestId, Usage
from hubbub.ports import Clock, Engine, Killable
from hubbub.runtime.served import Served, served_by
from hubbub.runtime.telemetry import Telemetry

log = logging.getLogger(__name__)


class Job(Protocol):
    """Who asked: told what becomes of a request."""

    def attempt(self) -> Request | FinishReason | HubbubError:
        """The request as it should be sent now, with what was already said as ``partial``; or how it has ended if all
        was said; or why it cannot go on."""
        ...

    def waiting(self, wait: Wait) -> None:
        """Its place in line, and again every second or so."""
        ...

    def started(self, engine: EngineId) -> None: ...

    def said(self, chunk: Chunk) -> None: ...

    def ended(self, finish: FinishReason) -> None:
        """No engine was needed to end it. ``closed`` follows."""
        ...

    def closed(self, close: Close) -> None: ...


@dataclass(frozen=True, slots=True)
class DispatcherConfig:
    """How engines are watched."""

    watch_seconds: float = field(default=1.0, metadata={"help": "seconds between questions to an engine how it is"})
    restart_seconds: float = field(default=2.0, metadata={"help": "seconds before a failed start is tried again"})
    state_timeout: float = field(default=5.0, metadata={"help": "seconds an engine has to say how it is"})
    silence_seconds: float = field(
        default=120.0,
        metadata={
            "help": "seconds without a word from an engine at work, or of how it is, until it counts as hung; 0: never"
        },
    )

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("watch_seconds", "restart_seconds", "state_timeout"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} is {getattr(self, key)!r}; it must be above 0")
        if not self.silence_seconds >= 0:
            raise ValueError(f"silence_seconds is {self.silence_seconds!r}; it must be 0 or more")


@dataclass(slots=True)
class _Entry:
    id: RequestId
    job: Job
    released: bool = False
    engine: EngineId | None = None
    attempts: int = 0
    sent: bool = False
    """Whether the engine was handed this attempt and has not ended it."""
    refusal: Refuse | None = None


class Dispatcher:
    def __init__(
        self,
        engines: Sequence[Engine],
        scheduler: Scheduler,
        clock: Clock,
        telemetry: Telemetry,
        config: DispatcherConfig | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.states: dict[EngineId, EngineState] = {}
        """Engines that are ready now."""
        self.trouble: dict[EngineId, str] = {}
        """Why an engine is not ready."""
        self._config = config or DispatcherConfig()
        self.engines = {engine.id: engine for engine in engines}
        """All that are configured, in that order."""
        self._known: dict[EngineId, EngineState] = {}  # as each was last: one that restarts keeps its names
        self._clock = clock
        self._telemetry = telemetry
        self._entries: dict[RequestId, _Entry] = {}
        self._progress: dict[RequestId, int] = {}
        self._started: set[EngineId] = set()
        self._events: deque[Event] = deque()
        self._feeding = False
        self._silence: dict[EngineId, float] = {}
        self._flying: Counter[EngineId] = Counter()
        self._suspects: dict[EngineId, dict[RequestId, tuple[int, EngineError]]] = {}
        self._examinations: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all engines and wait until each is ready or has failed once. Raises EngineUnavailable if none is."""
        await asyncio.gather(*(self._connect(engine) for engine in self.engines.values()))
        if not self.states:
            raise EngineUnavailable("; ".join(self.trouble.values()) or "no engine is configured")
        self._tasks = [asyncio.create_task(self._watch(engine)) for engine in self.engines.values()]
        self._tasks.append(asyncio.create_task(self._tick()))

    async def close(self) -> None:
        tasks = [*self._tasks, *self._examinations]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))

    # Requests ------------------------------------------------------------------------------------------------------

    def reserve(self, request: Request, job: Job, *, accepted: bool = False, patient: bool = False) -> None:
        """Take the request in. Raises Overloaded, with ``retry_after``, and then knows nothing of it; never for one
        that was ``accepted`` before a restart, and for a ``patient`` one only where the line is too long."""
        entry = self._entries[request.id] = _Entry(request.id, job)
        self._feed(Arrived(request, accepted, patient))
        if entry.refusal is not None:
            self._telemetry.refused += 1
            raise Overloaded(entry.refusal.reason, retry_after=entry.refusal.retry_after)
        if not accepted:
            self._telemetry.accepted += 1

    def idle(self) -> bool:
        """Whether nothing is queued or running."""
        return not self._entries

    def release(self, request: RequestId) -> None:
        """Let it run."""
        entry = self._entries.get(request)
        if entry is not None:
            entry.released = True
            if entry.engine is not None:
                self._send(entry, entry.engine)

    def withdraw(self, request: RequestId) -> None:
        """Nobody wants the answer any more. The job hears ``closed`` unless it had already."""
        self._feed(Withdrawn(request))

    def flush_progress(self) -> None:
        """Tell the scheduler of the tokens since the last call: once for many, as it need not know sooner."""
        if self._progress:
            progress, self._progress = self._progress, {}
            generated = self._telemetry.generated
            for request, tokens in progress.items():
                entry = self._entries.get(request)
                if entry is not None and entry.engine is not None:
                    generated[entry.engine] = generated.get(entry.engine, 0) + tokens
            self._feed(Progressed(progress))

    def served(self) -> Served:
        """What the engines serve, also those that are away for now."""
        known = [self._known[engine] for engine in self.engines if engine in self._known]
        return served_by(known, {e: self.trouble.get(e, "") for e in self.engines if e not in self._known})

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        """Tokens of the prompt as an engine that serves ``model`` counts them; None if none can say now."""
        for engine_id, state in self.states.items():
            if model in state.models:
                with contextlib.suppress(EngineUnavailable):
                    return await self.engines[engine_id].count_tokens(messages)
        return None

    def window(self, model: str) -> int | None:
        """The widest context window among the engines that serve the model now."""
        return max((s.context_window for s in self.states.values() if model in s.models), default=None)

    # Engines, as people see them -----------------------------------------------------------------------------------

    def drain(self, engine: EngineId, draining: bool) -> None:
        """Give it nothing new from now on, or again."""
        self._feed(EngineDraining(engine, draining))

    # Events and commands -------------------------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        self._events.append(event)
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._events:
                for command in self.scheduler.handle(self._events.popleft(), self._clock.now()):
                    self._obey(command)
        finally:
            self._feeding = False

    def _obey(self, command: Command) -> None:
        entry = self._entries.get(command.request)
        if entry is None:
            return
        match command:
            case Dispatch(engine=engine):
                entry.engine = engine
                if entry.released:
                    self._send(entry, engine)
            case Wait():
                entry.engine = None
                entry.job.waiting(command)
            case Abort(engine=engine):
                self._stop(entry, engine)
            case Close(request=request):
                del self._entries[request]
                self._progress.pop(request, None)
                entry.job.closed(command)
            case Refuse():
                del self._entries[command.request]
                entry.refusal = command

    def _send(self, entry: _Entry, engine: EngineId) -> None:
        entry.attempts += 1
        match entry.job.attempt():
            case HubbubError() as error:
                self._feed(Failed(entry.id, error.code, error.message, param=error.param))
            case FinishReason() as finish:
                entry.job.ended(finish)
                self._feed(Finished(entry.id, Usage()))
            case Request() as request:
                entry.job.started(engine)
                if not self._flying[engine]:
                    self._silence[engine] = 0.0
                entry.sent = True
                self._flying[engine] += 1
                self.engines[engine].submit(request, partial(self._hear, entry, entry.attempts, engine))

    def _stop(self, entry: _Entry, engine: EngineId) -> None:
        """Let the engine do nothing more for this attempt."""
        if entry.sent:
            self._landed(entry, engine)
            self.engines[engine].cancel(entry.id)

    def _landed(self, entry: _Entry, engine: EngineId) -> None:
        entry.sent = False
        self._flying[engine] -= 1

    def _hear(self, entry: _Entry, attempt: int, engine: EngineId, request: RequestId, chunk: Chunk) -> None:
        if self._entries.get(request) is not entry or entry.attempts != attempt or entry.engine != engine:
            return
        self._silence[engine] = 0.0
        if chunk.tokens:
            self._progress[request] = self._progress.get(request, 0) + chunk.tokens
        if chunk.error is None:
            entry.job.said(chunk)
        if not chunk.last:
            return
        self._landed(entry, engine)
        self.flush_progress()
        if chunk.finish is FinishReason.CANCELLED:
            self._feed(Failed(request, "engine_error", "the engine cancelled the request", retryable=True))
        elif chunk.error is None:
            self._feed(Finished(request, chunk.usage or Usage()))
        elif isinstance(chunk.error, (EngineLost, EngineUnavailable)):
            self._suspect(engine, request, chunk.error)
        else:
            error = chunk.error
            self._feed(Failed(request, error.code, error.message, error.retryable, error.param))

    def _suspect(self, engine: EngineId, request: RequestId, error: EngineError) -> None:
        """A stream broke off, or did not begin. Whether that was one connection or the whole engine is the engine's to
        say: the requests that broke off in the meantime wait for one answer."""
        broken = self._suspects.setdefault(engine, {})
        broken[request] = (self._entries[request].attempts, error)
        if len(broken) == 1:
            task = asyncio.create_task(self._examine(self.engines[engine]))
            self._examinations.add(task)
            task.add_done_callback(self._examinations.discard)

    async def _examine(self, engine: Engine) -> None:
        await self._look(engine)
        for request, (attempt, error) in self._suspects.pop(engine.id).items():
            entry = self._entries.get(request)
            if entry is not None and entry.engine == engine.id and entry.attempts == attempt:
                self._feed(Failed(request, error.code, error.message, retryable=True))

    # Engines -------------------------------------------------------------------------------------------------------

    async def _connect(self, engine: Engine) -> None:
        try:
            state = await engine.start()
        except EngineUnavailable as error:
            self.trouble[engine.id] = error.message
            log.warning("engine %s did not start: %s", engine.id, error.message, extra={"action": "engine_start"})
        else:
            self._started.add(engine.id)
            self._up(engine.id, state)

    async def _watch(self, engine: Engine) -> None:
        while True:
            if engine.id not in self._started:
                await asyncio.sleep(self._config.restart_seconds)
                await self._connect(engine)
                continue
            await asyncio.sleep(self._config.watch_seconds)
            self._listen(engine)
            await self._look(engine)

    def _listen(self, engine: Engine) -> None:
        """One more watch in which the engine may have said nothing: to those that wait for it, or, if it is lost while
        its process runs on, to the question how it is."""
        waiting, lost = self._flying[engine.id], engine.id not in self.states
        if not (isinstance(engine, Killable) and engine.up if lost else waiting):
            self._silence[engine.id] = 0.0
            return
        silence = self._silence[engine.id] = self._silence.get(engine.id, 0.0) + self._config.watch_seconds
        if 0 < self._config.silence_seconds < silence:
            self._silence[engine.id] = 0.0
            self._telemetry.engine_hangs += 1
            said = "how it is" if lost else f"a word, with {waiting} requests in flight,"
            self.lose(engine.id, f"it did not say {said} for {silence:.3g} s")
            if isinstance(engine, Killable):
                log.warning("engine %s hangs and is killed", engine.id, extra={"action": "engine_hang"})
                engine.kill()

    async def _look(self, engine: Engine) -> None:
        asked = self._clock.now()
        try:
            async with asyncio.timeout(self._config.state_timeout):  # wait_for can swallow a cancel in 3.11
                state = await engine.state()
        except EngineUnavailable as error:
            why = error.message
        except TimeoutError:
            why = f"no answer within {self._config.state_timeout:g} s"
        else:
            self._up(engine.id, state)
            return
        # No more than the question may take: if this process stood still meanwhile, the engine need not have.
        took = min(self._clock.now() - asked, self._config.state_timeout)
        self._silence[engine.id] = self._silence.get(engine.id, 0.0) + took
        self.lose(engine.id, why)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.flush_progress()  # of answers that are generated, but say nothing yet
            self._feed(Ticked())

    def _up(self, engine: EngineId, state: EngineState) -> None:
        before = self.states.get(engine)
        self.states[engine] = self._known[engine] = state
        if before is not None and before.steps != state.steps:
            self._silence[engine] = 0.0
        self.trouble.pop(engine, None)
        if before is None:
            log.info("engine %s is ready: %s", engine, ", ".join(state.models), extra={"action": "engine_up"})
        if before is None or _capacity(before) != _capacity(state):
            self._feed(EngineUp(engine, state))
        if state.waiting:
            self._feed(Queueing(engine))

    def lose(self, engine: EngineId, why: str) -> None:
        """It is gone, or about to be: what it runs goes elsewhere."""
        self.trouble[engine] = why
        if self.states.pop(engine, None) is not None:
            self._telemetry.engine_losses += 1
            log.warning("engine %s is lost: %s", engine, why, extra={"action": "engine_down"})
            for entry in list(self._entries.values()):
                if entry.engine == engine:
                    self._stop(entry, engine)
            self._feed(EngineDown(engine))


def _capacity(state: EngineState) -> EngineState:
    return replace(state, running=0, waiting=0, kv_used=0.0, steps=0, details={})
