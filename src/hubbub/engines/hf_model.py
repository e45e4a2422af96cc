"""The model of an engine that reads Hugging Face folders and runs in an environment of its own."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.machine import Machine
from hubbub.engines.model_hub import HubAccess, snapshots
from hubbub.engines.models import BUNDLED, ModelKind, resolve_model
from hubbub.user_path import user_path

log = logging.getLogger(__name__)
_OF = re.compile(r"-of-(\d+)\.safetensors$")


@dataclass(frozen=True, slots=True)
class Model:
    """``path``: a folder, or a Hugging Face name, which the engine itself downloads. ``config``: its config.json, and
    ``chat_template``; empty for a name."""

    path: str
    name: str
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        return Path(self.path).is_dir()

    @property
    def folder(self) -> Path | None:
        """With its files: of a name the newest of the local cache; None before it was downloaded."""
        if self.local:
            return Path(self.path)
        return next(iter(snapshots(self.path, HubAccess())), None)

    @property
    def window(self) -> int:
        """Tokens; 0 where it is not known here."""
        said = self.config.get("max_position_embeddings")
        return said if isinstance(said, int) else 0


def model_of(spec: EngineSpec) -> Model:
    """Raises ConfigError or NotFound. A GGUF file, the bundled one also, is made a Hugging Face folder first."""
    path = user_path(spec.model, "model")
    if spec.model and not path.exists() and "/" in spec.model and not spec.model.lower().endswith(".gguf"):
        return Model(spec.model, spec.served_name or spec.model)
    found = resolve_model(spec.model or BUNDLED)
    folder = found.path
    if found.kind is ModelKind.OPENVINO:
        raise ConfigError(
            f"model {spec.model}: {spec.kind} reads no OpenVINO models; take a Hugging Face folder", param="model"
        )
    if found.kind is ModelKind.GGUF:
        from hubbub.engines.gguf_folder import hugging_face_folder  # brings numpy along

        folder = hugging_face_folder(
            found.path, user_path(spec.environments, "server.environments").absolute().parent / "models"
        )
        log.warning("model %s: as a Hugging Face folder in %s", found.name, folder, extra={"action": "model"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file():
        config["chat_template"] = json.loads(tokenizer.read_text("utf-8")).get("chat_template", "")
    return Model(str(folder), spec.served_name or found.name, config)


def dtype_on_cpu(model: Model, asked: str, machine: Machine) -> str:
    """``asked``; for "auto" float32 where that is faster than the 16 bits of the model's files, and fits: twice their
    size in half of what is free. A model whose files aren't all here, so that the size isn't known, stays "auto"."""
    folder = model.folder
    if asked != "auto" or not machine.slow_bfloat16 or folder is None or not (folder / "config.json").is_file():
        return asked
    quantized = "quantization_config" in json.loads((folder / "config.json").read_text("utf-8"))
    files = list(folder.glob("*.safetensors"))
    parts = max((int(found[1]) for file in files if (found := _OF.search(file.name))), default=1)
    size = sum(file.stat().st_size for file in files) if len(files) >= parts else 0
    return "float32" if 0 < 2 * size <= machine.free_bytes // 2 and not quantized else asked


def isolated(model: Model) -> dict[str, str]:
    """Variables of a process in an environment of its own: nothing of ours is on its path, and for a local model no hub
    is asked."""
    values = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1", "DO_NOT_TRACK": "1"}
    return values | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if model.local else values
