"""Durations by logarithmic bucket: any number of samples in bounded memory, percentiles to one per cent."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, exp, log

SMALLEST = 1e-6
"""Seconds. Whatever is shorter counts as this."""
LARGEST = 1e5
PRECISION = 0.01
"""A bucket's upper bound is this fraction above its lower one."""

_STEP = log(1 + PRECISION)
_BUCKETS = ceil(log(LARGEST / SMALLEST) / _STEP) + 1


class Durations:
    """A histogram of seconds."""

    __slots__ = ("_counts", "count", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        bucket = int(log(seconds / SMALLEST) / _STEP) if seconds > SMALLEST else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1
        self.total += seconds

    def merge(self, other: Durations) -> None:
        """Count the other's samples here, too."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """Seconds that ``share`` of the samples do not exceed (the middle of their bucket); None without samples."""
        if not self.count:
            return None
        rank, seen = max(1, ceil(share * self.count)), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return SMALLEST * exp((bucket + 0.5) * _STEP)
        raise AssertionError("the buckets hold fewer samples than were counted")

    def summary(self) -> Mapping[str, float | None]:
        """``p50``, ``p95`` and ``p99`` in seconds, to the microsecond; None where nothing was seen."""
        return {
            name: None if value is None else round(value, 6)
            for name, value in (("p50", self.quantile(0.5)), ("p95", self.quantile(0.95)), ("p99", self.quantile(0.99)))
        }
