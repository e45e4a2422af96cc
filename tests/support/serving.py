"""A whole server on a loopback port: real hub and gateway, twins of store and engine, the official client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import EngineId
from hubbub.corpus.batches.desk import Desk, DeskConfig
from hubbub.corpus.batches.lines import Bounds
from hubbub.corpus.hosted.desk import Corpora, CorporaConfig
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.gateway.app import GATEWAY, STREAMS, Rules, create_app, runner
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.metering import Seats
from hubbub.gateway.page import PageFiles
from hubbub.gateway.rows import Rows
from hubbub.gateway.sse import Streams
from hubbub.ports import Clock
from hubbub.runtime.chats import Chats
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.dispatcher import Dispatcher, DispatcherConfig
from hubbub.runtime.engine_room import EngineRoom
from hubbub.runtime.gauges import Gauges
from hubbub.runtime.hub import Hub, random_id
from hubbub.runtime.telemetry import Telemetry
from hubbub.store.memory import MemoryStore

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MODEL = "simulated"
PATIENCE_S = 60.0
"""A test that waits for what never comes fails after this."""
FAST = Pace(base=0.0005, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.0)
BRIEF = Voice(output_median=12, output_sigma=0.3)
ROWS_AT_ONCE = 8
SMALL_DESK = DeskConfig(file_bytes=1 << 20, files=5, batches=2, bounds=Bounds(line_bytes=1 << 16, lines=1000))
ENDLESS = Voice(output_median=20_000, output_sigma=0.0)
"""Says more than any test waits for."""


@dataclass(frozen=True, slots=True)
class Served:
    """One running server, and two ways to talk to it: the official client, and plain HTTP."""

    url: str
    store: MemoryStore
    engine: SimulatedEngine
    hub: Hub
    client: AsyncOpenAI
    http: aiohttp.ClientSession
    streams: Streams
    seats: Seats
    gauges: Gauges
    desk: Desk | None = None
    press: Corpora | None = None

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and JSON of a POST below /v1."""
        given = more if "data" in more else {"json": body, **more}
        async with self.http.post(f"{self.url}/v1{path}", **given) as response:
            return response.status, await response.json()

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON of any request below the root."""
        async with self.http.request(method, f"{self.url}{path}", **more) as response:
            return response.status, await response.json()

    async def stream(self, body: Mapping[str, Any]) -> bytes:
        """Everything a streamed response says."""
        async with self.http.post(f"{self.url}/v1/responses", json={**body, "stream": True}) as response:
            assert response.status == 200
            return await response.read()


@asynccontextmanager
async def served(
    *,
    pace: Pace = FAST,
    voice: Voice = BRIEF,
    faults: tuple[FaultRule, ...] = (),
    scheduler: SchedulerConfig | None = None,
    gateway: GatewayConfig | None = None,
    rules: Rules | None = None,
    api_key: str = "any",
    send_buffer: int | None = None,
    restart_s: float = 1.0,
    patience_s: float = PATIENCE_S,
    others: Sequence[SimulatedEngine] = (),
    files: Path | None = None,
    clock: Clock | None = None,
    page: PageFiles | None = None,
) -> AsyncIterator[Served]:
    """At the end nothing may be left: no stream, no sequence, no fault in the store.

    ``send_buffer``: bytes the kernel takes of a connection before the server has to wait for the reader.
    ``restart_s``: how long a crashed engine is away. ``others``: engines beside the one of these settings.
    ``files``: a folder for files and batches; without it there are none. ``clock``: theirs.
    """
    from openai import AsyncOpenAI  # takes a second, and most who import this module serve nothing

    store, now, telemetry = MemoryStore(), SystemClock(), Telemetry()
    engine = SimulatedEngine(
        EngineId("sim"), SimulatedConfig(voice=voice, pace=pace, faults=faults, restart_s=restart_s)
    )
    config = DispatcherConfig(watch_seconds=0.02, restart_seconds=0.02)
    dispatcher = Dispatcher([engine, *others], Scheduler(scheduler or SchedulerConfig()), now, telemetry, config)
    hub = Hub(store, dispatcher, now, telemetry)
    chats = Chats(store, now, random_id, hub.busy, hub.feeds)

    def health() -> dict[str, Any]:
        states = {engine_id: asdict(state) for engine_id, state in dispatcher.states.items()}
        return {"status": "ok" if states else "down", "ready": bool(states), "engines": states}

    desk = None if files is None else await Desk.open(files, SMALL_DESK, clock or SystemClock(), random_id)
    corpora = CorporaConfig(each=4, at_once=2, amount=1_000_000)
    press = (
        None if files is None else Corpora(files.with_name(files.name + "-corpora"), corpora, SystemClock(), random_id)
    )
    gauges = Gauges(dispatcher, telemetry, now)
    app = create_app(
        hub,
        chats,
        store,
        gateway or GatewayConfig(),
        engines=EngineRoom(dispatcher),
        health=health,
        metrics=lambda: "up 1\n",
        rules=rules,
        desk=desk,
        page=page,
        press=press,
        gauges=gauges,
    )
    await dispatcher.start()
    await hub.start()
    gauges.start()
    serving = runner(app, shutdown_seconds=1.0)
    await serving.setup()
    listening = socket.socket()
    if send_buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listening.bind(("127.0.0.1", 0))
    await web.SockSite(serving, listening).start()
    if desk is not None:
        await desk.start(Rows(app[GATEWAY]), ROWS_AT_ONCE)
    if press is not None:
        await press.start(Rows(app[GATEWAY]), lambda: tuple(hub.served().models), ROWS_AT_ONCE)
    url = f"http://127.0.0.1:{serving.addresses[0][1]}"
    try:
        async with (
            asyncio.timeout(patience_s),
            AsyncOpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=0) as client,
            aiohttp.ClientSession() as http,
        ):
            yield Served(url, store, engine, hub, client, http, app[STREAMS], app[GATEWAY].seats, gauges, desk, press)
    finally:
        if desk is not None:
            await desk.close()
        if press is not None:
            await press.close()
        await gauges.close()
        await hub.close()
        await serving.cleanup()
        dispatcher.scheduler.validate()
        await dispatcher.close()
    assert len(app[STREAMS]) == 0
    assert (app[GATEWAY].seats.taken, app[GATEWAY].seats.by_user) == (0, {})
    assert await store.verify() == ()
    # Only a test that stops the server amid an answer leaves one, and then for the next start.
    assert all(answer.asked is not None and answer.asked.parked for answer in await store.unfinished())
