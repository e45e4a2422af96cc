"""Files as they are brought: what they are is seen by what is in them. Nothing of an archive is ever written out.

An archive's entries are unpacked as they are read, into flat memory; what is too large, packed too densely to be text,
encrypted, or named to lead elsewhere is said and passed over.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from hubbub.core.types import Json
from hubbub.exchange import chatgpt, nexus
from hubbub.exchange.json_items import BOM, Element, elements
from hubbub.exchange.model import Found, Problem

MIB = 1024 * 1024
_CONVERSATIONS = re.compile(r"conversations(-\d+)?\.json", re.IGNORECASE)
"""One file, or from 2026 on several numbered ones."""
_HALVES = re.compile("[\ud800-\udfff]")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What reading a damaged, encrypted or unusual archive raises."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """``chat_bytes``: of one chat or note. ``unpacked_bytes``: of one archive. ``ratio``: by how much text may be
    packed, from ``ratio_bytes`` on: JSON and prose come to some 20 at most."""

    chat_bytes: int = 128 * MIB
    unpacked_bytes: int = 32 * 1024 * MIB
    entries: int = 500_000
    ratio: int = 200
    ratio_bytes: int = 64 * MIB


@dataclass(slots=True)
class Reading:
    """One file that is brought. ``passed_over`` counts what an archive holds beside chats, by the ends of names."""

    name: str
    bounds: Bounds = field(default_factory=Bounds)
    passed_over: Counter[str] = field(default_factory=Counter)
    _unpacked: int = 0

    def found(self, source: IO[bytes]) -> Iterator[Found]:
        """Everything in the file, one after the other; nothing is raised for what is wrong with it."""
        start = source.read(64)
        source.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from self._archive(source)
        elif start.removeprefix(BOM).lstrip()[:1] in (b"[", b"{"):
            yield from self._json(self.name, source)
        elif not start:
            yield self._problem(self.name, "the file is empty")
        else:
            yield from self._note(self.name, source, alone=True)

    def folder(self, root: Path) -> Iterator[Found]:
        """Every note and export below ``root``. What is hidden (.obsidian, .trash) and links are passed over."""
        some = False
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            chats = bool(_CONVERSATIONS.fullmatch(path.name)) or path.suffix.lower() == ".md"
            if any(part.startswith(".") for part in name.parts) or path.is_symlink() or not path.is_file():
                continue
            if not chats:
                self.passed_over[path.suffix.lower() or "no ending"] += 1
                continue
            try:
                with path.open("rb") as source:
                    read = self._note if path.suffix.lower() == ".md" else self._json
                    for found in read(name.as_posix(), source):
                        some = True
                        yield found
            except OSError as wrong:
                some = True
                yield self._problem(name.as_posix(), f"it cannot be read: {wrong.strerror}")
        if not some:
            yield self._problem(self.name, "nothing to bring in this folder: no conversations.json, no Nexus notes")

    def _archive(self, source: IO[bytes]) -> Iterator[Found]:
        some = False
        try:
            with zipfile.ZipFile(source) as archive:
                listed = archive.infolist()
                if len(listed) > self.bounds.entries:
                    yield self._problem(self.name, f"the archive has more than {self.bounds.entries} files")
                    return
                for entry in listed:
                    for found in self._entry(archive, entry):
                        some = True
                        yield found
        except _BROKEN as wrong:
            some = True
            yield self._problem(self.name, f"the archive is damaged ({_words(wrong)}): is the download whole?")
        if not some:
            yield self._problem(self.name, "nothing to bring in this archive: no conversations.json, no Nexus notes")

    def _entry(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[Found]:
        name = entry.filename
        end = PurePosixPath(name).suffix.lower()
        conversations = bool(_CONVERSATIONS.fullmatch(PurePosixPath(name).name))
        if entry.is_dir():
            return
        if end == ".zip":
            yield self._problem(name, "an archive within the archive: unpack the outer one and bring this by itself")
        if not conversations and end != ".md":
            self.passed_over[end or "no ending"] += 1
            return
        wrong = self._suspect(entry)
        if wrong:
            yield self._problem(name, wrong)
            return
        try:
            with archive.open(entry) as opened:
                read = self._json(name, opened) if conversations else self._note(name, opened)
                for found in read:
                    self._check_unpacked(opened)
                    yield found
                self._unpacked += entry.file_size
        except _BROKEN as fault:
            yield self._problem(name, f"it cannot be unpacked: {_words(fault)}")

    def _suspect(self, entry: zipfile.ZipInfo) -> str:
        """Why an entry is not even begun."""
        if not safe(entry.filename):
            return "its name leads out of the archive"
        if entry.flag_bits & 1:
            return "it is encrypted: unpack the archive with its password, and bring what is in it"
        if entry.file_size > self.bounds.ratio_bytes and entry.file_size > self.bounds.ratio * entry.compress_size:
            return f"it is packed {entry.file_size // max(entry.compress_size, 1)} times: no chats are"
        if self._unpacked + entry.file_size > self.bounds.unpacked_bytes:
            return f"the archive unpacks to more than {self.bounds.unpacked_bytes} bytes"
        return ""

    def _check_unpacked(self, opened: IO[bytes]) -> None:
        """Raises ValueError when an entry is larger than it says."""
        if self._unpacked + opened.tell() > self.bounds.unpacked_bytes:
            raise ValueError(f"the archive unpacks to more than {self.bounds.unpacked_bytes} bytes")

    def _json(self, name: str, source: IO[bytes]) -> Iterator[Found]:
        some = False
        for element in elements(source.read, self.bounds.chat_bytes):
            some = True
            if element.raw is None:
                where = f"chat {element.number}, at byte {element.offset}" if element.number else ""
                yield self._problem(name, element.fault, where)
            else:
                yield from self._chat(name, element, element.raw)
        if not some:
            yield self._problem(name, "there are no chats in it")

    def _chat(self, name: str, element: Element, raw: bytes) -> Iterator[Found]:
        where = f"chat {element.number}, at byte {element.offset}"
        try:
            given = _decoded(raw)
            if isinstance(given, dict) and isinstance(given.get("title"), str) and given["title"].strip():
                where = f"{given['title'].strip()[:80]} ({where})"
            talk, remarks = chatgpt.conversation(given)
        except (ValueError, RecursionError) as wrong:
            yield self._problem(name, _words(wrong), where)
            return
        for remark in remarks:
            yield self._problem(name, remark, where)
        yield Found(_unicode(name), talk)

    def _note(self, name: str, source: IO[bytes], *, alone: bool = False) -> Iterator[Found]:
        data = source.read(self.bounds.chat_bytes + 1)
        if len(data) > self.bounds.chat_bytes:
            yield self._problem(name, f"the note has more than {self.bounds.chat_bytes} bytes")
            return
        try:
            talk = nexus.conversation(data, PurePosixPath(name.replace("\\", "/")).stem)
        except ValueError as wrong:
            yield self._problem(name, _words(wrong))
            return
        if talk is not None:
            yield Found(_unicode(name), talk)
        elif alone:
            yield self._problem(name, "neither an export of ChatGPT nor a note of the Nexus importer")
        else:
            self.passed_over["other notes"] += 1

    def _problem(self, file: str, message: str, chat: str = "") -> Found:
        return Found(_plain(file), problem=Problem(_plain(file), _plain(message), _plain(chat)))


def safe(name: str) -> bool:
    """Whether a path stays where it is put, on every system."""
    parts = re.split(r"[/\\]", name)
    return bool(name.strip()) and not any(
        part in ("..", "") or ":" in part or any(ord(c) < 32 for c in part) for part in parts
    )


def _decoded(raw: bytes) -> Json:
    """Raises ValueError. Half of a surrogate pair, which JavaScript can write and UTF-8 cannot hold, becomes U+FFFD."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(_HALVES.sub("\ufffd", json.dumps(json.loads(raw), ensure_ascii=False)))
        except UnicodeDecodeError as wrong:
            raise ValueError(f"it is not UTF-8: byte {wrong.start} of it is 0x{raw[wrong.start]:02x}") from None
        except json.JSONDecodeError as wrong:
            raise ValueError(f"it is not valid JSON: {wrong}") from None


def _words(wrong: BaseException) -> str:
    return "nested too deep" if isinstance(wrong, RecursionError) else str(wrong) or type(wrong).__name__


def _unicode(name: str) -> str:
    """A name as UTF-8 holds it: file systems have others."""
    return name.encode("utf-8", "replace").decode()


def _plain(text: str) -> str:
    """A text that every terminal and every JSON can show."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[:500])
    return shown.encode("utf-8", "replace").decode()
