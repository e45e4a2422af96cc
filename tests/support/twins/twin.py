"""A twin of another engine's server: its routes, words and metrics, over the simulated engine.

The twin says what the real server's source says; what is generated comes from the simulated engine. ``bodies`` are the
chat requests as they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from hubbub.core.errors import ContextTooLong
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineId,
    FinishReason,
    Message,
    Request,
    RequestId,
    Role,
    Sampling,
    Usage,
    UserId,
)
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine

SEQUENCES, WINDOW, MODEL = 8, 2000, "small"
_FINISH = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length", FinishReason.TOOL_CALLS: "tool_calls"}


class Refused(Exception):
    """``body``: as the server writes it."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


class Twin:
    """``url`` once it serves. A subclass says what is its server's own."""

    adapters: tuple[str, ...] = ()

    def __init__(self) -> None:
        voice = Voice(models=(MODEL,), context_window=WINDOW, output_median=400, output_sigma=0.1)
        pace = Pace(base=0.002, per_sequence=0.0, max_sequences=SEQUENCES)
        self.engine = SimulatedEngine(EngineId("twin"), SimulatedConfig(voice, pace))
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self._numbers = itertools.count()

    def routes(self) -> list[web.RouteDef]:
        raise AssertionError("a twin has routes")

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """The messages of a request, and the beginning of the answer if it is to be continued. Raises Refused."""
        raise AssertionError("a twin reads requests")

    def too_long(self, tokens: int) -> str:
        """What the server says of a prompt of so many tokens."""
        raise AssertionError("a twin refuses long prompts")

    def usage(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        }

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=1 << 24)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await self.engine.start()
        try:
            yield self.url
        finally:
            await self.engine.close()
            await runner.cleanup()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        try:
            messages, partial = self.read(body)
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        asked = self._request(body, messages, partial)
        chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        self.engine.submit(asked, lambda _, chunk: chunks.put_nowait(chunk))
        try:
            return await self._stream(request, body, chunks)
        finally:
            self.engine.cancel(asked.id)

    def _request(self, body: dict[str, Any], messages: list[dict[str, Any]], partial: str) -> Request:
        stop = body.get("stop") or []
        return Request(
            RequestId(f"twin-{next(self._numbers)}"),
            UserId("u"),
            ChatId("c"),
            MODEL,
            prompt_tokens=10,
            messages=tuple(Message(Role(each["role"]), each["content"] or "") for each in messages),
            sampling=Sampling(
                temperature=body.get("temperature"),
                max_tokens=body.get("max_tokens"),
                seed=body.get("seed"),
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
                response_format=body.get("response_format"),
                tools=tuple(body.get("tools") or ()),
                tool_choice=body.get("tool_choice"),
            ),
            partial=partial,
        )

    async def refuse_in_stream(self, response: web.StreamResponse, message: str) -> None:
        """An error after the 200."""
        raise AssertionError("a twin says errors in mid-stream")

    def refusal(self, message: str) -> Refused | None:
        """How a prompt that is too long is refused before the stream begins; None: in the stream."""
        return None

    async def _stream(
        self, request: web.Request, body: dict[str, Any], chunks: asyncio.Queue[Chunk]
    ) -> web.StreamResponse:
        first = await chunks.get()
        too_long = isinstance(first.error, ContextTooLong) and self.too_long(_largest(first.error.message))
        if too_long and (refused := self.refusal(too_long)) is not None:
            return web.json_response(refused.body, status=refused.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if too_long:
            await self.refuse_in_stream(response, too_long)
            return response
        await self.write(response, self.event(body, {"role": "assistant", "content": ""}))
        chunk = first
        while chunk.finish is None:
            if chunk.error is not None:
                # Its process has died: so does the connection.
                assert request.transport is not None
                request.transport.abort()
                return response
            await self.write(response, self.event(body, _delta(chunk)))
            chunk = await chunks.get()
        await self.write(response, self.event(body, _delta(chunk), _FINISH[chunk.finish]))
        if chunk.usage is not None and (body.get("stream_options") or {}).get("include_usage"):
            await self.write(
                response, {"object": "chat.completion.chunk", "choices": [], "usage": self.usage(chunk.usage)}
            )
        await response.write(b"data: [DONE]\n\n")
        return response

    def event(self, body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {
            "id": "x",
            "object": "chat.completion.chunk",
            "model": body["model"],
            "choices": [choice],
            "usage": None,
        }

    async def write(self, response: web.StreamResponse, event: Mapping[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


def _delta(chunk: Chunk) -> dict[str, Any]:
    """Of a tool call, name and id come once, with the first piece."""
    if chunk.tool is None:
        return {"content": chunk.text}
    tool = chunk.tool
    function = {"name": tool.name or None, "arguments": tool.arguments}
    return {"tool_calls": [{"id": tool.call_id or None, "index": tool.index, "type": "function", "function": function}]}


def _largest(message: str) -> int:
    return max(int(word) for word in message.replace(",", " ").split() if word.isdigit())
