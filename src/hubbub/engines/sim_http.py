"""The simulated engine's HTTP face: the endpoints of the embedded engine, and ``/faults`` to make things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import itertools
import os
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, BodyTooLarge, HubbubError, Unauthorized
from hubbub.core.types import Chunk, EngineId, RequestId
from hubbub.engines.frames import FRAMES_PATH, MAX_MESSAGE_BYTES, Submit, decode_op
from hubbub.engines.probe import encode_capacity
from hubbub.engines.sim_faults import FaultKind, FaultRule
from hubbub.engines.sim_prompt import parse_body, prompt_tokens
from hubbub.engines.sim_replies import FrameReplies, JsonReply, SseReply, error_response
from hubbub.engines.sim_words import tokenize
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine

CRASH_EXIT_CODE = 137
"""What a shell reports for a process that was killed with -9."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SimulatedApp:
    """One engine and its routes. ``api_key``: asked for under /v1 where it is set."""

    def __init__(self, config: SimulatedConfig, api_key: str = "") -> None:
        self.engine = SimulatedEngine(EngineId("simulated"), config, on_fault=self._strike)
        self._api_key = api_key
        self._numbers = itertools.count(1)
        self._replies: dict[RequestId, SseReply | JsonReply] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._frames: dict[RequestId, FrameReplies] = {}

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES, middlewares=[self._errors])
        app.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.get("/v1/models", self.models),
                web.get("/health", self.health),
                web.get("/capacity", self.capacity),
                web.get("/metrics", self.metrics),
                web.post("/tokenize", self.tokenize),
                web.get(FRAMES_PATH, self.frames),
                web.get("/faults", self.faults),
                web.post("/faults", self.set_faults),
            ]
        )
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._close)
        return app

    async def _start(self, _app: web.Application) -> None:
        # The port answers while the model "loads", as real engines do.
        self._spawn(self._load())

    async def _load(self) -> None:
        await self.engine.start()

    async def _close(self, _app: web.Application) -> None:
        await self.engine.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if self._api_key and request.path.startswith("/v1") and not hmac.compare_digest(given, self._api_key):
                raise Unauthorized(f"Incorrect API key provided: {given}")
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return error_response(BodyTooLarge(f"the body is larger than {MAX_MESSAGE_BYTES} bytes"))
        except HubbubError as error:
            return error_response(error)

    # Generation ----------------------------------------------------------------------------------------------------

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await _json_object(request)
        body = parse_body(raw)
        key = RequestId(f"sim-{next(self._numbers)}")
        model = body.model or self.engine.config.voice.models[0]
        if body.stream:
            usage = bool((body.stream_options or {}).get("include_usage"))
            return await self._stream(request, key, raw, SseReply(key, model, include_usage=usage))
        reply = JsonReply(key, model)
        self.engine.take(key, raw, reply.hear)
        with self._held(key, reply):
            await reply.done
        return reply.response()

    async def _stream(
        self, request: web.Request, key: RequestId, raw: dict[str, Any], reply: SseReply
    ) -> web.StreamResponse:
        self.engine.take(key, raw, reply.hear)
        with self._held(key, reply):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            await response.write(b": ready\n\n")  # sends the headers; from here on the reply writes by itself
            if request.transport is not None:
                reply.connect(request.transport)
            await reply.done
        return response

    @contextlib.contextmanager
    def _held(self, key: RequestId, reply: SseReply | JsonReply) -> Iterator[None]:
        """While a reply is open, a fault finds its connection; if its client leaves first, the engine is told."""
        self._replies[key] = reply
        try:
            yield
        finally:
            del self._replies[key]
            self.engine.cancel(key)

    async def frames(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False, timeout=1.0)
        await socket.prepare(request)
        replies = FrameReplies(socket, lambda: self.engine.steps)
        pump = asyncio.create_task(replies.pump())
        prefix = f"frames-{next(self._numbers)}:"
        keys: dict[str, RequestId] = {}
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                self._operate(message.data, prefix, replies, keys)
        except msgspec.DecodeError as fault:
            await socket.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA, message=str(fault).encode()[:120])
        finally:
            for key in keys.values():
                self._frames.pop(key, None)
                self.engine.cancel(key)
            pump.cancel()
            await asyncio.wait([pump])
        return socket

    def _operate(self, data: bytes, prefix: str, replies: FrameReplies, keys: dict[str, RequestId]) -> None:
        op = decode_op(data)
        key = RequestId(prefix + op.id)
        if not isinstance(op, Submit):
            self.engine.cancel(key)
            return

        def hear(spoken: RequestId, chunk: Chunk) -> None:
            if chunk.last:
                keys.pop(op.id, None)
                self._frames.pop(key, None)
            replies.hear(op.id, spoken, chunk)

        try:
            self.engine.take(key, op.body, hear)
        except HubbubError as error:
            replies.hear(op.id, key, Chunk(error=error))
        else:
            keys[op.id] = key
            self._frames[key] = replies

    def _strike(self, key: RequestId, rule: FaultRule) -> bool:
        if rule.kind is FaultKind.CRASH:
            os._exit(CRASH_EXIT_CODE)
        reply = self._replies.get(key)
        if reply is not None:
            (reply.abort if rule.kind is FaultKind.CUT else reply.garbage)()
            return True
        frames = self._frames.pop(key, None)
        if frames is not None and rule.kind is FaultKind.GARBAGE:
            self._spawn(frames.garbage())
            return True
        return False

    # Questions -----------------------------------------------------------------------------------------------------

    async def health(self, _request: web.Request) -> web.Response:
        await self.engine.state()
        return web.json_response({"status": "ok"})

    async def capacity(self, _request: web.Request) -> web.Response:
        return web.Response(body=encode_capacity(await self.engine.state()), content_type="application/json")

    async def models(self, _request: web.Request) -> web.Response:
        voice = self.engine.config.voice
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "hubbub", "max_model_len": voice.context_window}
            for name in voice.models + voice.adapters
        ]
        return web.json_response({"object": "list", "data": rows})

    async def metrics(self, _request: web.Request) -> web.Response:
        state = await self.engine.state()
        rows = [
            ("hubbub_engine_running", "gauge", state.running),
            ("hubbub_engine_waiting", "gauge", state.waiting),
            ("hubbub_engine_kv_used_ratio", "gauge", state.kv_used),
            ("hubbub_engine_requests_total", "counter", self.engine.requests),
            ("hubbub_engine_output_tokens_total", "counter", self.engine.output_tokens),
            ("hubbub_engine_steps_total", "counter", self.engine.steps),
        ]
        text = "".join(f"# TYPE {name} {kind}\n{name} {value!r}\n" for name, kind, value in rows)
        return web.Response(text=text, content_type="text/plain")

    async def tokenize(self, request: web.Request) -> web.Response:
        raw = await _json_object(request)
        tokens = tokenize(str(raw["prompt"])) if "prompt" in raw else prompt_tokens(parse_body(raw))
        ids = [zlib.crc32(token.encode("utf-8", "surrogatepass")) & 0xFFFF for token in tokens]
        window = self.engine.config.voice.context_window
        return web.json_response({"count": len(ids), "max_model_len": window, "tokens": ids})

    # Faults --------------------------------------------------------------------------------------------------------

    async def faults(self, request: web.Request) -> web.Response:
        _loopback(request)
        return web.Response(body=msgspec.json.encode({"rules": self.engine.faults.rules}))

    async def set_faults(self, request: web.Request) -> web.Response:
        """Body ``{"rules": [{"kind": "cut", "after_tokens": 5, "rate": 0.1, "times": 1}, ...]}`` replaces the rules;
        an empty list ends all faults, a hang too."""
        _loopback(request)
        raw = await _json_object(request)
        try:
            rules = msgspec.convert(raw.get("rules"), tuple[FaultRule, ...])
        except msgspec.ValidationError as fault:
            raise BadRequest(f"rules: {fault}", param="rules") from fault
        self.engine.set_faults(rules)
        return await self.faults(request)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"the body is not a JSON object ({fault})") from fault


def _loopback(request: web.Request) -> None:
    if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback:
        raise Unauthorized("/faults answers to this machine only")
