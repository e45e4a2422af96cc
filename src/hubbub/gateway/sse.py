"""Server-sent events: one write for all that is new, no task and no timer a stream.

Theory of operation. A stream's handler waits for its live answer and writes what came since the last write in one go.
Pings come from one task for all streams: it visits those whose handler is waiting and that have been silent for long,
or whose answer has moved in the queue: a comment tells the place and the time to expect, once a second at most.
A stream whose socket is still full of earlier bytes is not pinged, since that write would have to wait. A handler whose
reader is slow waits in its own write; the deltas it has not sent yet are the live answer's own list, held once. The
same task drops who stopped reading: a write of which nothing is taken for longer than ``stalled_seconds``, or while
more than ``max_backlog`` characters gather behind it, ends with its connection. What becomes of the answer is as if
that client had left. A reader that is slow but reads is kept. Where the server stops before the answer has ended, the
connection is cut without an ending: the client resumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol

from aiohttp import web

from hubbub.core.errors import HubbubError
from hubbub.core.types import Answer, Delta
from hubbub.gateway.limits import LimitsConfig
from hubbub.runtime.live import Live, Place

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How often all streams are looked at, at the least."""
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class Encoder(Protocol):
    """What turns an answer into the events of one wire format."""

    def opening(self) -> bytes: ...

    def feed(self, answer: Answer, deltas: Sequence[Delta]) -> bytes: ...

    def closing(self, answer: Answer) -> bytes: ...


async def pieces(live: Live, encoder: Encoder) -> AsyncGenerator[bytes, None]:
    """All events of a live answer, those of what it has said already first, to its end. A piece may be empty.

    Raises what its readers are parted with.
    """
    data, seen = encoder.opening(), 0
    while True:
        answer, deltas = live.answer, live.deltas[seen:]
        seen += len(deltas)
        data += encoder.feed(answer, deltas)
        if answer.status.final:
            yield data + encoder.closing(answer)
            return
        yield data
        data = b""
        await live.more(seen, answer.status)


def characters(deltas: Sequence[Delta]) -> int:
    return sum(len(delta.text) if delta.tool is None else len(delta.tool.arguments) for delta in deltas)


def queued(place: Place) -> bytes:
    """A comment, which clients of server-sent events leave out: ``: queued position=3 estimate_s=4.2``."""
    estimate = b"" if place.seconds is None else b" estimate_s=%.1f" % place.seconds
    return b": queued position=%d%b\n\n" % (place.position, estimate)


def ended(answer: Answer, deltas: Sequence[Delta], encoder: Encoder) -> bytes:
    """All events of an answer that has ended."""
    return encoder.opening() + encoder.feed(answer, deltas) + encoder.closing(answer)


class EventStream:
    """One open stream. ``live`` is set while it follows an answer, for pings that tell the place in the queue."""

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse(headers=HEADERS)
        self.live: Live | None = None
        self.behind: Callable[[], int] | None = None
        """Says the backlog of a stream that follows no one answer."""
        self.waiting = False
        self.wrote_at = 0.0
        self.blocked = False
        """Whether a write waits for the reader."""
        self._told: Place | None = None
        self._seen = 0
        self._buffered: int | None = None
        self._taken_at = 0.0
        self._request = request
        self._now = asyncio.get_running_loop().time

    async def write(self, data: bytes) -> None:
        if data:
            self.waiting = False
            self.blocked = True
            await self.response.write(data)
            self.blocked = False
            self._buffered = None
            self.wrote_at = self._now()

    async def follow(self, live: Live, encoder: Encoder) -> None:
        """Write all events of the answer, from what it has said already to its end."""
        self.live = live
        async with contextlib.aclosing(pieces(live, encoder)) as events:
            async for data in events:
                self._seen = len(live.deltas)
                await self.write(data)
                self.waiting = True
        self.waiting = False

    async def replay(self, answer: Answer, deltas: Sequence[Delta], encoder: Encoder) -> None:
        """Write all events of an answer that has ended."""
        await self.write(ended(answer, deltas, encoder))

    async def cut(self, why: HubbubError) -> None:
        """End the connection in the middle of the stream, so that no client takes this for the end of the answer."""
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(ConnectionError):
                await self.response.write(b": %b\n\n" % why.message.replace("\n", " ").encode())
            transport.close()

    async def ping(self) -> None:
        """A comment that keeps proxies and clients from giving up. Only for a stream that is waiting."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > 0:
            return
        self._told = place = self.live.place if self.live else None
        with contextlib.suppress(ConnectionError):  # the handler hears of it by itself
            await self.response.write(b": ping\n\n" if place is None else queued(place))
        self.wrote_at = self._now()

    def moved(self) -> bool:
        """Whether its place in the queue is another than it last told."""
        place = self.live.place if self.live else None
        return place is not None and place != self._told

    def stalled(self, now: float) -> float:
        """For how many seconds its reader has taken nothing of a write that waits; 0 if it took some since last asked.

        Nothing is added to the connection's buffer while a write waits, so that a smaller one means a reader."""
        transport = self._request.transport
        if not self.blocked or transport is None:
            self._buffered = None
            return 0.0
        size = transport.get_write_buffer_size()
        if self._buffered is None or size < self._buffered:
            self._buffered, self._taken_at = size, now
        return now - self._taken_at

    def backlog(self) -> int:
        """Characters that the live answer has said since a write began that waits."""
        if self.behind is not None:
            return self.behind()
        return characters(self.live.deltas[self._seen :]) if self.live is not None else 0

    def drop(self) -> None:
        """End the connection now, without waiting for what is in its buffer. The handler hears of it as of a leave."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()


class Streams:
    """All open streams of one server. Run :meth:`keep_alive` as long as it serves."""

    def __init__(self, ping_seconds: float, limits: LimitsConfig | None = None) -> None:
        self._ping_seconds = ping_seconds
        self._limits = limits or LimitsConfig()
        self.dropped = 0
        """Readers that stopped reading."""
        self._open: set[EventStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[EventStream]:
        """A stream whose headers are sent."""
        stream = EventStream(request)
        await stream.response.prepare(request)
        self._open.add(stream)
        try:
            yield stream
            await stream.response.write_eof()
        except HubbubError as error:  # the headers are sent: there is no other way to say that this is not the end
            log.info("a stream was cut: %s", error, extra={"action": "stream_cut"})
            await stream.cut(error)
        finally:
            self._open.discard(stream)

    async def keep_alive(self) -> None:
        """Ping silent streams and drop stalled ones, for ever. A stream is silent for at most one and a quarter times
        the setting."""
        loop = asyncio.get_running_loop()
        period = min(self._ping_seconds / 4, self._limits.stalled_seconds / 4, SWEEP_S)
        while True:
            await asyncio.sleep(period)
            now = loop.time()
            for stream in list(self._open):
                if stream.blocked:
                    self._look_at(stream, now)
                elif stream.waiting and (stream.wrote_at <= now - self._ping_seconds or stream.moved()):
                    await stream.ping()

    def _look_at(self, stream: EventStream, now: float) -> None:
        """Drop a stream whose reader takes nothing, if that has been long or too much has gathered."""
        seconds = stream.stalled(now)
        if not seconds:
            return
        backlog = stream.backlog()
        if seconds > self._limits.stalled_seconds or backlog > self._limits.max_backlog:
            self.dropped += 1
            said = "dropped a reader that took nothing for %.1f s, %d characters behind"
            log.info(said, seconds, backlog, extra={"action": "reader_dropped"})
            stream.drop()
