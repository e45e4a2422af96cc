"""The time of one engine step, and of the work built from such steps.

    decode step = |weights read / bandwidth, FLOPs / rate|  (a smooth maximum, norm 3)
                + KV read / bandwidth + layers x us + sequences x us + ms a step + exchange between cards
    prefill     = |FLOPs (with attention) / rate, weights / bandwidth|  + layers x us + ms a step + exchange

Each term has one coefficient, fitted (``fit.py``) and looked up (``coefficients.py``). The same formulas run over one
case and over all rows of the measurements at once: every field of ``Table`` is an array of one value a case.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubbub.planner.cases import Case
from hubbub.planner.memory import plan_memory, resident_cap

Floats = NDArray[np.float64]

PRIORS: dict[str, float] = {
    "weights": 1.35,  # times (bytes / peak bandwidth): 74 % of peak, what GEMM at m = 1..64 reaches (kernel_efficiency)
    "kv": 1.5,
    "compute": 1.6,
    "prefill": 1.8,
    "layer_us": 12.0,
    "seq_us": 5.0,
    "step_ms": 0.4,
    "request_ms": 12.0,  # HTTP, tokenizer, scheduling: BLIS fits 15.6 ms
    "serial_ms": 1.0,
    "door_ms": 2.0,  # a request that comes with others: connections and tokenizers let nobody's first token out before
    "comm": 1.5,
    "hop_us": 8.0,
    "tail": 1.2,
    "ramp": 1.0,  # times the modelled TTFT
    "stall": 1.0,  # times what other requests' prompts add to the time between tokens
    "gap": 1.0,  # times ITL alone: pieces of several tokens
    "accept": 1.0,  # tokens a step and sequence: above 1 with speculative decoding only
    "scale": 1.0,
}
COEFFICIENTS = tuple(PRIORS)
MODES = ("static", "closed", "burst", "rate", "saturated")
FLOORS = {"weights": 0.8, "kv": 0.8, "compute": 0.8, "prefill": 0.8, "accept": 1.0}
"""Nothing reads much faster than the memory's bandwidth or multiplies faster than the peak rate; a data sheet may be
off by some of it (boost clocks, larger cuts of a chip)."""
MOST = 3.0
"""The sum of effects on reading prompts that is approached and never passed, in logarithms: a dozen groups that each
add a little would else come to kernels at a thirtieth of the peak, which nobody ships."""
DRAFT_S = 0.25e-3
"""Launching one draft model's step."""
LAUNCHED = ("hf", "gptq")
EAGER = 10.0
"""Times the overhead of a layer whose kernels Python launches one by one, some twenty of them at 5 us and more, beside
one replayed from a CUDA graph or called from C++."""
LOOP_S = 65e-6
"""One turn of transformers' loop over experts: Qwen1.5-MoE, 24 layers of 60, does 8.5 tokens/s where its bytes and its
dense siblings' overheads come to 40."""
KERNELS: dict[str, tuple[float, float, float]] = {
    "ampere": (1.45, 1.35, 1.4),
    "hopper": (1.38, 1.2, 1.45),
    "blackwell": (1.4, 1.3, 1.7),
    "blackwell-ws": (1.28, 1.25, 1.35),
    "blackwell-small": (1.3, 1.3, 2.0),
    "ada": (1.25, 1.25, 1.65),
    "ada-consumer": (1.12, 1.2, 1.25),
    "ampere-consumer": (1.2, 1.3, 1.4),
    "ampere-ws": (1.25, 1.3, 1.5),
    "turing": (1.3, 1.5, 2.0),
    "volta": (1.4, 1.6, 2.0),
    "pascal": (1.5, 2.0, 3.0),
    "cdna": (1.9, 2.2, 2.8),
    "cdna2": (1.9, 2.2, 2.8),
    "rdna": (1.6, 2.0, 2.8),
    "apu": (1.4, 2.0, 3.0),
    "arc": (2.2, 2.5, 4.0),
    "pvc": (3.5, 4.0, 5.0),
    "gaudi": (1.6, 2.0, 2.0),
    "ascend": (1.9, 2.2, 2.2),
    "apple": (1.3, 1.6, 1.8),
    "sbc": (1.5, 2.0, 2.5),
    "riscv": (3.0, 3.0, 4.0),
}
"""Weights, KV and prefill factors of a family of cards before any engine: one over the share of peak that GEMM at
m = 1..64, decode attention and GEMM at m >= 1000 reach (kernel_efficiency.csv: A100 66/77/77 %, H100 74/91/80 %,
RTX 4090 93/90/100 %, L40S 81/83/60 %, RTX PRO 6000 77/83/82 %, H20 prefill 92 %); families without a row are set by
their neighbours and by end-to-end rows of other engines."""


