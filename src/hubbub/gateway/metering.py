"""Charging keys for what they ask: by estimate when a request is let in, by the engine's count at its end."""

from __future__ import annotations

import asyncio

from hubbub.core.errors import Interrupted, Overloaded, RateLimited
from hubbub.core.keys import Scope
from hubbub.core.quota import Account, Charge, Standing
from hubbub.core.types import Priority, UserId
from hubbub.gateway.keyring import LOCAL, Caller
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from hubbub.ports import Clock
from hubbub.runtime.hub import Ask, Hub
from hubbub.runtime.live import Live

CHARACTERS_PER_TOKEN = 4
"""English text under the usual tokenizers; the end corrects it."""
STREAM_RETRY_S = 5.0


class Meter:
    def __init__(self, hub: Hub, clock: Clock, quota: QuotaConfig) -> None:
        self._hub = hub
        self._clock = clock
        self._quota = quota
        self._following: set[asyncio.Task[None]] = set()

    def count(self, caller: Caller) -> None:
        """One request of any kind. Raises RateLimited."""
        if caller.account is not None:
            caller.account.request(self._clock.now())

    async def ask(self, caller: Caller, ask: Ask) -> Live:
        """``Hub.ask`` for a caller. Raises what that raises, Forbidden, and RateLimited."""
        caller.check(Scope.BULK if ask.priority is Priority.BULK else Scope.CHAT)
        account = caller.account
        if account is None:
            return await self._hub.ask(ask)
        charge = account.begin(self._estimate(ask), self._clock.now(), self._clock.wall())
        try:
            live = await self._hub.ask(ask)
        except BaseException:
            self._settle(account, charge, 0)
            raise
        task = asyncio.create_task(self._follow(account, charge, live))
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return live

    async def close(self) -> None:
        """Answers that still run stay charged by their estimate."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    def headers(self, caller: Caller) -> dict[str, str]:
        """What is left of the caller's limits, for every answer; empty for one without limits."""
        account = caller.account
        if account is None:
            return {}
        now, wall = self._clock.now(), self._clock.wall()
        return {
            **_headers("requests", account.requests(now)),
            **_headers("tokens", account.tokens(now, wall)),
        }

    async def _follow(self, account: Account, charge: Charge, live: Live) -> None:
        tokens = charge.tokens
        try:
            tokens = (await live.ended()).usage.total_tokens
        except Interrupted:
            pass  # the server stops and the answer goes on when it is back: it stays charged by its estimate
        finally:
            self._settle(account, charge, tokens)

    def _settle(self, account: Account, charge: Charge, tokens: int) -> None:
        account.correct(charge, tokens, self._clock.now(), self._clock.wall())
        account.end(charge)

    def _estimate(self, ask: Ask) -> int:
        """Tokens of what is sent and of the longest answer, or the expected one. What a chat said before is not known
        here, and comes with the correction."""
        characters = len(ask.instructions or "") + sum(len(part) for item in ask.items for part in item.parts)
        output = ask.sampling.max_tokens or self._quota.expected_output
        return characters // CHARACTERS_PER_TOKEN + output


class Seats:
    """Open streams, counted. A seat is a context manager, so that no path forgets to give it back."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self.taken = 0
        self.by_user: dict[UserId, int] = {}

    def take(self, user: UserId) -> Seat:
        """Raises Overloaded when all are taken, RateLimited when the user has too many."""
        if self.taken >= self._limits.max_streams:
            raise Overloaded(
                f"all {self._limits.max_streams} streams of this server are open", retry_after=STREAM_RETRY_S
            )
        mine = self.by_user.get(user, 0)
        most = self._limits.max_streams_per_user
        if user != LOCAL and mine >= most:
            raise RateLimited(
                f"you have {mine} streams open, this server gives {most} to a user: close one",
                retry_after=STREAM_RETRY_S,
            )
        self.taken += 1
        self.by_user[user] = mine + 1
        return Seat(self, user)

    def leave(self, user: UserId) -> None:
        self.taken -= 1
        self.by_user[user] -= 1
        if not self.by_user[user]:
            del self.by_user[user]


class Seat:
    def __init__(self, seats: Seats, user: UserId) -> None:
        self._seats = seats
        self._user = user

    def __enter__(self) -> None:
        """Taken since :meth:`Seats.take`."""

    def __exit__(self, *_: object) -> None:
        self._seats.leave(self._user)


def _headers(what: str, standing: Standing | None) -> dict[str, str]:
    if standing is None:
        return {}
    return {
        f"x-ratelimit-limit-{what}": str(standing.limit),
        f"x-ratelimit-remaining-{what}": str(standing.remaining),
        f"x-ratelimit-reset-{what}": duration(standing.reset),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``0s``, ``120ms``, ``1.5s``, ``6m0s``, ``3h2m1s``."""
    if seconds < 1:
        milliseconds = max(0, round(seconds * 1000))
        return f"{milliseconds}ms" if milliseconds else "0s"
    if seconds < 60:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
