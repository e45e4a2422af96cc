"""Diversity steers the sampling: weights of template cells, decided at recorded epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LAG = 2
"""Weights of an epoch are decided when the epoch this many before it is judged, so that generation never waits."""


@dataclass(frozen=True, slots=True)
class EpochWeights:
    """How often each cell is drawn in one epoch, relative to what the recipe says; a cell not named has 1, a retired
    one 0. ``stop`` says why the run must end, if it must."""

    epoch: int
    cells: Mapping[str, float] = field(default_factory=dict)
    stop: str = ""
