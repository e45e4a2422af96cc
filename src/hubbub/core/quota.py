"""What a key may use: pure counters, no clock.

Theory of operation. Requests and tokens per minute are token buckets that hold one minute's worth: over any stretch of
``w`` seconds what was let in is at most ``limit + limit * w / 60``. A request is charged by estimate before it is let
in, and corrected when its end tells what it took. What it took less is given back, never above a full bucket. What it
took more is taken out even below zero: the next requests wait until that debt is paid, so that estimates that are too
small do not widen the limit in the long run. Tokens per day are a plain count that starts anew at midnight UTC; a
correction counts for the day of its charge.

``now`` is monotonic seconds, ``wall`` Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hubbub.core.errors import RateLimited

MINUTE_S = 60.0
DAY_S = 86_400
LIMIT_MOST = 2**53
"""What every reader of JSON can tell from its neighbours, and nobody uses up."""
BUSY_RETRY_S = 5.0
"""When to ask again while too many chats run: nobody knows when one of them ends."""
DUST = 1e-6
"""Rounding errors of a level are below this; no limit is a fraction of a token."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use. None leaves it to the server's default; 0 is without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    parallel_chats: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; give 0 (no limit) or more")

    def over(self, defaults: Limits) -> Limits:
        """These, with the gaps filled from ``defaults``."""
        mine = {name: getattr(self, name) for name in self.__slots__}
        return Limits(**{name: getattr(defaults, name) if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands: what is left of it, and in how many seconds all of it is back."""

    limit: int
    remaining: int
    reset: float


class Bucket:
    """``per_minute`` tokens flow in a minute, and as many fit in."""

    __slots__ = ("_at", "_level", "per_minute")

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def _flow(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._level = min(float(self.per_minute), self._level + passed * self.per_minute / MINUTE_S)
        self._at = max(self._at, now)

    def wait(self, amount: int, now: float) -> float:
        """Seconds until ``amount`` can be taken: 0 is now, inf is never."""
        self._flow(now)
        if amount > self.per_minute:
            return inf
        missing = amount - self._level
        return 0.0 if missing <= DUST else missing * MINUTE_S / self.per_minute

    def take(self, amount: int, now: float) -> None:
        """Take it, below zero if need be; a negative amount gives back, never above full."""
        self._flow(now)
        self._level = min(float(self.per_minute), self._level - amount)

    def standing(self, now: float) -> Standing:
        self._flow(now)
        missing = self.per_minute - self._level
        return Standing(self.per_minute, max(0, int(self._level + DUST)), missing * MINUTE_S / self.per_minute)


class Charge:
    """One request that was let in. ``tokens``: what it was charged so far."""

    __slots__ = ("day", "open", "tokens")

    def __init__(self, tokens: int, day: int) -> None:
        self.tokens = tokens
        self.day = day
        self.open = True


class Account:
    """One key's use. ``limits`` have no gaps. ``spent_today``: tokens that earlier runs of the server counted today."""

    def __init__(self, limits: Limits, now: float, wall: float, spent_today: int = 0) -> None:
        self.limits = limits
        self.running = 0
        """Chats being answered."""
        self.unsaved: dict[int, int] = {}
        """Tokens by day (days since 1970) that were counted since :meth:`drain`."""
        self._requests = _bucket(limits.requests_per_minute, now)
        self._tokens = _bucket(limits.tokens_per_minute, now)
        self._day = day_of(wall)
        self._spent = spent_today

    def request(self, now: float) -> None:
        """Count one call. Raises RateLimited."""
        bucket = self._requests
        if bucket is None:
            return
        wait = bucket.wait(1, now)
        if wait:
            raise RateLimited(
                f"this key may make {bucket.per_minute} requests a minute: try again in {_seconds(wait)}",
                retry_after=wait,
            )
        bucket.take(1, now)

    def begin(self, tokens: int, now: float, wall: float) -> Charge:
        """Let one chat in that will take about ``tokens``. All limits or none. Raises RateLimited."""
        self._roll(wall)
        most = self.limits.parallel_chats
        if most and self.running >= most:
            raise RateLimited(
                f"this key may have {most} chats answered at once, and has: wait for one to end",
                retry_after=BUSY_RETRY_S,
            )
        self._check_day(tokens, wall)
        if self._tokens is not None:
            self._check_minute(self._tokens, tokens, now)
            self._tokens.take(tokens, now)
        self.running += 1
        self._count(self._day, tokens)
        return Charge(tokens, self._day)

    def correct(self, charge: Charge, tokens: int, now: float, wall: float) -> None:
        """The charge was ``tokens`` in truth."""
        self._roll(wall)
        more = tokens - charge.tokens
        charge.tokens = tokens
        if self._tokens is not None:
            self._tokens.take(more, now)
        self._count(charge.day, more)

    def end(self, charge: Charge) -> None:
        """The chat has ended. Once a charge; a second time is an error of ours."""
        if not charge.open:
            raise RuntimeError("a charge ended twice")
        charge.open = False
        self.running -= 1

    def drain(self) -> dict[int, int]:
        """Tokens by day to be kept, which are then forgotten here."""
        drained, self.unsaved = self.unsaved, {}
        return {day: tokens for day, tokens in drained.items() if tokens}

    def requests(self, now: float) -> Standing | None:
        """None without limit."""
        return None if self._requests is None else self._requests.standing(now)

    def tokens(self, now: float, wall: float) -> Standing | None:
        """The limit of the minute or of the day, whichever has less left; None without either."""
        self._roll(wall)
        standings = [] if self._tokens is None else [self._tokens.standing(now)]
        most = self.limits.tokens_per_day
        if most:
            standings.append(Standing(most, max(0, most - self._spent), _to_midnight(wall)))
        return min(standings, key=lambda s: s.remaining, default=None)

    def _check_day(self, tokens: int, wall: float) -> None:
        most = self.limits.tokens_per_day
        if not most or self._spent + tokens <= most:
            return
        left = max(0, most - self._spent)
        if tokens > most:
            raise RateLimited(_too_large(tokens, most, "day"), retry_after=inf)
        raise RateLimited(
            f"this key may use {most} tokens a day: {left} are left and this request may take {tokens}; "
            "the count starts anew at midnight UTC",
            retry_after=_to_midnight(wall),
        )

    @staticmethod
    def _check_minute(bucket: Bucket, tokens: int, now: float) -> None:
        wait = bucket.wait(tokens, now)
        if wait == inf:
            raise RateLimited(_too_large(tokens, bucket.per_minute, "minute"), retry_after=inf)
        if wait:
            left = bucket.standing(now).remaining
            raise RateLimited(
                f"this key may use {bucket.per_minute} tokens a minute: {left} are left and this request may take "
                f"{tokens}; try again in {_seconds(wait)}",
                retry_after=wait,
            )

    def _count(self, day: int, tokens: int) -> None:
        if day == self._day:
            self._spent += tokens
        if tokens:
            self.unsaved[day] = self.unsaved.get(day, 0) + tokens

    def _roll(self, wall: float) -> None:
        today = day_of(wall)
        if today > self._day:  # a clock that is set back does not bring yesterday's tokens back
            self._day, self._spent = today, 0


def day_of(wall: float) -> int:
    """Days since 1970, UTC."""
    return int(wall // DAY_S)


def _to_midnight(wall: float) -> float:
    return DAY_S - wall % DAY_S


def _bucket(per_minute: int | None, now: float) -> Bucket | None:
    return Bucket(per_minute, now) if per_minute else None


def _too_large(tokens: int, most: int, span: str) -> str:
    return (
        f"this request may take {tokens} tokens, more than the {most} a {span} that this key may use: send less text, "
        "or set a smaller max_output_tokens"
    )


def _seconds(wait: float) -> str:
    return f"{max(1, round(wait))} s"
