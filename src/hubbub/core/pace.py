"""How soon one engine answers: what it has still to read and who speaks now, and what that has led to.

Theory of operation. A request in an engine reads (prefill) until its first token, then speaks (decode). ``began``,
``spoke`` and ``left`` follow it through that; ``validate`` can count again. Engines read in order of arrival, so that
the time to a first token grows with the tokens that have to be read before it, its own with them, and with the bulk
that speaks beside (its tokens make every step longer). Both slopes are learnt (``core.fit``) from every first token,
whatever engine and machine this is. The same for the time between tokens, against all who speak.

``observed`` keeps the same in the terms of an engine's steps, for the planner, which fits its model of the engine to it
(``planner.refine``); what that model says is where the slopes begin after a start (``begin_at``).

An engine keeps its pace over restarts: only what is in flight is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from hubbub.core.fit import Fit, Two
from hubbub.core.invariant import require
from hubbub.core.observed import Observed, StepSeen
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
STEADY = 0.25
"""By so much of their number may those who speak change in a time whose steps are believed."""
MIN_STEPS = 2
"""Steps in that time, at the least."""


def _prompt(ticket: Ticket) -> int:
    return ticket.request.prompt_tokens + ticket.before


class Pace:
    """Tokens are prompt tokens that no cache is expected to have; seconds are the scheduler's."""

    __slots__ = (
        "_alone",
        "_read",
        "_spoke_before",
        "_told_at",
        "_words",
        "context",
        "felt",
        "itl",
        "last_chat",
        "observed",
        "reading",
        "said",
        "speaking",
        "tokens",
        "ttft",
    )

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
        self.observed = Observed()
        self.context = 0
        """Tokens behind those who speak."""
        self._told_at = inf
        self._alone: Ticket | None = None
        """The one that reads while nobody else is here."""
        self._read = self._words = self._spoke_before = 0
        """Since the last tick: prompt tokens read, tokens said by all; and how many spoke then."""

    def begin_at(self, ttft: Iterable[tuple[Two, float]], itl: Iterable[tuple[Two, float]]) -> None:
        """Where the slopes begin, by what a model says of this engine; what was already seen here stays."""
        if not self.ttft.samples:
            for x, y in ttft:
                self.ttft.learn(x, y)
        if not self.itl.samples:
            for x, y in itl:
                self.itl.learn(x, y)

    def began(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        ticket.sent_at, ticket.spoke = now, False
        self.tokens[priority] += ticket.prefill
        ticket.ahead = self.tokens[CHAT] + self.tokens[BULK]
        ticket.beside = self.reading[BULK] + self.speaking[BULK]
        here = sum(self.reading.values()) + sum(self.speaking.values())
        self._alone = None if here else ticket
        self.reading[priority] += 1
        if priority is CHAT:
            self.last_chat = now

    def heard(self, ticket: Ticket, tokens: int) -> None:
        """It has said so many more tokens; ``spoke`` came before."""
        self.context += tokens
        self._words += tokens
        if ticket.lane.priority is CHAT:
            self.said += tokens

    def spoke(self, ticket: Ticket, now: float) -> None:
        """Its first token came."""
        priority = ticket.lane.priority
        ticket.spoke = True
        self.reading[priority] -= 1
        self.tokens[priority] -= ticket.prefill
        self.speaking[priority] += 1
        self.context += _prompt(ticket)
        self._read += ticket.prefill
        if self._alone is ticket:
            self.observed.learn(StepSeen(0.0, 0.0, ticket.prefill, now - ticket.sent_at))
        self._alone = None
        self.ttft.learn((ticket.ahead, ticket.beside), now - ticket.sent_at)
        if priority is CHAT:
            self.felt.learn((ticket.ahead, ticket.beside), now - ticket.sent_at)

    def left(self, ticket: Ticket, now: float) -> None:
        priority = ticket.lane.priority
        if ticket.spoke:
            self.speaking[priority] -= 1
            self.context -= _prompt(ticket) + ticket.produced
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
        self._observe(passed)
        self.said = 0
        self._told_at = now

    def _observe(self, passed: float) -> None:
        """The mean step of the time since the last tick, where about as many spoke all along."""
        now, before, words = sum(self.speaking.values()), self._spoke_before, self._words
        if min(now, before) > 0 and passed > 0 and abs(now - before) <= STEADY * now and words >= MIN_STEPS * now:
            speaking = (now + before) / 2
            steps = words / speaking
            self.observed.learn(StepSeen(speaking, self.context / now, self._read / steps, passed / steps))
        self._read = self._words = 0
        self._spoke_before = now

    def validate(self, tickets: Iterable[Ticket]) -> None:
        """``tickets``: all that run here."""
        found = {priority: [0, 0, 0] for priority in Priority}
        context = 0
        for ticket in tickets:
            counts = found[ticket.lane.priority]
            if ticket.spoke:
                counts[2] += 1
                context += _prompt(ticket) + ticket.produced
            else:
                counts[0] += 1
                counts[1] += ticket.prefill
        for priority, counts in found.items():
            mine = [self.reading[priority], self.tokens[priority], self.speaking[priority]]
            require(mine == counts, f"of {priority}, (reading, tokens, speaking) are {counts}, counted {mine}")

        require(self.context == context, f"those who speak have {context} tokens behind them, counted {self.context}")

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
