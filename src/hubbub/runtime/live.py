"""A live answer: what has been said so far, and a way to wait for more.

One writer (the hub) publishes deltas in order and ends the answer once; any number of readers look from the place they
last saw. Readers share the list and hold no copies. Nothing here touches the store: the hub publishes a delta after the
journal has it, so a reader never sees what a restart could lose. Readers can be parted from an answer that goes on
without them, or whose end cannot be kept now: their waiting ends with an error, and no end is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from hubbub.core.errors import HubbubError
from hubbub.core.types import Answer, AnswerStatus, Delta


class Place(NamedTuple):
    """Where an answer stands in the queue, from 1, and about how many seconds it is to its first token, if known."""

    position: int
    seconds: float | None


class Live:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._deltas: list[Delta] = []
        self._waiters: list[asyncio.Future[None]] = []
        self.place: Place | None = None
        """In the queue; None once it runs."""
        self._parted: HubbubError | None = None

    @property
    def answer(self) -> Answer:
        """As it was accepted while it runs; as it ended once ``done``."""
        return self._answer

    @property
    def deltas(self) -> Sequence[Delta]:
        """All published so far; only ever grows."""
        return self._deltas

    @property
    def done(self) -> bool:
        return self._answer.status.final

    @property
    def state(self) -> Literal["waiting", "running"]:
        """Whether an engine is at it."""
        return "waiting" if self._answer.status is AnswerStatus.QUEUED or self.place is not None else "running"

    async def more(self, seen: int, status: AnswerStatus | None = None) -> None:
        """Return as soon as there are more than ``seen`` deltas, or the answer is done, or, where ``status`` is given,
        has another one. Raises what readers were parted with."""
        while len(self._deltas) <= seen and not self.done and status in (None, self._answer.status):
            if self._parted is not None:
                raise type(self._parted)(self._parted.message, retry_after=self._parted.retry_after)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def ended(self) -> Answer:
        """The answer in its final state. Raises what readers were parted with."""
        while not self.done:
            await self.more(len(self._deltas))
        return self._answer

    def publish(self, deltas: Iterable[Delta]) -> None:
        self._deltas.extend(deltas)
        self._wake()

    def started(self, answer: Answer) -> None:
        """The answer left the queue."""
        self._answer = answer
        self.place = None
        self._wake()

    def part(self, error: HubbubError) -> None:
        """Whoever waits now or later hears ``error``, until there is more or the end."""
        self._parted = error
        self._wake()

    def end(self, answer: Answer) -> None:
        if self.done:
            raise RuntimeError(f"{answer.id} ended twice")
        self._answer = answer
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
