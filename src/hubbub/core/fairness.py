"""Who has had how much: attained service of users, and of the chats of each user.

Theory of operation. Service is counted in tokens weighed by their cost, divided by the user's weight, on accounts in
two levels: users of a class, and chats of a user. The least served goes first (``core.waiting`` keeps that order).

Old service counts for less: it halves every ``half_life`` seconds. Rather than shrinking all accounts all the time,
a token served at ``now`` is booked as ``2 ** ((now - epoch) / half_life)``; the order between accounts then never
changes while nothing is booked. Before the numbers grow large, the epoch is moved and all are scaled by a power of two,
which is exact, so order is kept there too (differences 1,000 half-lives old vanish; arrival decides such ties).

An account is active while a request of it is queued or running. A group of siblings has a level, the virtual time of
weighted fair queueing: all work done raises it by its share for one active account, and it is never below the weighted
mean of the active accounts, so never below the least served of them. Who comes back from idleness starts at no less
than the level, so that idleness earns no credit and newcomers cannot keep overtaking one who waits; and at no more
than ``max_debt`` tokens above it, so that work done when nobody minded is not held against anyone for long. Idle
accounts are forgotten when decay has made them meaningless.

Sums are floating point: the level is exact up to rounding (1e-9 relative), which is far below one token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import ldexp
from typing import TYPE_CHECKING, Any

from hubbub.core.invariant import require
from hubbub.core.types import ChatId, UserId

if TYPE_CHECKING:
    from hubbub.core.pool import Pool
    from hubbub.core.waiting import ChatLine, Order, UserLine

RESCALE_AT = 256.0
"""Half-lives after which the epoch moves. 2**256 tokens are far from the largest float, 2**1024."""
FORGET_AFTER = 10.0
"""Half-lives after which an idle account is dropped: what it had then counts a thousandth."""


class Account:
    """One user or one chat. ``active``: its requests queued or running. ``service``: inflated tokens per weight."""

    __slots__ = ("active", "idle_since", "service", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.service = 0.0
        self.active = 0
        self.idle_since = 0.0


class ChatAccount(Account):
    __slots__ = ("id", "kept", "lines", "owner", "past")

    def __init__(self, chat: ChatId, owner: UserAccount) -> None:
        super().__init__(1.0)
        self.id = chat
        self.owner = owner
        self.past = 0
        """Tokens of its last turn, prompt and answer: what the next one begins with."""
        self.kept = 1.0
        """Share of that which the engine still had when it was last asked."""
        self.lines: dict[Pool, ChatLine] = {}
        """Where its requests wait, by pool."""


class UserAccount(Account):
    __slots__ = ("chats", "id", "level", "lines")

    def __init__(self, user: UserId, weight: float) -> None:
        super().__init__(weight)
        self.id = user
        self.chats: dict[ChatId, ChatAccount] = {}
        self.level = Level()
        self.lines: dict[Pool, UserLine] = {}


class Level:
    """The active accounts among siblings, as sums. ``height`` is in inflated tokens per weight and never falls."""

    __slots__ = ("active", "height", "total", "weight")

    def __init__(self) -> None:
        self.active = 0
        self.weight = 0.0
        self.total = 0.0
        self.height = 0.0

    def enter(self, account: Account, debt: float) -> None:
        self.rise()
        height = self.height
        if account.service < height:
            account.service = height
        elif account.service > height + debt:
            account.service = height + debt
        self.active += 1
        self.weight += account.weight
        self.total += account.service * account.weight

    def leave(self, account: Account) -> None:
        self.rise()
        self.active -= 1
        if self.active:
            self.weight -= account.weight
            self.total -= account.service * account.weight
        else:
            self.weight = self.total = 0.0

    def rise(self) -> None:
        if self.active:
            mean = self.total / self.weight
            self.height = max(self.height, mean)

    def charge(self, amount: float) -> None:
        self.total += amount
        if amount > 0:
            self.height += amount / self.weight

    def scale(self, exponent: int) -> None:
        self.total = ldexp(self.total, exponent)
        self.height = ldexp(self.height, exponent)


class Fairness:
    """The accounts of one class. ``half_life`` in seconds, ``max_debt`` in cost-weighted tokens."""

    __slots__ = ("_epoch", "_half_life", "_idle", "_max_debt", "_weights", "level", "users")

    def __init__(self, half_life: float, max_debt: float, weights: Mapping[str, float]) -> None:
        self.users: dict[UserId, UserAccount] = {}
        self.level = Level()
        self._half_life = half_life
        self._max_debt = max_debt
        self._weights = weights
        self._epoch: float | None = None
        self._idle: deque[tuple[float, UserAccount, ChatAccount | None]] = deque()

    def enter(self, user: UserId, chat: ChatId, now: float) -> ChatAccount:
        """Another request of the chat is queued. Returns the account to book it on."""
        owner = self.users.get(user)
        if owner is None:
            owner = self.users[user] = UserAccount(user, self._weights.get(user, 1.0))
        account = owner.chats.get(chat)
        if account is None:
            account = owner.chats[chat] = ChatAccount(chat, owner)
        if not account.active:
            debt = self._max_debt * self.rate(now)
            if not owner.active:
                self.level.enter(owner, debt / owner.weight)
            owner.level.enter(account, debt)
        owner.active += 1
        account.active += 1
        return account

    def leave(self, account: ChatAccount, now: float) -> None:
        """A request of the chat has ended or was refused."""
        owner = account.owner
        owner.active -= 1
        account.active -= 1
        if not account.active:
            owner.level.leave(account)
            account.idle_since = now
            self._idle.append((now, owner, account))
        if not owner.active:
            self.level.leave(owner)
            owner.idle_since = now
            self._idle.append((now, owner, None))
        before = now - FORGET_AFTER * self._half_life
        while self._idle and self._idle[0][0] < before:
            self._forget(*self._idle.popleft())

    def _forget(self, since: float, owner: UserAccount, chat: ChatAccount | None) -> None:
        """Drop an account that has been idle ever since."""
        if chat is None:
            if not owner.active and owner.idle_since == since:
                self.users.pop(owner.id, None)
        elif not chat.active and chat.idle_since == since:
            owner.chats.pop(chat.id, None)

    def rate(self, now: float) -> float:
        """What a token served now is booked as."""
        if self._epoch is None:
            self._epoch = now
        exponent = (now - self._epoch) / self._half_life
        if exponent > RESCALE_AT:
            self._rescale(int(exponent))
            exponent = (now - self._epoch) / self._half_life
        # The type checker takes float ** float for Any: a negative base would give a complex number.
        return float(2.0**exponent)

    def charge(self, account: ChatAccount, amount: float) -> None:
        """Book ``amount`` tokens times their rate. Negative to take back what was booked too much."""
        owner = account.owner
        account.service += amount
        owner.level.charge(amount)
        owner.service += amount / owner.weight
        self.level.charge(amount)
        for line in owner.lines.values():
            if line.key is not None:
                line.moved()
                if (inner := account.lines.get(line.pool)) is not None:
                    inner.moved()

    def attained(self, user: UserId, now: float) -> float:
        """The user's service as it counts now, in cost-weighted tokens per weight."""
        account = self.users.get(user)
        return account.service / self.rate(now) if account else 0.0

    def _rescale(self, halvings: int) -> None:
        self._epoch = (self._epoch or 0.0) + halvings * self._half_life
        self.level.scale(-halvings)
        orders: set[Order[Any]] = set()
        for user in self.users.values():
            user.service = ldexp(user.service, -halvings)
            user.level.scale(-halvings)
            for chat in user.chats.values():
                chat.service = ldexp(chat.service, -halvings)
            orders.update(line.chats for line in user.lines.values())
            orders.update(line.order for line in user.lines.values())
        for order in orders:
            order.rebuild()

    def validate(self) -> None:
        _balance(self.level, self.users.values(), "users")
        for user in self.users.values():
            _balance(user.level, user.chats.values(), f"chats of user {user.id}")
            chats = sum(chat.active for chat in user.chats.values())
            require(chats == user.active, f"user {user.id} has {user.active} live requests, but its chats have {chats}")


def _balance(level: Level, accounts: Iterable[Account], who: str) -> None:
    active = [account for account in accounts if account.active]
    require(len(active) == level.active, f"{len(active)} {who} are active, the level counts {level.active}")
    total = sum(account.service * account.weight for account in active)
    scale = 1e-6 * (abs(total) + level.height * (level.weight + 1.0) + 1e-300)
    require(abs(total - level.total) <= scale, f"the {who} have {total} tokens together, the level has {level.total}")
