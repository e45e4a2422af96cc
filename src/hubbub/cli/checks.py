"""The doctor's questions. Each looks at one thing, changes nothing and downloads nothing."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from hubbub import __version__
from hubbub.core.errors import ConfigError
from hubbub.engines.catalog import KINDS
from hubbub.engines.config import EngineTable
from hubbub.engines.machine import Machine, choose_engine, inspect_machine
from hubbub.engines.model_hub import HubAccess, cached_file
from hubbub.engines.models import BUNDLED, DEFAULT_REPO, bundled_model, resolve_model
from hubbub.settings import Settings
from hubbub.user_path import user_path

LEAST_DISK = 256 << 20
"""Bytes. A store that cannot grow by this much would soon be full."""
LITTLE_DISK = 2 << 30
LEAST_MEMORY = 1 << 30
"""Bytes. The bundled model with 200 chats takes about this much."""
FEW_FILES = 4096
"""Open files: a socket for each stream, and some."""
ANSWER_SECONDS = 3.0
_PACKAGES = ("openvino-genai", "aiohttp", "uvloop", "msgspec")


class Grade(Enum):
    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` says what was found and, where it is bad, the way out. ``facts`` are for programs."""

    name: str
    grade: Grade
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def examine(settings: Settings) -> list[Finding]:
    machine = inspect_machine()
    findings = [_versions(), *_hardware(machine)]
    if settings.engines:
        pools = [found for name, table in settings.engines.items() for found in _pool(name, table, machine)]
        if any(found.grade is Grade.GOOD for found in pools):  # a server starts with the engines that answer
            pools = [replace(f, grade=Grade.NOTE) if f.grade is Grade.BAD and f.facts.get("url") else f for f in pools]
        findings += pools
    else:
        findings.append(_engine(settings, machine))
        if settings.engine.kind == "openvino":
            findings.append(_model(settings.engine.model))
    return [*findings, _data(Path(settings.server.data)), _port(settings.server.host, settings.server.port), _files()]


def _versions() -> Finding:
    found = {"hubbub": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return Finding("versions", Grade.GOOD, ", ".join(f"{k} {v}" for k, v in found.items()), {"versions": found})


def _hardware(machine: Machine) -> list[Finding]:
    cpu = f"{machine.cpu}, {machine.cpus:g} CPUs for this process ({machine.cores} cores in all)"
    if machine.instructions:
        cpu += f": {' '.join(machine.instructions)}"
    memory = f"{_gib(machine.free_bytes)} free of {_gib(machine.memory_bytes)}"
    tight = machine.free_bytes < LEAST_MEMORY
    gpus = ", ".join(f"{gpu.name} with {_gib(gpu.memory_bytes)}" for gpu in machine.gpus)
    return [
        Finding("system", Grade.GOOD, machine.system),
        Finding("processor", Grade.GOOD, cpu, {"cpus": machine.cpus, "cores": machine.cores}),
        Finding(
            "memory",
            Grade.NOTE if tight else Grade.GOOD,
            memory + ("; even the bundled model with 200 chats may not fit" if tight else ""),
            {"free_bytes": machine.free_bytes, "total_bytes": machine.memory_bytes},
        ),
        Finding("graphics", Grade.GOOD, gpus or "no NVIDIA GPU found", {"gpus": [gpu.name for gpu in machine.gpus]}),
    ]


def _pool(name: str, table: EngineTable, machine: Machine) -> list[Finding]:
    """One ``[engines.NAME]``."""
    kind, at = KINDS[table.kind_name], f"engines.{name}"
    many = f", {table.replicas} replicas" if table.replicas > 1 else ""
    if table.url:
        found = _remote(table.url, table.api_key)
        return [replace(found, name=at, facts={**found.facts, "url": table.url})]
    if kind.name != "openvino":
        return [Finding(at, Grade.GOOD, f"{kind.summary}{many}", {"engine": kind.name})]
    choice = choose_engine(machine)
    found = Finding(at, Grade.GOOD if choice.engine else Grade.BAD, f"{choice.why}{many}", {"engine": choice.engine})
    return [found, replace(_model(table.model), name=f"{at}.model")]


def _engine(settings: Settings, machine: Machine) -> Finding:
    kind = settings.engine.kind
    if kind == "simulated":
        return Finding("engine", Grade.GOOD, "the simulated engine, as set: no model, made-up words", {"engine": kind})
    if kind.startswith(("http://", "https://")):
        return _remote(kind, settings.engine.api_key)
    if kind != "openvino":
        text = f"engine.kind is {kind!r}: it can be openvino, simulated or an http:// address"
        return Finding("engine", Grade.BAD, text, {"engine": ""})
    choice = choose_engine(machine)
    return Finding("engine", Grade.GOOD if choice.engine else Grade.BAD, choice.why, {"engine": choice.engine})


def _remote(url: str, key: str) -> Finding:
    address = f"{url.rstrip('/').removesuffix('/v1')}/v1/models"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=ANSWER_SECONDS):  # noqa: S310
            return Finding("engine", Grade.GOOD, f"{url} answers", {"engine": url})
    except urllib.error.HTTPError as error:
        return Finding("engine", Grade.BAD, f"{address} answers {error.code}: {error.reason}", {"engine": url})
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("engine", Grade.BAD, f"{address} does not answer ({reason}); start the engine", {"engine": url})


