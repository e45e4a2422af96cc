"""Places for requests in flight, as many as the pressure allows; who waits is served by index, lowest first."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable

from hubbub.corpus.pressure import Pressure


class Slots:
    """``changed`` is called when a place may have come free."""

    def __init__(self, pressure: Pressure, changed: Callable[[], None]) -> None:
        self.pressure = pressure
        self.in_flight = 0
        self.paused = False
        self._changed = changed
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def free(self) -> int:
        """Places for new work: none while others wait."""
        if self.paused or self._waiting or self._now() < self.pressure.not_before:
            return 0
        return max(0, self.pressure.limit - self.in_flight)

    @contextlib.asynccontextmanager
    async def one(self, index: int) -> AsyncIterator[None]:
        """A place while the context is open."""
        if not self.free:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (index, next(self._order), place))
            self.serve()
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._leave()  # it was given just as its owner went
                raise
        else:
            self.in_flight += 1
        try:
            yield
        finally:
            self._leave()

    def serve(self) -> None:
        """Give free places to who waits. To be called whenever the pressure has changed."""
        wait = self.pressure.not_before - self._now()
        if wait > 0:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(wait, self._again)
            return
        while self._waiting and not self.paused and self.in_flight < self.pressure.limit:
            place = heapq.heappop(self._waiting)[2]
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
        self._changed()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = None
        self.serve()

    def _leave(self) -> None:
        self.in_flight -= 1
        self.serve()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
