"""What the step-time model still gets wrong, read off the measured rows nearest to a case.

A Gaussian process on the logarithms of predicted over measured. Two rows are alike when they share engine and kind of
metric and, on top, version and card (with or without the quantization), version, model, or the source with its mode;
each likeness fades with the distance in concurrency, lengths, size of the model and number of cards. Only the
``NEAREST`` rows of a case count, so that one case costs one small system of equations. A row far from the model (a slip
of its source, an odd set-up) is believed less, as in the fit.

The bundled rows are those of ``published.csv.gz`` with what the shipped coefficients leave of them; both are written by
``python -m hubbub.planner.fit``. A case far from all rows gets a correction of nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from hubbub.planner.cases import Case
from hubbub.planner.step_time import Floats

NEAREST = 48
NOISE = 0.06
WIDTH = 0.15
"""Where belief in a row fades: its noise is ``NOISE`` times sqrt(1 + (residual / WIDTH)^2)."""
MARKS = ("block", "version_card", "version_card_quant", "version", "model", "origin_mode")
PLACES = ("streams", "tokens_in", "tokens_out", "size", "cards")
REACH = (1.0, 1.0, 1.0, 0.7, 0.7)
"""Length scale of each of ``PLACES``, all natural logarithms but the number of cards, in base 2."""
_LOAD = (0, 1, 2)
Likeness = tuple[tuple[str, tuple[int, ...], float], ...]
LIKENESS: Likeness = (
    ("version_card", (0, 1, 2, 3, 4), 0.1),
    ("version_card_quant", (0, 1, 2, 3, 4), 0.1),
    ("version", (0, 1, 2, 3), 0.1),
    ("model", _LOAD, 0.1),
    ("origin_mode", (0, 1, 2, 3), 0.1),
)
"""Mark two rows must share, places their likeness fades with, standard deviation in logarithms. Chosen by the folds of
``fit.py`` among a handful."""

WAITS: Likeness = (("version", (0, 1, 2, 3), 0.2), ("origin_mode", (0, 1, 2, 3), 0.2))
"""The same for times to the first token and between tokens: few rows, of few models and cards, that wander further."""

Marks = NDArray[np.int32]
Places = NDArray[np.float32]


def marks(case: Case, kind: str) -> tuple[str, ...]:
    """Names of the groups of ``MARKS``; an empty one is shared with nobody."""
    engine, card, work = case.engine, case.machine.card.name, case.work
    version = f"{engine.family} {engine.version}"
    return (
        f"{kind}|{engine.family}",
        f"{version}|{card}",
        f"{version}|{card}|{case.quant.family}",
        version,
        f"{engine.family}|{case.shape.name}",
        case.origin and f"{case.origin}|{work.mode}|{case.metric}",
    )


def places(case: Case) -> tuple[float, ...]:
    """Where a case lies along ``PLACES``."""
    work = case.work
    streams = 10 * work.rate if work.mode == "rate" else min(work.concurrency, 1000.0)
    return (
        float(np.log(max(streams, 1.0))),
        float(np.log(work.tokens_in + 32)),
        float(np.log(work.tokens_out + 16)),
        float(np.log(case.shape.active_params)),
        float(np.log2(max(case.machine.count, 1))),
    )


@dataclass(frozen=True, slots=True)
class Residuals:
    """Rows by their marks (as numbers of ``names``), places and residual logarithm of predicted over measured."""

    names: dict[str, int]
    marks: Marks
    places: NDArray[np.float32]
    values: Floats

    def at(self, cases: Sequence[Case], kinds: Sequence[str]) -> Floats:
        """The expected residual logarithm of each case; ``kinds``: the class of each one's metric."""
        out = np.zeros(len(cases))
        if not len(self.values) or not cases:
            return out
        coded = np.array(
            [
                [self.names.get(f"{m}:{n}", -1) for m, n in enumerate(marks(c, k))]
                for c, k in zip(cases, kinds, strict=True)
            ],
            dtype=np.int32,
        )
        spots = np.array([places(case) for case in cases], dtype=np.float32)
        for block in np.unique(coded[:, 0]):
            rows = np.flatnonzero(self.marks[:, 0] == block)
            asked = np.flatnonzero(coded[:, 0] == block)
            if block < 0 or not len(rows):
                continue
            by = LIKENESS if kinds[asked[0]] in ("throughput", "prefill") else WAITS
            for part in np.array_split(asked, max(1, len(asked) // 128)):
                out[part] = self._expected(rows, coded[part], spots[part], by)
        return out

    def _expected(self, rows: NDArray[np.intp], coded: Marks, spots: Places, by: Likeness) -> Floats:
        towards = likeness(coded[:, None], spots[:, None], self.marks[rows][None], self.places[rows][None], by)
        count = min(NEAREST, len(rows))
        near = np.argpartition(-towards, count - 1, axis=1)[:, :count]
        chosen = rows[near]
        m, p, y = self.marks[chosen], self.places[chosen], self.values[chosen]
        among = likeness(m[:, :, None], p[:, :, None], m[:, None], p[:, None], by)
        among[:, np.arange(count), np.arange(count)] += NOISE**2 * (1 + (y / WIDTH) ** 2)
        weights = np.linalg.solve(among, y[..., None])[..., 0]
        expected: Floats = np.sum(np.take_along_axis(towards, near, 1) * weights, axis=1)
        return expected


def likeness(marks_a: Marks, places_a: Places, marks_b: Marks, places_b: Places, by: Likeness = LIKENESS) -> Floats:
    """Prior covariance of residuals; the arrays' last axis runs over marks or places, the others are broadcast."""
    apart = ((places_a - places_b) / np.array(REACH, dtype=np.float32)) ** 2
    total: Floats = np.zeros(np.broadcast_shapes(marks_a.shape[:-1], marks_b.shape[:-1]))
    for mark, along, deviation in by:
        column = MARKS.index(mark)
        a, b = marks_a[..., column], marks_b[..., column]
        distance = apart[..., list(along)].sum(axis=-1)
        total += np.where((a == b) & (a >= 0), deviation**2 * np.exp(-0.5 * distance), 0.0)
    return total


def of_rows(cases: Sequence[Case], kinds: Sequence[str], values: Floats) -> Residuals:
    names: dict[str, int] = {}
    coded = [
        [names.setdefault(f"{m}:{n}", len(names)) if n else -1 for m, n in enumerate(marks(case, kind))]
        for case, kind in zip(cases, kinds, strict=True)
    ]
    return Residuals(
        names,
        np.array(coded, dtype=np.int32).reshape(len(cases), len(MARKS)),
        np.array([places(case) for case in cases], dtype=np.float32).reshape(len(cases), len(PLACES)),
        np.asarray(values, dtype=float),
    )


def packed(residuals: Residuals) -> bytes:
    """As the bytes of an ``.npz`` file."""
    out = io.BytesIO()
    np.savez_compressed(
        out,
        names=np.frombuffer(json.dumps(list(residuals.names)).encode(), dtype=np.uint8),
        marks=residuals.marks.astype(np.int16),
        places=residuals.places.astype(np.float16),
        values=residuals.values.astype(np.float16),
    )
    return out.getvalue()


def unpacked(data: bytes) -> Residuals:
    with np.load(io.BytesIO(data)) as file:
        names = json.loads(file["names"].tobytes().decode())
        return Residuals(
            {name: i for i, name in enumerate(names)},
            file["marks"].astype(np.int32),
            file["places"].astype(np.float32),
            file["values"].astype(float),
        )


@cache
def bundled() -> Residuals:
    """The residuals shipped with the package."""
    return unpacked(resources.files("hubbub.planner").joinpath("data/residuals.npz").read_bytes())
