"""Shapes from files: Hugging Face ``config.json`` and GGUF headers. No weights are read."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.modelnames import resolve_model
from hubbub.planner.models import ModelShape
from hubbub.planner.quant import BF16, QUANTS, Quant, parse_quant
from hubbub.user_path import home, user_path


def load_model(text: str, option: str = "model") -> tuple[ModelShape, Quant | None]:
    """The model meant by a path (config.json, its folder, .gguf) or a name, and the quantization its file states.

    Raises NotFound for a path or name that does not exist, BadRequest for a file that is broken, ConfigError for what
    cannot be a path.
    """
    if not text.strip():
        raise NotFound(
            f"{option}: name a model (`hubbub plan models` lists the bundled ones), a folder or a file", param=option
        )
    path = user_path(text, option)
    looks_like_path = text.endswith((".json", ".gguf")) or text.startswith((".", "/", "~"))
    if path.is_dir():
        path /= "config.json"
        if not path.is_file():
            raise NotFound(f"{option}: {text} has no config.json", param=option)
    if path.is_file():
        return read_gguf(path, option) if path.suffix == ".gguf" else read_config(path, option)
    if looks_like_path:
        raise NotFound(f"{option}: there is no file {text}", param=option)
    cached = _hub_cache(text)
    if cached is not None:
        return read_config(cached, option)
    return resolve_model(text, option=option), None


def _hub_cache(name: str) -> Path | None:
    """config.json of a model the Hugging Face cache on this machine already holds; nothing is downloaded."""
    if name.count("/") != 1:
        return None
    root = home() / ".cache" / "huggingface" / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
    found = sorted(root.glob("*/config.json"), key=lambda p: p.stat().st_mtime) if root.is_dir() else []
    return found[-1] if found else None


def read_config(path: Path, option: str = "model") -> tuple[ModelShape, Quant | None]:
    """Raises BadRequest naming the field that is missing or wrong."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadRequest(f"{option}: {path} is not JSON: {error}", param=option) from error
    if not isinstance(config, dict):
        raise BadRequest(f"{option}: {path} is not a JSON object", param=option)
    return shape_from_config(config, path.parent.name or path.name, option)


_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "vocab": ("vocab_size", "padded_vocab_size"),
}


def shape_from_config(config: dict[str, Any], name: str, option: str = "model") -> tuple[ModelShape, Quant | None]:
    """A shape and quantization from the fields of config.json (the text part of a multimodal one)."""
    quant = _config_quant(config)
    for part in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(part), dict):
            config = {**config, **config[part]}
    layers, hidden, heads, vocab = (_need(config, key, option) for key in _NAMES)
    kind = str(config.get("model_type", ""))
    kv_heads = int(config.get("num_key_value_heads") or config.get("multi_query_group_num") or 0)
    if not kv_heads:
        new_falcon = config.get("new_decoder_architecture")
        kv_heads = int(config.get("num_kv_heads") or 8) if new_falcon else 1 if config.get("multi_query") else heads
    ffn = int(config.get("intermediate_size") or config.get("ffn_hidden_size") or config.get("n_inner") or 4 * hidden)
    if kind == "qwen":
        ffn //= 2  # Qwen v1 counts both halves of its gated layer
    fields: dict[str, Any] = {
        "name": str(config.get("_name_or_path") or name),
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": int(config.get("head_dim") or config.get("kv_channels") or hidden // heads),
        "ffn": ffn,
        "vocab": vocab,
        "tied": bool(config.get("tie_word_embeddings", kind in ("gemma", "gemma2", "gemma3_text", "gpt2", "falcon"))),
        "context": int(
            config.get("max_position_embeddings") or config.get("n_positions") or config.get("seq_length") or 0
        ),
        "gated": kind not in ("falcon", "gpt2", "gptj", "gpt_neox", "mpt", "bloom", "opt", "starcoder2", "phi"),
        "source": "config.json",
    }
    fields |= _experts(config) | _attention_kinds(config, layers)
    return ModelShape(**fields), quant


def _need(config: dict[str, Any], key: str, option: str) -> int:
    for spelling in _NAMES[key]:
        value = config.get(spelling)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise BadRequest(f"{option}: config.json has no positive {_NAMES[key][0]}", param=option)


