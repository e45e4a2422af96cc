"""The planner against measurements it has not seen: a prediction a row, then errors by metric, engine on card, set."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.cases import MEMORY, Case, OutOfScope, parse_row
from hubbub.planner.closed_forms import figure, roofline
from hubbub.planner.coefficients import Coefficients, bundled, metric_class
from hubbub.planner.footprint import memory_figure
from hubbub.planner.serving import figures
from hubbub.planner.step_time import Floats, Steps, table_of

_NEAR = {
    "model": "fitted from published rows of this model, engine and card",
    "card": "fitted from published rows of this engine on this card, other models",
    "engine": "fitted from published rows of this engine or card, not of both together",
    "far": "first principles: neither engine nor card is in the published rows",
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """``predicted`` is None when the row is out of scope; ``low`` and ``high`` bound 90 % of measurements."""

    predicted: float | None
    low: float | None
    high: float | None
    reason: str
    baseline: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {"predicted": self.predicted, "low": self.low, "high": self.high, "reason": self.reason}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV in the form of published.csv. Raises NotFound or BadRequest."""
    if not path.is_file():
        raise NotFound(f"csv: there is no file {path}", param="csv")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"model", "hardware", "metric"} - set(reader.fieldnames or ())
        if missing:
            raise BadRequest(f"csv: {path.name} lacks the columns {', '.join(sorted(missing))}", param="csv")
        return list(reader)


def predict_rows(rows: Iterable[Mapping[str, str | None]], model: Coefficients | None = None) -> list[Prediction]:
    """One prediction a row, in order. A row that cannot be understood is out of scope; none raises."""
    model = model or bundled()
    listed = list(rows)
    out = [Prediction(None, None, None, "")] * len(listed)
    speed: list[tuple[int, Case]] = []
    for i, row in enumerate(listed):
        try:
            case = parse_row(row)
            if case.metric in MEMORY:
                out[i] = _memory(case, model)
            else:
                speed.append((i, case))
        except OutOfScope as why:
            out[i] = Prediction(None, None, None, str(why))
        except (ArithmeticError, ValueError) as why:
            out[i] = Prediction(None, None, None, f"the row cannot be read: {why}")
    for i, prediction in _speed(speed, model):
        out[i] = prediction
    return out


def _memory(case: Case, model: Coefficients) -> Prediction:
    value = memory_figure(case)
    if not math.isfinite(value):
        return Prediction(None, None, None, "no finite figure")
    low, high = model.bands.get(f"memory|{case.metric}", model.bands.get("memory", (0.9, 1.12)))
    low, high = (low, high) if value >= 0 else (high, low)
    guess = "" if case.sure else "; the model or lengths had to be guessed"
    return Prediction(value, value * low, value * high, f"from shape and start flags{guess}", value)


def _speed(found: list[tuple[int, Case]], model: Coefficients) -> Iterable[tuple[int, Prediction]]:
    by_metric: dict[str, list[tuple[int, Case]]] = {}
    cases = [case for _, case in found]
    told = figures(cases, model.values(cases)) * model.correction(cases)
    values = {i: value for (i, _), value in zip(found, told, strict=True)}
    for i, case in found:
        by_metric.setdefault(case.metric, []).append((i, case))
    for metric, part in by_metric.items():
        table = table_of([case for _, case in part])
        base = figure(metric, table, Steps(table, roofline(table)))
        for (i, case), plain in zip(part, base, strict=True):
            yield i, _banded(case, float(values[i]), float(plain), model)


def _banded(case: Case, value: float, baseline: float, model: Coefficients) -> Prediction:
    if not math.isfinite(value) or value <= 0:
        return Prediction(None, None, None, "the model gives no finite figure for these numbers")
    low, high = model.band(case)
    reason = _NEAR[model.nearness(case)]
    if not case.sure:
        low, high = low**1.3, high**1.3
        reason += "; the model or lengths had to be guessed"
    return Prediction(value, value * low, value * high, reason, baseline)


# Errors -------------------------------------------------------------------------------------------------------------


def _errors(pairs: list[tuple[Prediction, float]]) -> dict[str, Any]:
    relative = np.array([abs(p.predicted / v - 1) for p, v in pairs if p.predicted is not None])
    signed: Floats = np.array([p.predicted / v - 1 for p, v in pairs if p.predicted is not None])
    inside = [p.low <= v <= p.high for p, v in pairs if p.low is not None and p.high is not None]
    plain = np.array([abs(p.baseline / v - 1) for p, v in pairs if p.baseline is not None])
    if not len(relative):
        return {"rows": 0}
    return {
        "rows": len(relative),
        "median": float(np.median(relative)),
        "p90": float(np.quantile(relative, 0.9)),
        "bias": float(np.median(signed)),
        "coverage": float(np.mean(inside)),
        "roofline_median": float(np.median(plain)) if len(plain) else None,
    }


def error_tables(rows: list[dict[str, str]], predictions: list[Prediction]) -> dict[str, Any]:
    """Errors against the ``value`` column, overall and by metric, class, engine on hardware, set, reason."""
    scored: list[tuple[Mapping[str, str], Prediction, float]] = []
    for row, prediction in zip(rows, predictions, strict=True):
        try:
            value = float(row.get("value") or "nan")
        except ValueError:
            continue
        if prediction.predicted is not None and math.isfinite(value) and value != 0:
            scored.append((row, prediction, value))

    def split(key: Callable[[Mapping[str, str], Prediction], str]) -> dict[str, Any]:
        parts: dict[str, list[tuple[Prediction, float]]] = {}
        for row, prediction, value in scored:
            parts.setdefault(key(row, prediction), []).append((prediction, value))
        return {name: _errors(parts[name]) for name in sorted(parts, key=lambda n: -len(parts[n]))}

    out_of_scope: dict[str, int] = {}
    for p in predictions:
        if p.predicted is None:
            out_of_scope[p.reason] = out_of_scope.get(p.reason, 0) + 1
    return {
        "rows": len(rows),
        "out_of_scope": sum(out_of_scope.values()),
        "out_of_scope_reasons": out_of_scope,
        "all": _errors([(p, v) for _, p, v in scored]),
        "by_class": split(lambda row, _: metric_class(row["metric"])),
        "by_metric": split(lambda row, _: row["metric"]),
        "by_engine_hardware": split(lambda row, _: f"{row.get('engine') or '?'} | {row.get('hardware') or '?'}"),
        "by_set": split(lambda row, _: row.get("file") or "?"),
        "by_provenance": split(lambda _, p: p.reason),
    }
