"""An engine that is a process of ours: supervised, spoken to by frames, wherever its port is after each start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineId, EngineState, Message, Request, RequestId
from hubbub.engines.frames import FramesEngine
from hubbub.engines.probe import fetch
from hubbub.engines.supervisor import Command, Phase, Supervisor
from hubbub.ports import Sink

SILENCE_S = 3600.0
"""A last resort: whoever drives the engine listens closer, and knows a long prefill from a hang."""


class ProcessEngine:
    """Engine port over ``command``, which must announce its port and serve /health, /capacity and /frames on
    loopback."""

    def __init__(self, engine_id: EngineId, command: Command, *, silence_s: float = SILENCE_S) -> None:
        self.id = engine_id
        self.supervisor = Supervisor(command, _healthy)
        self.frames = FramesEngine(engine_id, self._url, silence_s=silence_s, hung=self.supervisor.kill)

    async def start(self) -> EngineState:
        await self.supervisor.start()
        return await self.frames.start()

    async def state(self) -> EngineState:
        return await self.frames.state()

    def submit(self, request: Request, sink: Sink) -> None:
        self.frames.submit(request, sink)

    def cancel(self, request: RequestId) -> None:
        self.frames.cancel(request)

    @property
    def up(self) -> bool:
        return self.supervisor.status.phase is Phase.READY

    def kill(self) -> None:
        self.supervisor.kill()

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return await self.frames.count_tokens(messages)

    async def close(self) -> None:
        await self.frames.close()
        await self.supervisor.stop()

    def _url(self) -> str:
        status = self.supervisor.status
        if status.phase is not Phase.READY:
            raise EngineUnavailable(status.trouble or f"engine {self.id} is {status.phase}", retry_after=1.0)
        return _url_of(status.launch)


async def _healthy(launch: Mapping[str, Any]) -> bool:
    async with aiohttp.ClientSession() as session:
        status, _ = await fetch(session, _url_of(launch) + "/health")
    return status == 200


def _url_of(launch: Mapping[str, Any]) -> str:
    return f"http://127.0.0.1:{launch['port']}"
