"""Sets of indices, kept as half-open ranges: what a run has done is a few numbers, however long it is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IndexRanges:
    """Disjoint ranges in order, touching ones merged. Memory goes with the gaps, not with the indices."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._los: list[int] = []
        self._his: list[int] = []
        for lo, hi in ranges:
            self.add(lo, hi)

    def __repr__(self) -> str:
        return f"IndexRanges({list(self)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndexRanges) and (self._los, self._his) == (other._los, other._his)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._los, self._his, strict=True)

    def __len__(self) -> int:
        """Indices, not ranges."""
        return sum(self._his) - sum(self._los)

    def __bool__(self) -> bool:
        return bool(self._los)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._los, index) - 1
        return at >= 0 and index < self._his[at]

    def add(self, lo: int, hi: int | None = None) -> None:
        """``lo`` up to ``hi`` (without it; None: ``lo`` alone). Raises ValueError for an empty range."""
        hi = lo + 1 if hi is None else hi
        self._check(lo, hi)
        # All ranges that overlap or touch it become one with it.
        first, last = bisect_left(self._his, lo), bisect_right(self._los, hi)
        if first < last:
            lo, hi = min(lo, self._los[first]), max(hi, self._his[last - 1])
        self._los[first:last] = [lo]
        self._his[first:last] = [hi]

    def remove(self, lo: int, hi: int | None = None) -> None:
        """What of ``lo`` up to ``hi`` is in it."""
        hi = lo + 1 if hi is None else hi
        self._check(lo, hi)
        first, last = bisect_right(self._his, lo), bisect_left(self._los, hi)
        if first >= last:
            return
        left, right = (self._los[first], lo), (hi, self._his[last - 1])
        kept = [part for part in (left, right) if part[0] < part[1]]
        self._los[first:last] = [lo for lo, _ in kept]
        self._his[first:last] = [hi for _, hi in kept]

    def indices(self) -> Iterator[int]:
        for lo, hi in self:
            yield from range(lo, hi)

    def first_gap(self, start: int = 0) -> int:
        """The first index from ``start`` on that is not in it."""
        at = bisect_right(self._los, start) - 1
        return self._his[at] if at >= 0 and start < self._his[at] else start

    @staticmethod
    def _check(lo: int, hi: int) -> None:
        if not 0 <= lo < hi:
            raise ValueError(f"no range of indices: {lo} to {hi}")
