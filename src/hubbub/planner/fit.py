"""Fit the planner to the published measurements and say how well it does: ``python -m hubbub.planner.fit``.

With ``--correction`` the coefficients stay, and only the correction by neighbours is made anew: for a change of the
simulator that moves single rows.

One fit of all rows (``problem.py``) gives the coefficients that are shipped. Held-out errors come from five cross
validations: rows at random, (model, card) groups, models, sets and cards left out. Each fits coefficients and keeps the
residuals of its own training rows for the correction by neighbours (``residuals.py``), so that nothing of a row left
out is in its prediction. Their residuals give the bands.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from hubbub.planner.cases import MEMORY, Case, OutOfScope, parse_row
from hubbub.planner.closed_forms import roofline
from hubbub.planner.coefficients import Coefficients, bundled, look_up, metric_class
from hubbub.planner.footprint import memory_figure
from hubbub.planner.problem import Data, corrected, errors_of, left_by, load, predicted, read_published
from hubbub.planner.residuals import packed
from hubbub.planner.step_time import Floats


@dataclass(slots=True)
class Held:
    """Rows predicted by a fit without them: their places in the data, logarithms of predicted over measured, and how
    near the training rows were."""

    index: Any
    residual: Floats
    near: list[str]


def held_out(data: Data, labels: list[str], folds: int, most: int = 0) -> Held:
    """Every row predicted by a fit without the rows of its label, from nothing: a start at the whole fit would know
    them. Labels are dealt into ``folds`` folds, of which the first ``most`` (0: all) are done."""
    names = sorted(sorted(set(labels)), key=lambda n: -labels.count(n))
    fold = {name: i % folds for i, name in enumerate(names)}
    which = np.array([fold[label] for label in labels])
    residual = np.zeros(len(labels))
    near = [""] * len(labels)
    done = np.flatnonzero(which < (most or folds))
    for number in range(most or folds):
        test = np.flatnonzero(which == number)
        if not len(test):
            continue
        model = corrected(data.take(np.flatnonzero(which != number)))
        part = data.take(test)
        residual[test] = errors_of(part, model)
        for i in test:
            near[i] = model.nearness(data.cases[i])
    return Held(done, residual[done], [near[i] for i in done])


def bands_of(data: Data, parts: list[Held]) -> dict[str, tuple[float, float]]:
    """Factors that hold 90 % of held-out rows, by class of metric, mode and nearness; sparse classes are left out.

    Few held-out rows are as near as 'model', so its pool is joined by 'card'. Throughput keeps its two tails apart;
    times have too few rows for that, and one quantile of the distance serves both sides.
    """
    pools: dict[str, list[float]] = {}
    for held in parts:
        for i, r, found in zip(held.index, held.residual, held.near, strict=True):
            case = data.cases[i]
            kind = metric_class(case.metric)
            for n in (found, "model") if found == "card" else (found,):
                for key in (f"{kind}|{case.work.mode}|{n}", f"{kind}|{n}", n, "all"):
                    pools.setdefault(key, []).append(float(-r))
    bands: dict[str, tuple[float, float]] = {}
    for key, pool in pools.items():
        if len(pool) < (60 if "|" in key else 20):
            continue
        if key.startswith("throughput"):
            low, high = np.quantile(pool, [0.05, 0.95])
        else:
            high = np.quantile(np.abs(pool), 0.9)
            low = -high
        bands[key] = (round(float(np.exp(min(low, -0.05))), 4), round(float(np.exp(max(high, 0.05))), 4))
    return bands


def _coverage(data: Data, held: Held, bands: dict[str, tuple[float, float]]) -> float:
    """Share of held-out rows inside the band they would have been given."""
    inside = 0
    for i, r, n in zip(held.index, held.residual, held.near, strict=True):
        low, high = look_up(bands, data.cases[i], n)
        inside += low <= float(np.exp(-r)) <= high
    return inside / max(len(held.residual), 1)


def memory_bands(rows: Iterable[Mapping[str, str]], report: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Bands of the memory figures, whose formulas have few constants: residuals of all rows, widened by a fifth."""
    pool: list[float] = []
    for row in rows:
        try:
            case = parse_row(row)
            value = float(row["value"] or "nan")
        except (OutOfScope, ValueError):
            continue
        if case.metric in MEMORY and value > 0:
            pool.append(float(np.log(value / max(memory_figure(case), 1e-9))))
    report["memory, in sample"] = summary(-np.array(pool))
    low, high = np.quantile(pool, [0.045, 0.955])
    return {"memory": (round(float(np.exp(1.2 * low)), 4), round(float(np.exp(1.2 * high)), 4))}