def _experts(config: dict[str, Any]) -> dict[str, Any]:
    experts = int(config.get("num_experts") or config.get("n_routed_experts") or config.get("num_local_experts") or 0)
    if experts < 2:
        return {}
    width = int(config.get("moe_intermediate_size") or config.get("intermediate_size") or 0)
    shared = int(config.get("shared_expert_intermediate_size") or 0)
    shared = shared or int(config.get("n_shared_experts") or 0) * width
    return {
        "experts": experts,
        "top_k": int(config.get("num_experts_per_tok") or config.get("num_experts_per_token") or 1),
        "expert_ffn": width,
        "shared_ffn": shared,
        "dense_layers": int(config.get("first_k_dense_replace") or 0),
    }


def _attention_kinds(config: dict[str, Any], layers: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if config.get("kv_lora_rank"):
        found["mla_dim"] = int(config["kv_lora_rank"]) + int(config.get("qk_rope_head_dim") or 0)
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and kinds:
        full = sum("linear" not in str(k) and "mamba" not in str(k) for k in kinds)
        if full < len(kinds):
            found["kv_layers"] = full
        found["window_layers"] = sum("sliding" in str(k) for k in kinds)
    elif config.get("full_attention_interval"):
        found["kv_layers"] = layers // int(config["full_attention_interval"])
    window = config.get("sliding_window")
    if isinstance(window, int) and window > 0 and config.get("use_sliding_window", True):
        found["window"] = window
        if "window_layers" not in found:
            pattern = config.get("sliding_window_pattern")
            found["window_layers"] = layers - layers // int(pattern) if pattern else layers
    if found.get("kv_layers") is not None:
        values = int(config.get("linear_num_value_heads") or 0) * int(config.get("linear_value_head_dim") or 128)
        keys = int(config.get("linear_key_head_dim") or 128)
        found["state_bytes"] = (layers - found["kv_layers"]) * values * keys * 4  # kept in 32 bit
    return found


def _config_quant(config: dict[str, Any]) -> Quant | None:
    stated = config.get("quantization_config")
    if isinstance(stated, dict):
        method = str(stated.get("quant_method") or "")
        bits = stated.get("bits") or stated.get("w_bit") or ""
        if method in ("compressed-tensors", "modelopt"):
            text = json.dumps(stated)
            method = (
                "fp8" if "float" in text and '"num_bits": 8' in text else "w8a8" if '"num_bits": 8' in text else "awq"
            )
        return parse_quant(f"{method}-int{bits}" if method == "gptq" else method)
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "")
    return QUANTS["FP32"] if dtype == "float32" else None


# GGUF ---------------------------------------------------------------------------------------------------------------

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
# ggml type: (bytes a block, elements a block), ggml.h
_BLOCKS = {
    0: (4, 1),
    1: (2, 1),
    2: (18, 32),
    3: (20, 32),
    6: (22, 32),
    7: (24, 32),
    8: (34, 32),
    10: (84, 256),
    11: (110, 256),
    12: (144, 256),
    13: (176, 256),
    14: (210, 256),
    16: (66, 256),
    17: (74, 256),
    18: (98, 256),
    19: (50, 256),
    20: (18, 32),
    21: (110, 256),
    22: (82, 256),
    23: (136, 256),
    29: (56, 256),
    30: (2, 1),
    39: (17, 32),
}


