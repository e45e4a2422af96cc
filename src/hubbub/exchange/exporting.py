"""Chats out of the store, as JSON, Markdown or notes of the Nexus importer: one, or all of a user, in flat memory."""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from hubbub.core.errors import NotFound
from hubbub.core.types import Chat, ChatId, ItemType, Json, Node, Origin, Role, UserId
from hubbub.exchange import json_write, nexus_write
from hubbub.exchange.files import safe
from hubbub.ports import ChatQuery, Store

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PAGE = 100
NAME_BYTES = 117
"""Of a note's name without its ending, as the plugin has it."""
ALL_JSON = "conversations.json"


class Format(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"
    NEXUS = "nexus"


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of the file ``name``."""

    name: str
    data: bytes


class Exporter:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def one(self, user: UserId, chat: ChatId, form: Format) -> Piece:
        """Raises NotFound."""
        found = await self._store.chat(user, chat)
        if found is None:
            raise NotFound(f"there is no conversation {chat!r}", param="conversation")
        return await self._file(found, form, {})

    async def every(self, user: UserId, form: Format, chats: Iterable[ChatId] = ()) -> AsyncIterator[Piece]:
        """All chats, or ``chats`` of them. JSON is one file, piece by piece. Raises NotFound."""
        names: dict[str, int] = {}
        between = "[\n"
        async for chat in self._chats(user, tuple(chats)):
            piece = await self._file(chat, form, names)
            if form is Format.JSON:
                yield Piece(ALL_JSON, between.encode() + piece.data.rstrip())
                between = ",\n"
            else:
                yield piece
        if form is Format.JSON:
            yield Piece(ALL_JSON, b"[]\n" if between == "[\n" else b"\n]\n")

    async def archive(self, user: UserId, form: Format) -> AsyncIterator[bytes]:
        """A .zip of :meth:`every`, as it is made."""
        out = _Out()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            entry, name = None, ""
            async for piece in self.every(user, form):
                if entry is None or piece.name != name:
                    if entry is not None:
                        entry.close()
                    entry, name = archive.open(zipfile.ZipInfo(piece.name), "w", force_zip64=True), piece.name
                entry.write(piece.data)
                yield out.taken()
            if entry is not None:
                entry.close()
        yield out.taken()

    async def _chats(self, user: UserId, chats: tuple[ChatId, ...]) -> AsyncIterator[Chat]:
        for named in chats:
            found = await self._store.chat(user, named)
            if found is None:
                raise NotFound(f"there is no conversation {named!r}", param="conversation")
            yield found
        seen: set[ChatId] = set()  # a chat that is gone on in meanwhile comes again at the end
        after: ChatId | None = None
        more = not chats
        while more:
            page = await self._store.chats(user, ChatQuery(after=after, limit=PAGE, descending=False))
            for chat in page.rows:
                after = chat.id
                if chat.id not in seen:
                    seen.add(chat.id)
                    yield chat
            more = page.has_more

    async def _file(self, chat: Chat, form: Format, names: dict[str, int]) -> Piece:
        origin = await self._store.origin(chat.user, chat.id)
        path = await self._store.path(chat.user, chat.head)
        name = unique_name(_name(chat, origin, form), names)
        if form is Format.NEXUS:
            return Piece(name, nexus_write.note(chat, path, origin).encode("utf-8", "replace"))
        if form is Format.MARKDOWN:
            return Piece(name, _markdown(chat, path).encode("utf-8", "replace"))
        paths = [path]
        leaves = await self._store.branches(chat.user, chat.id)
        paths += [await self._store.path(chat.user, leaf) for leaf in leaves]
        return Piece(name, _json(json_write.document(chat, paths, origin)))


class _Out(io.RawIOBase):
    """What a .zip is written to: a stream nobody can go back in."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data)
        self._held += view
        return view.nbytes

    def taken(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data


def _json(document: Json) -> bytes:
    try:
        return msgspec.json.encode(document) + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can hold
        return json.dumps(document).encode() + b"\n"


def _markdown(chat: Chat, path: Iterable[Node]) -> str:
    """For people and tools that read Markdown; the branch that is on, tools and instructions too."""
    parts = [f"---\nhubbub_chat: {chat.id}\n---\n\n# {chat.title or 'Untitled'}\n"]
    for node in path:
        item = node.item
        text = item.text
        if item.type is ItemType.MESSAGE:
            who = (item.role or Role.USER).value.capitalize()
        else:
            who = f"Call of {item.name}" if item.type is ItemType.FUNCTION_CALL else "Output"
            fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
            text = f"{fence}\n{text}\n{fence}"
        when = datetime.fromtimestamp(node.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        parts.append(f"## {who} ({when})\n\n{text}\n")
    return "\n".join(parts)


def _name(chat: Chat, origin: Origin | None, form: Format) -> str:
    """Where the chat's file was, else ``PROVIDER/YEAR/MONTH/TITLE.md``, as the plugin has it."""
    if form is not Format.JSON and origin is not None and origin.name.lower().endswith(".md") and safe(origin.name):
        return origin.name.replace("\\", "/")
    provider, _ = nexus_write.named(chat, origin)
    when = datetime.fromtimestamp(chat.created_at, UTC)
    folder = re.sub(r"[^\w-]", "-", provider)
    ending = "json" if form is Format.JSON else "md"
    return f"{folder}/{when.year:04d}/{when.month:02d}/{file_title(chat.title)}.{ending}"


def file_title(title: str) -> str:
    """A title as every file system takes it."""
    plain = "".join(c for c in unicodedata.normalize("NFD", title) if not "\u0300" <= c <= "\u036f" and c.isprintable())
    plain = re.sub(r"\.{2,}", ".", re.sub(r'[<>:"/\\|?*#^\[\]]+', "", plain))
    plain = unicodedata.normalize("NFC", " ".join(re.sub(r"^[^\w]+", "", plain).split()))
    cut = plain.encode("utf-8", "replace")[:NAME_BYTES].decode("utf-8", "ignore").strip(" .")
    return cut or "Untitled"


def unique_name(name: str, names: dict[str, int]) -> str:
    """The name, or with a number; names that differ in case alone are the same to some file systems. ``names``: those
    given, with the last number that was tried for each: thousands of chats may have one title."""
    path, key, found = PurePosixPath(name), name.casefold(), name
    number = names.get(key, 0)
    while found.casefold() in names:
        number += 1
        found = str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
    names.setdefault(found.casefold(), 0)
    names[key] = number
    return found
