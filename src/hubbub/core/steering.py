"""How much bulk one engine is given while people chat on it: as much as they hardly notice.

Theory of operation. ``limit`` goes towards what is harmless: while bulk uses it up it is raised by a little with every
tick, and it is cut by a factor where it is beyond. Harm is what chats would notice: the late ones of their first tokens
come more than ``bulk_ttft_share`` later than they would without bulk, or their tokens further apart by more than that
share; up to ``bulk_ttft_s`` and ``bulk_itl_s`` nobody notices. How much is harmless is foreseen from the engine's pace
(``core.pace``), so that a cut need not wait until bulk that was too much has ended. An engine that refuses or fails
requests, or says that some wait inside it, has too much at once whatever its pace: that cuts, too.

A ``limit`` below one is a share of time: after a request of bulk there is a rest, the longer the smaller it is.

Where no chat was seen for ``QUIET_S`` there is no limit but the engine's. When one comes back ``limit`` is where it
was; nothing that runs is taken back, so that it may take an answer's time until it holds.

A chat never waits for a row of long prompts. While chats are here bulk is read one request at a time (several where
that hardly makes a step longer), and begins when no chat reads unless there is little of it. Without chats it begins as
long as what it has to read takes ``READ_AHEAD_S``.
"""

from __future__ import annotations

from math import inf

from hubbub.core.config import SchedulerConfig
from hubbub.core.pace import BULK, CHAT, Pace

QUIET_S = 120.0
"""A person who chats is seldom silent for longer."""
READ_AHEAD_S = 1.0
READ_AHEAD = 8
"""Requests that may be reading without regard to how long they take."""
ENOUGH = 16
"""First tokens, before it is believed how long reading takes."""
FIRST_SHARE = 1 / 64
"""Of the engine's sequences: where ``limit`` begins."""
RAISE = 1 / 8
"""Of the limit, at least 1: what a tick adds."""
LEAST = 1 / 8
"""Bulk is never stopped for good: it rests for seven times as long as it took."""
LITTLE = 0.5
"""Of its limit: below that bulk does not wait for chats to have read."""
CUT = 0.75
CALM_S = 5.0
"""After a cut for trouble the next one waits so long: what was sent before still causes some."""


class Steering:
    """``most``: what the engine can take of bulk at all."""

    __slots__ = ("_calm_from", "_config", "cuts", "limit", "most", "pace")

    def __init__(self, pace: Pace, config: SchedulerConfig) -> None:
        self.limit = inf
        """Bulk requests in flight while chats are here; infinite until the first tick with chats."""
        self.most = 1
        self.cuts = 0
        self.pace = pace
        self._config = config
        self._calm_from = -inf

    def room(self, now: float) -> int:
        """Bulk requests that may be in flight now."""
        return max(1, min(self.most, int(self.limit))) if self.chats_about(now) and self.limit < inf else self.most

    def admits(self, now: float) -> bool:
        """Whether one more may begin."""
        pace = self.pace
        reading, speaking, room = pace.reading[BULK], pace.speaking[BULK], self.room(now)
        if reading + speaking >= room:
            return False
        if not self.chats_about(now):
            known = pace.ttft.samples >= ENOUGH
            return reading < READ_AHEAD or (known and pace.tokens[BULK] * pace.per_token() < READ_AHEAD_S)
        if reading and not (reading < READ_AHEAD and pace.steps.hides(pace.tokens[BULK])):
            return False
        if pace.reading[CHAT] and speaking >= LITTLE * room:
            return False
        left_at, took = pace.last_bulk
        return self.limit >= 1 or now >= left_at + took * (1 / self.limit - 1)

    def chats_about(self, now: float) -> bool:
        pace = self.pace
        return pace.reading[CHAT] + pace.speaking[CHAT] > 0 or now - pace.last_chat < QUIET_S

    def tick(self, now: float) -> None:
        """Once a second or so."""
        pace = self.pace
        if not self.chats_about(now):
            return
        if self.limit == inf:
            self.limit = max(1.0, self.most * FIRST_SHARE)
        config = self._config
        share = config.bulk_ttft_share
        harmless = min(
            pace.bulk_for_ttft(share, config.bulk_ttft_s, self.most), pace.bulk_for_itl(share, config.bulk_itl_s)
        )
        running = pace.reading[BULK] + pace.speaking[BULK]
        if self.limit > harmless:
            self.cuts += 1
            self.limit = max(LEAST, harmless, CUT * self.limit)
        elif running + 1 >= int(self.limit):
            self.limit = min(self.limit + max(1.0, RAISE * self.limit), max(LEAST, harmless), float(self.most))

    def trouble(self, now: float) -> None:
        """The engine refused or failed something, or says that requests wait inside it."""
        running = self.pace.reading[BULK] + self.pace.speaking[BULK]
        if not running or now < self._calm_from:
            return
        self._calm_from = now + CALM_S
        self.cuts += 1
        self.limit = max(LEAST, CUT * min(self.limit, running))
