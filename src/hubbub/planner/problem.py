"""One fit of the step-time coefficients to measured rows.

A maximum-a-posteriori fit of all rows at once. The residual is the logarithm of predicted over measured, under a
Cauchy loss (sources hold slips and odd set-ups). Effects of groups are drawn to zero by their prior deviations: that is
the shrinkage, from engine on card to engine to everything. A set counts with the root of its rows, so that the
largest (39 % of all) does not rule. Gauss-Newton steps with damping; a fit takes some seconds.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from hubbub.planner.cases import MEMORY, Case, OutOfScope, parse_row
from hubbub.planner.closed_forms import figure
from hubbub.planner.coefficients import KINDS, Coefficients, alike, from_json, groups, metric_class
from hubbub.planner.residuals import of_rows
from hubbub.planner.serving import figures, simulated
from hubbub.planner.step_time import COEFFICIENTS, FLOORS, Floats, Steps, Table, coefficient, prior, table_of

SIGMA = 0.06
"""Noise of one row in logarithms: repeated runs of one set-up in the data differ by about this."""
CAUCHY = 0.12
NOISES = {"throughput": 1.0, "prefill": 1.0, "latency": 1.5, "ttft": 2.0}
"""How much noisier than throughput a kind of figure is: repeated runs of a burst agree on tokens/s, not on first
tokens, where one compilation or one client's hiccup is part of the mean."""
STEP = 1e-4
LEAST_ROUNDS, ROUNDS = 11, 16
SHRINK = 0.5
"""Of the prior deviations in ``KINDS``: chosen by cross validation among 0.4, 0.5, 0.6, 1 and 1.5."""


