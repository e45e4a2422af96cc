"""What can be tuned of one engine on this machine: its kind's tunables as choices, and a spec with some of them set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.core.types import EngineId
from hubbub.engines.catalog import KINDS, kind_of
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.openvino_server.sizing import usable_cores


def check_tunable(spec: EngineSpec) -> None:
    """Raises ConfigError with the reason and the way out."""
    kind = kind_of(spec.kind)
    if spec.url:
        raise ConfigError(f"engine {spec.id} runs at {spec.url}: it is tuned where it is started", param="url")
    if not kind.tunables:
        tunable = ", ".join(name for name, other in KINDS.items() if other.tunables)
        raise ConfigError(f"engine {spec.id} is of kind {kind.name}; those that can be tuned are {tunable}")


def choices(spec: EngineSpec, cores: int = 0) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each tunable's name and the values worth trying with so many cores (0: those of this process)."""
    cores = cores or usable_cores()
    for tunable in kind_of(spec.kind).tunables:
        if values := tuple(tunable.values(cores)):
            yield tunable.name, values


def present(spec: EngineSpec) -> dict[str, Any]:
    """The tunables that are set otherwise than by default."""
    kind = kind_of(spec.kind)
    defaults = kind.options()
    asked = spec.options or defaults
    values = {tunable.name: getattr(asked, tunable.name) for tunable in kind.tunables}
    return {name: value for name, value in values.items() if value != getattr(defaults, name)}


def with_values(spec: EngineSpec, setting: Mapping[str, Any], name: str) -> EngineSpec:
    """The engine as ``name``, its tunables at their defaults but for ``setting``; all else as it is set."""
    kind = kind_of(spec.kind)
    defaults = kind.options()
    asked = spec.options or defaults
    meanwhile = {
        name: value
        for name, value in kind.meanwhile(spec.chats).items()
        if getattr(asked, name) == getattr(defaults, name)
    }
    values = {tunable.name: getattr(defaults, tunable.name) for tunable in kind.tunables}
    return replace(spec, id=EngineId(name), options=replace(asked, **values | meanwhile | dict(setting)))
