"""Fit the step-time coefficients to the published measurements: ``python -m hubbub.planner.fit``.

One maximum-a-posteriori fit of all rows at once. The residual is the logarithm of predicted over measured, under a
Cauchy loss (sources hold slips and odd set-ups). Effects of groups are drawn to zero by their prior deviations: that is
the shrinkage, from engine on card to engine to everything. A set counts with the root of its rows, so that the
largest (39 % of all) does not rule. Gauss-Newton steps with damping; a fit takes some seconds.

Held-out errors come from three cross validations: one model left out, one set left out, one (model, card) group in
five left out. Their residuals give the bands.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from hubbub.planner.cases import MEMORY, Case, OutOfScope, parse_row
from hubbub.planner.coefficients import KINDS, Coefficients, from_json, groups, look_up, metric_class
from hubbub.planner.footprint import memory_figure
from hubbub.planner.step_time import (
    COEFFICIENTS,
    FLOORS,
    Floats,
    Steps,
    Table,
    coefficient,
    figure,
    prior,
    roofline,
    table_of,
)

SIGMA = 0.06
"""Noise of one row in logarithms: repeated runs of one set-up in the data differ by about this."""
CAUCHY = 0.12
STEP = 1e-4
SHRINK = 0.6
"""Of the prior deviations in ``KINDS``: chosen by cross validation among 0.6, 1 and 1.5."""


@dataclass(slots=True)
class Data:
    """Rows that can be predicted. ``rows`` are their places in the file."""

    cases: list[Case]
    values: Floats
    table: Table
    rows: list[int]
    members: list[dict[str, str]]

    def take(self, index: Any) -> Data:
        index = np.asarray(index)
        return Data(
            [self.cases[i] for i in index],
            self.values[index],
            self.table.take(index),
            [self.rows[i] for i in index],
            [self.members[i] for i in index],
        )


def read_published() -> list[dict[str, str]]:
    raw = resources.files("hubbub.planner").joinpath("data/published.csv.gz").read_bytes()
    return list(csv.DictReader(io.StringIO(gzip.decompress(raw).decode("utf-8"))))


def load(rows: Iterable[Mapping[str, str]]) -> Data:
    """The speed and latency rows; memory rows have a model of their own."""
    cases, values, places = [], [], []
    for place, row in enumerate(rows):
        try:
            case = parse_row(row)
        except OutOfScope:
            continue
        value = float(row["value"] or "nan")
        if case.metric in MEMORY or not np.isfinite(value) or value <= 0:
            continue
        cases.append(case)
        values.append(value)
        places.append(place)
    return Data(cases, np.array(values), table_of(cases), places, [groups(case) for case in cases])


Part = tuple[str, Any, Table]


def parts_of(metrics: list[str], table: Table) -> list[Part]:
    """The rows of one metric and mode at a time: metric, places, their table."""
    named = np.array([f"{metric}|{mode:.0f}" for metric, mode in zip(metrics, table.mode, strict=True)])
    found = []
    for name in sorted(set(named)):
        index = np.flatnonzero(named == name)
        found.append((name.partition("|")[0], index, table.take(index)))
    return found


def predict(parts: list[Part], coefficients: dict[str, Floats]) -> Floats:
    """Predicted values of all rows of ``parts``."""
    out = np.zeros(sum(len(index) for _, index, _ in parts))
    for metric, index, table in parts:
        out[index] = figure(metric, table, Steps(table, {k: v[index] for k, v in coefficients.items()}))
    return out


def predicted(data: Data, coefficients: dict[str, Floats]) -> Floats:
    return predict(parts_of([case.metric for case in data.cases], data.table), coefficients)


class Problem:
    """The design: which effects each row's coefficients are made of."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.parts = parts_of([case.metric for case in data.cases], data.table)
        self.start = {name: np.array([prior(name, case) for case in data.cases]) for name in COEFFICIENTS}
        self.keys: list[tuple[str, str, str]] = []
        self.deviations: list[float] = []
        member = data.members
        self.design: dict[str, sparse.csr_matrix] = {}
        places: dict[tuple[str, str, str], int] = {}
        entries: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in COEFFICIENTS}
        for kind, parts in KINDS.items():
            for names, deviation in parts.items():
                for name in names:
                    for row, found in enumerate(member):
                        if kind not in found:
                            continue
                        key = (name, kind, found[kind])
                        if key not in places:
                            places[key] = len(self.keys)
                            self.keys.append(key)
                            self.deviations.append(SHRINK * deviation * (1.4 if name in FLOORS else 1.0))
                        entries[name][0].append(row)
                        entries[name][1].append(places[key])
        shape = (len(data.cases), len(self.keys))
        for name, (rows, columns) in entries.items():
            self.design[name] = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
        counts: dict[str, int] = {}
        for case in data.cases:
            counts[case.source] = counts.get(case.source, 0) + 1
        typical = float(np.median(list(counts.values()))) if counts else 1.0
        weight = np.array([np.sqrt(typical / counts[case.source]) for case in data.cases])
        self.weight = np.clip(weight, 0.25, 2.0) * np.array([1.0 if case.sure else 0.4 for case in data.cases])

    def coefficients(self, effects: Floats) -> dict[str, Floats]:
        return {n: coefficient(n, self.start[n], self.design[n] @ effects) for n in COEFFICIENTS}

    def residual(self, coefficients: dict[str, Floats]) -> Floats:
        figures = predict(self.parts, coefficients)
        return np.log(np.maximum(figures, 1e-9)) - np.log(self.data.values)

    def jacobian(self, coefficients: dict[str, Floats], residual: Floats) -> sparse.csr_matrix:
        total = sparse.csr_matrix((len(residual), len(self.keys)))
        for name in COEFFICIENTS:
            floor = FLOORS.get(name, 0.0)
            moved = {**coefficients, name: floor + (coefficients[name] - floor) * np.exp(STEP)}
            slope = (self.residual(moved) - residual) / STEP
            total = total + sparse.diags(slope) @ self.design[name]
        return sparse.csr_matrix(total)

    def cost(self, residual: Floats, effects: Floats, width: float = CAUCHY) -> float:
        robust = width**2 * np.log1p((residual / width) ** 2)
        prior = np.sum((effects / np.array(self.deviations)) ** 2)
        return float(np.sum(self.weight * robust) / SIGMA**2 + prior)

    def solve(self, start: Floats | None = None, rounds: int = 30, tell: Callable[[str], None] | None = None) -> Floats:
        effects = np.zeros(len(self.keys)) if start is None else start.copy()
        prior = 1.0 / np.array(self.deviations) ** 2
        damping = 1.0
        residual = self.residual(self.coefficients(effects))
        widths = [*([1.0] * 4), *([0.4] * 3)] if start is None else [0.4]
        widths = (widths + [CAUCHY] * rounds)[:rounds]
        for turn, width in enumerate(widths):
            cost = self.cost(residual, effects, width)
            jacobian = self.jacobian(self.coefficients(effects), residual)
            robust = self.weight / (1 + (residual / width) ** 2) / SIGMA**2
            gradient = jacobian.T @ (robust * residual) + prior * effects
            while damping < 1e6:
                step = self._step(jacobian, robust, prior * (1 + damping), gradient)
                trial = effects + np.clip(step, -1.0, 1.0)
                trial_residual = self.residual(self.coefficients(trial))
                trial_cost = self.cost(trial_residual, trial, width)
                if trial_cost < cost:
                    break
                damping *= 5
            else:
                damping = 1.0
                continue
            gain = (cost - trial_cost) / cost
            effects, residual, cost = trial, trial_residual, trial_cost
            damping = max(damping / 4, 1e-3)
            if tell is not None:
                tell(f"round {turn}: cost {cost:.0f}, median |error| {np.median(np.abs(residual)):.4f}")
            if gain < 1e-3 and width == CAUCHY:
                break
        return effects

    def _step(self, jacobian: sparse.csr_matrix, robust: Floats, prior: Floats, gradient: Floats) -> Floats:
        """Solve (J'WJ + prior) step = -gradient by conjugate gradients, scaled by the diagonal."""
        weighted = sparse.diags(np.sqrt(robust)) @ jacobian
        diagonal = np.asarray(weighted.power(2).sum(axis=0)).ravel() + prior
        scale = 1 / np.sqrt(diagonal)
        scaled = (weighted @ sparse.diags(scale)).tocsr()
        turned = scaled.T.tocsr()
        size = len(prior)

        def times(vector: Floats) -> Floats:
            return np.asarray(turned @ (scaled @ vector) + prior * scale**2 * vector)

        solution, _ = cg(
            LinearOperator((size, size), matvec=times, dtype=float), -gradient * scale, rtol=1e-3, maxiter=150
        )
        return np.asarray(solution * scale)

    def packed(self, effects: Floats) -> dict[str, dict[str, dict[str, float]]]:
        """Effects as ``Coefficients.effects``, those too small to matter left out."""
        out: dict[str, dict[str, dict[str, float]]] = {}
        for (name, kind, group), effect in zip(self.keys, effects, strict=True):
            if abs(effect) > 5e-4:
                out.setdefault(name, {}).setdefault(kind, {})[group] = round(float(effect), 4)
        return out


