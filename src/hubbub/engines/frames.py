"""Frames: all streams of one engine over one WebSocket, one message a step.

With one SSE stream a chat, 200 chats cost 200 writes, 200 reads and 200 JSON texts a step; here a step is one message
that holds every chat's new tokens. Engines of our own (the embedded one, the simulated one) serve it at ``/frames``.

Client to server, a msgpack map a message::

    {"op": "submit", "id": str, "body": {... a chat-completions body ...}}
    {"op": "cancel", "id": str}

Server to client, a msgpack array of pieces a message, each piece an array::

    [id, text, tokens, finish | nil, usage | nil, tool | nil, error | nil]

    finish  "stop" | "length" | "tool_calls" | "cancelled"
    usage   [input_tokens, output_tokens, cached_tokens]
    tool    [index, call_id, name, arguments]
    error   [code, message, param | nil, retry_after | nil]      codes of core.errors

Trailing fields may be left out. The last piece of an id has ``finish`` or ``error``; after a cancel the server answers
one with finish "cancelled", or nothing if the id has ended. Ids are chosen by the client, unique on their connection.
An empty array is a sign of life: a server sends one at least every 10 s while it works on something and has no tokens
to say. A closed connection cancels all of its ids.

State: ``_flights`` holds what was submitted and has not ended, keyed by wire id. A flight leaves it exactly when its
last chunk is delivered or scheduled; whatever arrives for an unknown id is stale and dropped. When the connection ends,
all flights end as EngineLost, and the next ``state()`` or ``start()`` connects anew.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from hubbub.core.errors import EngineLost, EngineUnavailable
from hubbub.core.types import (
    Chunk,
    EngineId,
    EngineState,
    FinishReason,
    Message,
    Request,
    RequestId,
    ToolDelta,
    Usage,
)
from hubbub.engines.probe import fetch_capacity, fetch_token_count
from hubbub.engines.remote_errors import error_of_code, error_of_transport
from hubbub.engines.wire_body import chat_body
from hubbub.ports import Sink

FRAMES_PATH = "/frames"
MAX_MESSAGE_BYTES = 64 << 20
"""A submit holds one prompt; the gateway bounds bodies long before this."""
SIGN_OF_LIFE_S = 10.0

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
SILENCE_S = 120.0
"""Nothing from the engine for this long with requests in flight: it hangs, and is treated as lost."""


class Submit(msgspec.Struct, tag_field="op", tag="submit", frozen=True):
    id: str
    body: dict[str, Any]


class Cancel(msgspec.Struct, tag_field="op", tag="cancel", frozen=True):
    id: str


Op = Submit | Cancel


class Piece(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the server says of one id in one step; the fields are told at the top of this file."""

    id: str
    text: str = ""
    tokens: int = 0
    finish: FinishReason | None = None
    usage: tuple[int, int, int] | None = None
    tool: tuple[int, str, str, str] | None = None
    error: tuple[str, str, str | None, float | None] | None = None


_encoder = msgspec.msgpack.Encoder()
_pieces = msgspec.msgpack.Decoder(list[Piece])
_ops: msgspec.msgpack.Decoder[Op] = msgspec.msgpack.Decoder(Op)


def encode_pieces(pieces: Sequence[Piece]) -> bytes:
    return _encoder.encode(pieces)


def decode_pieces(data: bytes) -> list[Piece]:
    """Raises msgspec.DecodeError (ValidationError is one)."""
    return _pieces.decode(data)


def encode_op(op: Op) -> bytes:
    return _encoder.encode(op)


def decode_op(data: bytes) -> Op:
    """Raises msgspec.DecodeError (ValidationError is one)."""
    return _ops.decode(data)


def piece_of(wire_id: str, chunk: Chunk) -> Piece:
    """A chunk as a server says it."""
    usage, tool, error = chunk.usage, chunk.tool, chunk.error
    return Piece(
        wire_id,
        chunk.text,
        chunk.tokens,
        chunk.finish,
        None if usage is None else (usage.input_tokens, usage.output_tokens, usage.cached_tokens),
        None if tool is None else (tool.index, tool.call_id, tool.name, tool.arguments),
        None if error is None else (error.code, error.message, error.param, error.retry_after),
    )


def chunk_of(piece: Piece) -> Chunk:
    """The inverse of :func:`piece_of`. An unknown error code becomes a plain EngineError."""
    if piece.finish is None and piece.usage is None and piece.tool is None and piece.error is None:
        return Chunk(piece.text, piece.tokens)
    return Chunk(
        piece.text,
        piece.tokens,
        None if piece.tool is None else ToolDelta(*piece.tool),
        piece.finish,
        None if piece.usage is None else Usage(*piece.usage),
        None if piece.error is None else error_of_code(*piece.error),
    )


