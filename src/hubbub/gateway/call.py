"""What a handler is given: the request read and checked, and the server's parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, BodyTooLarge, NotFound, TooSlow
from hubbub.core.types import Json, UserId
from hubbub.exchange.exporting import Exporter
from hubbub.exchange.importing import Importer
from hubbub.gateway.bounds import check_body
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.doors import Doors
from hubbub.gateway.keyring import Caller
from hubbub.gateway.limits import LimitsConfig
from hubbub.gateway.metering import Meter, Seats
from hubbub.gateway.sse import Streams
from hubbub.gateway.wire.base import In, convert, decode, refuse_nul
from hubbub.ports import Corpora, FilesAndBatches, Store
from hubbub.runtime.chats import Chats
from hubbub.runtime.engine_room import EngineRoom
from hubbub.runtime.gauges import Gauges
from hubbub.runtime.hub import Hub

T = TypeVar("T")
Body = TypeVar("Body")
Query = TypeVar("Query")

Plan = Callable[[Mapping[str, Json]], Awaitable[dict[str, Json]]]
"""Answers a plan request. Raises HubbubError."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of one server. ``health`` and ``metrics`` are asked anew for each request. Without ``plan``, it makes
    none; without ``desk``, it has no files and batches; without ``press``, no corpora; without ``gauges``, no room.
    ``spool``: where files wait that are being brought; None is the system's place for temporary files."""

    hub: Hub
    chats: Chats
    store: Store
    config: GatewayConfig
    limits: LimitsConfig
    doors: Doors
    meter: Meter
    seats: Seats
    streams: Streams
    engines: EngineRoom
    health: Callable[[], Mapping[str, Json]]
    metrics: Callable[[], str]
    openapi: bytes
    importer: Importer
    exporter: Exporter
    spool: Path | None = None
    plan: Plan | None = None
    desk: FilesAndBatches | None = None
    press: Corpora | None = None
    gauges: Gauges | None = None

    @property
    def corpora(self) -> Corpora:
        """Raises NotFound."""
        if self.press is None:
            raise NotFound("this server writes no corpora; `hubbub serve` does")
        return self.press

    @property
    def files(self) -> FilesAndBatches:
        """Raises NotFound."""
        if self.desk is None:
            raise NotFound("this server has no files and no batches; `hubbub serve` does")
        return self.desk


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One request. ``body`` and ``query`` are of the route's types; None where the route has none."""

    gateway: Gateway
    request: web.Request
    caller: Caller
    body: Body
    query: Query

    @property
    def user(self) -> UserId:
        return self.caller.user

    def arg(self, name: str) -> str:
        """A variable part of the path."""
        return self.request.match_info[name]


async def read_body(request: web.Request, kind: type[T], config: GatewayConfig, limits: LimitsConfig) -> T:
    """Raises BadRequest, naming the field, BodyTooLarge, and TooSlow."""
    limit = config.max_body_bytes
    if not request.can_read_body:
        return decode(b"{}", kind)
    if request.content_type != "application/json" and "Content-Type" in request.headers:
        raise BadRequest(f"Content-Type is {request.content_type}; send the body as application/json")
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit, request.content_length)
    try:
        async with asyncio.timeout(limits.body_seconds):
            raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large(limit) from None
    except TimeoutError:
        raise TooSlow(f"the body took longer than {limits.body_seconds:g} s; send it faster, or send less") from None
    body = decode(raw or b"{}", kind)
    check_body(body, raw, limits)
    if b"\\u0000" in raw:
        refuse_nul(msgspec.json.decode(raw))
    return body


def too_large(limit: int, size: int | None = None) -> BodyTooLarge:
    said = f"has {size} bytes, this server takes" if size is not None else "is larger than"
    return BodyTooLarge(f"the body {said} {limit} bytes; send less, or raise gateway.max_body_bytes")


def read_query(request: web.Request, kind: type[T]) -> T:
    """The query as ``kind``. ``metadata[k]=v`` are pairs, ``include[]`` may repeat. Raises BadRequest."""
    given: dict[str, Json] = {}
    for key, value in request.query.items():
        if key in ("include", "include[]"):
            given.setdefault("include", []).append(value)
        elif key.startswith("metadata[") and key.endswith("]"):
            pairs = given.setdefault("metadata", {})
            if isinstance(pairs, dict):  # else it is given as a whole, too, and refused below
                pairs[key[len("metadata[") : -1]] = value
        else:
            given[key] = value
    refuse_nul(given)
    return convert(given, kind, "", strict=False)


class NoQuery(In, frozen=True, kw_only=True):
    """A route without query parameters."""


AnyCall = Call[Any, Any]
