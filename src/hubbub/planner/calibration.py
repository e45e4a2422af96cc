"""This machine's coefficients: factors on the published ones, fitted to what was measured here, kept in a file.

Two kinds of measurements lead to them: the points of ``plan calibrate`` (``calibrate``), and the steps of a server's
own traffic (``refine``). Either way some factors are fitted with a pull towards where they stood, in logarithms: three
points already help, what the data say nothing of is left as it is, and one wild sample moves little.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubbub.core.errors import BadRequest
from hubbub.core.observed import StepSeen
from hubbub.planner.cases import Case, Work
from hubbub.planner.coefficients import Coefficients, Machined
from hubbub.planner.serving import figures
from hubbub.planner.setup import Setup
from hubbub.planner.step_time import Floats, Steps, table_of

PULL = 0.15
"""Standard deviation, in logarithms, of a machine's factor around the table's."""
NOISE = 0.04
WIDTH = 0.15
"""Where belief in a sample fades."""
SLOPE = 0.02
"""A factor is moved by so much to see what that changes: less, and a simulation's own steps would show."""
TUNED: tuple[tuple[str, ...], ...] = (
    ("weights",),
    ("kv",),
    ("prefill",),
    ("compute", "seq_us"),
    ("layer_us", "step_ms"),
    ("request_ms", "serial_ms"),
)
FURTHEST, FURTHEST_UNSEEN = math.log(4.0), math.log(16.0)
"""A server's traffic moves a factor by no more than this from where ``plan calibrate`` put it, or the table, which may
be of another machine than the name of its processor says."""
FEWEST_STEPS = 3
LIKE_IT = 1.5
"""Bands of a setup that borrows another's record on this machine are so many times as wide."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one point gave. Means in seconds; tokens as the engine counted them; ``rate`` output tokens a second."""

    streams: int
    tokens_in: float
    tokens_out: float
    ttft_s: float
    itl_s: float
    rate: float


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
    samples: tuple[Sample, ...] = ()
    kv_tokens: int = 0
    bandwidth_gbs: float = 0.0
    fp16_tflops: float = 0.0
    """The card as it was measured then: the factors hold for these, not for a later measurement."""
    engine: str = ""
    measured: tuple[float, ...] = ()
    """The factors of ``plan calibrate``, or ones: a server's traffic refines from there."""
    steps: tuple[StepSeen, ...] = ()
    """What the server's traffic showed, if it refined the record."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


# The fit ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fitted:
    logs: Floats
    before: Floats
    after: Floats

    def record(self, setup: Setup, fingerprint: str, **more: Any) -> Calibration:
        return Calibration(
            fingerprint,
            setup.name,
            tuple(float(math.exp(x)) for x in self.logs),
            float(np.median(np.abs(np.expm1(self.before)))),
            float(np.median(np.abs(np.expm1(self.after)))),
            float(np.max(np.abs(np.expm1(self.after)))),
            bandwidth_gbs=setup.machine.card.bandwidth_gbs,
            fp16_tflops=setup.machine.card.fp16_tflops,
            engine=setup.engine.family,
            **more,
        )


def _settle(residual_at: Callable[[Floats], Floats], centre: Floats, pull: float, noise: Floats | float) -> _Fitted:
    """The factors' logarithms under which the residual logarithms are least: Gauss-Newton, Cauchy weights."""
    logs = centre.copy()
    for _ in range(25):
        residual = residual_at(logs)
        slopes = np.stack([(residual_at(logs + d) - residual) / SLOPE for d in np.eye(len(logs)) * SLOPE], axis=1)
        weight = 1 / (1 + (residual / WIDTH) ** 2) / noise**2
        normal = (slopes.T * weight) @ slopes + np.eye(len(logs)) / pull**2
        step = np.linalg.solve(normal, -(slopes.T @ (weight * residual) + (logs - centre) / pull**2))
        logs = logs + np.clip(step, -0.7, 0.7)
        if np.max(np.abs(step)) < 1e-3:
            break
    return _Fitted(logs, residual_at(np.zeros(len(logs))), residual_at(logs))


def _pull(setup: Setup) -> float:
    """Strong where engine and card are known, weak where they are not."""
    near = setup.model.nearness(setup.case(Work("closed", 512, 128)))
    return PULL if near in ("model", "card") else 8 * PULL


def _machined(setup: Setup, logs: Floats) -> Machined:
    factors = {name: math.exp(log) for names, log in zip(TUNED, logs, strict=True) for name in names}
    return Machined(setup.machine.card.name, setup.engine.family, factors)


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
    values = figures(cases, setup.model.values(cases))
    told = {case.metric: float(value) for case, value in zip(cases, values, strict=True)}
    return replace(
        like,
        ttft_s=told["ttft_ms_mean"] / 1e3,
        itl_s=told.get("itl_ms_mean", math.nan) / 1e3,
        rate=told.get("output_tok_s_total", math.nan),
    )


