"""The HTTP side of the server, made of its parts."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, HubbubError, NotFound
from hubbub.core.types import Json
from hubbub.gateway.call import Call, Gateway, read_body, read_query, too_large, user_of
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.errors import AfterAcceptance, body_of, error_type, headers_of
from hubbub.gateway.openapi import document
from hubbub.gateway.routes.table import ROUTES, Route
from hubbub.gateway.sse import Streams
from hubbub.gateway.wire.errors import ErrorBody, ErrorDetail
from hubbub.ports import Store
from hubbub.runtime.chats import Chats
from hubbub.runtime.hub import Hub

log = logging.getLogger(__name__)

STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    hub: Hub,
    chats: Chats,
    store: Store,
    config: GatewayConfig,
    *,
    health: Callable[[], Mapping[str, Json]],
    metrics: Callable[[], str],
) -> web.Application:
    """The application. ``health`` tells under ``ready`` whether an engine is ready.

    Serve it with :func:`runner`: a client that leaves must cancel its handler.
    """
    streams = Streams(config.ping_seconds)
    described = msgspec.json.encode(document(ROUTES))
    gateway = Gateway(hub, chats, store, config, streams, health, metrics, described)
    app = web.Application(client_max_size=config.max_body_bytes, middlewares=[_errors])
    app[STREAMS] = streams
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(gateway, route))
    app.on_response_prepare.append(_name)
    app.cleanup_ctx.append(_pings)
    return app


def runner(app: web.Application, *, shutdown_seconds: float = 5.0) -> web.AppRunner:
    """Runs the application so that a client's leaving reaches its handler at once, also while it waits.

    ``shutdown_seconds``: how long open streams may go on when the server stops.
    """
    return web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=shutdown_seconds)


async def _pings(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[STREAMS].keep_alive())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _handler(gateway: Gateway, route: Route) -> Handler:
    limit = gateway.config.max_body_bytes

    async def handle(request: web.Request) -> web.StreamResponse:
        query = read_query(request, route.query)
        body = None if route.body is None else await read_body(request, route.body, limit)
        said = await route.handler(Call(gateway, request, user_of(request), body, query))
        if isinstance(said, web.StreamResponse):
            return said
        return web.Response(body=msgspec.json.encode(said), content_type="application/json")

    return handle


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The task boundary of a request: whatever goes wrong leaves as OpenAI's error body."""
    try:
        return await handler(request)
    except HubbubError as error:
        return _refusal(error)
    except AfterAcceptance as failed:
        response = _refusal(failed.error)
        if not failed.again:
            response.headers["x-should-retry"] = "false"
        return response
    except web.HTTPException as error:
        return _http(request, error)
    except ConnectionError:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path, extra={"action": "request_failed"})
        return _refusal(HubbubError("something went wrong here; the server's log has more"))


async def _name(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer has an id that the official client reports; streams too."""
    response.headers["x-request-id"] = f"req_{secrets.token_hex(12)}"


def _refusal(error: HubbubError) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body_of(error)),
        status=error.http_status,
        headers=headers_of(error),
        content_type="application/json",
    )


def _http(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals, in OpenAI's shape."""
    if isinstance(error, web.HTTPNotFound):
        return _refusal(NotFound(f"there is no route {request.method} {request.path}; see /openapi.json"))
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return _refusal(too_large(request.client_max_size))
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message, code = f"{request.path} takes {allowed}, not {request.method}", "method_not_allowed"
        headers = {"Allow": allowed, "x-should-retry": "false"}
    else:
        message, code, headers = error.reason, BadRequest.code, {}
    detail = ErrorDetail(message=message, type=error_type(error.status), param=None, code=code)
    return web.Response(
        body=msgspec.json.encode(ErrorBody(error=detail)),
        status=error.status,
        headers=headers,
        content_type="application/json",
    )
