"""A hosted API's twin: a key, rate limits told in one of the ways there are, usage, and the bill by its own count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from aiohttp import web

KEY = "sk-secret-7f3a9c"
MODEL = "far/model"
PROMPT_TOKENS, WORDS = 7, ("Once ", "upon ", "a ", "time.")


class Says(StrEnum):
    """How the limits are told."""

    OPENAI = "openai"
    WINDOW = "window"
    RETRY_AFTER = "retry-after"
    NOTHING = "nothing"


@dataclass(slots=True)
class Limiter:
    """``limit`` requests in ``period`` seconds: a bucket that refills (OpenAI's), or a window (the others)."""

    limit: int
    period: float
    says: Says
    level: float = field(init=False)
    at: float = 0.0
    taken: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.level = float(self.limit)

    def take(self, now: float) -> tuple[bool, dict[str, str]]:
        """Whether it is let in, and the headers of the answer."""
        if self.says is Says.WINDOW:
            if now // self.period > self.at // self.period:
                self.level = float(self.limit)
        else:
            self.level = min(float(self.limit), self.level + self.limit / self.period * (now - self.at))
        self.at = now
        good = self.level >= 1
        if good:
            self.level -= 1
            self.taken += 1
        else:
            self.refused += 1
        return good, self._headers(now, good)

    def _headers(self, now: float, good: bool) -> dict[str, str]:
        one = self.period / self.limit
        if self.says is Says.OPENAI:
            whole = (self.limit - self.level) * one
            told = {"limit": str(self.limit), "remaining": str(int(self.level)), "reset": f"{round(whole * 1e3)}ms"}
            return {f"x-ratelimit-{name}-requests": value for name, value in told.items()}
        if self.says is Says.WINDOW:
            left = self.period - now % self.period
            return {
                "RateLimit": f'"api";r={int(self.level)};t={left:.3f}',
                "RateLimit-Policy": f'"fixed window";"api";q={self.limit};w={self.period:g}',
            }
        if self.says is Says.RETRY_AFTER and not good:
            return {"retry-after-ms": str(round((1 - self.level) * one * 1e3))}
        return {}


class Api:
    """``fits``: how many it writes at once before it answers 503."""

    def __init__(self, limiter: Limiter, *, fits: int = 10_000) -> None:
        self.limiter = limiter
        self.fits = fits
        self.cut_after = 0
        """Words after which the connection breaks; 0: it holds."""
        self.writing = 0
        self.overloads = 0
        self.asked: list[str] = []
        self.bodies: list[dict[str, object]] = []
        self.before: Callable[[], web.Response | None] = lambda: None
        """May answer in its place."""

    def application(self, prefix: str) -> web.Application:
        app = web.Application(middlewares=[self._door])
        app.router.add_get(f"{prefix}/models", self._models)
        app.router.add_post(f"{prefix}/chat/completions", self._chat)
        return app

    @web.middleware
    async def _door(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            told = request.headers.get("Authorization", "no key").removeprefix("Bearer ")
            words = {"error": {"message": f"Incorrect API key provided: {told}", "code": "invalid_api_key"}}
            return web.json_response(words, status=401)
        return await handler(request)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "context_length": 4096}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(msgspec.json.decode(await request.read()))
        instead = self.before()
        if instead is not None:
            return instead
        good, headers = self.limiter.take(asyncio.get_running_loop().time())
        if not good:
            words = {"error": {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}}
            return web.json_response(words, status=429, headers=headers)
        if self.writing >= self.fits:
            self.overloads += 1
            return web.json_response({"error": {"message": "busy"}}, status=503, headers=headers)
        self.writing += 1
        try:
            return await self._write(request, headers)
        finally:
            self.writing -= 1

    async def _write(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number, word in enumerate(WORDS):
            if number and number == self.cut_after and request.transport is not None:
                request.transport.close()
                return answer
            await answer.write(_event({"choices": [{"delta": {"content": word}}]}))
            await asyncio.sleep(0.002)
        await answer.write(_event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS)}
        await answer.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return answer


def _event(data: object) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


@asynccontextmanager
async def hosted(api: Api, prefix: str = "/v1") -> AsyncIterator[str]:
    """Its url, as the provider's documentation would give it."""
    runner = web.AppRunner(api.application(prefix), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    finally:
        await runner.cleanup()
