"""The composition root: Settings in, a running App out. The only place that builds engines and stores."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from hubbub import __version__
from hubbub.core.errors import ConfigError, NotFound
from hubbub.core.scheduler import Scheduler
from hubbub.core.types import EngineId
from hubbub.corpus.batches.desk import Desk, DeskConfig
from hubbub.corpus.batches.lines import Bounds
from hubbub.corpus.hosted.desk import Corpora, CorporaConfig
from hubbub.engines.catalog import kind_of
from hubbub.engines.config import specs
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.simulated import SimulatedOptions
from hubbub.engines.supervisor import Supervised
from hubbub.engines.throttled import ThrottledEngine
from hubbub.gateway.app import GATEWAY, Rules, create_app, runner
from hubbub.gateway.config import words
from hubbub.gateway.doors import Doors, is_loopback
from hubbub.gateway.keyring import KeyRing
from hubbub.gateway.members import Members
from hubbub.gateway.oidc import IdentityProvider
from hubbub.gateway.passwords import Passwords
from hubbub.gateway.rows import Rows
from hubbub.planner.live import Refiner, Runs
from hubbub.planner.service import PlanService
from hubbub.ports import Engine, KeyStore, Store
from hubbub.runtime.chats import Chats
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.engine_room import EngineRoom
from hubbub.runtime.gauges import Gauges
from hubbub.runtime.hub import Hub, random_id
from hubbub.runtime.telemetry import Telemetry, render
from hubbub.settings import KeysMode, Settings, data_folder
from hubbub.store.keys_sqlite import FILE as KEYS_FILE
from hubbub.store.keys_sqlite import SqliteKeyStore
from hubbub.store.open import open_store

log = logging.getLogger(__name__)

FILES = "files"
"""Files and batches, in the data folder."""
CORPORA = "corpora"
"""Corpora, a folder each, in the data folder."""
ROWS_PER_PLACE, MOST_ROWS = 2, 512
"""Lines of batches asked at once, for each sequence that engines decode together: some wait where one comes free."""

WAYS_IN = (
    "Make a key with `hubbub keys create`, or say --first-admin to make an admin at the page, or listen on 127.0.0.1, "
    "or say --open-to-everyone to let in whoever can connect"
)


@dataclass(frozen=True, slots=True)
class App:
    settings: Settings
    store: Store
    dispatcher: Dispatcher
    hub: Hub
    chats: Chats
    telemetry: Telemetry
    specs: tuple[EngineSpec, ...]
    engines: tuple[Engine, ...]
    room: EngineRoom
    doors: Doors
    planner: PlanService
    refiner: Refiner
    desk: Desk
    press: Corpora
    gauges: Gauges

    @property
    def setup_code(self) -> str:
        """What makes the first admin; empty once somebody can sign in, or nobody has to."""
        members = self.doors.members
        return members.setup_code if members is not None and members.first_start else ""

    def web(self) -> web.Application:
        """The HTTP side."""
        return create_app(
            self.hub,
            self.chats,
            self.store,
            self.settings.gateway,
            engines=self.room,
            health=self.health,
            metrics=self.metrics,
            rules=Rules(self.settings.limits, self.settings.quota, self.doors),
            plan=self.planner.answer,
            desk=self.desk,
            press=self.press,
            gauges=self.gauges,
            spool=Path(self.settings.server.data),
        )

    def health(self) -> Mapping[str, Any]:
        """What /health says: ready engines, what they hold, and who they are to the operating system."""
        states = self.dispatcher.states
        return {
            "status": "ok" if states else "no engine is ready",
            "ready": bool(states),
            "version": __version__,
            "models": list(self.hub.served().models),
            "pid": psutil.Process().pid,
            "rss_bytes": psutil.Process().memory_info().rss,
            "engines": [
                {
                    "id": view.id,
                    "ready": view.state is not None,
                    "draining": view.draining,
                    "trouble": view.trouble,
                    **view.facts,
                    "state": view.state,
                }
                for view in self.room.views()
            ],
        }

    def metrics(self) -> str:
        """What /metrics says."""
        seen, view = self.telemetry, self.dispatcher.scheduler.view()
        return render(
            {
                "hubbub_requests_accepted_total": [({}, seen.accepted)],
                "hubbub_requests_refused_total": [({}, seen.refused)],
                "hubbub_requests_ended_total": [({"status": s}, n) for s, n in sorted(seen.finished.items())],
                "hubbub_requests_running": [({"class": c}, n) for c, n in view.running.items()],
                "hubbub_requests_queued": [({"class": c}, n) for c, n in view.queued.items()],
                "hubbub_bulk_limit": [({"engine": e}, n) for e, n in view.bulk_limits.items()],
                "hubbub_promised": [({}, view.promised)],
                "hubbub_input_tokens_total": [({}, seen.input_tokens)],
                "hubbub_cached_tokens_total": [({}, seen.cached_tokens)],
                "hubbub_output_tokens_total": [({}, seen.output_tokens)],
                "hubbub_generated_tokens_total": [({"engine": e}, n) for e, n in seen.generated.items()],
                "hubbub_stream_deltas_total": [({}, seen.deltas)],
                "hubbub_journal_flushes_total": [({}, seen.flushes)],
                "hubbub_engine_losses_total": [({}, seen.engine_losses)],
                "hubbub_engine_hangs_total": [({}, seen.engine_hangs)],
                "hubbub_answers_resumed_total": [({}, seen.resumed)],
                "hubbub_engine_up": [({"engine": e.id}, int(e.id in self.dispatcher.states)) for e in self.engines],
                "hubbub_engine_draining": [
                    ({"engine": e.id}, int(e.id in self.dispatcher.scheduler.draining)) for e in self.engines
                ],
                "hubbub_engine_cost_usd_total": [
                    ({"engine": e.id}, e.cost_usd) for e in self.engines if isinstance(e, ThrottledEngine)
                ],
                "hubbub_engine_sequences": [({"engine": e}, b.sequences) for e, b in view.engines.items()],
                "hubbub_engine_sequences_max": [({"engine": e}, b.max_sequences) for e, b in view.engines.items()],
                "hubbub_engine_kv_tokens": [({"engine": e}, b.kv_tokens) for e, b in view.engines.items()],
                "hubbub_engine_kv_tokens_max": [({"engine": e}, b.max_kv_tokens) for e, b in view.engines.items()],
            },
            {
                "hubbub_ttft_seconds": seen.ttft,
                "hubbub_itl_seconds": seen.itl,
                "hubbub_request_seconds": seen.duration,
            },
        )


def _process(engine: Engine) -> dict[str, Any]:
    """Process id, memory with all children, and restarts of an engine that we run ourselves; what another costs."""
    if isinstance(engine, ThrottledEngine):
        return {"cost_usd": engine.cost_usd}
    if not isinstance(engine, Supervised):
        return {}
    status = engine.supervisor.status
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(status.pid) if status.pid else None
        family = [process, *process.children(recursive=True)] if process else []
        rss = sum(member.memory_info().rss for member in family)
        return {"pid": status.pid, "rss_bytes": rss, "restarts": status.restarts}
    return {}


def _log_of(engine: Engine) -> Path | None:
    return engine.supervisor.log.path if isinstance(engine, Supervised) else None


async def build(settings: Settings, doors: Doors | None = None, weights: dict[str, float] | None = None) -> App:
    """Open the store and make every part; nothing is started yet. Raises ConfigError or StorageError.

    Without ``doors``, those of a server on loopback. ``weights`` may change while it runs: a user's share is looked up
    when the user comes.
    """
    data = data_folder(settings)
    asked = engine_specs(settings, data / "logs")
    engines = tuple([await asyncio.to_thread(engine_of, spec) for spec in asked])
    kinds = {spec.id: spec.kind for spec in asked}
    clock, telemetry = SystemClock(), Telemetry()
    scheduling = settings.scheduler if weights is None else replace(settings.scheduler, user_weights=weights)
    store = await open_store(settings.store.within(data))
    dispatcher = Dispatcher(engines, Scheduler(scheduling), clock, telemetry, settings.dispatcher)
    hub = Hub(store, dispatcher, clock, telemetry, settings.hub)
    chats = Chats(store, clock, random_id, hub.busy, hub.feeds)
    room = EngineRoom(dispatcher, lambda engine: {"kind": kinds[engine.id], **_process(engine)}, _log_of)
    calibrations = settings.planner.calibrations
    planner = PlanService(calibrations=Path(calibrations) if calibrations else None)
    desk = await Desk.open(data / FILES, _desk_config(settings), clock, random_id)
    return App(
        settings,
        store,
        dispatcher,
        hub,
        chats,
        telemetry,
        tuple(asked),
        engines,
        room,
        doors or Doors(),
        planner,
        Refiner(planner, dispatcher, planned(asked), clock, settings.planner),
        desk,
        Corpora(data / CORPORA, _corpora_config(settings), clock, random_id),
        Gauges(dispatcher, telemetry, clock),
    )


def planned(asked: Sequence[EngineSpec]) -> dict[EngineId, Runs]:
    """The engines on this machine whose kind the planner has a model of."""
    families = {"openvino": "openvino", "vllm": "vllm", "llamacpp": "llama.cpp", "transformers": "transformers"}
    return {spec.id: Runs(spec.model, families[spec.kind]) for spec in asked if spec.kind in families and not spec.url}


def _corpora_config(settings: Settings) -> CorporaConfig:
    limits = settings.limits
    return CorporaConfig(limits.max_corpora_per_user, limits.max_corpora_at_once, limits.max_corpus_bytes)


def _desk_config(settings: Settings) -> DeskConfig:
    limits = settings.limits
    bounds = Bounds(settings.gateway.max_body_bytes, limits.max_batch_lines)
    return DeskConfig(limits.max_file_bytes, limits.max_files_per_user, limits.max_batches_per_user, bounds)


def engine_specs(settings: Settings, logs: Path) -> list[EngineSpec]:
    """What the settings ask for: the engines of ``[engines.NAME]``, or the one of ``[engine]``. Raises ConfigError."""
    environments = Path(settings.server.environments)
    if settings.engines:
        return list(specs(settings.engines, logs, environments))
    engine = settings.engine
    remote = engine.kind.startswith(("http://", "https://"))
    kind = kind_of("openai" if remote else engine.kind)
    return [
        EngineSpec(
            EngineId(kind.name),
            kind.name,
            logs,
            model=engine.model,
            url=engine.kind if remote else "",
            api_key=engine.api_key,
            options={"openvino": settings.openvino, "simulated": SimulatedOptions(engine.flags)}.get(kind.name),
            environments=environments,
        )
    ]


def engine_of(spec: EngineSpec) -> Engine:
    """Raises ConfigError or NotFound (no such model), with the engine's name."""
    try:
        return kind_of(spec.kind).build(spec)
    except (ConfigError, NotFound) as error:
        raise type(error)(f"engine {spec.id}: {error.message}", param=error.param) from None


