"""Where tuned settings are written in hubbub.toml: into the table that holds, all else as it stands, comments too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from hubbub.core.errors import ConfigError
from hubbub.engines.catalog import kind_of
from hubbub.engines.kinds import EngineSpec
from hubbub.settings import Settings, load


@dataclass(frozen=True, slots=True)
class Target:
    """The engine to tune, and the name of its table below ``[engines]``, empty for ``[engine]``."""

    spec: EngineSpec
    name: str = ""

    @property
    def where(self) -> str:
        if self.name:
            return f"[engines.{self.name}.options]"
        return "[openvino]" if self.spec.kind == "openvino" else f"[engines.{self.spec.kind}.options]"


def target_of(settings: Settings, specs: list[EngineSpec], name: str, engine: str, model: str) -> Target:
    """``engine`` and ``model``: what the command line asked for, else ``name``, else the only one there is. Raises
    ConfigError."""
    if not settings.engines:
        if name and name != specs[0].id:
            raise ConfigError(
                f"there is no engine {name!r}: hubbub.toml has one, of kind {specs[0].kind}; leave it out"
            )
        return Target(specs[0])
    known = ", ".join(settings.engines)
    fits = [
        one
        for one, table in settings.engines.items()
        if (one == name or not name) and engine in ("", table.kind_name) and model in ("", table.model)
    ]
    if name and name not in settings.engines:
        raise ConfigError(f"there is no engine {name!r}: hubbub.toml has {known}")
    if len(fits) != 1:
        many = "more than one fits" if fits else "none of them is that"
        raise ConfigError(f"hubbub.toml has the engines {known}, and {many}: name one of them, or use another --config")
    (found,) = fits
    return Target(next(spec for spec in specs if spec.id == found), found)


def check_room(path: Path, target: Target) -> None:
    """Raises ConfigError where the settings could not be written once they are found."""
    _written(path, target, {})


def write(path: Path, target: Target, setting: Mapping[str, Any]) -> None:
    """The file as it is now, with the engine's tunables as in ``setting``: whole or not at all. Raises ConfigError."""
    path = path.resolve()
    text = _written(path, target, setting)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        fresh = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            load({}, file=fresh)  # what is written can be read
            fresh.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _written(path: Path, target: Target, setting: Mapping[str, Any]) -> str:
    try:
        document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    options = _options(document, target, path)
    kind = kind_of(target.spec.kind)
    defaults = kind.options()
    for tunable in kind.tunables:
        if tunable.name in setting:
            options[tunable.name] = setting[tunable.name]
        elif setting and tunable.name in options:
            options[tunable.name] = getattr(defaults, tunable.name)
    return tomlkit.dumps(document)


def _options(document: tomlkit.TOMLDocument, target: Target, path: Path) -> Any:
    """The table for the options; made where it is missing."""
    spec = target.spec
    if target.name:
        return _table(_table(document, "engines"), target.name, "options")
    if "engines" in document:
        raise ConfigError(f"{path} has [engines], but the environment names another; use another --config")
    if spec.kind == "openvino":
        engine = document.get("engine", {})
        if engine.get("kind", "openvino") != "openvino" or (
            spec.model and engine.get("model", spec.model) != spec.model
        ):
            raise ConfigError(f"{path}: [engine] is another engine than the one to tune; use another --config")
        if spec.model and "model" not in engine:
            _table(document, "engine")["model"] = spec.model
        return _table(document, "openvino")
    # Only tables [engines.NAME] have options of other kinds, and they cannot stand beside [engine].
    if "openvino" in document:
        raise ConfigError(f"{path} has [openvino], but the engine is {spec.kind}: remove that, or use another --config")
    engine = document.pop("engine", {})
    if engine.get("kind", spec.kind) != spec.kind or engine.get("model", spec.model) != spec.model:
        raise ConfigError(f"{path}: [engine] is another engine than the one to tune; use another --config")
    home = _table(document, "engines", spec.kind)
    home.update({"kind": spec.kind, **({"model": spec.model} if spec.model else {})})
    home.update({key: value for key, value in engine.items() if key != "flags"})
    options = _table(home, "options")
    if engine.get("flags"):
        options["flags"] = engine["flags"]
    return options


def _table(inside: Any, *names: str) -> Table:
    for name in names:
        if name not in inside:
            inside[name] = tomlkit.table(is_super_table=name == "engines")
        inside = inside[name]
    return inside  # type: ignore[no-any-return]
