"""How soon one engine answers: what it has still to read and who speaks now, and what that has led to.

Theory of operation. A request in an engine reads (prefill) until its first token, then speaks (decode). ``began``,
``spoke`` and ``left`` follow it through that; ``validate`` can count again. Engines read in order of arrival, so that
the time to a first token grows with the tokens that have to be read before it, its own with them, and with the bulk
that speaks beside. Both slopes are learnt (``core.fit``) from every first token, whatever engine and machine this is.

What bulk does to chats is worked out from the steps (``core.steps``): the last first tokens of chats are kept, each
with what one request of bulk has added to it, so that they can be played again with none or with any number.

``observer`` tells what the engine's steps took, for the planner, which fits its model of the engine to it
(``planner.refine``); what that model says is where the slopes begin after a start (``begin_at``).

An engine keeps its pace over restarts: only what is in flight is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from hubbub.core.fit import Fit, Two
from hubbub.core.invariant import require
from hubbub.core.observed import Observer
from hubbub.core.steps import Steps
from hubbub.core.types import Priority

if TYPE_CHECKING:
    from hubbub.core.ticket import Ticket

CHAT, BULK = Priority.CHAT, Priority.BULK
RECENT = 64
"""First tokens that count in what is foreseen."""
FIRSTS = 128
"""Of chats, that are played again."""
FEWEST = 8
"""Of them, before anything is said of the late ones."""
LATE = 0.95
"""What bulk may lengthen is this quantile."""
MIN_STEPS = 1.5
"""What a first token waits for at the least: half of the step under way, and the one that reads."""
GAIN = 1.5
"""Times what bulk adds to a step: while steps are longer more chats come, that read and speak in them. Seen from 1.2 to
1.35 in simulation (docs/overload.md); what is above that is caution."""
LEAST_ALONE = 0.25
"""Of the time to a first token with bulk: what it takes without, at the least, however wrong the slope is."""


@dataclass(frozen=True, slots=True)
class First:
    """Of a chat. ``steps``: that it has taken. When it was sent there were ``beside`` requests of bulk, which had
    ``ahead`` tokens to read."""

    seconds: float
    steps: float
    beside: int
    ahead: int


class Pace:
    """Tokens are prompt tokens that no cache is expected to have; seconds are the scheduler's."""

    __slots__ = ("firsts", "last_bulk", "last_chat", "observer", "reading", "speaking", "steps", "tokens", "ttft")

    def __init__(self) -> None:
        self.reading = {CHAT: 0, BULK: 0}
        """Requests before their first token."""
        self.tokens = {CHAT: 0, BULK: 0}
        """What those have to read."""
        self.speaking = {CHAT: 0, BULK: 0}
        self.last_chat = -inf
        """When a chat was last here."""
        self.last_bulk = (-inf, 0.0)
        """When bulk last left, and after how long."""
        self.ttft = Fit(RECENT)
        """Seconds from dispatch to the first token, by (tokens to read, bulk beside)."""
        self.observer = Observer()
        self.steps = Steps()
        self.firsts: deque[First] = deque(maxlen=FIRSTS)
        """The chats' last first tokens."""

    def begin_at(self, ttft: Iterable[tuple[Two, float]]) -> None:
        """Where the slopes begin, by what a model says of this engine; what was already seen here stays."""
        if not self.ttft.samples:
            for x, y in ttft:
                self.ttft.learn(x, y)

    def began(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        self.observer.began(ticket, sum(self.reading.values()) + sum(self.speaking.values()))
        ticket.sent_at, ticket.spoke = now, False
        ticket.bulk_ahead = self.tokens[BULK]
        self.tokens[priority] += ticket.prefill
        ticket.ahead = self.tokens[CHAT] + self.tokens[BULK]
        ticket.beside = self.reading[BULK] + self.speaking[BULK]
        self.steps.turn(now, self.speaking[CHAT] + self.speaking[BULK])
        ticket.sent_step = self.steps.count
        self.reading[priority] += 1
        if priority is CHAT:
            self.last_chat = now

    def spoke(self, ticket: Ticket, now: float) -> None:
        """Its first token came."""
        priority = ticket.lane.priority
        ticket.spoke = True
        self.observer.spoke(ticket, now)
        self.reading[priority] -= 1
        self.tokens[priority] -= ticket.prefill
        if self.speaking[CHAT] + self.speaking[BULK]:
            self.steps.read += ticket.prefill
        self.steps.sample(now, self.reading[CHAT] + self.reading[BULK])
        self.speaking[priority] += 1
        self.steps.turn(now, self.speaking[CHAT] + self.speaking[BULK])
        self.steps.said -= 1  # its first token is of the step before
        self.ttft.learn((ticket.ahead, ticket.beside), now - ticket.sent_at)
        if priority is CHAT:
            steps = max(MIN_STEPS, self.steps.count - ticket.sent_step)
            self.firsts.append(First(now - ticket.sent_at, steps, ticket.beside, ticket.bulk_ahead))

    def heard(self, tokens: int) -> None:
        """Requests have said so many more tokens; :meth:`spoke` came before the first of each."""
        self.steps.said += tokens
        self.observer.heard(tokens)

    def left(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        self.observer.left(ticket)
        if ticket.spoke:
            self.speaking[priority] -= 1
            self.steps.turn(now, self.speaking[CHAT] + self.speaking[BULK])
        else:
            self.reading[priority] -= 1
            self.tokens[priority] -= ticket.prefill
        if priority is CHAT:
            self.last_chat = now
        else:
            self.last_bulk = (now, now - ticket.sent_at)

    def tick(self, now: float) -> None:
        self.observer.tick(now)
        self.steps.sample(now, self.reading[CHAT] + self.reading[BULK])

    def validate(self, tickets: Iterable[Ticket]) -> None:
        """``tickets``: all that run here."""
        found = {priority: [0, 0, 0] for priority in Priority}
        for ticket in tickets:
            counts = found[ticket.lane.priority]
            if ticket.spoke:
                counts[2] += 1
            else:
                counts[0] += 1
                counts[1] += ticket.prefill
        for priority, counts in found.items():
            mine = [self.reading[priority], self.tokens[priority], self.speaking[priority]]
            require(mine == counts, f"of {priority}, (reading, tokens, speaking) are {counts}, counted {mine}")

    def first_token(self, tokens: float) -> float:
        """Seconds to the first token of one that has to read so many, behind what is here now; 0 before the first
        sample."""
        ahead = self.tokens[CHAT] + self.tokens[BULK] + tokens
        return self.ttft.at((ahead, self.reading[BULK] + self.speaking[BULK]))

    def per_token(self) -> float:
        """Seconds that one more token to read adds."""
        self.ttft.solve()
        return self.ttft.slope[0]

    def bulk_for_ttft(self, share: float, seconds: float, most: int) -> float:
        """How much bulk may be here so that late first tokens of chats (``LATE``) come at most ``share`` later than
        without any, or within ``seconds``, whichever is more; infinite where ``most`` is not too much."""
        if len(self.firsts) < FEWEST:
            return inf
        played = [self.alone(first) for first in self.firsts]
        goal = max((1 + share) * late([alone for alone, _ in played]), seconds)

        def harms(bulk: float) -> bool:
            return late([alone + each * bulk for alone, each in played]) > goal

        if not harms(most):
            return inf
        low, high = 0.0, float(most)
        while high - low > max(0.05, 0.02 * low):
            middle = (low + high) / 2
            low, high = (low, middle) if harms(middle) else (middle, high)
        return low

    def alone(self, first: First) -> tuple[float, float]:
        """Seconds it would have taken without bulk, and what each request of bulk adds."""
        row, token = self.steps.fit.slope
        each = GAIN * (row * first.steps + token * first.ahead / max(1, first.beside))
        return max(first.seconds - each * first.beside, LEAST_ALONE * first.seconds), each

    def bulk_for_itl(self, share: float, seconds: float) -> float:
        """How much so that tokens of chats come at most ``share`` or up to ``seconds`` apart, whichever is more."""
        fit = self.steps.fit
        row, token = fit.slope
        alone = fit.base + row * self.speaking[CHAT] + token * fit.mean[1]
        return (max(seconds, (1 + share) * alone) - alone) / row if row else inf


def late(seconds: list[float]) -> float:
    seconds.sort()
    return seconds[int(LATE * len(seconds))]
