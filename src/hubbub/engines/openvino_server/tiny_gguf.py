"""Tiny random models as GGUF: real shape, real vocabulary, no knowledge. For the grammar checker and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder. ``architecture`` is GGUF's word: llama, qwen2 (with q/k/v biases), qwen3 (with q/k norms)."""

    architecture: str
    vocabulary: int
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 16
    feed_forward: int = 128
    context: int = 4096
    rope_base: float = 1_000_000.0
    norm_epsilon: float = 1e-6


def write_tiny(path: Path, shape: Shape, tokenizer: Mapping[str, Any], *, seed: int = 0) -> None:
    """Write a model of ``shape`` with weights drawn from ``seed``, embeddings tied to the output.

    ``tokenizer``: calls on the writer by name, like ``{"add_tokenizer_model": "gpt2", "add_token_list": [...]}``.
    """
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16))
    for call, value in tokenizer.items():
        getattr(writer, call)(value)
    for name, tensor in _tensors(shape, np.random.default_rng(seed)):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(shape: Shape, random: np.random.Generator) -> list[tuple[str, np.ndarray[Any, Any]]]:
    def matrix(*size: int) -> np.ndarray[Any, Any]:
        return (random.standard_normal(size) * 0.1).astype(np.float16)

    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    tensors = [("token_embd.weight", matrix(shape.vocabulary, shape.width))]
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        tensors += [
            (block + "attn_norm.weight", np.ones(shape.width, np.float32)),
            (block + "attn_q.weight", matrix(queries, shape.width)),
            (block + "attn_k.weight", matrix(keys, shape.width)),
            (block + "attn_v.weight", matrix(keys, shape.width)),
            (block + "attn_output.weight", matrix(shape.width, queries)),
            (block + "ffn_norm.weight", np.ones(shape.width, np.float32)),
            (block + "ffn_gate.weight", matrix(shape.feed_forward, shape.width)),
            (block + "ffn_up.weight", matrix(shape.feed_forward, shape.width)),
            (block + "ffn_down.weight", matrix(shape.width, shape.feed_forward)),
        ]
        if shape.architecture == "qwen2":
            sizes = {"q": queries, "k": keys, "v": keys}
            tensors += [(f"{block}attn_{kind}.bias", np.zeros(size, np.float32)) for kind, size in sizes.items()]
        if shape.architecture == "qwen3":
            tensors += [(f"{block}attn_{kind}_norm.weight", np.ones(shape.head_size, np.float32)) for kind in "qk"]
    tensors.append(("output_norm.weight", np.ones(shape.width, np.float32)))
    return tensors
