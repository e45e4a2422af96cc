"""How long the steps of an engine are, by how many speak in them and how much is read in them.

Theory of operation. An engine works in steps, and whoever speaks says a token in each. So the tokens that were said,
divided by those who speak, are steps. ``turn`` is called when somebody begins or ceases to speak. Now and then, when
nobody is just reading, so that it is known what was read, ``sample`` learns from all steps since the last time. A
request of bulk makes a step longer by as much as one of a chat: what bulk costs chats is known before there is any, and
goes on to be known while its number does not change.
"""

from __future__ import annotations

from hubbub.core.fit import Fit

MEMORY = 256
"""Samples that count, about a second each."""
FEW, MANY = 8.0, 128.0
"""Steps: fewer are no sample; after so many it is one whether somebody reads or not."""
HIDDEN = 0.5
"""Of the length of an empty step: what is read for so long."""


class Steps:
    """Seconds are the scheduler's."""

    __slots__ = ("_active", "_counted", "_rows", "_said", "_since", "count", "fit", "read", "said")

    def __init__(self) -> None:
        self.count = 0.0
        """Steps so far in which somebody spoke."""
        self.said = 0
        """Tokens since the last turn."""
        self.read = 0
        """Tokens of prompts since the last sample, read while somebody spoke."""
        self.fit = Fit(MEMORY)
        """Seconds of a step, by (those who speak, tokens of prompts that are read in it)."""
        self._rows = 0
        self._since = 0.0
        self._active = 0.0
        self._said = 0
        self._counted = 0.0

    def turn(self, now: float, rows: int) -> None:
        """From now on so many speak."""
        if self._rows:
            self._active += now - self._since
            self.count += self.said / self._rows
            self._said += self.said
        self.said = 0
        self._rows, self._since = rows, now

    def sample(self, now: float, reading: int) -> None:
        """``reading``: how many are just reading."""
        self.turn(now, self._rows)
        steps = self.count - self._counted
        if steps < (MANY if reading else FEW):
            return
        self.fit.learn((self._said / steps, self.read / steps), self._active / steps)
        self.fit.solve()
        self.read = self._said = 0
        self._active, self._counted = 0.0, self.count

    def hides(self, tokens: int) -> bool:
        """Whether to read so many makes a step hardly longer."""
        return tokens * self.fit.slope[1] < HIDDEN * self.fit.base
