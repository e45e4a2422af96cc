"""The throttle against a server's limiter, both on a clock that is only a number."""

from __future__ import annotations

import heapq
from itertools import count

import pytest

from hubbub.engines.rate_limits import Allowance, Told, read
from hubbub.engines.throttle import MINUTE, Refusal, Throttle
from support.throttled_api import Limiter, Says


class Trial:
    """As many requests as are wanted at any time, each ``seconds`` long."""

    def __init__(self, throttle: Throttle, limiter: Limiter, seconds: float = 1.5, delay: float = 0.05) -> None:
        self.throttle, self.limiter = throttle, limiter
        self.seconds, self.delay = seconds, delay
        self.now = 1000.0
        self.sent = 0
        self._numbers = count()
        self._due: list[tuple[float, int, str, int]] = []

    def run(self, seconds: float, most: int = 1_000_000) -> int:
        """Answers begun. Ends early once ``most`` were begun."""
        until, begun = self.now + seconds, self.limiter.taken
        while self.now < until and self.limiter.taken - begun < most:
            wait = self.throttle.wait(100.0, self.now)
            if wait == 0:
                self.throttle.sent(self.sent, 100.0, self.now)
                self._later(self.delay, "arrive", self.sent)
                self.sent += 1
                continue
            next_due = self._due[0][0] if self._due else until
            self.now = min(next_due, until) if wait is None else min(next_due, self.now + wait, until)
            while self._due and self._due[0][0] <= self.now:
                self._happen(*heapq.heappop(self._due)[2:])
        return self.limiter.taken - begun

    def _later(self, seconds: float, what: str, key: int) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), what, key))

    def _happen(self, what: str, key: int) -> None:
        if what == "end":
            self.throttle.settle(key, 100.0, 100.0)
            return
        good, headers = self.limiter.take(self.now)
        told = read({name.lower(): value for name, value in headers.items()}.get, self.now)
        self.throttle.answered(key, told, None if good else Refusal.LIMIT, self.now)
        self._later(self.seconds if good else 0.0, "end", key)


def trial(says: Says, *, limit: int = 60, per_minute: float = 0.0, most: int = 64) -> Trial:
    return Trial(Throttle(most, per_minute), Limiter(limit, MINUTE, says))


def test_fifty_requests_against_sixty_a_minute_take_as_long_as_the_limit_makes_them() -> None:
    it = trial(Says.OPENAI)
    it.limiter.level = 0.0
    taken = it.run(600.0, most=50)
    assert taken >= 0.95 * (it.now - 1000.0)
    assert it.limiter.refused <= 3


@pytest.mark.large
@pytest.mark.parametrize(("says", "refused"), [(Says.OPENAI, 2), (Says.WINDOW, 2)])
@pytest.mark.parametrize("limit", [6, 60, 600])
def test_ten_minutes_at_a_limit_that_is_told(says: Says, refused: int, limit: int) -> None:
    it = trial(says, limit=limit)
    it.run(MINUTE)
    taken = it.run(10 * MINUTE)
    most = 64 / (it.seconds + it.delay) * 10 * MINUTE
    assert taken >= 0.95 * min(10 * limit, most)
    assert it.limiter.refused <= refused


def test_a_configured_limit_needs_no_word_of_the_server() -> None:
    it = trial(Says.NOTHING, per_minute=60)
    it.run(MINUTE)
    assert it.run(10 * MINUTE) >= 0.95 * 600
    assert it.limiter.refused == 0


def test_a_configured_limit_below_the_servers_holds() -> None:
    it = trial(Says.OPENAI, limit=600, per_minute=60)
    it.run(MINUTE)
    assert 0.95 * 600 <= it.run(10 * MINUTE) <= 600


@pytest.mark.parametrize("says", [Says.RETRY_AFTER, Says.NOTHING])
def test_a_limit_that_only_refusals_tell(says: Says) -> None:
    it = trial(says)
    it.run(2 * MINUTE)
    refused = it.limiter.refused
    assert it.run(10 * MINUTE) >= 0.85 * 600
    assert it.limiter.refused - refused <= 0.05 * 600


def test_overload_cuts_the_window_and_calm_opens_it() -> None:
    throttle = Throttle(64)
    for key in range(8):
        assert throttle.wait(1.0, 0.0) == 0
        throttle.sent(key, 1.0, 0.0)
    assert throttle.wait(1.0, 0.0) is None
    for key in range(8):
        throttle.answered(key, Told(), Refusal.OVERLOAD if key >= 4 else None, 1.0)
    assert throttle.window < 8
    assert throttle.wait(1.0, 1.0) is None
    for key in range(8):
        throttle.settle(key, 1.0, 1.0)
    wait = throttle.wait(1.0, 1.0)
    assert wait is not None
    assert wait >= 1.0, "it keeps away for a while"


def test_retry_after_closes_for_exactly_so_long() -> None:
    throttle = Throttle(64)
    throttle.sent("a", 1.0, 0.0)
    throttle.answered("a", Told(retry_s=30.0), Refusal.LIMIT, 0.0)
    throttle.settle("a", 1.0, 0.0)
    assert throttle.wait(1.0, 5.0) is not None
    assert throttle.wait(1.0, 5.0) >= 25.0  # type: ignore[operator]
    assert throttle.room(2.0, 5.0) == 1


def test_tokens_are_a_limit_of_their_own_and_are_corrected_by_usage() -> None:
    throttle = Throttle(64, 0.0, 60_000)
    assert throttle.wait(4900.0, 0.0) == 0
    throttle.sent("a", 4900.0, 0.0)
    wait = throttle.wait(4900.0, 0.0)
    assert wait is not None
    assert 4.8 < wait < 5.1
    throttle.settle("a", 4900.0, 900.0)
    after = throttle.wait(4900.0, 0.0)
    assert after is not None
    assert after < 1.1


def test_tokens_that_the_server_counts_are_not_counted_twice() -> None:
    throttle = Throttle(64)
    throttle.sent("a", 500.0, 0.0)
    throttle.answered("a", Told(tokens=Allowance(60_000, 400.0, 59.6, refills=True)), None, 0.0)
    throttle.settle("a", 500.0, 100.0)
    assert throttle.wait(400.0, 0.0) == 0
    assert throttle.wait(1400.0, 0.0) == pytest.approx(1.0, rel=0.05)


def test_what_is_larger_than_the_limit_waits_for_a_full_bucket_and_goes() -> None:
    throttle = Throttle(64, 0.0, 600)
    assert throttle.wait(5_000.0, 0.0) == 0


def test_the_period_is_learned_from_the_reset() -> None:
    throttle = Throttle(64)
    throttle.sent("a", 1.0, 0.0)
    throttle.answered("a", Told(Allowance(200, 199, 432.0, refills=True)), None, 0.0)  # 200 a day
    assert throttle.shown()["requests_per_minute"] == "0"
    assert throttle.requests.rate == pytest.approx(0.99 * 200 / 86_400)
