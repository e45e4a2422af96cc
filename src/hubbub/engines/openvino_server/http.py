"""The routes: OpenAI's chat completions and models, and what Hubbub asks of an engine of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, BodyTooLarge, EngineLost, HubbubError, NotFound
from hubbub.core.types import Chunk, FinishReason, ToolDelta, Usage
from hubbub.engines.frames import FRAMES_PATH
from hubbub.engines.openvino_server.body import ChatBody, Message, parse_body
from hubbub.engines.openvino_server.frames_route import frames
from hubbub.engines.openvino_server.metrics import CONTENT_TYPE, exposition
from hubbub.engines.openvino_server.service import Service
from hubbub.engines.probe import encode_capacity

MAX_BODY_BYTES = 64 << 20
SERVICE: web.AppKey[Service] = web.AppKey("service", Service)

_encode = msgspec.json.encode


def build_app(service: Service) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors])
    app[SERVICE] = service
    app.on_cleanup.append(_close)
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/models/{name:.+}", model)
    app.router.add_post("/tokenize", tokenize)
    app.router.add_get("/health", health)
    app.router.add_get("/capacity", capacity)
    app.router.add_get("/metrics", metrics)
    app.router.add_get(FRAMES_PATH, lambda request: frames(request, request.app[SERVICE]))
    return app


async def _close(app: web.Application) -> None:
    await app[SERVICE].close()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HubbubError as error:
        return _refusal(error)
    except web.HTTPRequestEntityTooLarge:
        return _refusal(BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES:,} bytes"))
    except web.HTTPNotFound:
        return _refusal(NotFound(f"there is no {request.method} {request.path} here"))
    except web.HTTPException as refusal:
        return _json(error_body(BadRequest(f"{refusal.status} {refusal.reason}")), refusal.status)


def _refusal(error: HubbubError) -> web.Response:
    return _json(error_body(error), error.http_status)


def error_body(error: HubbubError) -> dict[str, Any]:
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, content_type="application/json")


async def chat_completions(request: web.Request) -> web.StreamResponse:
    service = request.app[SERVICE]
    body = parse_body(await request.read())
    job = service.prepare(body)
    await service.vet(job)
    queue: asyncio.Queue[Chunk] = asyncio.Queue()
    number = service.submit(job, queue.put_nowait)
    try:
        if body.stream:
            return await _stream(request, body, _Answer(service.names[0]), queue)
        return await _whole(_Answer(service.names[0]), queue)
    finally:
        service.cancel(number)  # nothing, where it has ended


class _Answer:
    """The envelope that all parts of one answer share."""

    def __init__(self, model: str) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.model = model

    def part(self, delta: dict[str, Any] | None, finish: FinishReason | None, usage: Usage | None = None) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        value = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        if usage is not None:
            value["usage"] = usage_body(usage)
        return b"data: " + _encode(value) + b"\n\n"

    def whole(self, message: dict[str, Any], finish: FinishReason, usage: Usage) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": usage_body(usage),
        }


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _tool_body(tool: ToolDelta) -> dict[str, Any]:
    return {
        "index": tool.index,
        "id": tool.call_id,
        "type": "function",
        "function": {"name": tool.name, "arguments": tool.arguments},
    }


async def _stream(
    request: web.Request, body: ChatBody, answer: _Answer, queue: asyncio.Queue[Chunk]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    first = await queue.get()
    if first.error is not None:
        raise first.error
    await response.prepare(request)
    await response.write(answer.part({"role": "assistant", "content": ""}, None))
    chunk = first
    while True:
        if chunk.error is not None:
            await response.write(b"data: " + _encode(error_body(chunk.error)) + b"\n\n")
            return response
        if chunk.tool is not None:
            await response.write(answer.part({"tool_calls": [_tool_body(chunk.tool)]}, None))
        if chunk.text:
            await response.write(answer.part({"content": chunk.text}, None))
        if chunk.finish is not None:
            break
        chunk = await queue.get()
    await response.write(answer.part({}, chunk.finish))
    if body.stream_options is not None and body.stream_options.include_usage:
        await response.write(answer.part(None, None, chunk.usage))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _whole(answer: _Answer, queue: asyncio.Queue[Chunk]) -> web.Response:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    while True:
        chunk = await queue.get()
        if chunk.error is not None:
            raise chunk.error
        texts.append(chunk.text)
        if chunk.tool is not None:
            calls.append({key: value for key, value in _tool_body(chunk.tool).items() if key != "index"})
        if chunk.finish is not None:
            break
    text = "".join(texts)
    message: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return _json(answer.whole(message, chunk.finish, chunk.usage or Usage()))


def _model_body(name: str, started: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": started, "owned_by": "hubbub"}


async def models(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    names = service.names + service.adapters
    return _json({"object": "list", "data": [_model_body(name, service.started) for name in names]})


async def model(request: web.Request) -> web.Response:
    service, name = request.app[SERVICE], request.match_info["name"]
    service.check_model(name)
    return _json(_model_body(name, service.started))


class _TokenizeBody(msgspec.Struct):
    messages: list[Message] | None = None
    text: str | None = None
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True


async def tokenize(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    try:
        body = msgspec.json.decode(await request.read(), type=_TokenizeBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"the body cannot be read: {fault}") from fault
    service.check_model(body.model)
    if body.messages:
        ids = service.prompt(body.messages, body.tools or [])
    elif body.text is not None:
        ids = service.encode(body.text)
    else:
        raise BadRequest("messages: send `messages` or `text`", param="messages")
    return _json({"count": len(ids), "ids": ids})


async def health(request: web.Request) -> web.Response:
    lost = request.app[SERVICE].lost
    if lost is not None:
        raise EngineLost(lost)
    return _json({"status": "ok"})


async def capacity(request: web.Request) -> web.Response:
    return web.Response(body=encode_capacity(request.app[SERVICE].state()), content_type="application/json")


async def metrics(request: web.Request) -> web.Response:
    return web.Response(body=exposition(request.app[SERVICE]), headers={"Content-Type": CONTENT_TYPE})
