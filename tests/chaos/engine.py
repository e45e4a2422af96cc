"""The simulated engine with faults that strike one request, drawn when it is submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hubbub.core.errors import EngineError, EngineLost, EngineUnavailable
from hubbub.core.types import Chunk, EngineId, EngineState, Message, Request, RequestId
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.ports import Sink

from .fate import Fate

KINDS = ("cut", "cut", "cut", "cut", "garbage", "crash", "hang", "unavailable", "unavailable", "late", "twice")
CHANCE = 0.12
"""Of a request to draw one of these."""


class ChaoticEngine(SimulatedEngine):
    def __init__(self, engine_id: EngineId, config: SimulatedConfig, fate: Fate) -> None:
        super().__init__(engine_id, config)
        self._fate = fate

    def submit(self, request: Request, sink: Sink) -> None:
        rng = self._fate.rng
        if rng.random() < CHANCE:
            sink = _Bent(self, self._fate, rng.choice(KINDS), rng.randrange(12), sink)
        super().submit(request, sink)

    def hang(self) -> None:
        """Say nothing more, while all looks well."""
        self._hung = True


class Line:
    """One server's connection to an engine that outlives it. A dead server hears and says nothing; the engine learns of
    its death after a while, and until then works on for nobody."""

    def __init__(self, engine: ChaoticEngine, life: int) -> None:
        self.id = engine.id
        self._engine = engine
        self._life = life
        self._open: dict[RequestId, None] = {}
        self._dead = False

    async def start(self) -> EngineState:
        return await self._engine.start()

    async def state(self) -> EngineState:
        return await self._engine.state()

    def submit(self, request: Request, sink: Sink) -> None:
        if self._dead:
            return

        def hear(key: RequestId, chunk: Chunk) -> None:
            if chunk.last:
                self._open.pop(key, None)
            if not self._dead:
                sink(request.id, chunk)

        key = self._key(request.id)
        self._open[key] = None
        self._engine.submit(replace(request, id=key), hear)

    def cancel(self, request: RequestId) -> None:
        if not self._dead:
            self._engine.cancel(self._key(request))

    @property
    def up(self) -> bool:
        return self._engine.up

    def kill(self) -> None:
        if not self._dead:
            self._engine.kill()

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return await self._engine.count_tokens(messages)

    async def close(self) -> None:
        """The engine stays."""

    def cut(self, late: float) -> None:
        """The server is dead; the engine hears of it ``late`` seconds later."""
        self._dead = True
        for key in self._open:
            asyncio.get_running_loop().call_later(late, self._engine.cancel, key)

    def _key(self, request: RequestId) -> RequestId:
        return RequestId(f"{self._life}:{request}")


class _Bent:
    """Hears an engine and tells something else. ``after``: chunks that pass before."""

    def __init__(self, engine: ChaoticEngine, fate: Fate, kind: str, after: int, sink: Sink) -> None:
        self._engine = engine
        self._fate = fate
        self._kind = kind
        self._after = after
        self._sink = sink
        self._over = False

    def __call__(self, key: RequestId, chunk: Chunk) -> None:
        if self._over:
            return
        self._after -= 1
        if self._kind in ("late", "twice"):
            self._over = chunk.last
            self._sink(key, chunk)
            if chunk.last and self._fate.strikes(self._kind):
                self._again(key, chunk)
            return
        if self._after >= 0 or chunk.last or not self._fate.strikes(self._kind):
            self._over = chunk.last
            self._sink(key, chunk)
            return
        self._strike(key, chunk)

    def _again(self, key: RequestId, chunk: Chunk) -> None:
        """Words of an attempt that is over, at once or when another may be under way."""
        loop = asyncio.get_running_loop()
        if self._kind == "twice":
            loop.call_soon(self._sink, key, chunk)
            return
        for words in (Chunk("too late ", 2), chunk):
            loop.call_later(self._fate.rng.random() * 5, self._sink, key, words)

    def _strike(self, key: RequestId, chunk: Chunk) -> None:
        match self._kind:
            case "hang":
                self._kind = "spent"
                self._engine.hang()
                self._sink(key, chunk)
            case "crash":
                self._kind = "late"
                self._engine.lose("it crashed")
            case kind:
                self._over = True
                self._engine.cancel(key)
                error = {
                    "cut": EngineLost("the stream was cut"),
                    "garbage": EngineError("the engine said something unreadable"),
                    "unavailable": EngineUnavailable("not now", retry_after=1.0),
                }[kind]
                asyncio.get_running_loop().call_soon(self._sink, key, Chunk(error=error))
