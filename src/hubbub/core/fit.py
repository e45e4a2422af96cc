"""What depends on what, learnt as it happens: a line through recent samples, older ones counting less and less.

``y = base + slope[0] * x[0] + slope[1] * x[1]``, least squares with exponentially fading weights. More of an ``x``
never makes ``y`` smaller in what this is for (time against work), so that no slope is below zero: one that would be is
left out. Where an ``x`` hardly varied its slope cannot be told, and is drawn towards zero.
"""

from __future__ import annotations

VARIED = 0.05
"""An ``x`` has to vary by about this share of its mean before its slope is believed."""

Two = tuple[float, float]


class Fit:
    """``memory``: how many of the last samples count, or so."""

    __slots__ = (
        "_cross",
        "_memory",
        "_solved",
        "_with_y",
        "base",
        "mean",
        "mean_y",
        "samples",
        "slope",
        "spread",
        "spread_y",
    )

    def __init__(self, memory: int) -> None:
        self.samples = 0
        self._memory = memory
        self.mean: Two = (0.0, 0.0)
        self.spread: Two = (0.0, 0.0)
        """Variances of the two ``x``."""
        self.mean_y = 0.0
        self.base = 0.0
        self.slope: Two = (0.0, 0.0)
        self._cross = 0.0
        self._with_y: Two = (0.0, 0.0)
        self._solved = True

    def learn(self, x: Two, y: float) -> None:
        self.samples += 1
        weight = 1 / min(self._memory, self.samples)
        rest = 1 - weight
        off, off_y = (x[0] - self.mean[0], x[1] - self.mean[1]), y - self.mean_y
        self.mean = (self.mean[0] + weight * off[0], self.mean[1] + weight * off[1])
        self.mean_y += weight * off_y
        self.spread = (
            rest * (self.spread[0] + weight * off[0] * off[0]),
            rest * (self.spread[1] + weight * off[1] * off[1]),
        )
        self._cross = rest * (self._cross + weight * off[0] * off[1])
        self._with_y = (
            rest * (self._with_y[0] + weight * off[0] * off_y),
            rest * (self._with_y[1] + weight * off[1] * off_y),
        )
        self._solved = False

    def solve(self) -> None:
        """Bring ``base`` and ``slope`` up to date. Cheap when nothing was learnt since."""
        if self._solved:
            return
        self._solved = True
        (mean0, mean1), (with0, with1) = self.mean, self._with_y
        own0 = self.spread[0] + (VARIED * mean0) ** 2
        own1 = self.spread[1] + (VARIED * mean1) ** 2
        alone0 = max(0.0, with0 / own0) if own0 else 0.0
        alone1 = max(0.0, with1 / own1) if own1 else 0.0
        whole = own0 * own1 - self._cross**2
        both0 = (with0 * own1 - with1 * self._cross) / whole if whole > 0 else 0.0
        both1 = (with1 * own0 - with0 * self._cross) / whole if whole > 0 else 0.0
        if both0 <= 0 or both1 <= 0:
            # The better one alone: what it explains is its slope times what it shares with y.
            first = alone0 * with0 >= alone1 * with1
            both0, both1 = (alone0, 0.0) if first else (0.0, alone1)
        self.slope = (both0, both1)
        self.base = max(0.0, self.mean_y - both0 * mean0 - both1 * mean1)

    def at(self, x: Two) -> float:
        """The value to expect; 0 before the first sample."""
        self.solve()
        return self.base + self.slope[0] * x[0] + self.slope[1] * x[1]
