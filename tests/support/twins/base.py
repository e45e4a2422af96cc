"""What the twins share: an address on loopback, and words said one by one until the client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

WORDS = ("The", " sea", " is", " wide", ".")


class Twin:
    """``asked``: the bodies of chats, as they came. ``running``: streams that are open. ``endless``: it never stops."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.running = 0
        self.endless = False

    def routes(self) -> Mapping[str, Any]:
        """Handlers by method and path, like ``GET /health``."""
        raise TypeError("a twin has routes")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        for route, handler in self.routes().items():
            method, path = route.split(" ")
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def say(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """The words of a chat as Server-Sent Events, usage at the end where it was asked for."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.running += 1
        try:
            said = 0
            while self.endless or said < min(len(WORDS), body.get("max_tokens") or len(WORDS)):
                await _event(response, {"choices": [_choice({"content": WORDS[said % len(WORDS)]})]})
                said += 1
                await asyncio.sleep(0)
            reason = "length" if said < len(WORDS) else "stop"
            await _event(response, {"choices": [_choice({}, reason)]})
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 7, "completion_tokens": said, "total_tokens": 7 + said}
                await _event(response, {"choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.running -= 1
        return response


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}


async def _event(response: web.StreamResponse, value: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(value).encode() + b"\n\n")
