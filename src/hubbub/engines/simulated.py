"""The simulated engine: in-process, the Engine port's twin, and as a process of its own. Deterministic text, realistic
steps, faults on demand.

Time passes on the event loop's clock alone (``loop.time`` and ``asyncio.sleep``), so that it runs under a loop of
virtual time as it does under a real one. One task makes all steps; a token costs no timer and no task of its own.

State: ``_open`` holds every request that was taken and has not ended, the batch holds a flight for each of them, and
nothing else. Both lose a request together, when its last chunk is delivered or scheduled.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.core.errors import BadRequest, ConfigError, EngineError, EngineLost, EngineUnavailable, HubbubError
from hubbub.core.types import Chunk, EngineId, EngineState, FinishReason, Json, Message, Request, RequestId
from hubbub.engines.kinds import EngineSpec, Kind, Tunable
from hubbub.engines.process_engine import ProcessEngine
from hubbub.engines.sim_batch import Batch, Flight, Pace
from hubbub.engines.sim_faults import FaultKind, FaultRule, Faults
from hubbub.engines.sim_profiles import EXAMPLE, profile_of
from hubbub.engines.sim_prompt import Voice, parse_body, prompt_tokens, speech_of
from hubbub.engines.supervisor import Command
from hubbub.engines.wire_body import chat_body, messages_body
from hubbub.ports import Sink


@dataclass(frozen=True, slots=True)
class SimulatedConfig:
    """``slow_start_s``: how long loading the model seems to take. ``restart_s``: how long it is away after a crash."""

    voice: Voice = field(default_factory=Voice)
    pace: Pace = field(default_factory=Pace)
    faults: tuple[FaultRule, ...] = ()
    slow_start_s: float = 0.0
    restart_s: float = 1.0


@dataclass(slots=True)
class _Open:
    sink: Sink
    fault: FaultRule | None


class SimulatedEngine:
    """``on_fault`` may take a fault that strikes a request into its own hands (and then returns True): a server cuts
    a real connection where the twin only says so."""

    def __init__(
        self,
        engine_id: EngineId,
        config: SimulatedConfig | None = None,
        *,
        on_fault: Callable[[RequestId, FaultRule], bool] | None = None,
    ) -> None:
        self.id = engine_id
        self.config = config or SimulatedConfig()
        self.faults = Faults(self.config.faults, self.config.voice.seed)
        self.output_tokens = 0
        self.requests = 0
        self.steps = 0
        self._batch = Batch(self.config.pace, self.config.voice.seed)
        self._open: dict[RequestId, _Open] = {}
        self._on_fault = on_fault
        self._wake = asyncio.Event()
        self._hung = False
        self._ready_at: float | None = None
        self._steps: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"SimulatedEngine({self.id!r}, running={len(self._batch.running)}, waiting={len(self._batch.waiting)})"

    # The Engine port -----------------------------------------------------------------------------------------------

    async def start(self) -> EngineState:
        if self._steps is None:
            self._steps = asyncio.create_task(self._run())
            await asyncio.sleep(self.config.slow_start_s)
        self._ready_at = asyncio.get_running_loop().time()
        return await self.state()

    async def state(self) -> EngineState:
        """Raises EngineUnavailable before the start and for ``restart_s`` after a crash."""
        if not self._ready:
            raise EngineUnavailable(f"engine {self.id} is not up", retry_after=1.0)
        pace, batch = self.config.pace, self._batch
        return EngineState(
            models=self.config.voice.models,
            context_window=self.config.voice.context_window,
            max_sequences=pace.max_sequences,
            kv_tokens=pace.kv_tokens,
            adapters=self.config.voice.adapters,
            mixes_adapters=self.config.voice.mixes_adapters,
            prefix_cache=pace.prefix_cache,
            running=len(batch.running),
            waiting=len(batch.waiting),
            kv_used=batch.kv_held / pace.kv_tokens,
            details={"engine": "simulated", "seed": str(self.config.voice.seed)},
        )

    def submit(self, request: Request, sink: Sink) -> None:
        self.cancel(request.id)  # a second attempt ends the first
        try:
            self.take(request.id, chat_body(request), sink)
        except HubbubError as error:
            asyncio.get_running_loop().call_soon(sink, request.id, Chunk(error=error))

    def cancel(self, request: RequestId) -> None:
        entry = self._open.pop(request, None)
        if entry is not None:
            self._batch.remove(request)
            asyncio.get_running_loop().call_soon(entry.sink, request, Chunk(finish=FinishReason.CANCELLED))

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return len(prompt_tokens(parse_body({"messages": messages_body(messages)})))

    async def close(self) -> None:
        if self._steps is not None:
            self._steps.cancel()
            await asyncio.wait([self._steps])
            self._steps = None
        self.lose("it was closed")
        self._ready_at = None

    # Beyond the port -----------------------------------------------------------------------------------------------

    def take(self, key: RequestId, body: Mapping[str, Json], sink: Sink) -> None:
        """Start a chat-completions body. Raises what is wrong with it, and then never calls the sink."""
        if not self._ready:
            raise EngineUnavailable(f"engine {self.id} is not up", retry_after=1.0)
        speech = speech_of(parse_body(body), self.config.voice)
        fault = self.faults.draw()
        if fault is not None and fault.kind is FaultKind.UNAVAILABLE:
            raise EngineUnavailable("the simulated engine takes nothing now", retry_after=fault.retry_after)
        self._batch.add(key, speech, asyncio.get_running_loop().time())
        self._open[key] = _Open(sink, fault)
        self.requests += 1
        self._wake.set()

    def set_faults(self, rules: Iterable[FaultRule]) -> None:
        """Replace the rules; ends a hang, and spares what is in flight."""
        self.faults.replace(rules)
        for entry in self._open.values():
            entry.fault = None
        self._hung = False
        self._wake.set()

    @property
    def up(self) -> bool:
        return self._ready

    def kill(self) -> None:
        """End a hang the hard way."""
        self._hung = False
        self.lose()
        self._wake.set()

    def lose(self, why: str = "it was killed") -> None:
        """Crash: all in flight is lost, and the engine is away for ``restart_s``."""
        entries, self._open = self._open, {}
        self._batch.clear()
        self._ready_at = asyncio.get_running_loop().time() + self.config.restart_s
        for key, entry in entries.items():
            entry.sink(key, Chunk(error=EngineLost(f"engine {self.id} was lost: {why}")))

    # Steps ---------------------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._ready_at is not None and asyncio.get_running_loop().time() >= self._ready_at

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while True:
            while self._hung or self._batch.idle:
                self._wake.clear()
                await self._wake.wait()
                deadline = loop.time()
            step = self._batch.begin()
            # A late step is made up for, so that rates hold; one that is late by more than itself is not.
            deadline = max(deadline + step, loop.time())
            await asyncio.sleep(deadline - loop.time())
            if not self._hung:
                self.steps += 1
                self._say(self._batch.end(loop.time()))

    def _say(self, said: Sequence[tuple[Flight, Chunk]]) -> None:
        for flight, chunk in said:
            key: RequestId = flight.key
            entry = self._open.get(key)
            if entry is None:
                continue  # lost or cancelled by what an earlier chunk of this step led to
            self.output_tokens += chunk.tokens
            fault = entry.fault
            if fault is not None and (chunk.last or flight.said > fault.after_tokens):
                self._strike(key, entry, fault)
                if fault.kind is not FaultKind.HANG:
                    continue
            if chunk.finish is not None:
                del self._open[key]
            entry.sink(key, chunk)

    def _strike(self, key: RequestId, entry: _Open, fault: FaultRule) -> None:
        entry.fault = None
        if fault.kind is FaultKind.HANG:
            self._hung = True
            return
        handled = self._on_fault is not None and self._on_fault(key, fault)
        if fault.kind is FaultKind.CRASH:
            if not handled:
                self.lose("it crashed")
            return
        self._open.pop(key, None)
        self._batch.remove(key)
        if not handled:
            cut = fault.kind is FaultKind.CUT
            error = EngineLost("the stream was cut") if cut else EngineError("the engine said something unreadable")
            entry.sink(key, Chunk(error=error))


class SimulatedProcessEngine(ProcessEngine):
    """``simulated_server`` as a supervised process, its log in the folder ``logs``. ``arguments``: its flags."""

    def __init__(self, engine_id: EngineId, logs: Path, arguments: Sequence[str] = ()) -> None:
        argv = (sys.executable, "-m", "hubbub.engines.simulated_server", *arguments)
        super().__init__(engine_id, Command(argv, log_path=logs / f"{engine_id}.log", announces=True, ready_s=30.0))


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    flags: str = field(default="", metadata={"help": "more flags for the simulated engine's command"})
    profile: str = field(default="", metadata={"help": f"be as fast and as large as a real setup, like {EXAMPLE!r}"})
    step_ms: float = field(default=0.0, metadata={"help": "milliseconds of an empty step; 0: as the flags say, or 15"})

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        if self.step_ms < 0:
            raise ValueError(f"step_ms is {self.step_ms}: it must be 0 or more")


def build(spec: EngineSpec) -> SimulatedProcessEngine:
    """Raises ConfigError."""
    options = spec.options or SimulatedOptions()
    try:
        profile = ["--profile", profile_of(options.profile).name] if options.profile else []
    except BadRequest as error:
        raise ConfigError(error.message, param="profile") from None
    flags = [word for adapter in spec.adapters for word in ("--adapter", adapter)]
    if spec.served_name or spec.model:
        flags += ["--model", spec.served_name or spec.model]
    if spec.chats:
        flags += ["--max-sequences", str(spec.chats)]
    flags += shlex.split(options.flags)
    if options.step_ms:
        flags += ["--step-ms", str(options.step_ms)]
    return SimulatedProcessEngine(spec.id, spec.logs, [*profile, *flags])


KIND = Kind(
    "simulated",
    "seeded text at realistic speed, with faults on demand",
    SimulatedOptions,
    build,
    # One that really is slower, and one that really is faster: so that tuning has a twin, too.
    tunables=(Tunable("step_ms", lambda _cores: (30.0, 7.5)),),
)
