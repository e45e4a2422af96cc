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
DRAFT_S = 0.25e-3
"""Launching one draft model's step."""
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
    place = {"weights": 0, "kv": 1, "prefill": 2, "compute": 2}.get(name)
    if place is None:
        return PRIORS[name]
    card = case.machine.card
    value = KERNELS.get(card.family, (1.4, 1.6, 2.0))[place]
    return 1.15 if card.name == "H20" and place == 2 else value


def coefficient(name: str, start: Floats, effect: Floats) -> Floats:
    """The coefficient whose effects add up to ``effect``: the distance of ``start`` from its floor, stretched."""
    floor = FLOORS.get(name, 0.0)
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

    def linear(self, sequences: Floats) -> Floats:
        """Seconds of a decode step's matrix products: reading the weights or the arithmetic, whichever is longer."""
        t, c = self.t, self.c
        rows = sequences * t.verify
        memory = c["weights"] * self.weights_read(rows) / t.bandwidth
        compute = c["compute"] * t.flops_token * np.maximum(rows, t.tile) / t.decode_flops
        return self._smooth_max(memory, compute)

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


@dataclass(slots=True)
class Timings:
    """What a workload comes to, each an array: seconds, requests a second of all copies, mean running requests."""

    duration: Floats
    requests_s: Floats
    ttft_mean: Floats
    ttft_p99: Floats
    tpot: Floats
    itl: Floats
    batch: Floats


def timings(steps: Steps) -> Timings:
    """Each mode some row is in is computed for all rows and the row's own is picked: cheap, and free of branches."""
    mode = steps.t.mode
    static = _static(steps)
    closed = _queue(steps) if np.any((mode != 0) & (mode != 3)) else static
    rate = _open(steps) if np.any(mode == 3) else static
    out: dict[str, Floats] = {}
    for field in fields(Timings):
        name = field.name
        picked = np.where(mode == 0, getattr(static, name), getattr(closed, name))
        out[name] = np.where(mode == 3, getattr(rate, name), picked) * (
            steps.c["scale"] if name in ("duration", "ttft_mean", "ttft_p99", "tpot", "itl") else 1.0
        )
    out["requests_s"] = out["requests_s"] / np.where(mode == 3, 1.0, steps.c["scale"])
    return Timings(**out)


def _static(s: Steps) -> Timings:
    t, c = s.t, s.c
    together = np.where(np.isfinite(t.concurrency), t.concurrency, t.cap)
    batch = np.minimum(together, t.cap)
    waves = np.maximum(together / batch, 1.0)
    first = s.prefill(batch, t.tokens_in)
    per = s.decode(batch, t.tokens_in + t.tokens_out / 2)
    request = c["request_ms"] * 1e-3
    total = waves * (first + s.answer_steps * per) + request
    ttft = first + request + (waves - 1) * 0.5 * (first + s.answer_steps * per)
    return Timings(total, together / total * t.replicas, ttft, ttft, per / c["accept"], per, batch)


def _per_request(s: Steps) -> Floats:
    return s.prompt_work(s.t.tokens_in) + s.c["serial_ms"] * 1e-3


def _queue(s: Steps) -> Timings:
    """Clients that ask again when answered, a burst, or endless load: requests flow through ``batch`` places."""
    t, c = s.t, s.c
    out = s.answer_steps
    requests = np.where(np.isfinite(t.requests), t.requests, 1e6)
    offered = np.minimum(np.where(t.mode == 4, np.inf, t.concurrency), requests)
    # short answers end before the token budget has let in enough prompts to fill every place
    flow = np.where(t.requests > 4 * offered, np.inf, out * t.budget / np.maximum(t.tokens_in, 1.0))
    batch = np.maximum(np.minimum(np.minimum(offered, t.cap), np.maximum(flow, 2.0)), 1.0)
    one = _per_request(s)
    step = s.decode(batch, t.tokens_in + t.tokens_out / 2)
    full = batch * one
    turn = step + full / out
    waves = requests / batch
    tail = c["tail"] * out * s.decode(np.maximum(batch / 8, 1.0), t.tokens_in + t.tokens_out)
    tail = np.where(t.varied > 0, tail, 0.3 * tail * (waves > 1.5)) * (requests < 1e5)
    begin = t.tokens_in / t.budget * batch * s.decode(np.maximum(batch / 2, 1.0), t.tokens_in) * t.interleaves
    drain = np.maximum(t.varied * 0.75, 1 - 1 / np.maximum(waves, 1.0))
    busy = requests * one + out * step * np.maximum(waves, 1.0 - 0.25 * drain)
    duration = busy + tail + begin + s.overhead() + c["request_ms"] * 1e-3
    endless = requests >= 1e5
    rate = np.where(endless, batch / (out * turn), requests / duration)
    ramp = full + begin
    last = np.maximum(duration - tail - out * turn, ramp)
    share = np.minimum(batch / requests, 1.0)
    burst = share * ramp / 2 + (1 - share) * (ramp / 2 + np.maximum(last, ramp) / 2)
    wait = (np.maximum(offered, batch) - batch) / np.maximum(rate, 1e-12)
    # clients of even lengths stay in step and are read together; uneven ones meet only by chance
    steady = one + step + np.where(t.varied > 0, np.minimum(one * rate, 0.95) / 2, 0.5) * (batch - 1) * one
    steady = steady + np.where(np.isfinite(wait), wait, 0.0)
    is_burst = (t.mode == 2) | ((requests <= offered * 1.01) & (t.mode != 4))
    request = c["request_ms"] * 1e-3
    ttft = np.where(is_burst, burst * c["ramp"] + step, steady * c["ramp"]) + request
    p99 = np.where(is_burst, np.where(share >= 1, ramp, last) * c["ramp"], steady + 2 * (step + one) + full / 2)
    stall = c["stall"] * (1 - 0.5 * share) * (full - one) / out  # a request's own prompt ends before its first token
    thin = s.decode(np.where(t.varied > 0, 0.7, 1.0) * batch, t.tokens_in + t.tokens_out / 2)
    tpot = (step + stall) / c["accept"]
    return Timings(duration, rate * t.replicas, ttft, p99 + request, tpot, thin + stall, batch)