def fitted(
    data: Data, start: Coefficients | None = None, rounds: int = 30, tell: Callable[[str], None] | None = None
) -> Coefficients:
    problem = Problem(data)
    first = None
    if start is not None:
        first = np.array([start.effects.get(n, {}).get(k, {}).get(g, 0.0) for n, k, g in problem.keys])
    effects = problem.solve(first, rounds, tell)
    known: dict[str, set[str]] = {"engine": set(), "engine_card": set(), "card": set(), "model_card": set()}
    for case in data.cases:
        member = groups(case)
        for kind, names in known.items():
            names.add(member[kind])
    return from_json(
        {"effects": problem.packed(effects), "bands": {}, "known": {k: sorted(v) for k, v in known.items()}}
    )


def held_out(data: Data, labels: list[str], whole: Coefficients, folds: int = 8) -> tuple[Floats, list[str]]:
    """Logarithms of predicted over measured for every row, its label's rows left out of the fit; and how near the
    training rows were. Labels are dealt into ``folds`` folds."""
    names = sorted(set(labels), key=lambda n: -labels.count(n))
    fold = {name: i % folds for i, name in enumerate(names)}
    which = np.array([fold[label] for label in labels])
    residual = np.zeros(len(labels))
    near = [""] * len(labels)
    for number in range(folds):
        test = np.flatnonzero(which == number)
        if not len(test):
            continue
        model = fitted(data.take(np.flatnonzero(which != number)), _without(whole), rounds=8)
        part = data.take(test)
        figures = predicted(part, model.values(part.cases))
        residual[test] = np.log(np.maximum(figures, 1e-9) / part.values)
        for i in test:
            near[i] = model.nearness(data.cases[i])
    return residual, near


