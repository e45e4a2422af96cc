"""What an engine's steps took, as its traffic showed: kept in few numbers, for whoever fits a model of them.

Seconds with much work and with little differ by magnitudes, so that they are kept apart by the number of sequences and
by what was read beside them, both by doublings. Each class keeps its last ``KEPT`` samples and answers with medians:
one hiccup of the machine says nothing there, and what changed for good has pushed out the old within minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

KEPT = 32
FEWEST = 3
"""Samples before a class is believed."""
MOST_CLASSES = 128


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One step as it was on average: ``sequences`` got a token each, with ``context`` tokens behind every one of them,
    and ``read`` prompt tokens were read beside. ``sequences`` 0: a prompt read alone, ``seconds`` to its first token.
    ``samples``: how many this is the median of."""

    sequences: float
    context: float
    read: float
    seconds: float
    samples: int = 1


class Observed:
    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes: dict[tuple[int, int], deque[StepSeen]] = {}

    def learn(self, seen: StepSeen) -> None:
        """Numbers below zero, or a step of no time, are left out."""
        if not (seen.seconds > 0 and min(seen.sequences, seen.context, seen.read) >= 0):
            return
        place = (int(2 * seen.sequences).bit_length(), int(seen.read).bit_length())
        if place not in self._classes and len(self._classes) >= MOST_CLASSES:
            return
        self._classes.setdefault(place, deque(maxlen=KEPT)).append(seen)

    def __iter__(self) -> Iterator[StepSeen]:
        """The median of each class that has enough samples."""
        for _, samples in sorted(self._classes.items()):
            if len(samples) >= FEWEST:
                yield StepSeen(
                    fmean(s.sequences for s in samples),
                    fmean(s.context for s in samples),
                    fmean(s.read for s in samples),
                    median(s.seconds for s in samples),
                    len(samples),
                )
