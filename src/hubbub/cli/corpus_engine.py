"""Where a corpus run's requests go: a server that is there, an address, or an engine of the run's own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.settings import Settings, load

SERVER = "http://127.0.0.1:8000"
SERVER_S = 1.0
"""How long it is given to answer /health before a run takes an engine of its own."""
DEFAULT_IN_FLIGHT = 64
MOST_IN_FLIGHT = 2048
SPARE = 1.25
"""Requests in flight for each sequence an engine decodes: a freed place then never waits for the next request."""


@dataclass(frozen=True, slots=True)
class Place:
    """``in_flight``: how many requests keep it busy. ``hangs``: ends an engine of ours that hangs; it comes back."""

    url: str
    api_key: str = field(default="", repr=False)
    in_flight: int = DEFAULT_IN_FLIGHT
    hangs: Callable[[], None] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def settings_for(engine: str | None, model: str, flags: str | None, key_file: Path | None) -> Settings:
    """Raises ConfigError."""
    key = None
    if key_file is not None:
        try:
            key = key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"--api-key-file {key_file} cannot be read: {fault}") from None
    given = {"engine.kind": engine, "engine.model": model or None, "engine.flags": flags, "engine.api_key": key}
    return load(given).settings


def running_server() -> str | None:
    """The address of the server on this machine, if it answers."""
    with (
        contextlib.suppress(OSError, ValueError),
        urllib.request.urlopen(f"{SERVER}/health", timeout=SERVER_S) as answer,  # noqa: S310
    ):
        return SERVER if b'"ready"' in answer.read() else None
    return None


@contextlib.asynccontextmanager
async def placed(engine: str | None, settings: Settings, folder: Path) -> AsyncIterator[Place]:
    """``engine``: as on the command line; None takes the running server, or the engine that the settings name.

    Raises ConfigError, EngineUnavailable."""
    server = await asyncio.to_thread(running_server) if engine is None else None
    kind = settings.engine.kind
    if server is not None:
        yield Place(server, settings.engine.api_key)
    elif kind.startswith(("http://", "https://")):
        yield Place(kind, settings.engine.api_key)
    else:
        async with _own(settings, folder) as place:
            yield place


@contextlib.asynccontextmanager
async def _own(settings: Settings, folder: Path) -> AsyncIterator[Place]:
    """An engine of the run's own, on an address that outlives its restarts."""
    from hubbub.app import engine_of, engine_specs
    from hubbub.engines.launched import free_port
    from hubbub.engines.process_engine import ProcessEngine

    engine = await asyncio.to_thread(engine_of, engine_specs(settings, folder / "logs")[0])
    if not isinstance(engine, ProcessEngine):
        raise ConfigError(f"engine.kind is {settings.engine.kind!r}: a corpus run takes an engine that is a process")
    supervisor = engine.supervisor
    port = free_port()
    supervisor.command = replace(supervisor.command, argv=(*supervisor.command.argv, "--port", str(port)))
    try:
        state = await engine.start()
        model = str(state.details.get("model", ""))
        provenance = {"engine": settings.engine.kind, "details": dict(state.details)}
        if Path(model).is_file():
            provenance["weights_sha256"] = await asyncio.to_thread(_sha256, Path(model))
        yield Place(
            f"http://127.0.0.1:{port}",
            in_flight=round(state.max_sequences * SPARE),
            hangs=supervisor.kill,
            provenance=provenance,
        )
    finally:
        await engine.close()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
