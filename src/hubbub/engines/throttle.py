"""When the next request may be sent to an API that is throttled, and how many may be under way. Pure, no clock inside.

Theory of operation. Two buckets, of requests and of tokens, say when. A bucket is filled by what is configured; or by
what the server says of its limits, which it then follows exactly; or, where nobody says anything, by the first refusal:
what was taken in the minute before it is the first guess, which then rises until a refusal again and is cut (additive
increase, multiplicative decrease, quick up to nine tenths of the last bound). Without any of these a bucket is open.

``window`` bounds the requests under way. It starts small and grows by one with every answer that begins, so that the
limits are met before hundreds of requests are sent against them; after a refusal that no bucket foresaw it is cut, and
grows by one in a round.

A refusal closes all for as long as the server says. Refusals of requests sent before the last cut tell nothing new.

A request's tokens are an estimate when it is sent. ``settle`` corrects the bucket by what it really was, unless the
server keeps that account itself.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf

from hubbub.engines.rate_limits import Allowance, Told

MINUTE = 60.0
BURST_S = 1.0
"""What of a configured rate may come at once. Some (DashScope) hold to a sixtieth of the limit in each second; and one
that counts by the minute would with more see nearly twice its limit in the first one."""
MARGIN = 0.99
"""Of a rate: clocks differ, and requests do not arrive as evenly as they are sent."""
FIRST_WINDOW = 8
CUT, RATE_CUT = 0.7, 0.85
"""What a refusal leaves of the window, and of a guessed rate."""
RECOVER, PROBE = 1.05, 0.003
"""Growth a second: times RECOVER below nine tenths of what was last refused, by a share of PROBE above."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""After a refusal that names no time: doubled with every further one."""


class Refusal(Enum):
    """Why: more than is allowed (429), or more than the server can do now (503, 529)."""

    LIMIT = 1
    OVERLOAD = 2


