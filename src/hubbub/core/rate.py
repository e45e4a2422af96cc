"""How fast requests end: completions per second of busy time, the recent ones counting most."""

from __future__ import annotations

from math import exp

WINDOW_S = 30.0
"""Seconds over which completions are averaged: a few long answers on a slow machine, soon forgotten on a fast one."""


class Rate:
    """An exponentially weighted count of ends divided by the weight of the time it covers.

    Time runs only while something is in flight, so that a quiet night does not look like a slow engine. The rate falls
    by itself while work hangs and nothing ends.
    """

    __slots__ = ("_at", "_count", "_flying", "busy", "ended_at")

    def __init__(self) -> None:
        self.busy = 0.0
        """Seconds in all that something was in flight, up to the last event."""
        self.ended_at = 0.0
        """When something last ended."""
        self._flying = 0
        self._count = 0.0
        self._at = 0.0

    def begin(self, now: float) -> None:
        if not self._flying:
            self._at = now
        self._flying += 1

    def end(self, now: float, counts: bool) -> None:
        """``counts``: the end was work done, not an engine's loss."""
        passed = now - self._at
        self._at = self.ended_at = now
        self._flying -= 1
        self.busy += passed
        self._count = self._count * exp(-passed / WINDOW_S) + counts

    def busy_until(self, now: float) -> float:
        return self.busy + (now - self._at if self._flying else 0.0)

    def per_second(self, now: float) -> float:
        """0 until the first end."""
        busy = self.busy_until(now)
        if not self._count or busy <= 0:
            return 0.0
        recent = self._count * exp((self.busy - busy) / WINDOW_S)
        return recent / (WINDOW_S * (1.0 - exp(-busy / WINDOW_S)))
