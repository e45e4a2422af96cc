"""A foreign OpenAI-compatible server as a process of ours: launched, supervised, spoken to over HTTP and SSE."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from hubbub.core.types import EngineId, EngineState, Message, Request, RequestId
from hubbub.engines.dialect import Dialect, Limits
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.probe import fetch
from hubbub.engines.supervisor import Command, Phase, Supervisor
from hubbub.ports import Sink

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Launch:
    """How the server is started. ``argv``: from its port to its command line. ``health``: the path that answers 200
    once it can work. ``ready_s``: seconds until then, at most; reading and compiling a big model takes minutes."""

    argv: Callable[[int], Sequence[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    health: str = "/health"
    ready_s: float = 900.0


class LaunchedEngine:
    """Engine port. The server listens on a loopback port chosen here, the same after each restart; its log is
    ``<id>.log`` in the folder ``logs``."""

    def __init__(
        self,
        engine_id: EngineId,
        launch: Launch,
        logs: Path,
        dialect: Dialect | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.id = engine_id
        port = free_port()
        url = f"http://{HOST}:{port}"
        command = Command(
            tuple(launch.argv(port)), env=launch.env, log_path=logs / f"{engine_id}.log", ready_s=launch.ready_s
        )

        async def healthy(_said: Mapping[str, Any]) -> bool:
            async with aiohttp.ClientSession() as session:
                status, _ = await fetch(session, url + launch.health)
            return status == 200

        self.supervisor = Supervisor(command, healthy)
        self.wire = OpenAIWireEngine(engine_id, WireConfig(url, limits=limits or Limits()), dialect)

    async def start(self) -> EngineState:
        await self.supervisor.start()
        return await self.wire.start()

    async def state(self) -> EngineState:
        return await self.wire.state()

    def submit(self, request: Request, sink: Sink) -> None:
        self.wire.submit(request, sink)

    def cancel(self, request: RequestId) -> None:
        self.wire.cancel(request)

    @property
    def up(self) -> bool:
        return self.supervisor.status.phase is Phase.READY

    def kill(self) -> None:
        self.supervisor.kill()

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return await self.wire.count_tokens(messages)

    async def close(self) -> None:
        await self.wire.close()
        await self.supervisor.stop()


def free_port() -> int:
    """One that nobody on loopback listens on now."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