def _model(spec: str) -> Finding:
    """What ``hubbub serve`` would load, found without asking a hub."""
    try:
        if not spec:
            return _default_model()
        if spec.lower() == BUNDLED or user_path(spec, "model").exists() or "/" not in spec or spec.startswith("."):
            found = resolve_model(spec)
            return Finding("model", Grade.GOOD, found.why, {"model": found.name, "path": str(found.path)})
        repo, _, wanted = spec.partition(":")
        cached = cached_file(repo, wanted, HubAccess())
    except ConfigError as error:
        return Finding("model", Grade.BAD, error.message, {"model": ""})
    if cached is None:
        text = f"{spec} is not in the local cache; it would be downloaded at start"
        return Finding("model", Grade.NOTE, text, {"model": spec})
    return Finding(
        "model", Grade.GOOD, f"{spec}: {cached.name} from the local cache", {"model": repo, "path": str(cached)}
    )


def _default_model() -> Finding:
    cached = cached_file(DEFAULT_REPO, "", HubAccess())
    if cached is not None:
        text = f"{DEFAULT_REPO}: {cached.name} from the local cache"
        return Finding("model", Grade.GOOD, text, {"model": DEFAULT_REPO, "path": str(cached)})
    found = bundled_model("the bundled model")
    text = f"{DEFAULT_REPO} if the hub answers at start (it is not in the local cache), else {found.why}"
    return Finding("model", Grade.GOOD, text, {"model": found.name, "path": str(found.path)})


def _data(folder: Path) -> Finding:
    """The folder, or the nearest one above it that is there: can it be written, and is there room?"""
    whole = user_path(folder, "data").absolute()
    there = next(path for path in (whole, *whole.parents) if path.exists())
    if not there.is_dir():
        return Finding("data", Grade.BAD, f"{there} is a file, not a folder; choose another with --data")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("data", Grade.BAD, f"{there} cannot be written by this user; choose another with --data")
    free = shutil.disk_usage(there).free
    text = f"{whole}{'' if there == whole else ' (not there yet)'}, {_gib(free)} free on its disk"
    facts = {"folder": str(whole), "free_bytes": free}
    if free < LEAST_DISK:
        return Finding("data", Grade.BAD, f"{text}: too little; make room, or choose another with --data", facts)
    return Finding("data", Grade.NOTE if free < LITTLE_DISK else Grade.GOOD, text, facts)


def _port(host: str, port: int) -> Finding:
    if port == 0:
        return Finding("port", Grade.GOOD, "any free one", {"port": port})
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        text = f"{host}:{port}: {error.strerror}; take another with --port (0: any free one)"
        return Finding("port", Grade.BAD, text, {"port": port})
    return Finding("port", Grade.GOOD, f"{host}:{port} is free", {"port": port})


def _files() -> Finding:
    if sys.platform == "win32":
        return Finding("open files", Grade.GOOD, "no limit to look at on this system")
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        text = f"{hard} at most: as many streams at once; raise it with ulimit -n"
        return Finding("open files", Grade.NOTE, text, {"limit": hard})
    return Finding("open files", Grade.GOOD, "no limit" if hard == resource.RLIM_INFINITY else f"{hard} at most")


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
