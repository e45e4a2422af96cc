"""LoRA adapters as files: where one is, and a PEFT folder as the GGUF file that llama.cpp takes.

A PEFT folder (``adapter_config.json`` with ``adapter_model.safetensors``) is what all other engines take; a GGUF
adapter is what ``convert_lora_to_gguf.py`` of llama.cpp makes of one. Here the same is done for the architectures whose
tensors keep their shape in a GGUF.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.gguf_header import read_header
from hubbub.user_path import user_path

if TYPE_CHECKING:
    import numpy as np

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
GGUF_ADAPTERS = (
    "LoRA adapters need the model as OpenVINO IR: on a GGUF ({}) OpenVINO would silently pass over their weights; "
    "make it with `python -m hubbub.engines.openvino_server.ir_export MODEL.gguf FOLDER`, and name FOLDER as the model"
)
ANSWER_S = 3.0
"""How long the hub may take to answer."""
_PERMUTED = {"llama"}
"""Architectures whose query and key rows a GGUF holds in another order (LlamaModel.permute of convert_hf_to_gguf)."""
_PLAIN = {"qwen2", "qwen3", "gemma2", "gemma3"}
_TENSOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")


def adapter_path(name: str, source: str) -> Path:
    """The file or folder of an adapter: a path, or a Hugging Face name that is cached or can be had.

    Raises ConfigError."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    path = user_path(source, "adapters")
    if path.exists():
        return path.resolve()
    offline = f"adapter {name!r}: there is no file or folder {source!r}"
    try:
        found = huggingface_hub.snapshot_download(source, etag_timeout=ANSWER_S, allow_patterns=["adapter_*", "*.gguf"])
    except HFValidationError as fault:
        raise ConfigError(f"{offline}, and it is no Hugging Face name", param="adapters") from fault
    except (LocalEntryNotFoundError, OSError) as fault:
        raise ConfigError(f"{offline}, and the hub does not have it or does not answer", param="adapters") from fault
    return Path(found)


def peft_folder(name: str, source: str) -> Path:
    """Raises ConfigError where it is no PEFT adapter."""
    path = adapter_path(name, source)
    for file in (CONFIG, WEIGHTS):
        if not (path / file).is_file():
            raise ConfigError(f"adapter {name!r}: {path} is no PEFT adapter, it has no {file}", param="adapters")
    return path


def gguf_adapter(name: str, source: str, model: Path, cache: Path) -> Path:
    """The GGUF adapter for the GGUF ``model``; a PEFT folder is converted, once, into the folder ``cache``.

    Raises ConfigError for what is no adapter, and for one of another model."""
    path = adapter_path(name, source)
    files = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if len(files) == 1:
        _check(name, files[0], model)
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise ConfigError(f"adapter {name!r}: {path} has several GGUF files; name one of {names}", param="adapters")
    folder = peft_folder(name, source)
    weights = folder / WEIGHTS
    stamp = f"{weights} {weights.stat().st_size} {weights.stat().st_mtime_ns} {model} {model.stat().st_mtime_ns}"
    made = cache / f"adapter-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.gguf"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_gguf_adapter(name, folder, model, made)
    return made


def _check(name: str, file: Path, model: Path) -> None:
    header = read_header(file)
    if header.get("general.type") != "adapter":
        raise ConfigError(f"adapter {name!r}: {file} is a GGUF file, but no adapter", param="adapters")
    ours, its = read_header(model).get("general.architecture"), header.get("general.architecture")
    if ours != its:
        raise ConfigError(f"adapter {name!r} is made for {its}, and the model is {ours}", param="adapters")


@dataclass(frozen=True, slots=True)
class _Base:
    architecture: str
    layers: int
    heads: int
    kv_heads: int


def write_gguf_adapter(name: str, folder: Path, model: Path, out: Path) -> None:
    """All of it or nothing. Raises ConfigError for what a GGUF adapter cannot say."""
    import gguf

    header = read_header(model)
    architecture = str(header.get("general.architecture"))
    if architecture not in _PERMUTED | _PLAIN:
        raise ConfigError(
            f"adapter {name!r}: for a model of architecture {architecture} convert it with llama.cpp's "
            f"convert_lora_to_gguf.py, and name the file it makes",
            param="adapters",
        )
    heads = int(header[f"{architecture}.attention.head_count"])
    base = _Base(
        architecture,
        int(header[f"{architecture}.block_count"]),
        heads,
        int(header.get(f"{architecture}.attention.head_count_kv", heads)),
    )
    temporary = out.with_suffix(f".{os.getpid()}.part")
    writer = gguf.GGUFWriter(temporary, architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha(name, folder)[0])
        for tensor, values in _tensors(name, folder, base):
            writer.add_tensor(tensor, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def peft_modules(folder: Path) -> list[str]:
    """The modules that an adapter changes, like ``model.layers.3.self_attn.q_proj``."""
    matches = (_TENSOR.fullmatch(key) for key in _safetensors_header(folder / WEIGHTS)[0])
    return sorted({match["module"] for match in matches if match is not None})


def peft_scale(name: str, folder: Path) -> float:
    """The factor that the product of the two matrices counts by. Raises ConfigError for what is not only such a
    product."""
    return _alpha(name, folder)[1]


def _alpha(name: str, folder: Path) -> tuple[float, float]:
    """The alpha that llama.cpp divides by the rank, and what it comes to."""
    config: Mapping[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
    for key, plain in (("use_dora", False), ("bias", "none"), ("modules_to_save", None)):
        if (config.get(key) or plain) != plain:
            raise ConfigError(f"adapter {name!r}: its {key} is not supported", param="adapters")
    for key in ("rank_pattern", "alpha_pattern"):
        if config.get(key):
            raise ConfigError(f"adapter {name!r}: its {key} is not supported", param="adapters")
    rank, alpha = float(config["r"]), float(config["lora_alpha"])
    alpha *= math.sqrt(rank) if config.get("use_rslora") else 1.0
    return alpha, alpha / rank


def _tensors(name: str, folder: Path, base: _Base) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import gguf
    import numpy as np

    numbers = {kind: number for number, kind in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(numbers[base.architecture], base.layers)
    for key, values in read_safetensors(folder / WEIGHTS):
        match = _TENSOR.fullmatch(key)
        stem = names.get_name(match["module"]) if match else None
        if match is None or stem is None:
            raise ConfigError(f"adapter {name!r}: the model has nothing that its tensor {key} is for", param="adapters")
        heads = {"q_proj": base.heads, "k_proj": base.kv_heads}.get(match["module"].rpartition(".")[2], 0)
        permuted = heads and match["side"] == "B" and base.architecture in _PERMUTED
        ordered = _permuted(values, heads) if permuted else values
        yield f"{stem}.weight.lora_{match['side'].lower()}", np.ascontiguousarray(ordered)


def _permuted(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Tensors by name, as float32. Format: https://github.com/huggingface/safetensors#format. numpy has no bfloat16,
    which most adapters are in."""
    import numpy as np

    header, start = _safetensors_header(path)
    data = path.read_bytes()
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        raw = data[start + first : start + last]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "F64": "<f8"}[entry["dtype"]]).astype(np.float32)
        yield name, values.reshape(entry["shape"])


def _safetensors_header(path: Path) -> tuple[Mapping[str, Any], int]:
    """Tensors by name, and where the first one's bytes begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size