class _Reader:
    """Reads the header front to back; ``take`` past the end means the file was cut short."""

    def __init__(self, path: Path, option: str) -> None:
        self._file = path.open("rb")
        self._path, self._option = path, option

    def fail(self, why: str) -> BadRequest:
        return BadRequest(f"{self._option}: {self._path.name}: {why}", param=self._option)

    def take(self, size: int) -> bytes:
        if size < 0 or size > 1 << 28:
            raise self.fail("the header is damaged")
        data = self._file.read(size)
        if len(data) < size:
            raise self.fail("the file is cut short inside its header; download it again")
        return data

    def scalar(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def string(self) -> str:
        return self.take(self.scalar("<Q")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            if kind not in _SCALARS:
                raise self.fail(f"unknown value type {kind}")
            return self.scalar(_SCALARS[kind])
        inner, count = self.scalar("<I"), self.scalar("<Q")
        if inner in _SCALARS:
            code = _SCALARS[inner]
            raw = self.take(count * struct.calcsize(code))
            return list(struct.unpack(f"<{count}{code[1]}", raw)) if count <= 4096 else count
        if count > 10_000_000:
            raise self.fail("the header is damaged")
        for _ in range(count):
            self.value(inner)
        return count

    def close(self) -> None:
        self._file.close()


def read_gguf(path: Path, option: str = "model") -> tuple[ModelShape, Quant | None]:
    """Shape and bits per weight from a GGUF header. Raises BadRequest for a file that is no GGUF or is cut short."""
    reader = _Reader(path, option)
    try:
        if reader.take(4) != b"GGUF":
            raise reader.fail("not a GGUF file")
        if reader.scalar("<I") not in (2, 3):
            raise reader.fail("a GGUF version this planner does not know (2 and 3 are known)")
        tensors, pairs = reader.scalar("<Q"), reader.scalar("<Q")
        meta = {reader.string(): reader.value(reader.scalar("<I")) for _ in range(pairs)}
        infos = [_tensor(reader) for _ in range(tensors)]
    finally:
        reader.close()
    end = max((offset + size for _, _, size, offset, _ in infos), default=0)
    if end and path.stat().st_size < end:
        raise reader.fail(f"the file is cut short: {end - path.stat().st_size:,} bytes of weights are missing")
    tied = not any(info[0] == "output.weight" for info in infos)
    return replace(_gguf_shape(meta, path, reader), tied=tied), _gguf_quant(infos)


def _tensor(reader: _Reader) -> tuple[str, float, float, int, int]:
    """Name, elements, bytes, offset in the data part, type."""
    name = reader.string()
    dims = [reader.scalar("<Q") for _ in range(reader.scalar("<I"))]
    kind, offset = reader.scalar("<I"), reader.scalar("<Q")
    block_bytes, block = _BLOCKS.get(kind, (2, 1))
    elements = float(math.prod(dims))
    return name, elements, elements / block * block_bytes, offset, kind


def _gguf_shape(meta: dict[str, Any], path: Path, reader: _Reader) -> ModelShape:
    arch = str(meta.get("general.architecture", ""))

    def number(key: str, default: int | None = None) -> int:
        value = meta.get(f"{arch}.{key}", default)
        if isinstance(value, list) and value:
            value = round(sum(value) / len(value))
        if not isinstance(value, int):
            raise reader.fail(f"the header has no {arch}.{key}")
        return value

    layers, hidden, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    if layers < 1 or hidden < 1 or heads < 1:
        raise reader.fail("the header states a model without layers")
    tokens = meta.get("tokenizer.ggml.tokens")
    vocab = (
        tokens if isinstance(tokens, int) else len(tokens) if isinstance(tokens, list) else number("vocab_size", 32000)
    )
    experts = number("expert_count", 0)
    return ModelShape(
        name=str(meta.get("general.name") or path.stem),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=number("attention.head_count_kv", heads),
        head_dim=number("attention.key_length", hidden // heads),
        ffn=number("feed_forward_length", 0),
        vocab=vocab,
        context=number("context_length", 0),
        experts=experts,
        top_k=number("expert_used_count", 0),
        expert_ffn=number("expert_feed_forward_length", number("feed_forward_length", 0)) if experts else 0,
        window=number("attention.sliding_window", 0),
        window_layers=layers // 2 if meta.get(f"{arch}.attention.sliding_window") else 0,
        source="GGUF header",
    )


def _gguf_quant(infos: list[tuple[str, float, float, int, int]]) -> Quant:
    tables = [i for i in infos if i[0] in ("token_embd.weight", "output.weight")]
    linear = [i for i in infos if i not in tables]
    elements = sum(i[1] for i in linear)
    if not elements:
        return BF16
    bits = 8 * sum(i[2] for i in linear) / elements
    table_bits = 8 * sum(i[2] for i in tables) / max(sum(i[1] for i in tables), 1.0)
    family = "gguf16" if bits >= 15 else "gguf8" if bits > 6.2 else "gguf4"
    return Quant(f"GGUF {bits:.2f} bit", family, bits, table_bits or bits)