class FramesEngine:
    """Engine port over one ``/frames`` connection.

    ``url`` says where the engine is now, like ``http://127.0.0.1:8123``; it is asked again at each connect, because a
    restarted engine may come back elsewhere, and raises EngineUnavailable while there is none. ``hung`` is called when
    the engine is given up because of its silence.
    """

    def __init__(
        self,
        engine_id: EngineId,
        url: Callable[[], str],
        *,
        silence_s: float = SILENCE_S,
        hung: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = engine_id
        self._hung = hung
        self._url = url
        self.silence_s = silence_s
        self._numbers = itertools.count()
        self._flights: dict[str, tuple[RequestId, Sink]] = {}
        self._wire_ids: dict[RequestId, str] = {}
        self._http: aiohttp.ClientSession | None = None
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"FramesEngine({self.id!r}, in_flight={len(self._flights)})"

    async def start(self) -> EngineState:
        return await self.state()

    async def state(self) -> EngineState:
        """Raises EngineUnavailable. Connects where there is no connection yet, or no longer."""
        async with self._connecting:
            url = self._url()
            state = await fetch_capacity(self._session(), url)
            if self._link is None:
                self._link = await self._connect(url)
        return state

    def submit(self, request: Request, sink: Sink) -> None:
        link = self._link
        if link is None:
            error = EngineUnavailable(f"engine {self.id} is not connected", retry_after=1.0)
            asyncio.get_running_loop().call_soon(sink, request.id, Chunk(error=error))
            return
        self.cancel(request.id)  # a second attempt ends the first
        wire_id = str(next(self._numbers))
        self._flights[wire_id] = (request.id, sink)
        self._wire_ids[request.id] = wire_id
        link.send(Submit(wire_id, chat_body(request)))

    def cancel(self, request: RequestId) -> None:
        wire_id = self._wire_ids.pop(request, None)
        if wire_id is None:
            return
        _, sink = self._flights.pop(wire_id)
        asyncio.get_running_loop().call_soon(sink, request, Chunk(finish=FinishReason.CANCELLED))
        if self._link is not None:
            self._link.send(Cancel(wire_id))

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return await fetch_token_count(self._session(), self._url(), "", messages)

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            self._http = aiohttp.ClientSession(timeout=timeout)
        return self._http

    async def _connect(self, url: str) -> _Link:
        patience = aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session().ws_connect(
                    url + FRAMES_PATH, max_msg_size=0, compress=0, timeout=patience
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            raise EngineUnavailable(error_of_transport(fault, self.id, begun=False).message, retry_after=1.0) from fault
        return _Link(socket, self.silence_s, _Ears(self._deliver, self._lost, self._flights.__len__, self._hung))

    def _deliver(self, pieces: Sequence[Piece]) -> None:
        """One frame, handed to the sinks in its order."""
        flights = self._flights
        if not pieces:  # a sign of life: whoever waits may know
            for request, sink in list(flights.values()):
                sink(request, Chunk())
        for piece in pieces:
            flight = flights.get(piece.id)
            if flight is None:
                continue
            chunk = chunk_of(piece)
            if chunk.last:
                del flights[piece.id]
                self._wire_ids.pop(flight[0], None)
            flight[1](flight[0], chunk)

    def _lost(self, why: str) -> None:
        """The connection has ended: so has all that it carried."""
        self._link = None
        flights = list(self._flights.values())
        self._flights.clear()
        self._wire_ids.clear()
        for request, sink in flights:
            sink(request, Chunk(error=EngineLost(f"engine {self.id} was lost: {why}")))


@dataclass(frozen=True, slots=True)
class _Ears:
    """Whom a link tells: of each frame, and once of its end. ``in_flight``: how many requests wait for words."""

    frame: Callable[[Sequence[Piece]], None]
    end: Callable[[str], None]
    in_flight: Callable[[], int]
    hung: Callable[[], None]


class _Link:
    """One connection: a task that reads, a task that writes, both gone when it ends."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, silence_s: float, ears: _Ears) -> None:
        self._socket = socket
        self.silence_s = silence_s
        self._ears = ears
        self._over = False
        self._outbox: asyncio.Queue[Op] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())
        self._reader = asyncio.create_task(self._read())

    def send(self, op: Op) -> None:
        self._outbox.put_nowait(op)

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])
        # A reader that is cancelled before its first step never gets to its own end.
        await self._finish("it was closed by this side")
        await asyncio.wait([self._writer])

    async def _write(self) -> None:
        while True:
            op = await self._outbox.get()
            try:
                await self._socket.send_bytes(encode_op(op))
            except (aiohttp.ClientError, OSError):
                return  # the reader sees the same end and says so

    async def _read(self) -> None:
        why = "it was closed by this side"
        try:
            why = await self._receive()
        finally:
            await self._finish(why)

    async def _finish(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._writer.cancel()
            # Tell first: closing waits for the other side, which may be dead or stopped.
            self._ears.end(why)
            await self._socket.close()

    async def _receive(self) -> str:
        """Deliver frames until there are no more; say why."""
        while True:
            try:
                message = await self._socket.receive(self.silence_s)
            except TimeoutError:
                if waiting := self._ears.in_flight():
                    self._ears.hung()
                    return f"it said nothing for {self.silence_s:g} s with {waiting} requests in flight"
                continue
            if message.type is not aiohttp.WSMsgType.BINARY:
                return "the connection was closed"
            try:
                pieces = decode_pieces(message.data)
            except msgspec.DecodeError as fault:
                return f"it sent a frame that cannot be read ({fault})"
            self._ears.frame(pieces)
