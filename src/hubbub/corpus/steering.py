"""Diversity steers the sampling: weights of template cells, decided at recorded epochs.

Theory of operation. A run is cut into epochs of work items. When all items of an epoch are judged, the weights of the
epoch after the next are decided from it; so there is always a whole epoch to generate while another is judged, and
nothing waits. The weights are recorded, and from then on an item is a pure function of (run seed, index, weights).

Of each cell with enough texts, in one epoch or in several together: the weight falls with its duplicates, and rises
with its variety beside that of the others. A cell whose texts are mostly duplicates is exhausted and retires for good.
Where nearly everything is a duplicate, where the texts compress like one text, or where every cell has retired, the run
has collapsed and stops with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from hubbub.corpus.diversity import EpochStats, Measures, measured
from hubbub.corpus.recipe import SteeringSpec

LAG = 2
"""Weights of an epoch are decided when the epoch this many before it is judged, so that generation never waits."""
ENOUGH_TEXTS = 20
"""Of a cell; fewer say nothing about it, and are counted on in the next epoch."""
COLLAPSED_RATIO = 15.0
"""Compression of a whole epoch's excerpts. Ordinary text compresses 2 to 4 times in samples of that size."""
LEAST, MOST = 0.05, 4.0


@dataclass(frozen=True, slots=True)
class EpochWeights:
    """How often each cell is drawn in one epoch, relative to what the recipe says; a cell not named has 1, a retired
    one 0. ``stop`` says why the run must end, if it must. ``salvage``: (index, round) of the items given up before that
    come back in this epoch (see ``places``)."""

    epoch: int
    cells: Mapping[str, float] = field(default_factory=dict)
    stop: str = ""
    salvage: tuple[tuple[int, int], ...] = ()


class Steering:
    """Turns what was seen of one epoch into the weights of a later one. ``cells``: how many there can be, where that
    is known."""

    def __init__(self, spec: SteeringSpec, cells: int | None = None) -> None:
        self._spec = spec
        self._cells = cells

    def next_epoch(self, epoch: int, stats: EpochStats, before: EpochWeights) -> EpochWeights:
        """Weights for ``epoch + LAG``, from what ``epoch`` showed. ``before``: the weights decided last."""
        following = epoch + LAG
        stop = self._collapse(stats)
        if stop or not self._spec.columns:
            return EpochWeights(following, {}, stop)
        weights = dict(before.cells)
        seen = {cell: counted for cell, counted in stats.cells.items() if counted.texts >= ENOUGH_TEXTS}
        variety = {cell: _variety(measured(counted.excerpts)) for cell, counted in seen.items()}
        usual = median(variety.values()) if variety else 1.0
        for cell, counted in seen.items():
            weights[cell] = self._weight(counted.duplicate_rate, variety[cell] / (usual or 1.0), weights.get(cell, 1.0))
        if self._cells is not None and sum(weight == 0 for weight in weights.values()) >= self._cells:
            stop = f"all {self._cells} cells are exhausted, their texts mostly duplicates; add values to their columns"
        return EpochWeights(following, weights, stop)

    def _weight(self, duplicates: float, variety: float, before: float) -> float:
        if duplicates >= self._spec.retire or before == 0:
            return 0.0
        now = (1 - duplicates) ** 2 * min(2.0, max(0.5, variety))
        return round(min(MOST, max(LEAST, (before + now) / 2)), 4)

    def _collapse(self, stats: EpochStats) -> str:
        if stats.texts < 5 * ENOUGH_TEXTS:
            return ""
        if stats.duplicate_rate >= self._spec.collapse:
            return (
                f"the model repeats itself: {stats.duplicate_rate:.0%} of {stats.texts:,} texts were duplicates; "
                "vary the prompt with more columns, or raise steering.collapse"
            )
        ratio = measured(stats.sample()).compression
        if ratio >= COLLAPSED_RATIO:
            return f"the texts are nearly one text: they compress {ratio:.0f} times; vary the prompt with more columns"
        return ""


def _variety(measures: Measures) -> float:
    return measures.distinct_2 / measures.compression if measures.compression else 0.0
