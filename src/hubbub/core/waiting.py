"""Who is next: the requests of one class that wait for one pool, in the order they would be served.

Theory of operation. Users stand in order of their attained service, inside each user its chats do, and inside a chat
requests stand in order of arrival. Each of the two outer levels is an ``Order``: a sorted list that stands still while
accounts are charged (``moved`` only notes who was), and is put straight when somebody looks. So a token costs an
addition, and the next one or a rank costs O(log n).

Equal service is decided by arrival: the key of a place is (service, arrival number of the request that is next there).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hubbub.core.fairness import Account, ChatAccount, UserAccount
from hubbub.core.invariant import require
from hubbub.core.pool import Pool

if TYPE_CHECKING:
    from hubbub.core.ticket import Ticket


class Line:
    """A user or a chat in an order. ``size``: requests waiting there. ``key``: its place, None while it has none."""

    __slots__ = ("account", "has_moved", "key", "order", "size")

    def __init__(self, account: Account, order: Order[Any]) -> None:
        self.account = account
        self.order = order
        self.size = 0
        self.key: tuple[float, int, Any] | None = None
        self.has_moved = False

    def moved(self) -> None:
        """Its account was charged."""
        if self.key is not None and not self.has_moved:
            self.has_moved = True
            self.order.movers.append(self)


L = TypeVar("L", bound=Line)


class Order(Generic[L]):
    """Lines by key, least served first."""

    __slots__ = ("keys", "movers")

    def __init__(self) -> None:
        self.keys: list[tuple[float, int, L]] = []
        self.movers: list[L] = []

    def put(self, line: L, number: int) -> None:
        """Give the line the place that its service now has. ``number``: of the request that is next there."""
        key = (line.account.service, number, line)
        line.key = key
        insort(self.keys, key)

    def drop(self, line: L) -> None:
        """Take the line out, if it is in."""
        if line.key is not None:
            del self.keys[bisect_left(self.keys, line.key)]
            line.key = None

    def settle(self) -> None:
        """Bring the lines that were charged since the last call to their new places."""
        movers = self.movers
        if not movers:
            return
        if 4 * len(movers) > len(self.keys):
            self.rebuild()
            return
        self.movers = []
        for line in movers:
            line.has_moved = False
            if line.key is not None:
                number = line.key[1]
                self.drop(line)
                self.put(line, number)

    def rebuild(self) -> None:
        """All to their places at once; the way when accounts were scaled, as old and new keys must never mix."""
        movers, self.movers = self.movers, []
        for line in movers:
            line.has_moved = False
        self.keys = sorted((line.account.service, number, line) for _, number, line in self.keys)
        for key in self.keys:
            key[2].key = key

    def before(self, line: L, earlier: int) -> int:
        """Requests of other lines that go before one with ``earlier`` before it in its own line, when the lines are
        served in turns (as they are when all requests cost alike)."""
        self.settle()
        place = bisect_left(self.keys, line.key)  # type: ignore[type-var]
        if not earlier:
            return place
        others = sum(min(key[2].size, earlier + (i < place)) for i, key in enumerate(self.keys))
        return others - min(line.size, earlier)


class ChatLine(Line):
    __slots__ = ("requests", "user")

    def __init__(self, account: ChatAccount, user: UserLine) -> None:
        super().__init__(account, user.chats)
        self.user = user
        self.requests: deque[Ticket] = deque()


class UserLine(Line):
    __slots__ = ("chats", "pool")

    def __init__(self, account: UserAccount, order: Order[UserLine], pool: Pool) -> None:
        super().__init__(account, order)
        self.pool = pool
        self.chats: Order[ChatLine] = Order()


class WaitingRoom:
    """All that wait for one pool of engines in one class."""

    __slots__ = ("pool", "size", "users")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.size = 0
        self.users: Order[UserLine] = Order()

    def _line(self, account: ChatAccount) -> ChatLine:
        line = account.lines.get(self.pool)
        if line is None:
            owner = account.owner
            user = owner.lines.get(self.pool)
            if user is None:
                user = owner.lines[self.pool] = UserLine(owner, self.users, self.pool)
            line = account.lines[self.pool] = ChatLine(account, user)
        return line

    def push(self, ticket: Ticket) -> None:
        """In order of arrival among the requests of its chat: one that comes back is before those that came later."""
        line = self._line(ticket.account)
        requests = line.requests
        place = len(requests)
        while place and requests[place - 1].number > ticket.number:
            place -= 1
        requests.insert(place, ticket)
        line.size += 1
        line.user.size += 1
        self.size += 1
        if not place:
            self._place(line)

    def remove(self, ticket: Ticket) -> None:
        line = ticket.account.lines[self.pool]
        was_first = line.requests[0] is ticket
        line.requests.remove(ticket)
        line.size -= 1
        line.user.size -= 1
        self.size -= 1
        if was_first:
            self._place(line)

    def _place(self, line: ChatLine) -> None:
        """Another request is first in the chat, or none: the chat moves, and with it its user."""
        user = line.user
        chats = user.chats
        chats.drop(line)
        if line.requests:
            chats.put(line, line.requests[0].number)
        self.users.drop(user)
        if chats.keys:
            chats.settle()
            self.users.put(user, chats.keys[0][1])

    def first(self) -> Ticket:
        """Who is next. Raises IndexError when nobody waits."""
        self.users.settle()
        chats = self.users.keys[0][2].chats
        chats.settle()
        return chats.keys[0][2].requests[0]

    def rank(self) -> tuple[float, int]:
        """Service and arrival of who is next, to compare lanes by. Raises IndexError when nobody waits."""
        self.users.settle()
        return self.users.keys[0][:2]

    def candidates(self, lookahead: int) -> Iterator[Ticket]:
        """Those behind the first: the next of up to ``lookahead`` users and of as many chats of each, best first."""
        first = self.first()
        for user in [key[2] for key in self.users.keys[:lookahead]]:
            user.chats.settle()
            for chat in [key[2] for key in user.chats.keys[:lookahead]]:
                if chat.requests[0] is not first:
                    yield chat.requests[0]

    def before(self, ticket: Ticket) -> int:
        """How many of those that wait here would be served before it."""
        line = ticket.account.lines[self.pool]
        requests = line.requests
        # A chat seldom has more than one request waiting.
        earlier = 0 if requests[0] is ticket else requests.index(ticket)
        earlier += line.user.chats.before(line, earlier)
        return earlier + self.users.before(line.user, earlier)

    def tickets(self) -> Iterator[Ticket]:
        """All, in the order of users and chats."""
        for _, _, user in self.users.keys:
            for _, _, chat in user.chats.keys:
                yield from chat.requests

    def validate(self) -> None:
        users = self.users.keys
        require(users == sorted(users), f"the users waiting for {self.pool} are out of order")
        found = 0
        for key in users:
            user, inside = key[2], sum(chat.size for _, _, chat in key[2].chats.keys)
            require(user.key is key, f"a user waiting for {self.pool} does not know its place")
            require(user.size == inside > 0, f"a user has {inside} requests waiting for {self.pool}, not {user.size}")
            found += inside
            for number, chat in ((number, chat) for _, number, chat in user.chats.keys):
                numbers = [ticket.number for ticket in chat.requests]
                require(
                    numbers == sorted(numbers) and len(numbers) == chat.size and numbers[0] == number,
                    f"a chat waiting for {self.pool} has arrivals {numbers}, {chat.size} counted, {number} first",
                )
        require(found == self.size, f"{found} requests wait for {self.pool}, {self.size} are counted")