def _without(whole: Coefficients) -> Coefficients:
    """A warm start: the whole fit's effects, but none of a model's own."""
    kept = {n: {k: v for k, v in kinds.items() if not k.startswith("model")} for n, kinds in whole.effects.items()}
    return replace(whole, effects=kept)


def bands_of(data: Data, parts: list[tuple[Floats, list[str]]]) -> dict[str, tuple[float, float]]:
    """Factors that hold 90 % of held-out rows, by class of metric, mode and nearness; sparse classes are left out.

    Few held-out rows are as near as 'model', so its pool is joined by 'card'. Throughput keeps its two tails apart;
    times have too few rows for that, and one quantile of the distance serves both sides.
    """
    pools: dict[str, list[float]] = {}
    for residual, near in parts:
        for case, r, found in zip(data.cases, residual, near, strict=True):
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


def _coverage(data: Data, residual: Floats, near: list[str], bands: dict[str, tuple[float, float]]) -> float:
    """Share of held-out rows inside the band they would have been given."""
    inside = 0
    for case, r, n in zip(data.cases, residual, near, strict=True):
        low, high = look_up(bands, case, n)
        inside += low <= float(np.exp(-r)) <= high
    return inside / max(len(residual), 1)


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


def by_class(data: Data, errors: Floats) -> dict[str, dict[str, float]]:
    out = {"all": summary(errors)}
    kinds = np.array([metric_class(c.metric) for c in data.cases])
    for kind in sorted(set(kinds)):
        out[kind] = summary(errors[kinds == kind])
    return out


def run(rows: list[dict[str, str]], tell: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """The whole fit with its cross validations, as the JSON of ``coefficients.json``."""
    data = load(rows)
    tell(f"{len(data.cases)} of {len(rows)} rows are of speed or latency and can be predicted")
    whole = fitted(data, tell=tell)
    inside = np.log(predicted(data, whole.values(data.cases)) / data.values)
    base = np.log(predicted(data, roofline(data.table)) / data.values)
    report: dict[str, Any] = {"in sample": by_class(data, inside), "pure roofline": by_class(data, base)}
    labels = {
        "one model left out": [c.shape.name for c in data.cases],
        "one model on one card left out": [f"{c.shape.name}|{c.machine.card.name}" for c in data.cases],
        "one set left out": [c.source for c in data.cases],
        "one card left out": [c.machine.card.name for c in data.cases],
    }
    parts: list[tuple[Floats, list[str]]] = []
    covered: dict[str, tuple[Floats, list[str]]] = {}
    for name, label in labels.items():
        if quick and name != "one model on one card left out":
            continue
        residual, near = held_out(data, label, whole, 6 if "model" in name else 10)
        report[name] = by_class(data, residual)
        common = np.array([c.machine.card.kind in ("nvidia", "cpu", "apple") for c in data.cases])
        report[name]["NVIDIA, CPU and Apple"] = summary(residual[common])
        for level in sorted(set(near)):
            report[name][f"nearness {level}"] = summary(residual[np.array(near) == level])
        parts.append((residual, near))
        covered[name] = (residual, near)
        tell(f"{name}: {json.dumps(report[name])}")
    bands = bands_of(data, parts) | memory_bands(rows, report)
    for name, (residual, near) in covered.items():
        report[name]["covered"] = round(_coverage(data, residual, near, bands), 4)
        tell(f"{name}: {report[name]['covered']:.1%} inside the band")
    return {
        "effects": whole.effects,
        "bands": bands,
        "known": {kind: sorted(names) for kind, names in whole.known.items()},
        "report": report,
    }


def main() -> None:
    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    named = [a for a in sys.argv[1:] if not a.startswith("--")]
    rows = list(csv.DictReader(io.StringIO(Path(named[0]).read_text("utf-8")))) if named else read_published()
    result = run(rows, tell, quick="--quick" in sys.argv)
    target = Path(__file__).parent / "data" / "coefficients.json"
    target.write_text(json.dumps(result, indent=0, sort_keys=True) + "\n", "utf-8")
    tell(f"wrote {target}")


if __name__ == "__main__":
    main()