def _check_adapters(app: App) -> None:
    """Raises ConfigError for an adapter that an engine was asked to load, and runs without."""
    for spec in app.specs:
        state = app.dispatcher.states.get(spec.id)
        missing = [name for name in spec.adapters if state is not None and name not in state.adapters]
        if missing:
            raise ConfigError(f"engine {spec.id}: the kind {spec.kind} did not load the adapters {', '.join(missing)}")


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[App, str]]:
    """A started App and the address it listens on. The port is taken before the engine starts, so that a port in use
    is known at once. Raises ConfigError, EngineUnavailable, StorageError."""
    listener = _listen(settings.server.host, settings.server.port)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)
        weights = dict(settings.scheduler.user_weights)
        doors = await stack.enter_async_context(opened(settings, listener, weights))
        app = await build(settings, doors, weights)
        stack.push_async_callback(app.store.close)
        stack.push_async_callback(app.desk.close)
        stack.push_async_callback(app.dispatcher.close)
        stack.push_async_callback(app.planner.close)
        stack.push_async_callback(app.room.close)
        stack.push_async_callback(app.refiner.close)
        await app.dispatcher.start()
        await app.refiner.start()
        _check_adapters(app)
        await app.hub.start()
        app.gauges.start()
        stack.push_async_callback(app.gauges.close)
        application = app.web()
        serving = runner(application)
        await serving.setup()
        stack.push_async_callback(serving.cleanup)
        stack.push_async_callback(app.hub.close)  # before that: open streams then end by themselves
        stack.push_async_callback(app.desk.stop)  # first of all: it asks the hub
        stack.push_async_callback(app.press.close)  # so does this
        await _go_on(app, application)
        await web.SockSite(serving, listener).start()
        host, port = listener.getsockname()[:2]
        yield app, f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _go_on(app: App, application: web.Application) -> None:
    """Go on with the batches and corpora that have not ended. Raises StorageError."""
    room = sum(state.max_sequences for state in app.dispatcher.states.values())
    rows, places = Rows(application[GATEWAY]), min(MOST_ROWS, ROWS_PER_PLACE * room)
    await app.desk.start(rows, places)
    await app.press.start(rows, lambda: tuple(app.hub.served().models), places)


