"""Connections of the HTTP server: not too many of them, and what cannot even be read as a request is refused in
OpenAI's shape, too.

aiohttp answers such bytes with plain text that quotes them, and logs them with a traceback. They may well hold a key
(one with a stray control character, say): here they are neither quoted nor logged.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import http_exceptions, web
from aiohttp.web_protocol import RequestHandler

from hubbub.core.errors import BadRequest, HeadTooLarge, HubbubError, Overloaded
from hubbub.gateway.errors import body_of, headers_of

log = logging.getLogger(__name__)

FULL_RETRY_S = 5.0


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp for bytes that are no request, and for what no handler caught. ``message`` quotes bytes."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        error: HubbubError
        if isinstance(exc, http_exceptions.LineTooLong):
            error = HeadTooLarge("the address or a header field is far longer than this server takes")
        elif status < 500:
            error = BadRequest(f"this is no HTTP request that can be read ({type(exc).__name__})")
        else:
            error = HubbubError("something went wrong here; the server's log has more")
        if status >= 500:
            log.error("a request failed outside its handler", exc_info=exc, extra={"action": "request_failed"})
        else:
            said = "what %s sent is no request: %s"
            log.info(said, request.remote, type(exc).__name__, extra={"action": "request_unreadable"})
        response = web.Response(
            status=error.http_status,
            body=msgspec.json.encode(body_of(error)),
            headers=headers_of(error),
            content_type="application/json",
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Called by aiohttp, for one, when it cannot read the rest of a body whose sender has had its refusal."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.info("a body cannot be decoded", extra={"action": "request_unreadable"})
        else:
            super().log_exception(*args, **kw)


class Connections(web.Server):
    """Makes a :class:`Connection` for each client. One beyond ``most`` is told so before it has asked, and closed."""

    def __init__(self, handler: Any, *, most: int, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._most = most

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._most:
            transport.write(_full(self._most))
            transport.close()


def _full(most: int) -> bytes:
    error = Overloaded(f"all {most} connections of this server are open", retry_after=FULL_RETRY_S)
    body = msgspec.json.encode(body_of(error))
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in (fields | headers_of(error)).items()]
    status = HTTPStatus(error.http_status)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{''.join(lines)}\r\n".encode() + body


class Runner(web.AppRunner):
    """Serves an application with at most ``most`` :class:`Connections`."""

    __slots__ = ("_most",)

    def __init__(self, app: web.Application, most: int, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._most = most

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        settings: dict[str, Any] = made._kwargs
        return Connections(
            made.request_handler,
            most=self._most,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **settings,
        )
