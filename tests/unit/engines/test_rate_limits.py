"""What APIs say of their limits, as they were seen to say it."""

from __future__ import annotations

import pytest

from hubbub.engines.rate_limits import Allowance, Told, duration, read

NOW = 1_700_000_000.0


def said(**headers: str) -> Told:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read(named.get, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("12ms", 0.012), ("1h2m3.5s", 3723.5), ("7.66s", 7.66), ("1d", 86_400), ("30", 30)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1s!", "1 s", "-1s", "s"])
def test_what_is_no_duration(text: str) -> None:
    assert duration(text) is None


def test_openai() -> None:
    told = said(
        x_ratelimit_limit_requests="60",
        x_ratelimit_remaining_requests="59",
        x_ratelimit_reset_requests="1s",
        x_ratelimit_limit_tokens="150000",
        x_ratelimit_remaining_tokens="149984",
        x_ratelimit_reset_tokens="6m0s",
    )
    assert told.requests == Allowance(60, 59, 1, refills=True)
    assert told.tokens == Allowance(150_000, 149_984, 360, refills=True)
    assert told.retry_s is None


def test_hugging_face_and_the_newest_draft() -> None:
    told = said(ratelimit='"api";r=489;t=189', ratelimit_policy='"fixed window";"api";q=500;w=300')
    assert told.requests == Allowance(500, 489, 189, refills=False, period_s=300)


def test_the_middle_drafts() -> None:
    told = said(ratelimit="limit=100, remaining=50, reset=5", ratelimit_policy="100;w=60")
    assert told.requests == Allowance(100, 50, 5, refills=False, period_s=60)


def test_the_first_drafts() -> None:
    told = said(ratelimit_limit="100, 100;w=60", ratelimit_remaining="0", ratelimit_reset="12", retry_after="12")
    assert told == Told(Allowance(100, 0, 12, refills=False, period_s=60), retry_s=12)


@pytest.mark.parametrize("reset", ["1700000030", "1700000030000"])
def test_openrouter_names_a_time(reset: str) -> None:
    told = said(x_ratelimit_limit="20", x_ratelimit_remaining="0", x_ratelimit_reset=reset)
    assert told.requests == Allowance(20, 0, 30, refills=False)


def test_retry_after() -> None:
    assert said(retry_after="20").retry_s == 20
    assert said(retry_after_ms="250", retry_after="1").retry_s == 0.25
    assert said(retry_after="in a while").retry_s is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_ratelimit_limit_requests": "many", "x_ratelimit_remaining_requests": "1"},
        {"x_ratelimit_limit_requests": "0", "x_ratelimit_remaining_requests": "0"},
        {"ratelimit": "remaining=;;,=", "ratelimit_policy": "="},
        {"ratelimit_limit": "10"},
    ],
)
def test_nonsense_is_as_if_nothing_was_said(headers: dict[str, str]) -> None:
    assert said(**headers) == Told()