def prior(name: str, case: Case) -> float:
    """The coefficient before fitting, on the case's card."""
    if name == "accept":
        return 1.0 + min(0.75 * case.drafts, 1.8)  # MTP heads of one token are right some 75 %, longer drafts tail off
    if name == "layer_us":
        return PRIORS[name] * (EAGER if case.eager or case.engine.family in LAUNCHED else 1.0)
    place = {"weights": 0, "kv": 1, "prefill": 2, "compute": 2}.get(name)
    if place is None:
        return PRIORS[name]
    card = case.machine.card
    value = KERNELS.get(card.family, (1.4, 1.6, 2.0))[place]
    return 1.15 if card.name == "H20" and place == 2 else value


def coefficient(name: str, start: Floats, effect: Floats) -> Floats:
    """The coefficient whose effects add up to ``effect``: the distance of ``start`` from its floor, stretched."""
    floor = FLOORS.get(name, 0.0)
    if name == "prefill":
        effect = MOST * np.tanh(effect / MOST)
    stretched: Floats = floor + (start - floor) * np.exp(np.clip(effect, -9, 6))
    return stretched


@dataclass(slots=True)
class Table:
    """One value a case. Bytes, seconds, FLOPs and tokens; rates are of one model copy."""

    bandwidth: Floats
    decode_flops: Floats
    prefill_flops: Floats
    always: Floats
    routed: Floats
    cold: Floats
    """1 - experts a token / experts: the share of experts one token leaves alone."""
    kv_full: Floats
    kv_window: Floats
    window: Floats
    state: Floats
    flops_token: Floats
    flops_prompt_token: Floats
    flops_attention: Floats
    layers: Floats
    exchange_s: Floats
    hops: Floats
    tile: Floats
    verify: Floats
    """Tokens a step computes for each sequence: 1, and the drafts of speculative decoding."""
    draft_bytes: Floats
    """What drafting them reads: a layer and the output table for each."""
    loops: Floats
    """Experts that a step goes through one by one in Python."""
    cap: Floats
    """Sequences that run at a time, as many as the KV cache and the engine's own limit let in."""
    kv_tokens: Floats
    sequences: Floats
    """The engine's own limit."""
    budget: Floats
    interleaves: Floats
    replicas: Floats
    gpus: Floats
    tokens_in: Floats
    tokens_out: Floats
    """Tokens answered."""
    tokens_told: Floats
    """Tokens asked for, which a source counts as answered."""
    concurrency: Floats
    requests: Floats
    rate: Floats
    varied: Floats
    mode: Floats

    def __len__(self) -> int:
        return len(self.bandwidth)

    def take(self, index: Any) -> Table:
        return Table(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def features(case: Case) -> dict[str, float]:
    """The fields of ``Table`` for one case."""
    shape, quant, machine, work = case.shape, case.quant, case.machine, case.work
    card, engine = machine.card, case.engine
    wide = machine.tp * (1 if engine.layer_split else machine.pipeline)
    kv_layers = shape.layers if shape.kv_layers is None else shape.kv_layers
    per_layer = shape.kv_bytes_per_token(quant.kv_bytes) / max(kv_layers, 1)
    windowed = min(shape.window_layers, kv_layers) if shape.window else 0
    prompt_params = shape.active_params - shape.embedding_params
    plan = plan_memory(shape, quant, machine, engine, case.load)
    context = work.tokens_in + work.tokens_out * (1.0 if engine.reserves else 0.5)
    resident = resident_cap(plan, shape, quant, context)
    most = case.load.max_sequences or engine.max_sequences(card)
    always_bits = 16.0 if quant.experts_only else quant.weight_bits
    always = ((shape.linear_params - shape.expert_params) * always_bits + shape.embedding_params * quant.embed_bits) / 8
    replicas = machine.replicas
    share = 1.0 / replicas
    link = max(card.link_gbs, 12.0) * 1e9
    exchange = 2 * shape.layers * shape.hidden * 2 * (machine.tp - 1) / machine.tp / link
    return {
        "bandwidth": card.bandwidth_gbs * 1e9 * wide,
        "decode_flops": card.tflops(quant.math) * 1e12 * wide,
        "prefill_flops": card.tflops(quant.math) * 1e12 * wide,
        "always": always,
        "routed": shape.expert_params * quant.weight_bits / 8,
        "cold": 1 - shape.top_k / shape.experts if shape.moe else 0.0,
        "kv_full": per_layer * (kv_layers - windowed),
        "kv_window": per_layer * windowed,
        "window": float(shape.window or 1),
        "state": float(shape.state_bytes),
        "flops_token": 2 * shape.active_params,
        "flops_prompt_token": 2 * prompt_params,
        "flops_attention": 4.0 * kv_layers * shape.heads * shape.head_dim,
        "layers": float(shape.layers),
        "exchange_s": exchange,
        "hops": 2.0 * shape.layers if machine.tp > 1 else 0.0,
        "tile": 64.0 if card.family == "hopper" else 16.0 if card.kind in ("nvidia", "amd") else 1.0,
        "verify": 1.0 + case.drafts,
        "draft_bytes": case.drafts * (always / max(shape.layers, 1) + shape.embedding_params * quant.embed_bits / 8),
        "loops": float(shape.layers * shape.experts) if shape.moe and engine.family == "hf" else 0.0,
        "cap": min(resident, most),
        "kv_tokens": resident * context,
        "sequences": float(most),
        "budget": float(case.load.token_budget or engine.token_budget(card)),
        "interleaves": float(engine.interleaves),
        "replicas": float(replicas),
        "gpus": float(machine.count),
        "tokens_in": work.tokens_in,
        "tokens_out": work.answered,
        "tokens_told": work.tokens_out,
        "concurrency": work.concurrency * share,
        "requests": work.requests * share,
        "rate": work.rate * share,
        "varied": float(work.varied),
        "mode": float(MODES.index(work.mode)),
    }


def table_of(cases: list[Case]) -> Table:
    rows = [features(case) for case in cases]
    return Table(**{f.name: np.array([row[f.name] for row in rows], dtype=float) for f in fields(Table)})


class Steps:
    """Step times of a table under coefficients: a mapping from each of COEFFICIENTS to an array of its value."""

    def __init__(self, table: Table, coefficients: dict[str, Floats]) -> None:
        self.t = table
        self.c = coefficients

    def _smooth_max(self, a: Floats, b: Floats) -> Floats:
        return np.cbrt(a**3 + b**3)

    def weights_read(self, sequences: Floats) -> Floats:
        t = self.t
        return t.always + t.routed * (1 - t.cold ** np.maximum(sequences, 1.0))

    def kv_read(self, context: Floats) -> Floats:
        """Bytes one sequence of ``context`` tokens makes a decode step read."""
        t = self.t
        return t.kv_full * context + t.kv_window * np.minimum(context, t.window) + t.state

    def overhead(self) -> Floats:
        t, c = self.t, self.c
        drafts = (t.verify - 1) * DRAFT_S + c["weights"] * t.draft_bytes / t.bandwidth
        steady = t.layers * c["layer_us"] * 1e-6 + c["step_ms"] * 1e-3 + t.hops * c["hop_us"] * 1e-6
        return steady + drafts + t.loops * LOOP_S

    def reading(self, sequences: Floats) -> Floats:
        """Seconds in which a decode step's weights are read."""
        return self.c["weights"] * self.weights_read(sequences * self.t.verify) / self.t.bandwidth

    def arithmetic(self, sequences: Floats) -> Floats:
        """Seconds in which a decode step's matrix products are computed."""
        rows = np.maximum(sequences * self.t.verify, self.t.tile)
        return self.c["compute"] * self.t.flops_token * rows / self.t.decode_flops

    def linear(self, sequences: Floats) -> Floats:
        """Seconds of a decode step's matrix products: reading the weights or the arithmetic, whichever is longer."""
        return self._smooth_max(self.reading(sequences), self.arithmetic(sequences))

    def decode(self, sequences: Floats, context: Floats) -> Floats:
        """Seconds of a step that gives each of ``sequences`` one token (``accept`` of them, where it speculates) at a
        mean of ``context`` tokens."""
        t, c = self.t, self.c
        kv = c["kv"] * sequences * self.kv_read(context) / t.bandwidth
        extra = sequences * (c["seq_us"] * 1e-6 + c["comm"] * t.exchange_s)
        return self.linear(sequences) + kv + extra + self.overhead()

    @property
    def answer_steps(self) -> Floats:
        """Decode steps of one answer."""
        return self.t.tokens_out / self.c["accept"]

    def prompt_work(self, tokens: Floats, past: Floats | float = 0.0) -> Floats:
        """Seconds of arithmetic for a prompt of ``tokens`` after ``past`` cached ones, without the step's overhead."""
        t, c = self.t, self.c
        flops = tokens * (t.flops_prompt_token + t.flops_attention * (past + tokens / 2))
        return c["prefill"] * flops / t.prefill_flops + tokens * c["comm"] * t.exchange_s

    def prefill(self, prompts: Floats, tokens: Floats) -> Floats:
        """Seconds until ``prompts`` prompts of ``tokens`` tokens that start together are read."""
        t, c = self.t, self.c
        work = prompts * self.prompt_work(tokens)
        weights = c["weights"] * self.weights_read(np.maximum(prompts * tokens, 1.0)) / t.bandwidth
        steps = np.maximum(prompts * tokens / t.budget, 1.0)
        return self._smooth_max(work, weights) + steps * self.overhead()
