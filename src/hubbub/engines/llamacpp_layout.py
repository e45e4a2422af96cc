"""How llama.cpp's KV cache is laid out for the chats asked for.

``split``: every slot has a window of its own. Nothing a chat does touches another, and a step reads only what its own
chats wrote. ``unified``: one pool for all, any chat may grow to the whole window; for many chats of long windows, which
together have more tokens than memory. When that pool runs over, the server ends every request in it, so that
``EngineState.kv_tokens`` must be kept to. Memory is touched at once, not as it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.gguf_header import read_header

MAX_SLOTS = 256
"""LLAMA_MAX_SEQ (llama.cpp b11434, src/llama-cparams.h)."""
PAD_TOKENS = 256
"""A slot's window is rounded up to this (src/llama-context.cpp)."""
DEFAULT_SLOTS = 64
RESERVE_BYTES = 1 << 30
WEIGHTS_FACTOR = 2
"""Memory of loaded weights over their file: mapped once, and once more in the order that the kernels like."""
KV_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_0": 22 / 32, "q4_0": 18 / 32}
"""Bytes of one value of the KV cache; quantized ones in blocks of 32 (ggml-common.h)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Zero derives. Tokens."""

    chats: int = 0
    context_window: int = 0
    kv_tokens: int = 0
    kv_layout: str = "auto"
    kv_type: str = "f16"


@dataclass(frozen=True, slots=True)
class Layout:
    """``kv_tokens``: of all slots together."""

    slots: int
    window: int
    kv_tokens: int
    unified: bool


@dataclass(frozen=True, slots=True)
class KvShape:
    """``values``: numbers that one token has in the KV cache, over all layers."""

    window: int
    values: int
    weight_bytes: int


def read_shape(model: Path) -> KvShape:
    """Raises ConfigError."""
    header = read_header(model)
    architecture = header.get("general.architecture", "")

    def size(key: str, other: int = 0) -> Any:
        return header.get(f"{architecture}.{key}", other)

    layers, heads = int(size("block_count", 1)), _each(size("attention.head_count", 1))
    kv_heads = _each(size("attention.head_count_kv", max(heads)))
    head = int(size("embedding_length")) // max(heads)
    values = int(size("attention.key_length", head)) + int(size("attention.value_length", head))
    whole = sum(kv_heads) if len(kv_heads) > 1 else layers * kv_heads[0]
    return KvShape(int(size("context_length", 2048)), whole * values, model.stat().st_size)


def _each(number: Any) -> list[int]:
    """Some models say it once for all layers, some for each."""
    return [int(one) for one in number] if isinstance(number, list) else [int(number)]


def lay_out(shape: KvShape, wishes: Wishes, free: int) -> Layout:
    """``free``: bytes of memory that can be had. Raises ConfigError naming the option."""
    if wishes.chats > MAX_SLOTS:
        raise ConfigError(
            f"chats is {wishes.chats}: llama.cpp decodes at most {MAX_SLOTS} together; more may be open and wait their "
            "turn, or add a replica",
            param="chats",
        )
    window = min(shape.window, wishes.context_window or shape.window)
    room = max(0, free - RESERVE_BYTES - shape.weight_bytes * WEIGHTS_FACTOR) / 2
    fits = int(room / (shape.values * KV_BYTES[wishes.kv_type]))
    slots = wishes.chats or max(1, min(DEFAULT_SLOTS, (wishes.kv_tokens or fits) // PAD_TOKENS))
    tokens = wishes.kv_tokens or min(slots * window, fits)
    if tokens < slots * PAD_TOKENS:
        raise ConfigError(
            f"there is room for {tokens:,} tokens of KV cache, and {slots} chats need {PAD_TOKENS} each at least: ask "
            "for fewer chats, a smaller kv_type or more kv_tokens",
            param="chats" if wishes.chats else "kv_tokens",
        )
    unified = tokens < slots * window if wishes.kv_layout == "auto" else wishes.kv_layout == "unified"
    if not unified:
        window = min(window, tokens // slots)
        tokens = slots * _padded(window)
    return Layout(slots, min(window, tokens), tokens, unified)


def arguments(layout: Layout) -> list[str]:
    flags = ["--parallel", str(layout.slots), "--ctx-size", str(layout.kv_tokens)]
    if layout.unified:
        return [*flags, "--kv-unified", "--kv-unified-per-slot", str(layout.window)]
    return [*flags, "--no-kv-unified"]


def _padded(tokens: int) -> int:
    return -(-tokens // PAD_TOKENS) * PAD_TOKENS
