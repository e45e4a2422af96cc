"""The HTTP side of the server, made of its parts."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, HubbubError, NotFound
from hubbub.core.types import Json
from hubbub.exchange.exporting import Exporter
from hubbub.exchange.importing import Importer
from hubbub.gateway.bounds import check_head
from hubbub.gateway.call import Call, Gateway, Plan, read_body, read_query, too_large
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.connections import Runner
from hubbub.gateway.doors import Doors
from hubbub.gateway.errors import AfterAcceptance, body_of, error_type, headers_of
from hubbub.gateway.keyring import Caller
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from hubbub.gateway.metering import Meter, Seats
from hubbub.gateway.openapi import document
from hubbub.gateway.page import PageFiles
from hubbub.gateway.routes.table import ROUTES, Route
from hubbub.gateway.sse import Streams
from hubbub.gateway.wire.errors import ErrorBody, ErrorDetail
from hubbub.ports import Clock, Corpora, FilesAndBatches, Store
from hubbub.runtime.chats import Chats
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.engine_room import EngineRoom
from hubbub.runtime.gauges import Gauges
from hubbub.runtime.hub import Hub, random_id
from hubbub.runtime.open_files import file_limit

log = logging.getLogger(__name__)

STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)
GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Where a request keeps who asks, for the headers of its answer."""
LINGER_S = 5.0
"""How long a refused body is still read, so that its sender gets to read the refusal."""
PARSER_SLACK = 2
"""The parser takes this much more than the bounds, so that what passes a bound is refused in words, not cut off."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What clients may do, and who they are."""

    limits: LimitsConfig = field(default_factory=LimitsConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
    doors: Doors = field(default_factory=Doors)
    clock: Clock = field(default_factory=SystemClock)


def create_app(
    hub: Hub,
    chats: Chats,
    store: Store,
    config: GatewayConfig,
    *,
    engines: EngineRoom,
    health: Callable[[], Mapping[str, Json]],
    metrics: Callable[[], str],
    rules: Rules | None = None,
    plan: Plan | None = None,
    desk: FilesAndBatches | None = None,
    page: PageFiles | None = None,
    press: Corpora | None = None,
    gauges: Gauges | None = None,
    spool: Path | None = None,
) -> web.Application:
    """The application. ``health`` tells under ``ready`` whether an engine is ready. Without ``rules``: those of a
    server on loopback, without keys. ``page``: other files than those of this package.

    Serve it with :func:`runner`: a client that leaves must cancel its handler.
    """
    rules = rules or Rules()
    streams = Streams(config.ping_seconds, rules.limits)
    gateway = Gateway(
        hub=hub,
        chats=chats,
        store=store,
        config=config,
        limits=rules.limits,
        doors=rules.doors,
        meter=Meter(hub, rules.clock, rules.quota),
        seats=Seats(rules.limits),
        streams=streams,
        engines=engines,
        health=health,
        metrics=metrics,
        openapi=msgspec.json.encode(document(ROUTES)),
        importer=Importer(store, rules.clock, random_id, hub.busy),
        exporter=Exporter(store),
        spool=spool,
        plan=plan,
        desk=desk,
        press=press,
        gauges=gauges,
    )
    app = web.Application(client_max_size=config.max_body_bytes, middlewares=[_errors, _guard])
    app[STREAMS], app[GATEWAY] = streams, gateway
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(gateway, route))
    (page or PageFiles()).add_to(app.router)
    app.on_response_prepare.append(_head)
    app.cleanup_ctx.append(_pings)
    return app


def runner(app: web.Application, *, shutdown_seconds: float = 5.0) -> web.AppRunner:
    """Runs the application so that a client's leaving reaches its handler at once, also while it waits.

    ``shutdown_seconds``: how long open streams may go on when the server stops.
    """
    limits = app[GATEWAY].limits
    return Runner(
        app,
        min(limits.max_connections, file_limit() // 2),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=shutdown_seconds,
        lingering_time=min(LINGER_S, limits.body_seconds),
        keepalive_timeout=limits.keep_alive_seconds,
        max_line_size=PARSER_SLACK * limits.max_url_bytes,
        max_field_size=PARSER_SLACK * limits.max_header_bytes,
        max_headers=PARSER_SLACK * limits.max_headers,
    )


async def _pings(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[STREAMS].keep_alive())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await app[GATEWAY].meter.close()


def _handler(gateway: Gateway, route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = request[CALLER] = gateway.doors.caller(request, route.scopes)
        if route.scopes:
            gateway.meter.count(caller)
            caller.check(*route.scopes)
        query = read_query(request, route.query)
        body = None if route.body is None else await read_body(request, route.body, gateway.config, gateway.limits)
        streamed = route.streams and (
            route.answer is None or getattr(body, "stream", False) or getattr(query, "stream", False)
        )
        with gateway.seats.take(caller.user) if streamed else nullcontext():
            said = await route.handler(Call(gateway, request, caller, body, query))
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
    except web.RequestPayloadError:
        said = request.headers.get("Content-Encoding", "")[:100]
        return _refusal(BadRequest(f"the body is not what its Content-Encoding, {said!r}, says; send it plain"))
    except ConnectionError:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path, extra={"action": "request_failed"})
        return _refusal(HubbubError("something went wrong here; the server's log has more"))


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is refused whatever it asks for: too much of a head, a wrong host, a page of another site."""
    gateway = request.app[GATEWAY]
    check_head(request, gateway.limits)
    gateway.doors.check(request)
    return gateway.doors.preflight(request) or await handler(request)


async def _head(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer, streams too, has an id that the official client reports, and tells what is left of a quota."""
    gateway = request.app[GATEWAY]
    response.headers["x-request-id"] = f"req_{secrets.token_hex(12)}"
    response.headers["X-Content-Type-Options"] = "nosniff"  # files of users come from where the page does
    response.headers.update(gateway.doors.cors(request))
    caller = request.get(CALLER)
    if caller is not None:
        response.headers.update(gateway.meter.headers(caller))


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
        # A path of its own may also look like one with an id in it: /v1/responses/input_tokens.
        own = {route.method for route in ROUTES if route.path == request.path}
        allowed = ", ".join(sorted(own or error.allowed_methods))
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
