"""One frozen Settings made of each layer's own config: defaults < hubbub.toml < environment < flags.

The only place that reads the environment. ``[section] key`` in the file is ``HUBBUB_SECTION_KEY`` in the environment.
An unknown section, key or a bad value is an error that names it. ``sources`` remembers where each value came from.

Engines are one ``[engine]``, or the tables ``[engines.NAME]``, which stand in the file alone. Where a flag or the
environment names an engine, that one is served instead of the file's; both forms in one file are an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast, get_type_hints

import msgspec

from hubbub.core.errors import ConfigError
from hubbub.core.scheduler import SchedulerConfig
from hubbub.engines.catalog import KINDS
from hubbub.engines.config import EngineTable, check_names
from hubbub.engines.kinds import ENVIRONMENTS
from hubbub.engines.openvino import OpenVINOConfig
from hubbub.gateway.config import GatewayConfig, OidcConfig
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from hubbub.planner.live import PlannerConfig
from hubbub.runtime.dispatcher import DispatcherConfig
from hubbub.runtime.hub import HubConfig
from hubbub.store.config import StoreConfig
from hubbub.user_path import user_path

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
    environments: str = field(
        default=str(ENVIRONMENTS), metadata={"help": "folder of what `hubbub engine install` makes"}
    )
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    keys: KeysMode = field(
        default=KeysMode.AUTO, metadata={"help": "who needs a key: auto (all but on loopback), required or off (none)"}
    )
    hosts: str = field(
        default="", metadata={"help": "names this server has beside localhost and its addresses, comma-separated"}
    )
    trusted_proxies: str = field(
        default="",
        metadata={
            "help": "addresses of TLS proxies before it, comma-separated, whose X-Forwarded headers are believed"
        },
    )
    session_days: float = field(default=30.0, metadata={"help": "days a browser stays signed in"})
    open_to_everyone: bool = field(
        default=False,
        metadata={"help": "listen beyond loopback though nobody needs a key: whoever can connect is let in"},
    )
    first_admin: bool = field(
        default=False,
        metadata={
            "help": "listen beyond loopback before there is a key or a user: a code is printed that makes an admin"
        },
    )

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not 0 < self.session_days <= 3650:
            raise ValueError(f"session_days is {self.session_days:g}; give a number of days from 0 to 3650")


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
    engines: Mapping[str, EngineTable] = field(default_factory=dict)
    """Where there are any, ``engine`` and ``openvino`` do not hold."""
    openvino: OpenVINOConfig = field(default_factory=OpenVINOConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    dispatcher: DispatcherConfig = field(default_factory=DispatcherConfig)
    hub: HubConfig = field(default_factory=HubConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    oidc: OidcConfig = field(default_factory=OidcConfig)


@dataclass(frozen=True, slots=True)
class Loaded:
    """``sources`` maps ``section.key`` to where its value came from, for every key that is not a default."""

    settings: Settings
    sources: Mapping[str, str]


def data_folder(settings: Settings) -> Path:
    """Made where it is missing. Raises ConfigError."""
    data = Path(settings.server.data)
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"server.data: the folder {data} cannot be made: {error.strerror}") from None
    return data


def load(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    plan: Path | None = None,
) -> Loaded:
    """Settings of this process. ``flags`` are ``section.key`` to value, None for flags not given.

    ``file``: the TOML to read; without one, ``hubbub.toml`` in the current folder if it is there.
    ``plan``: one more in that form; its engines stand in place of the file's. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    layers: list[tuple[str, dict[str, Any]]] = []
    tables: dict[str, Any] = {}
    path = file or Path(FILE)
    if file is not None or path.is_file():
        flat, tables = _from_file(path)
        layers.append((str(path), flat))
    if plan is not None:
        path = plan
        planned, tables = _from_file(plan)
        layers = [(source, _without_engine(flat)) for source, flat in layers]
        layers.append((str(plan), planned))
    layers.append(("environment", _from_environment(environ)))
    layers.append(("flag", {key: value for key, value in flags.items() if value is not None}))

    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for key, value in layer.items():
            values[key] = value
            sources[key] = source if source != "environment" else PREFIX + key.replace(".", "_").upper()
    settings = _built(values, sources)
    if tables and not _replaced(sources, str(path)):
        settings = dataclasses.replace(settings, engines=_engines(tables, str(path), environ, sources))
    return Loaded(settings, sources)


def _without_engine(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if not key.startswith(("engine.", "openvino."))}


def _replaced(sources: Mapping[str, str], file: str) -> bool:
    """Whether a flag or the environment names an engine that is served instead of the file's tables. Raises ConfigError
    where what is set for the single engine would have no effect."""
    single = [key for key in sources if key.startswith(("engine.", "openvino."))]
    for key in single:
        if sources[key] == file:
            raise ConfigError(f"{file} has {key} beside [engines]: write all engines as [engines.NAME]")
    replaced = any(key.startswith("engine.") for key in single)
    if single and not replaced:
        raise ConfigError(
            f"{sources[single[0]]} is about the single engine, but {file} has [engines]: set "
            f"engines.NAME.options.{single[0].partition('.')[2]} there"
        )
    return replaced


