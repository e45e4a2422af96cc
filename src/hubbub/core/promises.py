"""Who was refused and told when to come back. The answer is honest because the time is kept free.

Theory of operation. A refusal is a promise: whoever comes back after the seconds told is let in. Until then it counts
as if it stood in line: each promise owes the seconds by which its request will lengthen the wait of those behind, and
newcomers are behind it. So the next one to be refused is told a later time, and they come back one by one instead of
all at once. A promise belongs to a user, as requests that are sent again cannot be told from new ones. One that is not
kept by its user lapses after a while.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from heapq import heappop, heappush

from hubbub.core.invariant import require
from hubbub.core.types import UserId

GRACE_S = 5.0
GRACE_SHARE = 0.5
"""A promise holds for this long, and this share of the time told, after it is due: clients add jitter."""


@dataclass(slots=True, order=True)
class _Promise:
    due: float
    until: float
    cost: float
    user: UserId


class Promises:
    __slots__ = ("_by_end", "_by_user", "_owed")

    def __init__(self) -> None:
        self._owed = 0.0
        self._by_user: dict[UserId, list[_Promise]] = {}
        self._by_end: list[tuple[float, float, UserId]] = []

    def owed(self, now: float) -> float:
        """Seconds of work that those who were sent away will bring."""
        while self._by_end and self._by_end[0][0] < now:
            _, _, user = heappop(self._by_end)
            mine = self._by_user.get(user, [])
            for promise in [promise for promise in mine if promise.until < now]:
                self._forget(promise)
        return self._owed

    def give(self, user: UserId, now: float, after: float, cost: float) -> None:
        """``after``: seconds from now; ``cost``: seconds that the request adds to the wait of others."""
        due = now + after
        promise = _Promise(due, due + GRACE_S + GRACE_SHARE * after, cost, user)
        insort(self._by_user.setdefault(user, []), promise)
        heappush(self._by_end, (promise.until, due, user))
        self._owed += cost

    def redeem(self, user: UserId, now: float) -> bool:
        """Whether the user has one that is due; it is used up then."""
        self.owed(now)
        mine = self._by_user.get(user)
        if not mine or mine[0].due > now:
            return False
        self._forget(mine[0])
        return True

    def _forget(self, promise: _Promise) -> None:
        mine = self._by_user[promise.user]
        mine.remove(promise)
        if not mine:
            del self._by_user[promise.user]
        self._owed = self._owed - promise.cost if self._by_user else 0.0

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def validate(self) -> None:
        owed = sum(promise.cost for mine in self._by_user.values() for promise in mine)
        require(abs(owed - self._owed) < 1e-6 * (1 + owed), f"promises owe {owed} s, the sum says {self._owed} s")
