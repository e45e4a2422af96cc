"""One life of the server, from its start to a stop or a kill, and how a client's call reaches it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, TypeVar

from hubbub.core.errors import HubbubError, Interrupted
from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import Answer, AnswerId, AnswerKind, UserId
from hubbub.gateway.asking import attended
from hubbub.gateway.completion_chunks import CompletionChunks
from hubbub.gateway.following import found
from hubbub.gateway.response_events import ResponseEvents
from hubbub.gateway.sse import Encoder, ended, pieces
from hubbub.runtime.chats import Chats
from hubbub.runtime.dispatcher import Dispatcher, DispatcherConfig
from hubbub.runtime.hub import Ask, Hub, HubConfig
from hubbub.runtime.live import Live
from hubbub.runtime.run import replayed
from hubbub.runtime.telemetry import Telemetry

from .disk import Disk, Handle
from .engine import ChaoticEngine, Line
from .fate import ChaosClock, Fate
from .loop import LIFE, VirtualLoop

T = TypeVar("T")


class Gone(Exception):
    """The connection broke: what was asked may have been done or not."""


class Wire:
    """One response that streams: what the server has written, until it is over. ``error``: why it was cut."""

    def __init__(self) -> None:
        self._data: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._over = False
        self.error: BaseException | None = None

    def write(self, data: bytes) -> None:
        if data:
            self._data.append(data)
            self._news.set()

    def close(self, handler: asyncio.Task[None]) -> None:
        self.error = Gone() if handler.cancelled() else handler.exception()
        self._over = True
        self._news.set()

    async def read(self) -> bytes | None:
        """What came next; None at the end. Raises Gone or what the server said."""
        while not self._data:
            if self._over:
                if self.error is not None:
                    raise self.error
                return None
            self._news.clear()
            await self._news.wait()
        return self._data.popleft()


def encoder(answer: Answer, after: int = -1) -> Encoder:
    if answer.kind is AnswerKind.RESPONSE:
        return ResponseEvents(answer, after)
    return CompletionChunks(answer, bool(answer.params.get("include_usage")), after)


class Server:
    def __init__(
        self,
        number: int,
        disk: Disk,
        engines: Sequence[ChaoticEngine],
        clock: ChaosClock,
        fate: Fate,
        limits: tuple[SchedulerConfig, HubConfig],
    ) -> None:
        self.number = number
        self.store = Handle(disk)
        self._lines = [Line(engine, number) for engine in engines]
        scheduler, hub = limits
        telemetry = Telemetry()
        config = DispatcherConfig(watch_seconds=0.5, restart_seconds=0.5, silence_seconds=6.0)
        self.dispatcher = Dispatcher(self._lines, Scheduler(scheduler), clock, telemetry, config)
        self.hub = Hub(self.store, self.dispatcher, clock, telemetry, hub, self._new_id)
        self.chats = Chats(self.store, clock, self._new_id, self.hub.busy)
        self._rng = fate.rng

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{self._rng.getrandbits(64):016x}"

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this life: a kill ends it."""
        context = copy_context()
        context.run(LIFE.set, self.number)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def start(self) -> None:
        """Raises StorageError, EngineUnavailable; nothing is left running then."""
        try:
            await self._joined(self.spawn(self._start()))
        except HubbubError:
            await self.kill()
            raise

    async def _start(self) -> None:
        await self.dispatcher.start()
        await self.hub.start()

    async def stop(self) -> None:
        """In the order of the real one: the hub first, then the open connections, then the rest."""
        await self._joined(self.spawn(self.hub.close()))
        self.dispatcher.scheduler.validate()
        await self.kill()

    async def kill(self) -> None:
        """Nothing of it moves any more when this returns."""
        await self.store.die()
        for line in self._lines:
            line.cut(self._rng.random() * 3)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        while mine := list(loop.tasks.get(self.number, ())):
            for task in mine:
                task.cancel()
            await asyncio.wait(mine)
            await asyncio.sleep(0)

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """A request and its whole answer. Raises Gone, and what the server says."""
        return await self._joined(self.spawn(work))

    async def _joined(self, task: asyncio.Task[T]) -> T:
        await asyncio.wait([task])
        if task.cancelled():
            raise Gone
        return task.result()

    def stream(self, serve: Callable[[Wire], Coroutine[Any, Any, None]]) -> tuple[Wire, asyncio.Task[None]]:
        wire = Wire()
        handler = self.spawn(serve(wire))
        handler.add_done_callback(wire.close)
        return wire, handler

    # What a gateway does ----------------------------------------------------------------------------------------------

    async def post(self, ask: Ask, wire: Wire) -> None:
        async with attended(self.hub, self.hub.ask(ask)) as live:
            async for data in pieces(live, encoder(live.answer)):
                wire.write(data)

    async def whole(self, ask: Ask) -> Answer:
        async with attended(self.hub, self.hub.ask(ask)) as live:
            return await live.ended()

    async def follow(self, user: UserId, answer: AnswerId, kind: AnswerKind, after: int, wire: Wire) -> None:
        what = await found(self.hub, self.store, user, answer, kind)
        if isinstance(what, Live):
            async for data in pieces(what, encoder(what.answer, after)):
                wire.write(data)
        else:
            wire.write(ended(what, replayed(what), encoder(what, after)))


__all__ = ["Gone", "Interrupted", "Server", "Wire", "encoder"]
