"""How the simulated server says what its engine says: as SSE, as one JSON body, or as frames.

A reply is the sink of its request. SSE bytes go straight to the transport, one write a stream and step: no task is
woken for a token, which is what lets one core serve 1,000 streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from hubbub.core.errors import HubbubError
from hubbub.core.types import Chunk, FinishReason, RequestId, ToolDelta, Usage
from hubbub.engines.frames import SIGN_OF_LIFE_S, Piece, encode_pieces, piece_of

MAX_UNSENT_BYTES = 8 << 20
"""A client that reads so much slower than tokens come is cut off."""

_json = msgspec.json.Encoder()


def error_body(error: HubbubError) -> dict[str, Any]:
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


class SseReply:
    """``data:`` events on a chunked response whose headers have been sent."""

    def __init__(self, key: RequestId, model: str, *, include_usage: bool) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()
        self._include_usage = include_usage
        self._base = {"id": f"chatcmpl-{key}", "object": "chat.completion.chunk", "created": int(time.time())}
        self._base["model"] = model
        frame = self._event({"index": 0, "delta": {"content": "@"}, "logprobs": None, "finish_reason": None})
        self._before, self._after = frame.split(b'"@"')
        self._write(
            self._event({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}),
        )

    def connect(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        early, self._early = self._early, bytearray()
        self._write(bytes(early))

    def hear(self, _key: RequestId, chunk: Chunk) -> None:
        if chunk.error is not None:
            data = b"data: " + _json.encode(error_body(chunk.error)) + b"\n\n"
        else:
            data = self._before + _json.encode(chunk.text) + self._after if chunk.text else b""
            if chunk.tool is not None:
                data += self._event({"index": 0, "delta": {"tool_calls": [_tool(chunk.tool)]}, "finish_reason": None})
            if chunk.finish is not None:
                data += self._ending(chunk.finish, chunk.usage)
        self._write(data)
        if chunk.last and not self.done.done():
            self.done.set_result(None)

    def abort(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()
        if not self.done.done():
            self.done.set_result(None)

    def garbage(self) -> None:
        self._write(b'data: {"choices": [{"delta": {"con\xff\xfe\n\n: what?\n\n')
        if not self.done.done():
            self.done.set_result(None)

    def _event(self, choice: dict[str, Any]) -> bytes:
        return b"data: " + _json.encode({**self._base, "choices": [choice]}) + b"\n\n"

    def _ending(self, finish: FinishReason, usage: Usage | None) -> bytes:
        data = self._event({"index": 0, "delta": {}, "finish_reason": finish.value})
        if self._include_usage and usage is not None:
            body = {**self._base, "choices": [], "usage": usage_body(usage)}
            data += b"data: " + _json.encode(body) + b"\n\n"
        return data + b"data: [DONE]\n\n"

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            self._early += data
        elif data and not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                transport.abort()


class JsonReply:
    """The whole answer as one body."""

    def __init__(self, key: RequestId, model: str) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: HubbubError | None = None
        self._key = key
        self._model = model
        self._texts: list[str] = []
        self._tool: ToolDelta | None = None
        self._arguments: list[str] = []
        self._last = Chunk()

    def hear(self, _key: RequestId, chunk: Chunk) -> None:
        self._texts.append(chunk.text)
        if chunk.tool is not None:
            self._tool = self._tool or chunk.tool
            self._arguments.append(chunk.tool.arguments)
        if chunk.last and not self.done.done():
            self._last, self.error = chunk, chunk.error
            self.done.set_result(None)

    def abort(self) -> None:
        self.hear(self._key, Chunk(finish=FinishReason.CANCELLED))

    garbage = abort

    def response(self) -> web.Response:
        """The answer, once ``done``."""
        if self.error is not None:
            return error_response(self.error)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts)}
        if self._tool is not None:
            whole = ToolDelta(0, self._tool.call_id, self._tool.name, "".join(self._arguments))
            message = {"role": "assistant", "content": None, "tool_calls": [_tool(whole)]}
        body = {
            "id": f"chatcmpl-{self._key}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": self._last.finish}],
            "usage": usage_body(self._last.usage or Usage()),
        }
        return web.Response(body=_json.encode(body), content_type="application/json")


class FrameReplies:
    """All replies of one ``/frames`` connection: what they say in a step goes out as one message."""

    def __init__(self, socket: web.WebSocketResponse, steps: Callable[[], int]) -> None:
        """``steps`` counts the engine's steps: while it rises, the engine is alive even if it says nothing here."""
        self._socket = socket
        self._steps = steps
        self._pending: list[Piece] = []
        self._filled = asyncio.Event()

    def hear(self, wire_id: str, _key: RequestId, chunk: Chunk) -> None:
        self._pending.append(piece_of(wire_id, chunk))
        self._filled.set()

    async def pump(self) -> None:
        """Send what is said until the connection ends."""
        seen = -1
        while not self._socket.closed:
            try:
                async with asyncio.timeout(SIGN_OF_LIFE_S):
                    await self._filled.wait()
            except TimeoutError:
                if seen == self._steps():
                    continue
            self._filled.clear()
            seen = self._steps()
            pieces, self._pending = self._pending, []
            try:
                await self._socket.send_bytes(encode_pieces(pieces))
            except ConnectionError:
                return

    async def garbage(self) -> None:
        await self._socket.send_bytes(b"\xc1 what?")


def error_response(error: HubbubError) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
    body = _json.encode(error_body(error))
    return web.Response(status=error.http_status, body=body, content_type="application/json", headers=headers)


def _tool(delta: ToolDelta) -> dict[str, Any]:
    body: dict[str, Any] = {"index": delta.index, "function": {"arguments": delta.arguments}}
    if delta.call_id:
        body |= {"id": delta.call_id, "type": "function"}
        body["function"] = {"name": delta.name, "arguments": delta.arguments}
    return body
