"""What a serving benchmark would show: its requests through the engine simulator, and figures read off them.

Clients that ask again when answered, a burst, requests that come at a rate: how long a first token takes there, and
what prompts do to the time between tokens, depends on who meets whom in which step. No formula of means holds that
(even lengths keep clients in step, one client never waits, an engine that is asked too much grows a queue), so the
requests are drawn and run through ``enginesim`` with the step times of the case. The closed forms of ``step_time``
remain for what starts together or never ends, and as the slopes of the fit.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hubbub.planner.cases import Case
from hubbub.planner.closed_forms import figure
from hubbub.planner.enginesim import EngineLimits, EngineSim
from hubbub.planner.enginesim import Sequence as Asked
from hubbub.planner.setup import StepModel
from hubbub.planner.step_time import Floats, Steps, Table, table_of

SIMULATED = ("closed", "burst", "rate")
MOST_REQUESTS, LEAST_REQUESTS, RATE_REQUESTS = 1500, 48, 600
MOST_STEPS = 50_000
"""Of reading prompts, in one simulation."""
SHAPE_IN, SHAPE_OUT = 0.6, 0.95
"""Weibull shapes of ShareGPT's lengths, which vLLM's benchmark cuts to 4..1024 tokens: questions have a long tail,
answers are nearly exponential."""
LEAST_TOKENS, MOST_TOKENS = 4, 1024
ITL_QUANTILES = {"p50": 1.0, "median": 1.0, "p90": 1.6, "p95": 2.0, "p99": 2.5}


@dataclass(frozen=True, slots=True)
class Served:
    """One value a request: seconds to the first token, seconds after it, those without prompts beside, tokens answered,
    decode steps after the first, requests that knocked at the same time. ``seconds``: from the first arrival to the
    last token; ``copies`` of the model ran."""

    ttft: Floats
    after: Floats
    alone: Floats
    tokens: Floats
    steps: Floats
    knocked: Floats
    seconds: float
    copies: float

    @property
    def requests_s(self) -> float:
        return len(self.ttft) / self.seconds * self.copies


def lengths(mean: float, shape: float, count: int, rng: random.Random) -> list[int]:
    """``count`` lengths of a cut Weibull in random order, whose mean is ``mean``; all the same for ``shape`` 0."""
    if not shape or count < 2:
        return [max(1, round(mean))] * count
    scores = [(-math.log(1 - (i + 0.5) / count)) ** (1 / shape) for i in range(count)]
    scale, drawn = mean, []
    most = max(MOST_TOKENS, 2 * mean)
    for _ in range(6):
        drawn = [min(max(scale * score, LEAST_TOKENS), most) for score in scores]
        scale *= mean * count / sum(drawn)
    rng.shuffle(drawn)
    return [max(1, round(length)) for length in drawn]


def run(table: Table, coefficients: Mapping[str, Floats], case: Case) -> Served:
    """A case, of which ``table`` is the one row, through the simulator, from a fixed seed.

    Where a source does not say how many requests it sent, it measured a steady state: the crowd at the door is left
    out.
    """
    mode, kind = case.work.mode, case.engine
    rng = random.Random(7)  # noqa: S311 - a simulation, nothing secret
    one = {name: float(getattr(table, name)[0]) for name in ("tokens_in", "tokens_out", "concurrency", "requests")}
    clients = one["concurrency"] if mode == "closed" else one["requests"] if mode == "burst" else math.inf
    count = _count(mode, clients, one["requests"], one["tokens_in"] / float(table.budget[0]))
    varied = float(table.varied[0])
    prompts = lengths(one["tokens_in"], SHAPE_IN * varied, count, rng)
    tokens = lengths(one["tokens_out"], SHAPE_OUT * varied, count, rng)
    accept = float(coefficients["accept"][0])
    most = int(min(table.sequences[0], count))
    model = StepModel(table, coefficients, max(most, 1))
    limits = EngineLimits(
        most,
        max(int(table.kv_tokens[0]), 64),
        int(table.budget[0]),
        "slots" if kind.admission == "slots" else "continuous",
        prefix_cache=False,
        prefill_first=not kind.interleaves,
        reserves=kind.reserves,
    )
    engine = EngineSim(model, limits)
    asked = [Asked(str(i), str(i), prompts[i], max(1, round(tokens[i] / accept)), 0.0) for i in range(count)]
    gap = (lambda: rng.expovariate(float(table.rate[0]))) if mode == "rate" else None
    ended, seconds = _through(engine, asked, min(int(min(clients, 1e9)), count), gap)
    if mode == "closed" and not math.isfinite(one["requests"]) and len(ended) > clients:
        began = ended[int(clients)][1]
        ended = [found for found in ended[int(clients) :] if found[0].arrived > 0] or ended
        seconds -= began
    order = {id(sequence): i for i, sequence in enumerate(asked)}
    index = [order[id(sequence)] for sequence, _, _ in ended]
    firsts = np.array([sequence.first or 0.0 for sequence, _, _ in ended])
    arrived = np.array([sequence.arrived for sequence, _, _ in ended])
    return Served(
        firsts - arrived,
        np.array([end for _, end, _ in ended]) - firsts,
        np.array([alone - sequence.alone for sequence, _, alone in ended]),
        np.array([float(tokens[i]) for i in index]),
        np.array([float(sequence.answer - 1) for sequence, _, _ in ended]),
        np.where(arrived > 0, 0.0, min(clients, 1e9) if mode != "rate" else 0.0),
        max(seconds, 1e-9),
        float(table.replicas[0]),
    )


def _count(mode: str, clients: float, requests: float, steps: float) -> int:
    """Requests to simulate; ``steps``: those that read one prompt."""
    most = max(1, min(MOST_REQUESTS, round(MOST_STEPS / max(steps, 1.0))))
    if math.isfinite(requests):
        return max(1, min(round(requests), most))
    return min(max(LEAST_REQUESTS, round(5 * clients)) if mode == "closed" else RATE_REQUESTS, most)


def _through(
    engine: EngineSim, asked: list[Asked], clients: int, gap: Callable[[], float] | None
) -> tuple[list[tuple[Asked, float, float]], float]:
    """All of ``asked``, ``clients`` at a time or by ``gap`` seconds apart: each with its end and the engine's ``alone``
    then; and the time of the last end."""
    coming: list[tuple[float, int]] = []
    now = 0.0
    for i in range(len(asked) if gap else clients):
        now += gap() if gap else 0.0
        coming.append((now, i))
    following, now = len(coming), 0.0
    ended: list[tuple[Asked, float, float]] = []
    while len(ended) < len(asked):
        while coming and coming[0][0] <= now:
            when, i = heapq.heappop(coming)
            asked[i].arrived = when
            engine.submit(asked[i])
        if engine.idle:
            now = coming[0][0]
            continue
        now, done = engine.advance(now, coming[0][0] if coming else math.inf)
        for sequence in done:
            ended.append((sequence, now, engine.alone))
            if following < len(asked):
                heapq.heappush(coming, (now, following))
                following += 1
    return ended, now


# Figures ------------------------------------------------------------------------------------------------------------


def read_off(metric: str, served: Served, table: Table, coefficients: Mapping[str, Floats]) -> float:
    """``metric`` of a run, in the metric's own unit."""
    c = {name: float(value[0]) for name, value in coefficients.items()}
    request = c["request_ms"] * 1e-3 * c["scale"]
    door = c["door_ms"] * 1e-3 * c["scale"] * served.knocked
    seconds = served.seconds + request + float(door.max())
    requests_s = served.requests_s * served.seconds / seconds
    if metric == "req_s":
        return requests_s
    if metric == "benchmark_duration_s":
        return seconds
    if "tok_s" in metric:
        each = float(table.tokens_told[0]) + (0.0 if metric.startswith("output") else float(table.tokens_in[0]))
        return requests_s * each / (float(table.gpus[0]) if metric.endswith("per_gpu") else 1.0)
    unit = 1.0 if "_s_" in metric and "_ms" not in metric else 1e3
    kind, _, quantile = metric.replace("_ms", "").replace("_s_", "_").rpartition("_")
    ttft = served.ttft * c["ramp"] + request + door
    after = served.alone + c["stall"] * np.maximum(served.after - served.alone, 0.0)
    if kind == "ttft":
        return _quantile(ttft, quantile) * unit
    several = served.tokens > 1
    if not several.any():
        return math.nan
    if kind == "tpot":
        return _quantile(after[several] / (served.tokens[several] - 1), quantile) * unit
    if kind == "itl":
        pieces = max(float(served.steps[several].sum()), 1.0)
        return float(after[several].sum()) / pieces * c["gap"] * ITL_QUANTILES.get(quantile, 1.0) * unit
    return _quantile(ttft + after, quantile) * unit


