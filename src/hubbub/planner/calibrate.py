"""``plan calibrate``: some short runs against the real engine, and the coefficients of this machine drawn to them.

Eight points: one stream short and long, 4 to 64 streams, a long prompt, a mix. Each is a closed burst of streaming
chat completions; the time to the first token and between tokens are taken at the client. Then five scale factors
(weights, kv, prefill, per-step and per-request overhead) are refitted, with a pull towards 1: three points already
help, and a machine that the table knows well is left as it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from hubbub.core.errors import BadRequest, EngineUnavailable
from hubbub.planner.cases import Case, Work
from hubbub.planner.coefficients import Coefficients, groups
from hubbub.planner.setup import Setup
from hubbub.planner.step_time import FLOORS, Floats, Steps, figure, prior, table_of

_TEXT = "the sea wind carries old stories over quiet hills and every lamp keeps a small name for the night"
_WORDS = _TEXT.split()
TIMEOUT_S = 110.0
ROUNDS = 3
PULL = 0.15
"""Standard deviation, in logarithms, of a machine's factor around the table's."""
NOISE = 0.04
TUNED: tuple[tuple[str, ...], ...] = (
    ("weights",),
    ("kv",),
    ("prefill", "compute"),
    ("layer_us", "step_ms", "seq_us"),
    ("request_ms", "serial_ms"),
)


@dataclass(frozen=True, slots=True)
class Point:
    """``streams`` requests at once, each of ``tokens_in`` words or so, answered with ``tokens_out`` tokens."""

    streams: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What one point gave. Means in seconds; tokens as the engine counted them; ``rate`` output tokens a second."""

    streams: int
    tokens_in: float
    tokens_out: float
    ttft_s: float
    itl_s: float
    rate: float