@dataclass(slots=True)
class Data:
    """Rows that can be predicted. ``rows`` are their places in the file; ``ratio``: the logarithm of what the simulator
    says over what the closed form does, before any fit (0 for rows the closed forms predict)."""

    cases: list[Case]
    values: Floats
    table: Table
    rows: list[int]
    members: list[dict[str, str]]
    ratio: Floats

    def take(self, index: Any) -> Data:
        index = np.asarray(index)
        return Data(
            [self.cases[i] for i in index],
            self.values[index],
            self.table.take(index),
            [self.rows[i] for i in index],
            [self.members[i] for i in index],
            self.ratio[index],
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
    table = table_of(cases)
    ratio = simulated_over_closed(cases, table, {name: _priors(name, cases) for name in COEFFICIENTS})
    return Data(cases, np.array(values), table, places, [groups(case) for case in cases], ratio)


def _priors(name: str, cases: list[Case]) -> Floats:
    return np.array([prior(name, case) for case in cases])


def simulated_over_closed(cases: list[Case], table: Table, coefficients: dict[str, Floats]) -> Floats:
    """The logarithm of the simulator's figure over the closed form's; 0 where no simulator is asked."""
    out = np.zeros(len(cases))
    index = np.flatnonzero([simulated(case) for case in cases])
    if len(index):
        some = [cases[i] for i in index]
        own = {name: values[index] for name, values in coefficients.items()}
        plain = predict(parts_of([case.metric for case in some], table.take(index)), own)
        out[index] = np.log(np.maximum(figures(some, own), 1e-9)) - np.log(np.maximum(plain, 1e-9))
    return out


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
    """The design: which effects each row's coefficients are made of.

    The slopes are those of the closed forms. Where a row's figure comes from the simulator, the closed form is held to
    it by their ratio, taken at the priors.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.ratio = data.ratio
        self.parts = parts_of([case.metric for case in data.cases], data.table)
        self.start = {name: _priors(name, data.cases) for name in COEFFICIENTS}
        self.keys: list[tuple[str, str, str]] = []
        self.deviations: list[float] = []
        places: dict[tuple[str, str, str], int] = {}
        entries: list[tuple[int, int, int]] = []
        numbers = {name: number for number, name in enumerate(COEFFICIENTS)}
        for row, found in enumerate(data.members):
            for kind, group in found.items():
                for names, deviation in KINDS[kind].items():
                    for name in names:
                        key = (name, kind, group)
                        if key not in places:
                            places[key] = len(self.keys)
                            self.keys.append(key)
                            self.deviations.append(SHRINK * deviation * (1.4 if name in FLOORS else 1.0))
                        entries.append((row, places[key], numbers[name]))
        self.row, self.column, self.number = np.array(entries, dtype=np.int32).reshape(-1, 3).T
        self.begin = np.searchsorted(self.row, np.arange(len(data.cases) + 1))
        self.design = {name: self._sparse(self.number == number) for name, number in numbers.items()}
        # the table once for each coefficient, so that all slopes are one evaluation
        copies = np.tile(np.arange(len(data.cases)), len(COEFFICIENTS))
        self.copies = parts_of([data.cases[i].metric for i in copies], data.table.take(copies))
        counts: dict[str, int] = {}
        for case in data.cases:
            counts[case.source] = counts.get(case.source, 0) + 1
        typical = float(np.median(list(counts.values()))) if counts else 1.0
        weight = np.array([np.sqrt(typical / counts[case.source]) for case in data.cases])
        self.noise = np.array([NOISES[metric_class(case.metric)] for case in data.cases])
        self.weight = np.clip(weight, 0.25, 2.0) * np.array([1.0 if case.sure else 0.4 for case in data.cases])

    def coefficients(self, effects: Floats) -> dict[str, Floats]:
        return {n: coefficient(n, self.start[n], self.design[n] @ effects) for n in COEFFICIENTS}

    def residual(self, coefficients: dict[str, Floats]) -> Floats:
        plain = predict(self.parts, coefficients)
        return np.log(np.maximum(plain, 1e-9)) + self.ratio - np.log(self.data.values)

    def _sparse(self, values: Any) -> sparse.csr_matrix:
        """Rows by effects, ``values`` in the order of the entries."""
        shape = (len(self.data.cases), len(self.keys))
        return sparse.csr_matrix((values.astype(float), self.column, self.begin), shape)

    def jacobian(self, effects: Floats, residual: Floats) -> sparse.csr_matrix:
        moved = {}
        for number, name in enumerate(COEFFICIENTS):
            copies = np.tile(self.design[name] @ effects, (len(COEFFICIENTS), 1))
            copies[number] += STEP
            moved[name] = coefficient(name, self.start[name], copies).ravel()
        logs = np.log(np.maximum(predict(self.copies, moved), 1e-9)).reshape(len(COEFFICIENTS), -1)
        slopes = (logs + self.ratio - np.log(self.data.values) - residual) / STEP
        return self._sparse(slopes[self.number, self.row])

    def cost(self, residual: Floats, effects: Floats, width: float = CAUCHY) -> float:
        robust = width**2 * np.log1p((residual / self.noise / width) ** 2)
        prior = np.sum((effects / np.array(self.deviations)) ** 2)
        return float(np.sum(self.weight * robust) / SIGMA**2 + prior)

    def solve(self, rounds: int = ROUNDS, tell: Callable[[str], None] | None = None) -> Floats:
        effects = np.zeros(len(self.keys))
        prior = 1.0 / np.array(self.deviations) ** 2
        damping = 1.0
        residual = self.residual(self.coefficients(effects))
        widths = ([1.0] * 4 + [0.4] * 3 + [CAUCHY] * rounds)[:rounds]
        for turn, width in enumerate(widths):
            cost = self.cost(residual, effects, width)
            jacobian = self.jacobian(effects, residual)
            robust = self.weight / (self.noise**2 + (residual / width) ** 2) / SIGMA**2
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
            if gain < 1e-3 and turn >= LEAST_ROUNDS:
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
            LinearOperator((size, size), matvec=times, dtype=float), -gradient * scale, rtol=1e-3, maxiter=60
        )
        return np.asarray(solution * scale)

    def as_effects(self, effects: Floats) -> dict[str, dict[str, dict[str, float]]]:
        """Effects as ``Coefficients.effects``, those too small to matter left out."""
        out: dict[str, dict[str, dict[str, float]]] = {}
        for (name, kind, group), effect in zip(self.keys, effects, strict=True):
            if abs(effect) > 5e-4:
                out.setdefault(name, {}).setdefault(kind, {})[group] = round(float(effect), 4)
        return out


def fitted(data: Data, tell: Callable[[str], None] | None = None) -> tuple[Coefficients, Floats]:
    """Coefficients, and the logarithms of predicted over measured that they leave."""
    problem = Problem(data)
    effects = problem.solve(ROUNDS, tell)
    known: dict[str, set[str]] = {"engine": set(), "engine_card": set(), "card": set(), "model_card": set()}
    for member in data.members:
        for kind, names in known.items():
            names.add(member[kind])
    model = from_json(
        {"effects": problem.as_effects(effects), "bands": {}, "known": {k: sorted(v) for k, v in known.items()}}
    )
    return model, problem.residual(problem.coefficients(effects))


def errors_of(data: Data, model: Coefficients) -> Floats:
    """Logarithms of predicted over measured."""
    found = figures(data.cases, model.values(data.cases)) * model.correction(data.cases)
    return np.log(np.maximum(found, 1e-9) / data.values)


def corrected(data: Data, tell: Callable[[str], None] | None = None) -> Coefficients:
    """Fitted coefficients, and what they leave of the rows they were fitted to."""
    return left_by(data, *fitted(data, tell))


def left_by(data: Data, model: Coefficients, left: Floats) -> Coefficients:
    """The coefficients, corrected by the logarithms ``left`` of predicted over measured."""
    return replace(model, rows=of_rows(data.cases, [alike(case.metric) for case in data.cases], left))