class Bucket:
    """``rate`` units a second up to ``burst``; with ``ends_at``, all at once then instead. Infinite rate: no bound."""

    def __init__(self) -> None:
        self.rate = inf
        self.burst = inf
        self.level = inf
        self.told = False
        """The server keeps the account, and its word holds."""
        self._at = 0.0
        self._ends_at: float | None = None
        self._period = MINUTE
        self._longest_reset = 0.0
        self._configured = inf

    def configure(self, per_minute: float) -> None:
        """Never faster than that, whatever the server says."""
        self._configured = MARGIN * per_minute / MINUTE
        self.bound(self._configured, self._configured * BURST_S, 0.0)

    def bound(self, rate: float, burst: float, now: float) -> None:
        self._refill(now)
        self.rate, self.burst = rate, max(1.0, burst)
        self.level = min(self.level, self.burst)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` may be taken, 0 for now. What is larger than the bucket waits for a full one."""
        self._refill(now)
        missing = min(amount, self.burst) - self.level
        if missing <= 1e-9:
            return 0.0
        return self._ends_at - now if self._ends_at is not None else missing / self.rate

    def take(self, amount: float, now: float) -> None:
        self._refill(now)
        self.level -= amount

    def give(self, amount: float) -> None:
        """Back, or with a negative amount, take more than was thought."""
        self.level = min(self.burst, self.level + amount)

    def empty(self, now: float) -> None:
        """The server says that nothing is left."""
        self._refill(now)
        if self.burst < inf:
            self.level = min(self.level, 0.0)

    def follow(self, said: Allowance, pending: float, now: float) -> None:
        """``pending``: units sent that the server may not have counted when it said so."""
        self._refill(now)
        self._learn_period(said)
        rate = MARGIN * said.limit / self._period
        if rate >= self._configured:
            return
        left = said.remaining - pending
        self.level = min(self.level, left) if self.told and pending else left
        self.told = True
        self.rate, self.burst = rate, said.limit
        self._ends_at = None if said.refills else now + said.reset_s

    def _learn_period(self, said: Allowance) -> None:
        if said.period_s > 0:
            self._period = said.period_s
        elif not said.refills:
            self._period = max(self._period if self.told else 1e-3, said.reset_s)
        elif said.reset_s > 0 and said.remaining < said.limit and said.reset_s >= self._longest_reset / 2:
            # The longest reset is the least rounded.
            self._longest_reset = max(said.reset_s, self._longest_reset)
            self._period = said.limit * said.reset_s / (said.limit - said.remaining)

    def within(self, seconds: float, now: float) -> float:
        """Units that can be taken in so many seconds from now."""
        self._refill(now)
        if self._ends_at is not None:
            return max(0.0, self.level) + (self.burst if now + seconds >= self._ends_at else 0.0)
        return max(0.0, self.level + self.rate * seconds)

    def _refill(self, now: float) -> None:
        if self._ends_at is None:
            self.level = min(self.burst, self.level + self.rate * (now - self._at)) if self.rate < inf else self.burst
        elif now >= self._ends_at:
            self.level = self.burst
            self._ends_at += self._period * (1 + (now - self._ends_at) // self._period)
        self._at = now


class Throttle:
    """``most``: requests under way at once. Zero for ``requests_per_minute`` or ``tokens_per_minute``: learn it."""

    def __init__(self, most: int, requests_per_minute: float = 0.0, tokens_per_minute: float = 0.0) -> None:
        self.most = most
        self.requests, self.tokens = Bucket(), Bucket()
        self.window = float(min(most, FIRST_WINDOW))
        self.refusals = 0
        self._configured = requests_per_minute > 0
        for bucket, per_minute in ((self.requests, requests_per_minute), (self.tokens, tokens_per_minute)):
            if per_minute:
                bucket.configure(per_minute)
        self._starting = True
        self._pending: dict[object, tuple[float, float]] = {}  # sent, no word of them yet: tokens, when
        self._under_way = 0
        self._sent: deque[float] = deque()  # of the last minute
        self._closed_until = 0.0
        self._cut_at = -inf
        self._in_a_row = 0
        self._ceiling = inf
        self._raised_at = 0.0
        self._mean_tokens = 0.0

    def trust(self, most: int) -> None:
        """The server says itself what it holds: until it refuses something, that is the window."""
        if self._starting:
            self.most, self.window = most, float(most)

    @property
    def under_way(self) -> int:
        return self._under_way

    def wait(self, tokens: float, now: float) -> float | None:
        """Seconds until one more request may be sent, 0 for now; None: not before one that is under way tells more."""
        if self._under_way >= int(self.window):
            return None
        self._raise(now)
        waits = (self._closed_until - now, self.requests.wait(1.0, now), self.tokens.wait(tokens, now))
        return max(0.0, *waits)

    def sent(self, key: object, tokens: float, now: float) -> None:
        self.requests.take(1.0, now)
        self.tokens.take(tokens, now)
        self._pending[key] = tokens, now
        self._under_way += 1
        self._mean_tokens += (tokens - self._mean_tokens) * (0.1 if self._mean_tokens else 1.0)
        self._sent.append(now)
        while now - self._sent[0] > MINUTE:
            self._sent.popleft()

    def answered(self, key: object, told: Told, refusal: Refusal | None, now: float) -> None:
        """The head of the answer to one that was sent."""
        _, sent_at = self._pending.pop(key, (0.0, now))
        for bucket, said, pending in (
            (self.requests, told.requests, float(len(self._pending))),
            (self.tokens, told.tokens, sum(tokens for tokens, _ in self._pending.values())),
        ):
            if said is not None:
                bucket.follow(said, pending, now)
        if refusal is not None:
            self._refused(told, refusal, sent_at, now)
        else:
            self._in_a_row = 0
            self.window = min(self.most, self.window + (1.0 if self._starting else 1.0 / self.window))

    def settle(self, key: object, estimate: float, actual: float | None) -> None:
        """One that was sent has ended; ``actual`` tokens, None where nobody knows."""
        self._pending.pop(key, None)
        self._under_way -= 1
        if actual is not None and not self.tokens.told:
            self.tokens.give(estimate - actual)

    def room(self, seconds: float, now: float) -> int:
        """Requests that may be under way now and within so many seconds, if none ends; at least one."""
        soon = min(self.requests.within(seconds, now), self.tokens.within(seconds, now) / max(1.0, self._mean_tokens))
        if self._closed_until > now + seconds:
            soon = 0.0
        limit = self.most if self._starting else int(self.window)
        return max(1, int(min(limit, self._under_way + soon)))

    def shown(self) -> dict[str, str]:
        """For people: what is known of the limits, a minute."""
        known = {"requests_per_minute": self.requests.rate, "tokens_per_minute": self.tokens.rate}
        return {name: f"{rate * MINUTE:.0f}" for name, rate in known.items() if rate < inf}

    def _refused(self, told: Told, refusal: Refusal, sent_at: float, now: float) -> None:
        self.refusals += 1
        pause = told.retry_s
        if sent_at > self._cut_at:
            self._in_a_row += 1
            foreseen = told.requests is not None or told.tokens is not None
            if not foreseen:
                self.window = max(1.0, CUT * min(self.window, self._under_way))
                if refusal is Refusal.LIMIT:
                    self._cut_rate(pause, now)
            self._starting = False
            self._cut_at = now
            if pause is None and not foreseen:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._in_a_row - 1))
        for bucket, said in ((self.requests, told.requests), (self.tokens, told.tokens)):
            if said is not None and said.remaining < 1:
                bucket.empty(now)
        self._closed_until = max(self._closed_until, now + (pause or 0.0))

    def _cut_rate(self, pause: float | None, now: float) -> None:
        if self.requests.told:
            return
        if self.requests.rate < inf:
            self._ceiling = self.requests.rate
            rate = RATE_CUT * self.requests.rate
        else:
            # Those under way without a word are not known to have been taken.
            taken = sum(now - at <= MINUTE for at in self._sent) - len(self._pending) - 1
            # A server that names a time may mean: until there is room for one more.
            rate = max(max(1, taken) / MINUTE, 1 / pause if pause else 0.0)
            self._ceiling = MINUTE * rate  # as if all had come within a second
        self.requests.bound(rate, rate * BURST_S, now)
        self.requests.empty(now)
        self._raised_at = now

    def _raise(self, now: float) -> None:
        """A guessed rate grows until it is refused. One that was configured does not grow beyond that."""
        bucket = self.requests
        if self._ceiling == inf or bucket.told:
            return
        seconds, self._raised_at = max(0.0, now - max(self._raised_at, self._closed_until)), max(now, self._raised_at)
        rate = bucket.rate
        rate = rate * RECOVER**seconds if rate < 0.9 * self._ceiling else rate + PROBE * self._ceiling * seconds
        if self._configured:
            rate = min(rate, self._ceiling)
        bucket.bound(rate, rate * BURST_S, now)
