"""What a load comes to by formulas of means, over all rows of a table at once.

For loads that start together or never end these are the figures; for those that come one by one they are a first guess
and the slopes of the fit, and ``serving`` simulates them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hubbub.planner.step_time import COEFFICIENTS, Floats, Steps, Table


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
    """Each mode some row is in is computed for all rows and the row's own is picked: free of branches."""
    mode = steps.t.mode
    found = [
        (here, model(steps))
        for here, model in ((mode == 0, _static), (mode == 3, _open), ((mode != 0) & (mode != 3), _queue))
        if np.any(here)
    ]
    out: dict[str, Floats] = {}
    for field in fields(Timings):
        name = field.name
        picked = np.zeros(len(mode))
        for here, timing in found:
            picked = np.where(here, getattr(timing, name), picked)
        out[name] = picked * (steps.c["scale"] if name in ("duration", "ttft_mean", "ttft_p99", "tpot", "itl") else 1.0)
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
    endless = requests >= 1e5
    door = c["door_ms"] * 1e-3 * np.where(endless, 0.0, offered)
    duration = busy + tail + begin + s.overhead() + c["request_ms"] * 1e-3 + door
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
    first = request + door * np.where(is_burst, 1.0, offered / requests)
    ttft = np.where(is_burst, burst * c["ramp"] + step, steady * c["ramp"]) + first
    p99 = np.where(is_burst, np.where(share >= 1, ramp, last) * c["ramp"], steady + 2 * (step + one) + full / 2)
    stall = c["stall"] * (1 - 0.5 * share) * (full - one) / out  # a request's own prompt ends before its first token
    thin = s.decode(np.where(t.varied > 0, 0.7, 1.0) * batch, t.tokens_in + t.tokens_out / 2)
    tpot = (step + stall) / c["accept"]
    return Timings(duration, rate * t.replicas, ttft, p99 + first, tpot, thin + stall, batch)


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