def _quantile(values: Floats, name: str) -> float:
    share = {"median": 0.5, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.get(name)
    return float(np.mean(values) if share is None else np.quantile(values, share))


def figures(cases: Sequence[Case], coefficients: Mapping[str, Floats]) -> Floats:
    """The figure of each case under its coefficients, an array a coefficient: by simulation where it serves requests
    one by one, by the closed forms elsewhere. Rows of one run share its simulation."""
    out = np.zeros(len(cases))
    runs: dict[bytes, Served] = {}
    plain: dict[str, list[int]] = {}
    for i, case in enumerate(cases):
        if not simulated(case):
            plain.setdefault(case.metric, []).append(i)
            continue
        table = table_of([case])
        own = {name: np.asarray(value[i : i + 1]) for name, value in coefficients.items()}
        parts = [getattr(table, name) for name in Table.__slots__] + [own[name] for name in sorted(own)]
        key = np.concatenate(parts).tobytes()
        try:
            if key not in runs:
                runs[key] = run(table, own, case)
            out[i] = read_off(case.metric, runs[key], table, own)
        except (ArithmeticError, ValueError):
            out[i] = math.nan  # lengths or loads that no machine has
    for metric, index in plain.items():
        table = table_of([cases[i] for i in index])
        out[index] = figure(metric, table, Steps(table, {k: v[index] for k, v in coefficients.items()}))
    return out


def simulated(case: Case) -> bool:
    """Whether the case's figure comes from the simulator: its load is one, and its metric is read off requests."""
    of_run = not case.metric.startswith(("decode", "prefill")) and case.metric != "ttft_ms_batch"
    return of_run and case.work.mode in SIMULATED