def points(context: int, slow: bool) -> list[Point]:
    """The plan of measurement. ``slow``: a CPU, where many streams of long prompts would take minutes."""
    out = 24 if slow else 64
    long = max(64, min(512 if slow else 3000, context - out - 64))
    many = (4, 16, 64) if slow else (8, 32, 64)
    return [
        Point(1, 16, out),
        Point(1, long, out),
        *(Point(n, 32, out) for n in many),
        Point(8 if slow else 32, min(200, long), out),
        Point(1, long // 2, 4),
    ]


def _prompt(tokens: int, salt: str) -> str:
    """Different from the first word, so that no prefix cache helps; words here are about a token each."""
    return f"{salt} " + " ".join(_WORDS[(i * 7 + len(salt)) % len(_WORDS)] for i in range(max(tokens - 8, 1)))


async def _stream(
    session: aiohttp.ClientSession, url: str, model: str, point: Point, salt: str, extra: dict[str, Any]
) -> tuple[float, ...]:
    """Seconds to the first token and to the last, tokens in and out of one request."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _prompt(point.tokens_in, salt)}],
        "max_tokens": point.tokens_out,
        "temperature": 0.8,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra,
    }
    begin, first, last, pieces = time.perf_counter(), 0.0, 0.0, 0
    tokens_in, tokens_out = float(point.tokens_in), 0.0
    async with session.post(f"{url}/chat/completions", json=body) as answer:
        if answer.status >= 400:
            text = (await answer.text())[:200]
            raise EngineUnavailable(f"url: {url} answered {answer.status} to a chat completion: {text}", param="url")
        async for line in answer.content:
            if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line[5:])
            if event.get("usage"):
                tokens_in = float(event["usage"].get("prompt_tokens") or tokens_in)
                tokens_out = float(event["usage"].get("completion_tokens") or 0)
            delta = (event.get("choices") or [{}])[0].get("delta") or {}
            if delta.get("content"):
                pieces += 1
                last = time.perf_counter()
                first = first or last
    if not pieces:
        raise EngineUnavailable(f"url: {url} streamed no text", param="url")
    return first - begin, last - begin, tokens_in, tokens_out or float(pieces)


async def measure(url: str, model: str, plan: Sequence[Point], tell: Callable[[str], None]) -> list[Sample]:
    """Run the points, at most ``TIMEOUT_S`` in all (later ones are left out), again while there is time for all of
    them; the best of each counts, because what disturbs a measurement only ever slows it. Raises EngineUnavailable."""
    begin = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            extra = await _warm(session, url, model)
            best = await _round(session, url, model, plan, tell, extra, begin + TIMEOUT_S - 10)
            for turn in range(1, ROUNDS):
                spent = time.perf_counter() - begin
                if len(best) < len(plan) or spent * (turn + 1) / turn > TIMEOUT_S - 15:
                    break
                tell(f"once more, to leave out what disturbed it ({turn + 1} of {ROUNDS})")
                again = await _round(session, url, model, plan, tell, extra, begin + TIMEOUT_S - 10)
                best = [_better(a, b) for a, b in zip(best, again, strict=False)] + best[len(again) :]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineUnavailable(f"url: no engine answers at {url}: {error}", param="url") from error
    return best


async def measure_once(url: str, point: Point, model: str = "") -> Sample:
    """One point, once, at an engine that is awake. Raises EngineUnavailable."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            if not model:
                async with session.get(f"{url}/models") as answer:
                    model = str((await answer.json())["data"][0]["id"])
            extra = await _warm(session, url, model)
            (sample,) = await _round(session, url, model, [point], lambda _: None, extra, math.inf)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineUnavailable(f"url: no engine answers at {url}: {error}", param="url") from error
    return sample


async def _round(
    session: aiohttp.ClientSession,
    url: str,
    model: str,
    plan: Sequence[Point],
    tell: Callable[[str], None],
    extra: dict[str, Any],
    end: float,
) -> list[Sample]:
    samples: list[Sample] = []
    for number, point in enumerate(plan, 1):
        begin = time.perf_counter()
        if begin > end:
            tell(f"{len(plan) - number + 1} points left out: two minutes are up")
            break
        salts = [f"{number}-{i} {begin:.6f}" for i in range(point.streams)]
        rows = await asyncio.gather(*(_stream(session, url, model, point, salt, extra) for salt in salts))
        found = _sample(point, rows, time.perf_counter() - begin)
        samples.append(found)
        tell(
            f"{number}/{len(plan)}: {point.streams} streams of {found.tokens_in:.0f} tokens: "
            f"first token {found.ttft_s * 1e3:.0f} ms, {found.itl_s * 1e3:.1f} ms a token, {found.rate:.1f} tokens/s"
        )
    return samples


def _better(a: Sample, b: Sample) -> Sample:
    return replace(a, ttft_s=min(a.ttft_s, b.ttft_s), itl_s=min(a.itl_s, b.itl_s), rate=max(a.rate, b.rate))


async def _warm(session: aiohttp.ClientSession, url: str, model: str) -> dict[str, Any]:
    """One request to wake the engine; what it takes beside the standard fields (answers of full length, or nothing)."""
    full: dict[str, Any] = {"ignore_eos": True}
    try:
        await _stream(session, url, model, Point(1, 16, 8), "warm", full)
    except EngineUnavailable as error:
        if "ignore_eos" not in error.message:
            raise
        full = {}
        await _stream(session, url, model, Point(1, 16, 8), "warm", full)
    return full


def _sample(point: Point, rows: Sequence[tuple[float, ...]], seconds: float) -> Sample:
    first = np.array([r[0] for r in rows])
    whole = np.array([r[1] for r in rows])
    out = np.array([r[3] for r in rows])
    gaps = (whole - first) / np.maximum(out - 1, 1)
    return Sample(
        point.streams,
        float(np.mean([r[2] for r in rows])),
        float(out.mean()),
        float(first.mean()),
        float(gaps.mean()),
        float(out.sum() / seconds),
    )


# The fit ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Calibration:
    """``factors``: what each tuned group of coefficients is multiplied by. ``residual``: median relative error before
    and after."""

    fingerprint: str
    setup: str
    factors: tuple[float, ...]
    residual_before: float
    residual_after: float
    worst_after: float
    samples: tuple[Sample, ...]
    kv_tokens: int = 0
    bandwidth_gbs: float = 0.0
    fp16_tflops: float = 0.0
    """The card as it was measured then: the factors hold for these, not for a later measurement."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _targets(setup: Setup, samples: Sequence[Sample]) -> tuple[list[Case], Floats]:
    cases: list[Case] = []
    values: list[float] = []
    for s in samples:
        mode = "burst" if s.streams > 1 else "static"
        work = Work(mode, s.tokens_in, s.tokens_out, float(s.streams), float(s.streams))
        cases.append(setup.case(work, "ttft_ms_mean"))
        values.append(s.ttft_s * 1e3)
        if s.tokens_out > 8:
            cases += [setup.case(work, "itl_ms_mean"), setup.case(work, "output_tok_s_total")]
            values += [s.itl_s * 1e3, s.rate]
    return cases, np.array(values)


def expected(setup: Setup, like: Sample) -> Sample:
    """What the setup's coefficients say of a point with the streams and lengths of ``like``."""
    cases, _ = _targets(setup, [like])
    values = np.exp(_predicted(cases, setup.model.values(cases), np.zeros(len(TUNED))))
    told = {case.metric: float(value) for case, value in zip(cases, values, strict=True)}
    return replace(
        like,
        ttft_s=told["ttft_ms_mean"] / 1e3,
        itl_s=told.get("itl_ms_mean", math.nan) / 1e3,
        rate=told.get("output_tok_s_total", math.nan),
    )


def _predicted(cases: list[Case], base: dict[str, Floats], logs: Floats) -> Floats:
    moved = dict(base)
    for names, log in zip(TUNED, logs, strict=True):
        for name in names:
            floor = 0.3 * FLOORS.get(name, 0.0)  # the table's bandwidth or rate may be wrong for this machine
            moved[name] = np.maximum(base[name] * math.exp(log), floor)
    out = np.zeros(len(cases))
    for metric in sorted({c.metric for c in cases}):
        index = np.array([i for i, c in enumerate(cases) if c.metric == metric])
        table = table_of([cases[i] for i in index])
        out[index] = figure(metric, table, Steps(table, {k: v[index] for k, v in moved.items()}))
    return np.log(np.maximum(out, 1e-9))


def fit_factors(setup: Setup, samples: Sequence[Sample], pull: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Logarithms of the factors, and the residual logarithms before and after. Gauss-Newton with the pull as prior.

    ``pull`` 0 takes 0.15 where the engine was measured on this card, four times that where it was not.
    """
    if len(samples) < 2:
        raise BadRequest(f"url: {len(samples)} points are too few to calibrate on", param="url")
    cases, values = _targets(setup, samples)
    near = setup.model.nearness(cases[0])
    pull = pull or (PULL if near in ("model", "card") else 8 * PULL)
    base = setup.model.values(cases)
    goal = np.log(values)
    logs = np.zeros(len(TUNED))
    before = _predicted(cases, base, logs) - goal
    for _ in range(25):
        residual = _predicted(cases, base, logs) - goal
        slopes = np.stack(
            [(_predicted(cases, base, logs + d) - goal - residual) / 1e-4 for d in np.eye(len(TUNED)) * 1e-4], axis=1
        )
        weight = 1 / (1 + (residual / 0.15) ** 2) / NOISE**2
        normal = (slopes.T * weight) @ slopes + np.eye(len(TUNED)) / pull**2
        step = np.linalg.solve(normal, -(slopes.T @ (weight * residual) + logs / pull**2))
        logs = logs + np.clip(step, -0.7, 0.7)
        if np.max(np.abs(step)) < 1e-4:
            break
    return logs, before, _predicted(cases, base, logs) - goal


def calibrated(
    setup: Setup, samples: Sequence[Sample], fingerprint: str, kv_tokens: int = 0
) -> tuple[Setup, Calibration]:
    """The setup with this machine's coefficients, and the record to keep."""
    logs, before, after = fit_factors(setup, samples)
    record = Calibration(
        fingerprint,
        setup.name,
        tuple(float(math.exp(x)) for x in logs),
        float(np.median(np.abs(np.expm1(before)))),
        float(np.median(np.abs(np.expm1(after)))),
        float(np.max(np.abs(np.expm1(after)))),
        tuple(samples),
        kv_tokens,
        setup.machine.card.bandwidth_gbs,
        setup.machine.card.fp16_tflops,
    )
    return apply(setup, record), record


def apply(setup: Setup, record: Calibration) -> Setup:
    """The setup as calibrated: the factors become effects of the very case, above its other groups."""
    card = setup.machine.card
    if record.bandwidth_gbs:
        card = replace(card, bandwidth_gbs=record.bandwidth_gbs, fp16_tflops=record.fp16_tflops)
    load = replace(setup.load, kv_tokens=record.kv_tokens or setup.load.kv_tokens)
    setup = replace(setup, machine=replace(setup.machine, card=card), load=load)
    case = setup.case(Work("closed", 512, 128))
    base = setup.model.values([case])
    name = groups(case)["model_version_quant"]
    effects = {
        coefficient: {k: dict(v) for k, v in kinds.items()} for coefficient, kinds in setup.model.effects.items()
    }
    for names, factor in zip(TUNED, record.factors, strict=True):
        for coefficient in names:
            floor = FLOORS.get(coefficient, 0.0)
            now = float(base[coefficient][0])
            wanted = max(now * factor - floor, (prior(coefficient, case) - floor) * 1e-3)
            slot = effects.setdefault(coefficient, {}).setdefault("model_version_quant", {})
            slot[name] = slot.get(name, 0.0) + math.log(wanted / max(now - floor, 1e-9))
    spread = max(0.05, min(2.0 * record.residual_after + 0.03, 0.5))
    model = Coefficients(
        effects, {**setup.model.bands, "measured": (1 - spread, 1 + spread)}, setup.model.known, setup.model.report
    )  # without the published rows' correction: what is measured here is nearer
    return replace(setup, coefficients=model, measured=record.fingerprint)


def keep(record: Calibration, folder: Path) -> Path:
    """Store the record beside others of this machine; one file a machine and setup."""
    folder.mkdir(parents=True, exist_ok=True)
    slug = "".join(c if c.isalnum() else "-" for c in record.setup.lower())
    path = folder / f"{record.fingerprint}-{slug}.json"
    path.write_text(json.dumps(record.as_json(), indent=1) + "\n", "utf-8")
    return path


def recall(setup: Setup, fingerprint: str, folder: Path) -> Setup:
    """The setup calibrated by a kept record of this machine, or as it is."""
    slug = "".join(c if c.isalnum() else "-" for c in setup.name.lower())
    path = folder / f"{fingerprint}-{slug}.json"
    if not path.is_file():
        return setup
    data = json.loads(path.read_text("utf-8"))
    data["samples"] = tuple(Sample(**s) for s in data["samples"])
    data["factors"] = tuple(data["factors"])
    return apply(setup, Calibration(**data))
