"""How much of the machine the engine takes: sequences, KV blocks, threads; derived where not given.

The rule, for a machine with ``free`` bytes (available memory, or what the cgroup leaves, whichever is less):

- KV cache: enough for ``max_sequences`` (256) sequences of TYPICAL_TOKENS each, but never more than half of what is
  free once the weights are loaded. It costs address space at once and memory only as it is touched.
- Sequences: fewer than 256 where the cache is too small to give each LEAST_TOKENS, so that the number promised is
  reached without throwing anybody out.
- Batched tokens: 256 a step. Measured: 2,048 make steps of 2 s and are slower than 256 at 0.3 s.
- Threads: the cores this process may use.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.model_info import ModelInfo

BLOCK_TOKENS = 32
"""Tokens in one KV block on CPU (openvino, PagedAttention CPU plugin); checked against the pipeline's own count."""
TYPICAL_TOKENS = 1024
LEAST_TOKENS = 256
MAX_SEQUENCES = 256
BATCHED_TOKENS = 256
RESERVE_BYTES = 1 << 30
"""Left to the rest of the machine: the front, Hubbub itself, activations."""
LOAD_FACTOR = 2.2
"""Memory of loaded weights over their size in a GGUF, at the peak of loading (0.15 GB to 0.33 GB seen)."""

_KV_BITS = {"u8": 8, "f16": 16, "bf16": 16, "f32": 32}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says; None derives it."""

    max_sequences: int | None = None
    kv_bytes: int | None = None
    batched_tokens: int | None = None
    threads: int | None = None
    context_window: int | None = None
    kv_precision: str = "u8"
    precision: str = ""
    prefix_cache: bool = True
    split_fuse: bool = True
    performance_hint: str = ""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the engine runs with. ``kv_blocks`` of BLOCK_TOKENS tokens each."""

    max_sequences: int
    kv_blocks: int
    kv_bytes_per_token: float
    batched_tokens: int
    threads: int
    context_window: int
    kv_precision: str
    precision: str
    prefix_cache: bool
    split_fuse: bool
    performance_hint: str

    @property
    def kv_tokens(self) -> int:
        return self.kv_blocks * BLOCK_TOKENS

    @property
    def kv_bytes(self) -> int:
        return round(self.kv_tokens * self.kv_bytes_per_token)


def kv_bytes_per_token(info: ModelInfo, precision: str) -> float:
    """Bytes of keys and values of one token over all layers.

    With u8, keys are quantized by channel (two f32 a channel and block) and values by token (two f32 a token and
    head); seen as ``cache_size_in_bytes`` of the pipeline.
    """
    bits = _KV_BITS[precision]
    values = 2 * info.head_size * bits / 8
    extra = (8 * info.head_size / BLOCK_TOKENS + 8) if bits == 8 else 0.0
    return info.layers * info.kv_heads * (values + extra)


def derive(info: ModelInfo, wishes: Wishes, free: int | None = None) -> Sizing:
    """Raises ConfigError naming the flag where what was asked for cannot be."""
    if wishes.kv_precision not in _KV_BITS:
        raise ConfigError(f"--kv-precision: {wishes.kv_precision!r} is not one of {', '.join(_KV_BITS)}")
    for flag in ("max_sequences", "kv_bytes", "batched_tokens", "threads", "context_window"):
        value = getattr(wishes, flag)
        if value is not None and value < 1:
            raise ConfigError(f"--{flag.replace('_', '-')}: must be at least 1, not {value}")
    per_token = kv_bytes_per_token(info, wishes.kv_precision)
    window = min(info.context_window, wishes.context_window or info.context_window)
    sequences = wishes.max_sequences or MAX_SEQUENCES
    if wishes.kv_bytes is not None:
        tokens = int(wishes.kv_bytes / per_token)
    else:
        room = (free_bytes() if free is None else free) - RESERVE_BYTES - int(info.weight_bytes * LOAD_FACTOR)
        tokens = min(max(sequences * TYPICAL_TOKENS, window), int(max(room, 0) / 2 / per_token))
    if tokens < LEAST_TOKENS:
        raise ConfigError(
            f"--kv-bytes: room for {tokens} tokens of KV cache; {LEAST_TOKENS} are the least "
            f"({round(LEAST_TOKENS * per_token):,} bytes)"
        )
    if wishes.max_sequences is None:
        sequences = max(1, min(sequences, tokens // LEAST_TOKENS))
    batched = wishes.batched_tokens or BATCHED_TOKENS
    if wishes.batched_tokens is None:
        batched = max(batched, sequences)
    blocks = tokens // BLOCK_TOKENS
    return Sizing(
        max_sequences=sequences,
        kv_blocks=blocks,
        kv_bytes_per_token=per_token,
        batched_tokens=batched,
        threads=wishes.threads or usable_cores(),
        context_window=min(window, blocks * BLOCK_TOKENS),
        kv_precision=wishes.kv_precision,
        # The engine computes in bf16 where it can, and then refuses f32 keys and values.
        precision=wishes.precision or ("f32" if wishes.kv_precision == "f32" else ""),
        # Without split-fuse the pipeline does not copy a block that a prompt shares (scheduler.hpp,
        # ``_schedule_prompt_phase_vllm`` drops what ``append_slots`` asks for): it says something wrong.
        prefix_cache=wishes.prefix_cache and wishes.split_fuse,
        split_fuse=wishes.split_fuse,
        performance_hint=wishes.performance_hint,
    )


def usable_cores() -> int:
    """Cores this process may run on, by affinity and by cgroup quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def free_bytes() -> int:
    """Memory that can still be used: what the machine has available, or what this cgroup leaves, whichever is less."""
    free = psutil.virtual_memory().available
    limit, used = _read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return int(free)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except OSError:
        return ""
