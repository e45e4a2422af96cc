"""What a model weighs and reads: parameters, bytes of weights, KV bytes a token, from its shape alone.

A shape is what ``config.json`` says. All sizes follow from it: full attention (MHA, GQA, MQA), multi-head latent
attention (DeepSeek), sliding windows (Gemma, gpt-oss), hybrids whose other layers keep a fixed state per sequence
(Qwen3.5), and mixtures of experts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from hubbub.planner.quant import Quant


@dataclass(frozen=True, slots=True)
class ModelShape:
    """One model. Counts are per model unless said otherwise; ``ffn`` of a MoE model is that of its dense layers.

    ``kv_layers``: layers with a KV cache (None: all). ``state_bytes``: fixed bytes a sequence for the other layers.
    ``mla_dim``: latent + rope width kept per token and layer (0: plain keys and values). ``window``: tokens kept by
    ``window_layers`` of the layers. ``params``: published total, where the formula would miss parts of the model.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool = False
    context: int = 0
    gated: bool = True
    experts: int = 0
    top_k: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0
    window: int = 0
    window_layers: int = 0
    kv_layers: int | None = None
    state_bytes: int = 0
    mla_dim: int = 0
    params: int | None = None
    source: str = ""

    @property
    def _attention_params(self) -> float:
        width = self.heads * self.head_dim
        if self.mla_dim:
            # q_lora 1536 (DeepSeek-V3) or none; up-projections from the latent of 512
            return self.hidden * (self.mla_dim + width) + 512 * 2 * width
        return 2 * self.hidden * width + 2 * self.hidden * self.kv_heads * self.head_dim

    @property
    def _mats(self) -> int:
        return 3 if self.gated else 2

    @property
    def moe(self) -> bool:
        return self.experts > 0

    @property
    def expert_params(self) -> float:
        """Parameters of all routed experts together."""
        if not self.moe:
            return 0.0
        return float((self.layers - self.dense_layers) * self.experts * self._mats * self.hidden * self.expert_ffn)

    @property
    def embedding_params(self) -> float:
        """One table of vocab x hidden; there are two unless tied."""
        return float(self.vocab * self.hidden)

    @property
    def total_params(self) -> float:
        if self.params is not None:
            return float(self.params)
        dense_ffn = (self.dense_layers if self.moe else self.layers) * self._mats * self.hidden * self.ffn
        shared = (self.layers - self.dense_layers) * self._mats * self.hidden * self.shared_ffn if self.moe else 0
        router = (self.layers - self.dense_layers) * self.hidden * self.experts
        tables = self.embedding_params * (1 if self.tied else 2)
        norms = (2 * self.layers + 1) * self.hidden
        return self.layers * self._attention_params + dense_ffn + shared + router + self.expert_params + tables + norms

    @property
    def linear_params(self) -> float:
        """All but the embedding tables: what quantization shrinks."""
        return max(self.total_params - self.embedding_params * (1 if self.tied else 2), 1.0)

    @property
    def active_params(self) -> float:
        """Parameters multiplied for one token, with the output head."""
        routed = self.expert_params
        share = self.top_k / self.experts if self.moe else 1.0
        return self.linear_params - routed * (1 - share) + self.embedding_params

    def weight_bytes(self, quant: Quant) -> float:
        """Bytes of all weights as ``quant`` stores them."""
        tables = self.embedding_params * (1 if self.tied else 2)
        routed = self.expert_params if quant.experts_only else self.linear_params
        rest = self.linear_params - routed
        return (routed * quant.weight_bits + rest * 16 + tables * quant.embed_bits) / 8

    def read_bytes(self, quant: Quant, sequences: float) -> float:
        """Bytes of weights one decode step touches: uniform routing over experts, the embedding look-up is free."""
        share = 1.0
        if self.moe:
            share = 1 - (1 - self.top_k / self.experts) ** max(sequences, 1.0)
        routed = self.expert_params
        always = self.linear_params - routed
        always_bits = 16.0 if quant.experts_only else quant.weight_bits
        head = self.embedding_params * quant.embed_bits
        return (routed * share * quant.weight_bits + always * always_bits + head) / 8

    def kv_bytes_per_token(self, kv_bytes: float = 2.0) -> float:
        """Bytes one more token of context takes, while no window is full. ``kv_bytes``: bytes an element."""
        layers = self.layers if self.kv_layers is None else self.kv_layers
        if self.mla_dim:
            return layers * self.mla_dim * kv_bytes
        return 2 * layers * self.kv_heads * self.head_dim * kv_bytes

    def kv_bytes_at(self, context: float, kv_bytes: float = 2.0) -> float:
        """KV bytes and fixed state of one sequence of ``context`` tokens."""
        layers = self.layers if self.kv_layers is None else self.kv_layers
        per_layer = self.kv_bytes_per_token(kv_bytes) / max(layers, 1)
        windowed = min(self.window_layers, layers) if self.window else 0
        kept = (layers - windowed) * context + windowed * min(context, self.window or context)
        return per_layer * kept + self.state_bytes

    def renamed(self, name: str) -> ModelShape:
        return replace(self, name=name)


def shape_from_card(card: dict[str, Any]) -> ModelShape:
    return ModelShape(**card)


@cache
def cards() -> dict[str, ModelShape]:
    """The bundled models by name."""
    text = resources.files("hubbub.planner").joinpath("data/models.json").read_text("utf-8")
    return {card["name"]: shape_from_card(card) for card in json.loads(text)}