def fit_factors(setup: Setup, samples: Sequence[Sample], pull: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Logarithms of the factors, and the residual logarithms before and after.

    ``pull`` 0 takes 0.15 where the engine was measured on this card, eight times that where it was not.
    """
    if len(samples) < 2:
        raise BadRequest(f"url: {len(samples)} points are too few to calibrate on", param="url")
    cases, values = _targets(setup, samples)
    base, goal = setup.model.values(cases), np.log(values)

    def residual_at(logs: Floats) -> Floats:
        moved = _machined(setup, logs).moved(cases, base)
        return np.log(np.maximum(figures(cases, moved), 1e-9)) - goal

    found = _settle(residual_at, np.zeros(len(TUNED)), pull or _pull(setup), NOISE)
    return found.logs, found.before, found.after


def calibrated(
    setup: Setup, samples: Sequence[Sample], fingerprint: str, kv_tokens: int = 0
) -> tuple[Setup, Calibration]:
    """The setup with this machine's coefficients, and the record to keep."""
    found = _Fitted(*fit_factors(setup, samples))
    record = found.record(setup, fingerprint, samples=tuple(samples), kv_tokens=kv_tokens)
    record = replace(record, measured=record.factors)
    return apply(setup, record), record


def refined(setup: Setup, steps: Sequence[StepSeen], fingerprint: str, kept: Calibration | None = None) -> Calibration:
    """The record after a server's traffic showed ``steps``, medians that they are. ``setup``: as published; ``kept``:
    the record so far. Bounded: no factor goes further than four times from ``plan calibrate``'s, or 16 from the
    table's.

    Raises BadRequest where the steps are too few to say anything.
    """
    if len(steps) < FEWEST_STEPS:
        raise BadRequest(f"steps: {len(steps)} kinds of steps are too few to refine on", param="steps")
    base = on_card(setup, kept) if kept else setup
    cases = [base.case(Work("static", s.context or s.read, 1.0, max(s.sequences, 1.0))) for s in steps]
    values, table = base.model.values(cases), table_of(cases)
    goal = np.log([s.seconds for s in steps])
    alone = np.array([s.sequences == 0 for s in steps])
    batch = np.array([max(s.sequences, 1.0) for s in steps])
    context, read = np.array([s.context for s in steps]), np.array([s.read for s in steps])

    def residual_at(logs: Floats) -> Floats:
        c = _machined(base, logs).moved(cases, values)
        model = Steps(table, c)
        mixed = model.decode(batch, context) + model.prompt_work(read)
        first = model.prefill(np.ones(len(steps)), np.maximum(read, 1.0)) + c["request_ms"] * 1e-3
        return np.log(np.where(alone, first, mixed) * c["scale"]) - goal

    measured = np.log(kept.measured if kept and kept.measured else np.ones(len(TUNED)))
    noise = NOISE + 0.2 / np.sqrt([s.samples for s in steps])
    calibrated_here = kept is not None and bool(kept.samples)
    found = _settle(residual_at, measured, PULL if calibrated_here else _pull(base), noise)
    furthest = FURTHEST if calibrated_here else FURTHEST_UNSEEN
    logs = np.clip(found.logs, measured - furthest, measured + furthest)
    found = replace(found, logs=logs, after=residual_at(logs))
    record = found.record(base, fingerprint, steps=tuple(steps), measured=tuple(np.exp(measured).tolist()))
    return replace(record, samples=kept.samples, kv_tokens=kept.kv_tokens) if kept else record


# The record ---------------------------------------------------------------------------------------------------------


def on_card(setup: Setup, record: Calibration) -> Setup:
    """The setup on the card as it was when the record was made."""
    card, load = setup.machine.card, setup.load
    if record.bandwidth_gbs:
        card = replace(card, bandwidth_gbs=record.bandwidth_gbs, fp16_tflops=record.fp16_tflops)
    if record.kv_tokens and record.setup == setup.name:
        load = replace(load, kv_tokens=record.kv_tokens)
    return replace(setup, machine=replace(setup.machine, card=card), load=load)


def apply(setup: Setup, record: Calibration) -> Setup:
    """The setup as calibrated. A record of another model or quantization on this machine and engine helps too, with
    wider bands."""
    setup = on_card(setup, record)
    spread = max(0.05, min(2.0 * record.residual_after + 0.03, 0.5))
    if record.setup != setup.name:
        spread = min(LIKE_IT * spread + 0.05, 0.6)
    model = Coefficients(
        setup.model.effects,
        {**setup.model.bands, "measured": (1 - spread, 1 + spread)},
        setup.model.known,
        setup.model.report,
        machined=_machined(setup, np.log(record.factors)),
    )  # without the published rows' correction: what is measured here is nearer
    return replace(setup, coefficients=model, measured=record.fingerprint)


def keep(record: Calibration, folder: Path) -> Path:
    """Store the record beside others of this machine; one file a machine and setup, written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _file(record.fingerprint, record.setup)
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps(record.as_json(), indent=1) + "\n", "utf-8")
    whole.replace(path)
    return path


def _file(fingerprint: str, setup: str) -> str:
    slug = "".join(c if c.isalnum() else "-" for c in setup.lower())
    return f"{fingerprint}-{slug}.json"


def kept_record(setup: Setup, fingerprint: str, folder: Path) -> Calibration | None:
    """This machine's record of the very setup."""
    return _read(folder / _file(fingerprint, setup.name))


def recall(setup: Setup, fingerprint: str, folder: Path) -> Setup:
    """The setup calibrated by a kept record of this machine: its own, else the newest of the same engine here, else
    as it is."""
    own = kept_record(setup, fingerprint, folder)
    if own is not None:
        return apply(setup, own)
    found = sorted(folder.glob(f"{fingerprint}-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for record in map(_read, found):
        if record is not None and record.engine == setup.engine.family:
            return apply(setup, record)
    return setup


def _read(path: Path) -> Calibration | None:
    """None for what is not there, is broken, or is of a version whose factors mean something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
        data["samples"] = tuple(Sample(**s) for s in data.get("samples", ()))
        data["steps"] = tuple(StepSeen(**s) for s in data.get("steps", ()))
        for name in ("factors", "measured"):
            data[name] = tuple(float(x) for x in data.get(name, ()))
        record = Calibration(**{f.name: data[f.name] for f in fields(Calibration) if f.name in data})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if len(record.factors) == len(TUNED) else None
