"""Answers in any order are decided in the order of their indices; pressure stays within its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.corpus.pressure import LONGEST_TOLD_S, Pressure
from hubbub.corpus.reorder import Reorder


@given(st.integers(0, 50), st.integers(1, 8), st.integers(1, 40), st.randoms(use_true_random=False))
def test_whatever_the_order_of_answers_decisions_come_by_index(head: int, size: int, count: int, rng: object) -> None:
    """Work begins as the window allows, ends in any order, and is decided once each, by rising index."""
    window: Reorder[int] = Reorder(head, size)
    following, out, decided = head, list[int](), list[int]()
    while len(decided) < count:
        while window.admits(following):
            out.append(following)
            following += 1
        assert len(out) + len(window) == size, "the window is always full: nothing is idle, nothing is beyond it"
        answered = out.pop(getattr(rng, "randrange")(len(out)))  # noqa: B009
        window.put(answered, answered)
        decided.extend(window.ready())
        assert window.blocked
    assert decided == list(range(head, head + len(decided)))


@pytest.mark.parametrize("index", [4, 5, 8])
def test_what_is_not_awaited_is_refused(index: int) -> None:
    window: Reorder[str] = Reorder(5, 3)
    window.put(5, "first")
    with pytest.raises(ValueError, match="not awaited"):
        window.put(index, "again")


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.booleans(), st.floats(0, 3), st.none() | st.floats(0, 1000)), max_size=120),
)
def test_pressure_stays_in_its_bounds(ceiling: int, steps: list[tuple[bool, float, float | None]]) -> None:
    pressure, now = Pressure(ceiling), 0.0
    for good, passed, wait in steps:
        now += passed
        if good:
            pressure.answered()
        else:
            pressure.refused(now, pressure.limit, wait)
        assert 1 <= pressure.limit <= ceiling
        assert pressure.not_before <= now + LONGEST_TOLD_S


def test_refusals_of_one_round_cut_once_and_answers_bring_it_back() -> None:
    pressure = Pressure(64)
    for _ in range(64):
        pressure.refused(1.0, 64)
    assert pressure.limit == 32
    assert pressure.cuts == 1
    pressure.refused(2.0, 32, retry_after=7.5)
    assert (pressure.limit, pressure.not_before) == (16, 9.5)
    rounds = 0
    while pressure.limit < 64:
        rounds += 1
        for _ in range(pressure.limit):
            pressure.answered()
    assert rounds <= 20
