"""What goes wrong, and how often: one budget of faults, one source of chance, one trace of what happened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


@dataclass
class Fate:
    """``left``: faults still to come. ``trace`` hashes every event with its time: equal for equal seeds."""

    rng: Random
    left: int
    now: Callable[[], float] = lambda: 0.0
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] | None = None
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def quiet(self) -> bool:
        return self.left <= 0

    def strikes(self, kind: str, chance: float = 1.0) -> bool:
        """Whether the fault happens now. One that does is counted."""
        if self.left <= 0 or (chance < 1.0 and self.rng.random() >= chance):
            return False
        self.left -= 1
        self.counts[kind] += 1
        self.note(f"fault {kind}")
        return True

    def note(self, what: str) -> None:
        line = f"{self.now():.6f} {what}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        return self._hash.hexdigest()


class ChaosClock:
    """The loop's time, with steps: ``now`` only ever forward, ``wall`` to and fro."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.ahead = 0.0
        self.off = 1_700_000_000.0

    def now(self) -> float:
        return self._time() + self.ahead

    def wall(self) -> float:
        return self._time() + self.off