def summary(errors: Floats) -> dict[str, float]:
    absolute = np.abs(np.exp(errors) - 1)
    return {
        "rows": len(errors),
        "median": round(float(np.median(absolute)), 4),
        "p90": round(float(np.quantile(absolute, 0.9)), 4),
        "bias": round(float(np.median(np.exp(errors) - 1)), 4),
    }


def by_class(cases: list[Case], errors: Floats) -> dict[str, dict[str, float]]:
    out = {"all": summary(errors)}
    kinds = np.array([metric_class(c.metric) for c in cases])
    for kind in sorted({str(k) for k in kinds}):
        out[kind] = summary(errors[kinds == kind])
    return out


def _folds(data: Data) -> dict[str, tuple[list[str], int, int]]:
    """Name of a cross validation: labels, folds they are dealt into, folds done (0: all)."""
    dealt = np.random.default_rng(1).permutation(len(data.cases)) % 10
    return {
        "rows at random left out, a tenth": ([f"tenth {n}" for n in dealt], 10, 2),
        "one model on one card left out": ([f"{c.shape.name}|{c.machine.card.name}" for c in data.cases], 4, 0),
        "one model left out": ([c.shape.name for c in data.cases], 4, 0),
        "one set left out": ([c.source for c in data.cases], 6, 0),
        "one card left out": ([c.machine.card.name for c in data.cases], 4, 0),
    }


def _report(data: Data, held: Held) -> dict[str, Any]:
    cases = [data.cases[i] for i in held.index]
    out: dict[str, Any] = by_class(cases, held.residual)
    common = np.array([c.machine.card.kind in ("nvidia", "cpu", "apple") for c in cases])
    out["NVIDIA, CPU and Apple"] = summary(held.residual[common])
    for level in sorted(set(held.near)):
        out[f"nearness {level}"] = summary(held.residual[np.array(held.near) == level])
    return out


def run(rows: list[dict[str, str]], tell: Callable[[str], None], *, quick: bool = False) -> Coefficients:
    """The whole fit with its cross validations, two at a time, each on one core."""
    data = load(rows)
    tell(f"{len(data.cases)} of {len(rows)} rows are of speed or latency and can be predicted")
    whole = corrected(data, tell)
    plain = np.log(predicted(data, roofline(data.table)) / data.values)
    report: dict[str, Any] = {
        "in sample": by_class(data.cases, errors_of(data, whole)),
        "pure roofline": by_class(data.cases, plain),
    }
    plans = _folds(data)
    if quick:
        plans = {name: plan for name, plan in plans.items() if name == "one model on one card left out"}
    found: dict[str, Held] = {}
    with ProcessPoolExecutor(min(2, len(plans)), mp_context=get_context("spawn")) as pool:
        asked = {n: pool.submit(held_out, data, labels, *folds) for n, (labels, *folds) in plans.items()}
        for name, future in asked.items():
            found[name] = future.result()
            report[name] = _report(data, found[name])
            tell(f"{name}: {json.dumps(report[name])}")
    bands = bands_of(data, list(found.values())) | memory_bands(rows, report)
    for name, held in found.items():
        report[name]["covered"] = round(_coverage(data, held, bands), 4)
        tell(f"{name}: {report[name]['covered']:.1%} inside the band")
    return replace(whole, bands=bands, report=report)


def main() -> None:
    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    named = [a for a in sys.argv[1:] if not a.startswith("--")]
    rows = list(csv.DictReader(io.StringIO(Path(named[0]).read_text("utf-8")))) if named else read_published()
    folder = Path(__file__).parent / "data"
    if "--correction" in sys.argv:
        data, plain = load(rows), replace(bundled(), rows=None)
        result = left_by(data, plain, errors_of(data, plain))
        assert result.rows is not None
        (folder / "residuals.npz").write_bytes(packed(result.rows))
        return
    result = run(rows, tell, quick="--quick" in sys.argv)
    known = {kind: sorted(names) for kind, names in result.known.items()}
    written = {"effects": result.effects, "bands": result.bands, "known": known, "report": result.report}
    (folder / "coefficients.json").write_text(json.dumps(written, indent=0, sort_keys=True) + "\n", "utf-8")
    assert result.rows is not None
    (folder / "residuals.npz").write_bytes(packed(result.rows))
    tell(f"wrote coefficients and residuals to {folder}")


if __name__ == "__main__":
    main()
