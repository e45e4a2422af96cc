"""How a run goes, in numbers: counted where it happens, read by the live view, the log lines and ``status``."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec

RATE_S = 60.0
"""Rates are over the last this many seconds."""
LATENCIES_KEPT = 512


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment; ``at`` is Unix seconds. Rates are of the last minute, ``accept_rate`` of the whole run.

    ``eta_s`` and its band are seconds to the target, None while nothing is accepted. ``amount`` and ``target`` are in
    ``unit``."""

    at: float
    state: str
    unit: str
    amount: int
    target: int
    bytes: int
    records: int
    items: int
    tokens_s: float
    bytes_s: float
    records_s: float
    accept_rate: float
    near_duplicates: float
    in_flight: int
    limit: int
    window: int
    eta_s: float | None
    eta_low_s: float | None
    eta_high_s: float | None
    rejected: dict[str, int]
    faults: dict[str, int]
    diversity: dict[str, float | None] = {}
    note: str = ""


@dataclass(slots=True)
class Board:
    """Counters since this process began, beside those of the whole run in the log."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _marks: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)

    def mark(self, **totals: int) -> None:
        """Remember where the counters and these totals stand now. To be called about once a second."""
        now = time.monotonic()
        self._marks.append((now, {**self.counts, **totals}))
        while len(self._marks) > 2 and self._marks[1][0] < now - RATE_S:
            self._marks.popleft()

    def rate(self, name: str) -> float:
        """A second, over the last minute."""
        if len(self._marks) < 2:
            return 0.0
        (then, before), (now, after) = self._marks[0], self._marks[-1]
        return (after.get(name, 0) - before.get(name, 0)) / max(1e-9, now - then)

    def band(self, name: str) -> tuple[float, float]:
        """The slowest and fastest sixth of that time, a second: how sure the rate is."""
        marks = list(self._marks)
        if len(marks) < 7:
            rate = self.rate(name)
            return rate * 0.5, rate * 1.5
        step = len(marks) // 6
        rates = [
            (after[1].get(name, 0) - before[1].get(name, 0)) / max(1e-9, after[0] - before[0])
            for before, after in zip(marks[::step], marks[step::step], strict=False)
        ]
        return min(rates), max(rates)

    def p95_latency(self) -> float | None:
        """Seconds; None before there are enough answers to tell."""
        if len(self.latencies) < 20:
            return None
        return sorted(self.latencies)[int(0.95 * len(self.latencies))]
