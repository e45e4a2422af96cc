"""What an engine's steps took, as its traffic showed: kept in few numbers, for whoever fits a model of them.

Seconds with much work and with little differ by magnitudes, so that they are kept apart by the number of sequences and
by what was read beside them, both by doublings. Each class keeps its last ``KEPT`` samples and answers with medians:
one hiccup of the machine says nothing there, and what changed for good has pushed out the old within minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubbub.core.ticket import Ticket

KEPT = 32
FEWEST = 3
"""Samples before a class is believed."""
MOST_CLASSES = 128
STEADY = 0.25
"""By so much of their number may those who speak change in a time whose steps are believed."""
MIN_STEPS = 2
"""Steps in that time, at the least."""


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


class Observer:
    """Follows the requests of one engine, and learns ``seen`` from when they speak. Told by ``core.pace``."""

    __slots__ = ("_alone", "_context", "_read", "_speaking", "_spoke_before", "_told_at", "_words", "seen")

    def __init__(self) -> None:
        self.seen = Observed()
        self._context = 0
        """Tokens behind those who speak."""
        self._speaking = self._spoke_before = 0
        """Who speak, and who spoke at the last tick."""
        self._alone: Ticket | None = None
        """The one that reads while nobody else is here."""
        self._read = self._words = 0
        """Prompt tokens read and tokens said by all since the last tick."""
        self._told_at = inf

    def began(self, ticket: Ticket, here: int) -> None:
        """``here``: requests that were in the engine before."""
        self._alone = None if here else ticket

    def spoke(self, ticket: Ticket, now: float) -> None:
        self._speaking += 1
        self._context += _prompt(ticket)
        self._read += ticket.prefill
        if self._alone is ticket:
            self.seen.learn(StepSeen(0.0, 0.0, ticket.prefill, now - ticket.sent_at))
        self._alone = None

    def heard(self, tokens: int) -> None:
        self._context += tokens
        self._words += tokens

    def left(self, ticket: Ticket) -> None:
        if ticket.spoke:
            self._speaking -= 1
            self._context -= _prompt(ticket) + ticket.produced

    def tick(self, now: float) -> None:
        """The mean step of the time since the last tick, where about as many spoke all along."""
        passed, self._told_at = now - self._told_at, now
        most, before, words = self._speaking, self._spoke_before, self._words
        if min(most, before) > 0 and passed > 0 and abs(most - before) <= STEADY * most and words >= MIN_STEPS * most:
            speaking = (most + before) / 2
            steps = words / speaking
            self.seen.learn(StepSeen(speaking, self._context / most, self._read / steps, passed / steps))
        self._read = self._words = 0
        self._spoke_before = most


def _prompt(ticket: Ticket) -> int:
    return ticket.request.prompt_tokens + ticket.before