def _open(s: Steps) -> Timings:
    """Requests that come at a rate: the batch grows until it serves them, or up to the cap and then a queue forms."""
    t, c = s.t, s.c
    out = s.answer_steps
    one = _per_request(s)
    arrive = np.where(t.rate > 0, t.rate, 1.0)
    context = t.tokens_in + t.tokens_out / 2
    capacity = 1.0 / (one + out * s.decode(t.cap, context) / t.cap)
    served = np.minimum(arrive, 0.97 * capacity)
    left = np.maximum(1 - served * one, 0.02)
    batch = np.ones(len(t))
    for _ in range(12):
        need = served * out * s.decode(batch, context) / left
        batch = 0.5 * batch + 0.5 * np.clip(need, 1.0, t.cap)
    step = s.decode(batch, context)
    turn = step / left
    requests = np.where(np.isfinite(t.requests), t.requests, 1e5)
    over = np.where(arrive > served, requests * (1 / served - 1 / arrive), 0.0)
    total = requests / served + out * turn
    load = np.minimum(one * served, 0.95)
    ttft = c["request_ms"] * 1e-3 + c["ramp"] * (one + 0.5 * turn + 0.5 * one * load / (1 - load) + over / 2)
    real = np.where(requests >= 1e5, served, requests / total)
    p99 = ttft + 2 * (turn + one) + over / 2
    return Timings(total, real * t.replicas, ttft, p99, turn / c["accept"], turn, batch)


def roofline(table: Table) -> dict[str, Floats]:
    """Coefficients of the pure roofline, the baseline: 0.8 of bandwidth, half the peak rate, no overheads."""
    fixed = {"weights": 1.25, "kv": 1.25, "compute": 2.0, "prefill": 2.0, "comm": 1.0, "ramp": 1.0, "scale": 1.0}
    fixed |= {"stall": 1.0, "gap": 1.0, "accept": 1.0}
    return {name: np.full(len(table), fixed.get(name, 1e-9)) for name in COEFFICIENTS}


def figure(metric: str, table: Table, steps: Steps) -> Floats:
    """The value of ``metric`` for every row, in the metric's own unit."""
    t, scale = table, steps.c["scale"]
    middle = t.tokens_in + t.tokens_out / 2
    if metric in ("decode_tok_s_batch1", "decode_tok_s_total", "decode_tok_s_per_gpu"):
        batch = np.minimum(t.concurrency, t.cap) if metric != "decode_tok_s_batch1" else np.ones(len(t))
        rate = batch * steps.c["accept"] / (steps.decode(batch, middle) * scale) * t.replicas
        return rate / t.gpus if metric.endswith("per_gpu") else rate
    if metric.startswith("prefill_tok_s"):
        prompts = np.minimum(t.concurrency, t.cap)
        rate = prompts * t.tokens_in / (steps.prefill(prompts, t.tokens_in) * scale) * t.replicas
        return rate / t.gpus if metric.endswith("per_gpu") else rate
    if metric == "ttft_ms_batch":
        return (steps.prefill(t.concurrency, t.tokens_in) + steps.c["request_ms"] * 1e-3) * scale * 1e3
    timing = timings(steps)
    return _served(metric, t, timing, steps.c["gap"])


def _served(metric: str, t: Table, timing: Timings, gap: Floats) -> Floats:
    if metric == "req_s":
        return timing.requests_s
    if metric == "benchmark_duration_s":
        return timing.duration
    if metric.startswith(("output_tok_s", "total_tok_s", "tok_s")):
        tokens = t.tokens_told + (0.0 if metric.startswith("output") else t.tokens_in)
        rate = timing.requests_s * tokens
        return rate / t.gpus if metric.endswith("per_gpu") else rate
    kind, _, quantile = metric.replace("_ms", "").replace("_s_", "_").rpartition("_")
    tail = {"p90": 0.6, "p95": 0.8, "p99": 1.0}.get(quantile, 0.0)
    if kind == "ttft":
        value = timing.ttft_mean + tail * np.maximum(timing.ttft_p99 - timing.ttft_mean, 0.0)
        value = value * (0.9 if quantile in ("median", "p50") else 1.0)
    elif kind == "tpot":
        value = timing.tpot * (1 + 0.5 * tail)
    elif kind == "itl":
        value = timing.itl * (1 + 1.5 * tail) * gap
    else:
        value = timing.ttft_mean + t.tokens_out * timing.tpot * (1 + tail)
    return value * (1.0 if "_s_" in metric and "_ms" not in metric else 1e3)