def keys() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every ``section.key`` there is, with its field; those of ``[engines.NAME]`` aside."""
    for section in _sections():
        for entry in dataclasses.fields(_section_type(section)):
            yield f"{section.name}.{entry.name}", entry


def engine_values(name: str, table: EngineTable) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Every ``engines.NAME.key`` of one engine, with its field and value; its options, too."""
    for entry in dataclasses.fields(EngineTable):
        if entry.name != "options":
            yield f"engines.{name}.{entry.name}", entry, getattr(table, entry.name)
    for entry in dataclasses.fields(table.options):
        yield f"engines.{name}.options.{entry.name}", entry, getattr(table.options, entry.name)


def _sections() -> list[dataclasses.Field[Any]]:
    return [section for section in dataclasses.fields(Settings) if section.name != "engines"]


def _section_type(section: dataclasses.Field[Any]) -> type[Any]:
    return cast(type[Any], section.default_factory)


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """``section.key`` to value, and the tables below ``[engines]``."""
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
        if section != "engines":
            flat.update({f"{section}.{key}": value for key, value in table.items()})
    return flat, tables.get("engines", {})


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
    for section in _sections():
        kind = _section_type(section)
        given = {}
        for entry in dataclasses.fields(kind):
            key = f"{section.name}.{entry.name}"
            if key in values:
                given[entry.name] = _converted(kind, entry, values[key], f"{key} ({sources[key]})")
        try:
            sections[section.name] = kind(**given)
        except ValueError as error:
            raise ConfigError(f"[{section.name}] {error}") from None
    return Settings(**sections)


def _engines(
    tables: Mapping[str, Any], file: str, environ: Mapping[str, str], sources: dict[str, str]
) -> dict[str, EngineTable]:
    """The engines of the file, with their keys and options. Adds to ``sources``. Raises ConfigError."""
    engines = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"engines.{name} ({file}) is {table!r}: write a table [engines.{name}]")
        at = f"engines.{name}"
        found = _table(EngineTable, {key: value for key, value in table.items() if key != "options"}, at, file)
        if found.kind_name not in KINDS:
            known = f"{_nearest(found.kind_name, KINDS, '')}; it can be {', '.join(KINDS)}"
            raise ConfigError(f"{at}.kind ({file}) is {found.kind!r}{known}")
        options = table.get("options", {})
        if not isinstance(options, dict):
            raise ConfigError(f"{at}.options ({file}) is {options!r}: write a table [{at}.options]")
        engines[name] = dataclasses.replace(
            found,
            api_key=_secret(found, at, environ),
            options=_table(KINDS[found.kind_name].options, options, f"{at}.options", file),
        )
        sources.update({f"{at}.{key}": file for key in table if key != "options"})
        sources.update({f"{at}.options.{key}": file for key in options})
    try:
        check_names(engines)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    return engines


def _table(kind: type[Any], values: Mapping[str, Any], at: str, file: str) -> Any:
    """A table of the file that stands at ``at`` as ``kind``. Raises ConfigError."""
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            there = f"; it has {', '.join(known)}" if known else "; it has none"
            close = _nearest(f"{at}.{key}", [f"{at}.{name}" for name in known], there)
            raise ConfigError(f"{at}.{key} ({file}) is no setting{close}")
    given = {key: _converted(kind, known[key], value, f"{at}.{key} ({file})") for key, value in values.items()}
    try:
        return kind(**given)
    except ValueError as error:
        words = str(error)
        first = re.match(r"\w*", words)
        joint = "." if first and first[0] in known else ": "
        raise ConfigError(f"{at}{joint}{words}") from None


def _secret(table: EngineTable, at: str, environ: Mapping[str, str]) -> str:
    """The API key, wherever it is. Raises ConfigError, without the key."""
    given = [key for key in ("api_key", "api_key_env", "api_key_file") if getattr(table, key)]
    if len(given) > 1:
        raise ConfigError(f"{at}.{given[1]} is given beside {at}.{given[0]}; give one of them")
    if table.api_key_env:
        if table.api_key_env.startswith(PREFIX):
            raise ConfigError(f"{at}.api_key_env: names that begin with {PREFIX} are settings; use another")
        if not environ.get(table.api_key_env):
            raise ConfigError(f"{at}.api_key_env: {table.api_key_env} is not set in the environment")
        return environ[table.api_key_env].strip()
    if table.api_key_file:
        path = user_path(table.api_key_file, f"{at}.api_key_file")
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{at}.api_key_file: {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{at}.api_key_file: {path} is no text") from None
        if not text:
            raise ConfigError(f"{at}.api_key_file: {path} is empty")
        return text
    return table.api_key


def _converted(kind: type[Any], entry: dataclasses.Field[Any], value: Any, at: str) -> Any:
    """The value as its field's type; text from the environment may be a number or true/false. ``at``: its key and
    where it is from."""
    try:
        hint = get_type_hints(kind)[entry.name]
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        shown = "(hidden)" if entry.metadata.get("secret") else repr(value)
        reason = str(error).split(" - at ")[0]
        raise ConfigError(f"{at} is {shown}: {reason}") from None


def _nearest(name: str, known: Iterable[str], otherwise: str = "; `hubbub config show` lists them all") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else otherwise
