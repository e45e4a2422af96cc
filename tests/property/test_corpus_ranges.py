"""Range sets against plain sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.corpus.ranges import IndexRanges

EDITS = st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(1, 12)), max_size=40)


@given(EDITS)
def test_it_is_the_set_it_says(edits: list[tuple[bool, int, int]]) -> None:
    ranges, model = IndexRanges(), set[int]()
    for adding, lo, length in edits:
        if adding:
            ranges.add(lo, lo + length)
            model |= set(range(lo, lo + length))
        else:
            ranges.remove(lo, lo + length)
            model -= set(range(lo, lo + length))
        assert list(ranges.indices()) == sorted(model)
        assert len(ranges) == len(model)
        assert bool(ranges) == bool(model)
        assert all((n in ranges) == (n in model) for n in range(80))
        assert ranges.first_gap(lo) == next(n for n in range(lo, 100) if n not in model)
        parts = list(ranges)
        assert all(left[1] < right[0] for left, right in pairwise(parts)), "touching ones are one"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=20))
def test_the_order_of_adding_does_not_matter(parts: list[tuple[int, int]]) -> None:
    ranges = [(lo, lo + length) for lo, length in parts]
    assert IndexRanges(ranges) == IndexRanges(reversed(ranges))


@pytest.mark.parametrize(("lo", "hi"), [(3, 3), (4, 3), (-1, 2)])
def test_an_empty_range_is_refused(lo: int, hi: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        IndexRanges().add(lo, hi)