@contextlib.asynccontextmanager
async def opened(settings: Settings, listener: socket.socket, weights: dict[str, float]) -> AsyncIterator[Doors]:
    """Who is let in at this address. Raises ConfigError where that would be everybody on the network, unsaid."""
    server = settings.server
    network = not is_loopback(listener.getsockname()[0])
    wanted = server.keys is KeysMode.REQUIRED
    if server.keys is KeysMode.AUTO:
        wanted = network and not server.open_to_everyone
    origins = settings.gateway.origins
    if not wanted:
        if network and not server.open_to_everyone:
            raise ConfigError(f"server.keys is off, but {server.host} is open to the network. {WAYS_IN}")
        if "*" in origins:
            raise ConfigError("gateway.cors_origins is *, but nobody needs a key: any web page could read your chats")
        yield Doors(None, words(server.hosts), origins, network, words(server.trusted_proxies))
        return
    store = await SqliteKeyStore.open(data_folder(settings) / KEYS_FILE)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        ring = KeyRing(store, SystemClock(), settings.quota.limits, weights)
        await ring.start()
        stack.push_async_callback(ring.close)
        members = await asyncio.to_thread(_members, settings, store, ring)
        stack.callback(members.close)
        provider = IdentityProvider(settings.oidc, SystemClock()) if settings.oidc.issuer else None
        if not ring.usable and members.first_start:
            if network and not server.first_admin:
                raise ConfigError(f"{server.host} is open to the network, and there is no key yet. {WAYS_IN}")
            log.warning("nobody can come in yet: make the first admin, or a key", extra={"action": "keys"})
        proxies = words(server.trusted_proxies)
        yield Doors(ring, words(server.hosts), origins, network, proxies, members, provider)


def _members(settings: Settings, store: KeyStore, ring: KeyRing) -> Members:
    days, each = settings.server.session_days, settings.limits.max_keys_per_user
    return Members(store, ring, SystemClock(), Passwords(), session_days=days, keys_each=each)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
    except OSError as error:
        raise ConfigError(
            f"server.port: cannot listen on {host}:{port}: {error.strerror}; take another with --port (0: any free one)"
        ) from None
    return listener
