"""How soon one engine answers: what it has still to read and who speaks now, and what that has led to.

Theory of operation. A request in an engine reads (prefill) until its first token, then speaks (decode). ``began``,
``spoke`` and ``left`` follow it through that; ``validate`` can count again. Engines read in order of arrival, so that
the time to a first token grows with the tokens that have to be read before it, its own with them, and with the bulk
that speaks beside (its tokens make every step longer). Both slopes are learnt (``core.fit``) from every first token,
whatever engine and machine this is. The same for the time between tokens, against all who speak.

An engine keeps its pace over restarts: only what is in flight is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from hubbub.core.fit import Fit
from hubbub.core.invariant import require
from hubbub.core.types import Priority

if TYPE_CHECKING:
    from hubbub.core.ticket import Ticket

CHAT, BULK = Priority.CHAT, Priority.BULK
RECENT, LONG = 64, 256
"""Samples that count. What bulk does to chats is told from how both change over minutes."""
STEPS = 1.5
"""Of the bulk's share in a step, what a first token waits for: half of the step under way, and the one that reads."""
LEAST_ALONE = 0.25
"""Of the time to a first token with bulk: what it takes without, at the least, however wrong the slope is."""
MIN_TOKENS = 3
"""Fewer tokens in a second say too little about the time between them."""


class Pace:
    """Tokens are prompt tokens that no cache is expected to have; seconds are the scheduler's."""

    __slots__ = ("_told_at", "felt", "itl", "last_chat", "reading", "said", "speaking", "tokens", "ttft")

    def __init__(self) -> None:
        self.reading = {CHAT: 0, BULK: 0}
        """Requests before their first token."""
        self.tokens = {CHAT: 0, BULK: 0}
        """What those have to read."""
        self.speaking = {CHAT: 0, BULK: 0}
        self.said = 0
        """Tokens of chats since the last :meth:`tick`."""
        self.last_chat = -inf
        """When a chat was last here."""
        self.ttft = Fit(RECENT)
        """Seconds from dispatch to the first token, by (tokens to read, bulk beside)."""
        self.felt = Fit(RECENT)
        """The same of chats alone: its moments are what is asked for."""
        self.itl = Fit(LONG)
        """Seconds between a chat's tokens, by (chats, bulk) that speak."""
        self._told_at = inf

    def began(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        ticket.sent_at, ticket.spoke = now, False
        self.tokens[priority] += ticket.prefill
        ticket.ahead = self.tokens[CHAT] + self.tokens[BULK]
        ticket.beside = self.reading[BULK] + self.speaking[BULK]
        self.reading[priority] += 1
        if priority is CHAT:
            self.last_chat = now

    def spoke(self, ticket: Ticket, now: float) -> None:
        """Its first token came."""
        priority = ticket.lane.priority
        ticket.spoke = True
        self.reading[priority] -= 1
        self.tokens[priority] -= ticket.prefill
        self.speaking[priority] += 1
        self.ttft.learn((ticket.ahead, ticket.beside), now - ticket.sent_at)
        if priority is CHAT:
            self.felt.learn((ticket.ahead, ticket.beside), now - ticket.sent_at)

    def left(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        if ticket.spoke:
            self.speaking[priority] -= 1
        else:
            self.reading[priority] -= 1
            self.tokens[priority] -= ticket.prefill
        if priority is CHAT:
            self.last_chat = now

    def tick(self, now: float) -> None:
        """Learn from the last second or so how fast chats speak."""
        chats, passed = self.speaking[CHAT], now - self._told_at
        if chats and passed > 0 and self.said >= MIN_TOKENS:
            self.itl.learn((chats, self.speaking[BULK]), passed * chats / self.said)
        self.said = 0
        self._told_at = now

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

    def bulk_for_ttft(self, share: float, seconds: float) -> float:
        """How much bulk may be here so that first tokens of chats come at most ``share`` later than without any, or
        within ``seconds``, whichever is more.

        The mean is held to that: what bulk adds to it is less than what it adds to late ones, but they are later."""
        self.itl.solve()
        each = STEPS * self.itl.slope[1]
        mean = self.felt.mean_y
        alone = max(mean - each * self.felt.mean[1], LEAST_ALONE * mean)
        return max(share * alone, seconds - alone) / each if each and mean else inf

    def bulk_for_itl(self, share: float, seconds: float) -> float:
        """How much so that tokens of chats come at most ``share`` or up to ``seconds`` apart, whichever is more."""
        fit = self.itl
        alone = fit.at((self.speaking[CHAT], 0.0))
        return (max(seconds, (1 + share) * alone) - alone) / fit.slope[1] if fit.slope[1] else inf
