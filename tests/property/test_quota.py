"""Quotas: never more than the limit over any stretch of time, and what was not used comes back."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.errors import RateLimited
from hubbub.core.quota import DAY_S, Account, Bucket, Charge, Limits

EPSILON = 1e-3
"""Tokens. Levels are floating point; limits here are up to 10,000."""
steps = st.lists(st.tuples(st.floats(0, 90), st.integers(0, 400), st.integers(0, 500), st.integers(0, 5)), max_size=60)
"""Seconds that pass, tokens asked for, tokens it took in truth, and whose end comes then."""


@given(st.integers(1, 10_000), st.lists(st.tuples(st.floats(0, 200), st.integers(1, 10_000)), max_size=60))
def test_no_stretch_of_time_lets_more_in_than_the_limit_and_one_burst(
    limit: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now = Bucket(limit, 0.0), 0.0
    taken: list[tuple[float, int]] = []
    for passed, amount in asked:
        now += passed
        if bucket.wait(amount, now) == 0:
            bucket.take(amount, now)
            taken.append((now, amount))
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            total += amount
            assert total <= limit + limit * (at - taken[first][0]) / 60 + EPSILON


@given(st.integers(1, 10_000), st.floats(0, 1e9), st.integers(0, 10_000), st.integers(1, 10_000))
def test_after_the_wait_that_was_told_it_is_there(limit: int, start: float, first: int, amount: int) -> None:
    bucket = Bucket(limit, start)
    bucket.take(min(first, limit), start)
    wait = bucket.wait(amount, start)
    if amount > limit:
        assert wait == inf
    else:
        assert 0 <= wait <= 60 + EPSILON
        assert bucket.wait(amount, start + wait) <= EPSILON


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_is_given_back_is_there_again_and_never_more_than_full(limit: int, amount: int, more: int) -> None:
    bucket = Bucket(limit, 0.0)
    bucket.take(amount, 0.0)
    bucket.take(-amount, 0.0)
    assert bucket.standing(0.0).remaining == limit
    bucket.take(-more, 0.0)
    assert bucket.standing(0.0).remaining == limit


@given(steps, st.integers(1, 2000), st.integers(1, 5000), st.integers(1, 4))
def test_an_account_balances(given_steps: list[Any], per_minute: int, per_day: int, parallel: int) -> None:
    """Charges and corrections in any order: chats never above the limit, the day's count is the sum of the truth."""
    account = Account(Limits(0, per_minute, per_day, parallel), 0.0, 0.0)
    now, spent = 0.0, 0
    running: list[tuple[Charge, int]] = []
    saved: dict[int, int] = {}
    refusals: list[float | None] = []
    for passed, asked, truth, whose in given_steps:
        now += passed
        if whose < len(running):
            charge, took = running.pop(whose)
            before = charge.tokens
            account.correct(charge, took, now, now)
            account.end(charge)
            spent += took - before
        try:
            running.append((account.begin(asked, now, now), truth))
        except RateLimited as error:
            refusals.append(error.retry_after)
        else:
            spent += asked
            assert spent <= per_day  # when it is let in; a correction may take it above
        assert account.running == len(running) <= parallel
        assert now < DAY_S
        for day, tokens in account.drain().items():
            saved[day] = saved.get(day, 0) + tokens
    assert saved.get(0, 0) == spent
    assert all(seconds is not None and seconds > 0 for seconds in refusals)


@given(st.integers(1, 1000), st.integers(1, 20))
def test_a_restart_does_not_bring_the_day_back(per_day: int, parts: int) -> None:
    spent = 0
    for _ in range(parts):
        account = Account(Limits(0, 0, per_day, 0), 0.0, 100.0, spent)
        left = account.tokens(0.0, 100.0)
        assert left is not None
        assert left.remaining == per_day - spent
        asked = min(left.remaining, per_day // parts + 1)
        account.begin(asked, 0.0, 100.0)
        spent += account.drain().get(0, 0)
    account = Account(Limits(0, 0, per_day, 0), 0.0, 100.0, spent)
    with pytest.raises(RateLimited):
        account.begin(per_day - spent + 1, 0.0, 100.0)


def test_debt_is_paid_before_anything_else_is_let_in() -> None:
    account = Account(Limits(0, 60, 0, 0), 0.0, 0.0)
    charge = account.begin(10, 0.0, 0.0)
    account.correct(charge, 180, 0.0, 0.0)  # 120 below zero: two minutes
    account.end(charge)
    with pytest.raises(RateLimited) as refused:
        account.begin(1, 0.0, 0.0)
    assert refused.value.retry_after == pytest.approx(121)
    assert account.begin(1, 121.0, 121.0).tokens == 1


def test_a_day_ends_at_midnight_and_a_late_correction_is_of_its_own_day() -> None:
    account = Account(Limits(0, 0, 100, 0), 0.0, DAY_S - 1.0)
    charge = account.begin(90, 0.0, DAY_S - 1.0)
    with pytest.raises(RateLimited) as refused:
        account.begin(11, 0.0, DAY_S - 1.0)
    assert refused.value.retry_after == pytest.approx(1.0)
    other = account.begin(100, 1.0, float(DAY_S))
    account.correct(charge, 10, 1.0, float(DAY_S))
    assert account.drain() == {0: 10, 1: 100}
    standing = account.tokens(1.0, float(DAY_S))
    assert standing is not None
    assert (standing.remaining, standing.reset) == (0, DAY_S)
    account.end(charge)
    account.end(other)
    with pytest.raises(RuntimeError):
        account.end(other)


def test_what_can_never_fit_says_so() -> None:
    account = Account(Limits(0, 50, 100, 0), 0.0, 0.0)
    for tokens, span in ((51, "minute"), (101, "day")):
        with pytest.raises(RateLimited, match=f"a {span} that this key may use") as refused:
            account.begin(tokens, 0.0, 0.0)
        assert refused.value.retry_after == inf
    assert account.running == 0
    assert account.drain() == {}


def test_requests_are_counted() -> None:
    account = Account(Limits(2, 0, 0, 0), 0.0, 0.0)
    account.request(0.0)
    account.request(0.0)
    with pytest.raises(RateLimited, match="2 requests a minute"):
        account.request(0.0)
    account.request(30.0)
    standing = account.requests(30.0)
    assert standing is not None
    assert (standing.limit, standing.remaining) == (2, 0)
    assert standing.reset == pytest.approx(60.0)
    free = Account(Limits(0, 0, 0, 0), 0.0, 0.0)
    assert (free.requests(0.0), free.tokens(0.0, 0.0)) == (None, None)


def test_limits_fill_their_gaps() -> None:
    assert Limits(1, None, 0, None).over(Limits(9, 8, 7, 6)) == Limits(1, 8, 0, 6)
    with pytest.raises(ValueError, match="parallel_chats is -1"):
        Limits(parallel_chats=-1)
