"""One frozen Settings made of each layer's own config: defaults < hubbub.toml < environment < flags.

The only place that reads the environment. ``[section] key`` in the file is ``HUBBUB_SECTION_KEY`` in the environment.
An unknown section, key or a bad value is an error that names it. ``sources`` remembers where each value came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import msgspec

from hubbub.core.errors import ConfigError
from hubbub.core.scheduler import SchedulerConfig
from hubbub.engines.kinds import ENVIRONMENTS
from hubbub.engines.openvino import OpenVINOConfig
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from hubbub.runtime.dispatcher import DispatcherConfig
from hubbub.runtime.hub import HubConfig
from hubbub.store.config import StoreConfig

PREFIX = "HUBBUB_"
FILE = "hubbub.toml"


class KeysMode(StrEnum):
    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    host: str = field(default="127.0.0.1", metadata={"help": "address to listen on"})
    port: int = field(default=8000, metadata={"help": "port to listen on; 0 takes a free one"})
    data: str = field(default="hubbub-data", metadata={"help": "folder of the database and the logs"})
    engines: str = field(default=str(ENVIRONMENTS), metadata={"help": "folder of what `hubbub engine install` makes"})
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    keys: KeysMode = field(
        default=KeysMode.AUTO, metadata={"help": "who needs a key: auto (all but on loopback), required or off (none)"}
    )
    hosts: str = field(
        default="", metadata={"help": "names this server has beside localhost and its addresses, comma-separated"}
    )
    open_to_everyone: bool = field(
        default=False,
        metadata={"help": "listen beyond loopback though nobody needs a key: whoever can connect is let in"},
    )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    kind: str = field(
        default="openvino", metadata={"help": "openvino, simulated, or the http:// address of an OpenAI-compatible one"}
    )
    model: str = field(
        default="", metadata={"help": "Hugging Face name, folder, GGUF file or smollm2; empty: chosen at start"}
    )
    flags: str = field(default="", metadata={"help": "more flags for the simulated engine's command"})
    api_key: str = field(
        default="", repr=False, metadata={"help": "key for an engine behind an address", "secret": True}
    )


@dataclass(frozen=True, slots=True)
class Settings:
    server: ServerConfig = field(default_factory=ServerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    openvino: OpenVINOConfig = field(default_factory=OpenVINOConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    dispatcher: DispatcherConfig = field(default_factory=DispatcherConfig)
    hub: HubConfig = field(default_factory=HubConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)


@dataclass(frozen=True, slots=True)
class Loaded:
    """``sources`` maps ``section.key`` to where its value came from, for every key that is not a default."""

    settings: Settings
    sources: Mapping[str, str]


def load(flags: Mapping[str, Any], *, file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Settings of this process. ``flags`` are ``section.key`` to value, None for flags not given.

    ``file``: the TOML to read; without one, ``hubbub.toml`` in the current folder if it is there. Raises ConfigError.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    if file is not None or Path(FILE).is_file():
        path = file or Path(FILE)
        layers.append((str(path), _from_file(path)))
    layers.append(("environment", _from_environment(os.environ if environ is None else environ)))
    layers.append(("flag", {key: value for key, value in flags.items() if value is not None}))

    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for key, value in layer.items():
            values[key] = value
            sources[key] = source if source != "environment" else PREFIX + key.replace(".", "_").upper()
    return Loaded(_built(values, sources), sources)


def keys() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every ``section.key`` there is, with its field."""
    for section in dataclasses.fields(Settings):
        for entry in dataclasses.fields(_section_type(section)):
            yield f"{section.name}.{entry.name}", entry


def _section_type(section: dataclasses.Field[Any]) -> type[Any]:
    return cast(type[Any], section.default_factory)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    flat = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section!r} stands outside a section; write it under [server] or another")
        flat.update({f"{section}.{key}": value for key, value in table.items()})
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {PREFIX + key.replace(".", "_").upper(): key for key, _ in keys()}
    found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX):
            continue
        if name not in names:
            raise ConfigError(f"{name} is no setting{_nearest(name, names)}")
        found[names[name]] = text
    return found


def _built(values: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    known = dict(keys())
    for key in values:
        if key not in known:
            raise ConfigError(f"{key} ({sources[key]}) is no setting{_nearest(key, known)}")
    sections = {}
    for section in dataclasses.fields(Settings):
        kind = _section_type(section)
        hints = msgspec.inspect.type_info(kind)
        given = {}
        for entry in getattr(hints, "fields", ()):
            key = f"{section.name}.{entry.name}"
            if key in values:
                shown = "(hidden)" if known[key].metadata.get("secret") else repr(values[key])
                given[entry.name] = _converted(kind, entry.name, values[key], f"{key} ({sources[key]}) is {shown}")
        try:
            sections[section.name] = kind(**given)
        except ValueError as error:
            raise ConfigError(f"[{section.name}] {error}") from None
    return Settings(**sections)


def _converted(kind: type[Any], name: str, value: Any, said: str) -> Any:
    """The value as its field's type; text from the environment may be a number or true/false. ``said``: how an error
    begins."""
    try:
        whole = msgspec.convert({name: value}, kind, strict=False)
    except msgspec.ValidationError as error:
        reason = str(error).split(" - at ")[0]
        raise ConfigError(f"{said}: {reason}") from None
    return getattr(whole, name)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `hubbub config show` lists them all"
