"""Chats in and out as files."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import IO, Annotated, Literal
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta

from hubbub.core.errors import BadRequest, BodyTooLarge, TooSlow
from hubbub.exchange.exporting import Format
from hubbub.exchange.importing import Report
from hubbub.gateway.call import AnyCall, Call
from hubbub.gateway.routes.conversations import chat_id
from hubbub.gateway.wire.base import In
from hubbub.gateway.wire.exchange import ImportOut, ImportProblem

CHUNK_BYTES = 1 << 18
MEDIA = {Format.JSON: "application/json", Format.MARKDOWN: "text/markdown", Format.NEXUS: "text/markdown"}


class ImportQuery(In, frozen=True, kw_only=True):
    """``name``: what the file is called, with its folder in the vault; a note goes back there."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)] = "import"


class ExportQuery(In, frozen=True, kw_only=True):
    format: Literal["json", "markdown", "nexus"] = "json"


async def bring(call: Call[None, ImportQuery]) -> ImportOut:
    """The body is the file. It waits on the disk until all of it has come: an archive is read from its end."""
    if call.request.content_type.startswith("multipart/"):
        raise BadRequest("send the file itself as the body, as application/octet-stream; its name in ?name=")
    report = Report()
    with tempfile.TemporaryFile(dir=call.gateway.spool) as spool:
        await _received(call, spool)
        spool.seek(0)
        await call.gateway.importer.bring(call.user, call.query.name, spool, report)
    for chat in report.chats:
        call.gateway.hub.feeds.changed(call.user, chat)
    return report_out(report)


async def one(call: Call[None, ExportQuery]) -> web.Response:
    form = Format(call.query.format)
    piece = await call.gateway.exporter.one(call.user, chat_id(call), form)
    return web.Response(body=piece.data, headers=_headers(MEDIA[form], PurePosixPath(piece.name).name))


async def every(call: Call[None, ExportQuery]) -> web.StreamResponse:
    form = Format(call.query.format)
    with call.gateway.seats.take(call.user):
        data = call.gateway.exporter.archive(call.user, form)
        return await _sent(call, data, f"hubbub-chats-{form.value}.zip")


async def _sent(call: AnyCall, data: AsyncIterator[bytes], name: str) -> web.StreamResponse:
    response = web.StreamResponse(headers=_headers("application/zip", name))
    await response.prepare(call.request)
    try:
        async for piece in data:
            async with asyncio.timeout(call.gateway.limits.stalled_seconds):
                await response.write(piece)
    except TimeoutError:
        raise ConnectionError("the reader stopped reading") from None
    await response.write_eof()
    return response


async def _received(call: AnyCall, spool: IO[bytes]) -> None:
    """Raises BodyTooLarge, TooSlow."""
    request, limits = call.request, call.gateway.limits
    size, seconds = request.content_length or 0, limits.body_seconds
    while True:
        if size > limits.max_import_bytes:
            raise BodyTooLarge(
                f"the file is larger than {limits.max_import_bytes} bytes; bring it on the server with "
                "`hubbub chats import`, or raise limits.max_import_bytes"
            )
        try:
            async with asyncio.timeout(seconds):
                data = await request.content.read(CHUNK_BYTES)
        except TimeoutError:
            raise TooSlow(f"no more of the file came for {seconds:g} s; send it faster") from None
        if not data:
            return
        await asyncio.to_thread(spool.write, data)
        size = max(size, spool.tell())


def _headers(media: str, name: str) -> dict[str, str]:
    return {
        "Content-Type": media if media == "application/zip" else f"{media}; charset=utf-8",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }


def report_out(report: Report) -> ImportOut:
    return ImportOut(
        created=report.created,
        updated=report.updated,
        unchanged=report.unchanged,
        items=report.items,
        left_out=dict(report.left_out),
        passed_over=dict(report.passed_over),
        problems=[ImportProblem(file=p.file, chat=p.chat, message=p.message) for p in report.problems],
        problem_count=report.problem_count,
        chats=[str(chat) for chat in report.chats],
    )
