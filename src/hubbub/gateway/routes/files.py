"""Files: what batches read and write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from pathlib import PurePosixPath
from typing import Annotated, TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from msgspec import UNSET, Meta

from hubbub.core.batches import FileId, FilePurpose, StoredFile, Upload
from hubbub.core.errors import BadRequest, TooSlow
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.wire.base import In, Listed, Order, convert, listed, refuse_nul
from hubbub.gateway.wire.files import FileDeleted, FileForm, FileOut
from hubbub.ports import Draft, FileQuery

T = TypeVar("T")

CHUNK_BYTES = 1 << 18
FIELD_BYTES = 1024
"""Of a part that is not the file."""
NAME_CHARACTERS = 255


class ListQuery(In, frozen=True, kw_only=True):
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    order: Order = "desc"
    purpose: str = ""


async def create(call: Call[None, NoQuery]) -> FileOut:
    """The file is written as it comes, whatever the order of the parts."""
    async with AsyncExitStack() as stack:
        name, draft, fields = await _received(call, stack)
        if draft is None:
            raise BadRequest("missing required parameter 'file'", param="file")
        form = convert({**fields, "file": ""}, FileForm, "", strict=False)
        if (form.anchor is UNSET) != (form.seconds is UNSET):
            raise BadRequest("expires_after needs both anchor and seconds", param="expires_after")
        upload = Upload(name, FilePurpose(form.purpose), None if form.seconds is UNSET else form.seconds)
        return file_out(await call.gateway.files.keep(call.user, draft, upload))


async def index(call: Call[None, ListQuery]) -> Listed[FileOut]:
    query = call.query
    after = None if query.after is None else FileId(query.after)
    asked = FileQuery(query.purpose, after, query.limit, descending=query.order == "desc")
    rows = await call.gateway.files.files(call.user, asked)
    return listed([file_out(file) for file in rows.rows], [file.id for file in rows.rows], rows.has_more)


async def retrieve(call: Call[None, NoQuery]) -> FileOut:
    return file_out(await call.gateway.files.file(call.user, file_id(call)))


async def delete(call: Call[None, NoQuery]) -> FileDeleted:
    await call.gateway.files.delete(call.user, file_id(call))
    return FileDeleted(id=file_id(call))


async def content(call: Call[None, NoQuery]) -> web.StreamResponse:
    path = await call.gateway.files.content(call.user, file_id(call))
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


def file_id(call: AnyCall) -> FileId:
    return FileId(call.arg("file_id"))


def file_out(file: StoredFile) -> FileOut:
    upload = file.upload
    return FileOut(
        id=file.id,
        bytes=file.size,
        created_at=int(file.created_at),
        filename=upload.filename,
        purpose=upload.purpose.value,
        expires_at=None if file.expires_at is None else int(file.expires_at),
    )


# Reading the form ------------------------------------------------------------------------------------------------


async def _received(call: AnyCall, stack: AsyncExitStack) -> tuple[str, Draft | None, Mapping[str, str]]:
    """The file's name, what was written of it, and the other fields. Raises BadRequest, BodyTooLarge, TooSlow."""
    request = call.request
    if request.content_type != "multipart/form-data":
        raise BadRequest("send the file as multipart/form-data, with the parts file and purpose")
    name, draft, fields = "", None, dict[str, str]()
    try:
        form = await request.multipart()
        while (found := await _soon(call, form.next())) is not None:
            field, part = _named(found)
            if field in fields or (field == "file" and draft is not None):
                raise BadRequest(f"{field} is given twice", param=field)
            if field == "file":
                name = _name(part)
                draft = await stack.enter_async_context(call.gateway.files.draft(call.user))
                while data := await _soon(call, part.read_chunk(CHUNK_BYTES)):
                    await draft.write(data)
            else:
                fields[field] = await _text(call, part, field)
    except (ValueError, AssertionError, RuntimeError, LookupError, BadHttpMessage) as wrong:
        raise BadRequest(f"the body is no good multipart/form-data: {wrong}") from None
    refuse_nul(fields)
    return name, draft, fields


def _named(part: BodyPartReader | MultipartReader) -> tuple[str, BodyPartReader]:
    """A part with its name. Raises BadRequest."""
    if isinstance(part, MultipartReader) or not part.name:
        raise BadRequest("a part of the body has no name; send the parts file and purpose")
    if part.name not in FileForm.__struct_encode_fields__:
        raise BadRequest(f"unknown parameter {part.name[:80]!r}; leave it out", param=part.name[:80])
    return part.name, part


def _name(part: BodyPartReader) -> str:
    """What the client calls the file, without its folders. Raises BadRequest."""
    name = PurePosixPath((part.filename or "upload.jsonl").replace("\\", "/")).name
    refuse_nul({"filename": name})
    if len(name) > NAME_CHARACTERS:
        raise BadRequest(
            f"the file's name has {len(name)} characters; at most {NAME_CHARACTERS} are kept", param="file"
        )
    return name


async def _text(call: AnyCall, part: BodyPartReader, field: str) -> str:
    """A part that is no file. Raises BadRequest."""
    data = bytearray()
    while more := await _soon(call, part.read_chunk(FIELD_BYTES)):
        data += more
        if len(data) > FIELD_BYTES:
            raise BadRequest(f"{field} has more than {FIELD_BYTES} bytes", param=field)
    return data.decode()


async def _soon(call: AnyCall, reading: Awaitable[T]) -> T:
    """The next piece of the body. Raises TooSlow."""
    seconds = call.gateway.limits.body_seconds
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise TooSlow(f"no more of the file came for {seconds:g} s; send it faster") from None
