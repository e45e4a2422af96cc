"""One lane: what waits for one pool in one class, which engines serve it, and what is known of its requests."""

from __future__ import annotations

from hubbub.core.budget import EngineBudget
from hubbub.core.pool import Pool
from hubbub.core.rate import Rate
from hubbub.core.ticket import Ticket
from hubbub.core.types import Priority, Usage
from hubbub.core.waiting import WaitingRoom

OUTPUT_SHARE = 1 / 16
"""Weight of the newest answer in the expected output: the last 16 answers or so count."""
MIN_RETRY_S, MAX_RETRY_S = 1.0, 120.0


class Lane:
    """``expected``: output tokens of an answer, averaged over those that finished. ``chats``: for bulk, the lane of the
    same pool that goes first. ``tokens``: what all that wait here have to read. ``shared``: the share of a new chat's
    prompt that a prefix cache is expected to have. ``service``: seconds from dispatch to end, averaged like that."""

    __slots__ = (
        "chats",
        "engines",
        "expected",
        "pool",
        "priority",
        "rate",
        "room",
        "service",
        "shared",
        "tokens",
        "unserved_since",
    )

    def __init__(self, priority: Priority, pool: Pool, expected: float, now: float, chats: Lane | None) -> None:
        self.priority = priority
        self.pool = pool
        self.expected = expected
        self.chats = chats
        self.room = WaitingRoom(pool)
        self.tokens = 0
        self.shared = 0.0
        self.service = 0.0
        self.rate = Rate()
        self.engines: list[EngineBudget] = []
        self.unserved_since = now

    def serve(self, engines: list[EngineBudget], now: float) -> None:
        """These engines are the pool now."""
        if self.engines and not engines:
            self.unserved_since = now
        self.engines = engines

    def has_slot(self, now: float) -> bool:
        for engine in self.engines:  # noqa: SIM110 - any() with a generator takes three times as long here
            if engine.has_slot(self.priority, now):
                return True
        return False

    def began(self, now: float) -> None:
        self.rate.begin(now)
        if self.chats is not None:
            self.chats.rate.begin(now)

    def ended(self, now: float, counts: bool, seconds: float) -> None:
        """A request left its engine after so long. What bulk gives back is a slot for chats, too."""
        for lane in (self, self.chats) if self.chats is not None else (self,):
            lane.rate.end(now, counts)
            if counts:
                lane.service += (seconds - lane.service) * (OUTPUT_SHARE if lane.service else 1.0)

    def slots_per_second(self, now: float) -> float:
        """How fast slots come free; 0 where nothing has ended yet.

        Ends are counted over time, and that is too few while the first of many long ones are still under way: then it
        is all that run divided by how long one takes (Little's law), unless nothing has ended for longer than that."""
        counted = self.rate.per_second(now)
        if not counted:
            return 0.0
        running = sum(len(engine.leases) for engine in self.engines)
        return max(counted, running / max(self.service, now - self.rate.ended_at, 1e-3))

    def learn(self, output: int) -> None:
        self.expected += (output - self.expected) * OUTPUT_SHARE

    def position(self, ticket: Ticket) -> int:
        ahead = self.chats.room.size if self.chats is not None else 0
        return ahead + self.room.before(ticket) + 1

    def stalled(self, now: float) -> float:
        """Seconds without an end: the best guess of how much longer, where nothing has ended yet."""
        return self.rate.busy_until(now) if self.engines else now - self.unserved_since


def output_of(ticket: Ticket, usage: Usage) -> int:
    """Output tokens of all attempts: what the engine says of the last, else what was seen of it."""
    return ticket.before + (usage.output_tokens if usage.total_tokens else ticket.produced)


def clamp_retry(seconds: float) -> float:
    return min(max(seconds, MIN_RETRY_S), MAX_RETRY_S)
