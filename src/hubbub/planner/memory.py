"""What takes memory, and what that leaves for chats.

KV room = share x card - weights - outside torch - activation peak - margin, per card, as vLLM computes it at its
start. The activation peak is the sampler's dry run over the logits (38.9 B x sequences x vocabulary, measured on
Qwen3-0.6B, Llama-8B, Qwen2.5-7B) or one full chunk through a feed-forward layer, whichever is larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hubbub.core.errors import BadRequest
from hubbub.planner.engines import EngineKind
from hubbub.planner.hardware import Machine
from hubbub.planner.models import ModelShape
from hubbub.planner.quant import Quant
from hubbub.planner.units import GIB, show_bytes

BLOCK = 16
"""Tokens a KV block, vLLM's default."""
SAMPLER_BYTES_PER_LOGIT = 38.9


@dataclass(frozen=True, slots=True)
class Load:
    """How the engine is started: its flags as far as memory depends on them. 0 or None means the engine's default."""

    share: float | None = None
    max_sequences: int = 0
    token_budget: int = 0
    kv_tokens: int = 0
    """KV room of one copy as the engine itself reports it; 0: unknown."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on each card of one model copy, and the room they leave. ``kv_tokens`` counts one copy."""

    card_bytes: float
    usable_bytes: float
    weights_bytes: float
    non_torch_bytes: float
    activation_bytes: float
    margin_bytes: float
    kv_bytes: float
    kv_bytes_per_token: float
    kv_tokens: int
    replicas: int

    @property
    def fits(self) -> bool:
        return self.kv_bytes > 0 and self.kv_tokens >= BLOCK


def activation_bytes(shape: ModelShape, sequences: int, budget: int, tp: int, version: str = "v0.11") -> float:
    """Peak of one dry run, on each card."""
    # v0.11 to v0.14: what the running requests of the published 32B rows leave room for; v0.4: three 32 bit copies
    per_logit = {"v0.4": 12.0, "v0.11": 24.0}.get(version, SAMPLER_BYTES_PER_LOGIT)
    sampler = per_logit * sequences * shape.vocab
    wide = max(shape.ffn, shape.shared_ffn + shape.top_k * shape.expert_ffn)
    chunk = 2.0 * budget * (3 * wide + 3.5 * shape.hidden) / tp
    return max(sampler, chunk)


def plan_memory(
    shape: ModelShape, quant: Quant, machine: Machine, engine: EngineKind, load: Load | None = None
) -> MemoryPlan:
    """The memory of one card of a copy of ``shape``. A plan that does not fit has ``kv_bytes`` below zero."""
    load = load or Load()
    card = machine.card
    cards = machine.tp * machine.pipeline
    total = card.memory_gib * GIB
    share = load.share if load.share is not None else engine.memory_share()
    weights = shape.weight_bytes(quant) / cards
    if engine.preallocates and not card.cpu:
        sequences = load.max_sequences or engine.max_sequences(card)
        budget = load.token_budget or engine.token_budget(card)
        non_torch = (0.14 if cards == 1 else 0.57) * GIB
        activation = activation_bytes(shape, sequences, budget, machine.tp, engine.version)
        margin = 0.25 * GIB
        if engine.family == "sglang":
            activation, margin = 0.0, 0.0  # its static share is weights and KV alone; the rest lies outside it
        elif engine.family != "vllm":
            activation = min(activation, 1.5 * GIB)
    elif engine.family == "openvino":
        # what its own sizing leaves alone: a GiB for the rest of the machine, 2.2 times the weights while they load
        non_torch, activation, margin = 1.0 * GIB, 1.2 * weights, 0.0
    else:
        non_torch = 0.3 * GIB if not card.cpu else 0.5 * GIB
        activation = 2.0 * 512 * (3 * shape.ffn + 3.5 * shape.hidden) + 4.0 * 512 * shape.vocab
        margin = 0.1 * GIB
    usable = total * share
    kv = usable - weights - non_torch - activation - margin
    if kv < 0 < usable - weights - non_torch - 0.2 * activation:
        # a user who starts this takes fewer sequences and smaller chunks; what then remains is little, not nothing
        kv = 0.3 * (usable - weights - non_torch - 0.2 * activation)
    per_token = _per_token_on_card(shape, quant, machine)
    if engine.family == "openvino":
        typical = (load.max_sequences or engine.max_sequences(card)) * 1024
        kv = min(kv / 2, max(typical, shape.context) * per_token)
    if load.kv_tokens:
        kv = load.kv_tokens * per_token
    tokens = int(max(kv, 0.0) / per_token // BLOCK * BLOCK)
    return MemoryPlan(total, usable, weights, non_torch, activation, margin, kv, per_token, tokens, machine.replicas)


def _per_token_on_card(shape: ModelShape, quant: Quant, machine: Machine) -> float:
    """KV bytes a token on each card: heads are shared out over ``tp`` cards until each has one, layers over stages."""
    per_token = shape.kv_bytes_per_token(quant.kv_bytes)
    if shape.mla_dim:
        return per_token / machine.pipeline
    return per_token / min(machine.tp, max(shape.kv_heads, 1)) / machine.pipeline


def chats_that_fit(plan: MemoryPlan, shape: ModelShape, quant: Quant, context: int) -> int:
    """Chats of ``context`` tokens whose KV is resident at once, over all copies; whole blocks each."""
    if not plan.fits:
        return 0
    rounded = math.ceil(context / BLOCK) * BLOCK
    one = shape.kv_bytes_at(rounded, quant.kv_bytes)
    scale = plan.kv_bytes_per_token / shape.kv_bytes_per_token(quant.kv_bytes)
    return int(plan.kv_bytes // (one * scale)) * plan.replicas


def resident_cap(plan: MemoryPlan, shape: ModelShape, quant: Quant, context: float) -> float:
    """The same for one copy and as a real number, at least 1: what a running engine holds on average."""
    scale = plan.kv_bytes_per_token / shape.kv_bytes_per_token(quant.kv_bytes)
    one = shape.kv_bytes_at(max(context, BLOCK), quant.kv_bytes) * scale
    return max(1.0, plan.kv_bytes / one)


def require_fit(plan: MemoryPlan, shape: ModelShape, quant: Quant, machine: Machine) -> None:
    """Raises BadRequest that says by how much the weights miss, and what would fit."""
    if plan.fits:
        return
    missing = plan.weights_bytes + plan.non_torch_bytes + 0.2 * plan.activation_bytes - plan.usable_bytes
    cards = machine.tp * machine.pipeline
    room = plan.usable_bytes * cards - plan.non_torch_bytes * cards
    bits = room * 0.85 * 8 / shape.total_params
    advice = f"at most {bits:.1f} bits a weight would fit here" if bits >= 2 else "no quantization makes it fit here"
    need = math.ceil(shape.weight_bytes(quant) * 1.2 / (plan.usable_bytes or 1.0))
    raise BadRequest(
        f"hardware: {shape.name} in {quant.name} needs {show_bytes(plan.weights_bytes * cards)} of weights, "
        f"{show_bytes(max(missing, 0.0) * cards)} more than {machine.name} has room for; {advice}, "
        f"or take {need} of these cards",
        param="hardware",
    )
