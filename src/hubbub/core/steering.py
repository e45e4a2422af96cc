"""How much bulk one engine is given while people chat on it: as much as they do not notice.

Theory of operation. ``limit`` is additive increase, multiplicative decrease: while bulk uses up its limit it is raised
by a little with every tick, and it is cut by a factor when bulk is found to harm. Harm is what chats would notice:
their first token comes more than ``bulk_ttft_share`` later than it would without bulk, or their tokens further apart
by more than that share; up to ``bulk_ttft_s`` and ``bulk_itl_s`` nobody notices. Both are read off what the engine's
pace has taught (``core.pace``): the extra time per bulk request times ``limit``, so that a cut need not wait until bulk
that was too much has ended. An engine that refuses or fails requests, or says that some wait inside it, has too much at
once whatever its pace: that cuts, too.

Where no chat was seen for ``QUIET_S`` there is no limit but the engine's. When one comes back ``limit`` is where it
was; nothing that runs is taken back, so that it may take an answer's time until it holds.

While chats are here bulk is read one request at a time: a chat never waits for a row of long prompts.
"""

from __future__ import annotations

from math import inf

from hubbub.core.config import SchedulerConfig
from hubbub.core.pace import BULK, CHAT, Pace

QUIET_S = 120.0
"""A person who chats is seldom silent for longer."""
FIRST_SHARE = 1 / 8
"""Of the engine's sequences: where ``limit`` begins."""
RAISE_SHARE = 1 / 128
"""Of the engine's sequences, at least 1: what a tick adds."""
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
        reading, speaking = self.pace.reading[BULK], self.pace.speaking[BULK]
        if reading and self.chats_about(now):
            return False
        return reading + speaking < self.room(now)

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
        harmless = min(pace.bulk_for_ttft(share, config.bulk_ttft_s), pace.bulk_for_itl(share, config.bulk_itl_s))
        running = pace.reading[BULK] + pace.speaking[BULK]
        if self.limit > harmless:
            self.cuts += 1
            self.limit = max(1.0, harmless, CUT * self.limit)
        elif running + 1 >= int(self.limit):
            self.limit = min(self.limit + max(1.0, RAISE_SHARE * self.most), max(1.0, harmless), float(self.most))

    def trouble(self, now: float) -> None:
        """The engine refused or failed something, or says that requests wait inside it."""
        running = self.pace.reading[BULK] + self.pace.speaking[BULK]
        if not running or now < self._calm_from:
            return
        self._calm_from = now + CALM_S
        self.cuts += 1
        self.limit = max(1.0, CUT * min(self.limit, running))
