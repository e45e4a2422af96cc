"""How many requests to keep in flight: additive increase, multiplicative decrease, driven by what the endpoint says.

Engines refuse in their own ways: hosted APIs with 429, vLLM's admission limits with 503, an overloaded one by answers
that never come. All three halve the number in flight; each round of answers without one adds to it. One decrease a
round: the refusals of requests that were already out when it came say nothing new.
"""

from __future__ import annotations

import math

GROWTH = 0.05
"""Added a round, as a share of the ceiling: back from one half in about ten rounds."""
CUT = 0.5
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
LONGEST_TOLD_S = 300.0
"""A rate limit by the minute tells waits of up to a minute; what tells an hour is looked at sooner."""


class Pressure:
    """``limit`` requests may be in flight now, and none before ``not_before`` (seconds of the caller's clock)."""

    def __init__(self, ceiling: int, floor: int = 1) -> None:
        self.ceiling = ceiling
        self.floor = min(floor, ceiling)
        self.not_before = 0.0
        self.cuts = 0
        self._level = float(ceiling)
        self._cut_at = -math.inf
        self._wait = FIRST_WAIT_S
        self._out_at_cut = 0

    @property
    def limit(self) -> int:
        return max(self.floor, int(self._level))

    def answered(self) -> None:
        """One answer came."""
        self._wait = FIRST_WAIT_S
        self._out_at_cut = max(0, self._out_at_cut - 1)
        self._level = min(float(self.ceiling), self._level + max(1.0, GROWTH * self.ceiling) / max(1.0, self._level))

    def refused(self, now: float, in_flight: int, retry_after: float | None = None) -> None:
        """The endpoint would not or could not take one. ``retry_after``: seconds, where it said so."""
        if self._out_at_cut > 0:  # it was out already when the last cut was made
            self._out_at_cut -= 1
        else:
            self._level = max(float(self.floor), min(self._level, float(max(in_flight, 1))) * CUT)
            self._out_at_cut = max(0, in_flight - 1)
            self.cuts += 1
            if retry_after is None:
                retry_after = self._wait
            self._wait = min(LONGEST_WAIT_S, self._wait * 2)
        if retry_after:
            self.not_before = max(self.not_before, now + min(retry_after, LONGEST_TOLD_S))
