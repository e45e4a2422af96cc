"""Chats to and from a running server, over its interface."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from hubbub.cli.chats_view import progress
from hubbub.cli.engine_server import RunningServer, refusal_words
from hubbub.core.errors import EngineUnavailable, HubbubError

if TYPE_CHECKING:
    from hubbub.cli.chats_folder import Target

CHUNK_BYTES = 1 << 18
SILENCE_S = 3600.0
"""A server that reads a large export says nothing for a while."""


def upload(server: RunningServer, path: Path) -> dict[str, Any]:
    """The server's report of a file, or of the notes and exports below a folder."""
    if not path.is_dir():
        with path.open("rb") as source:
            return _sent(server, source, path.name)
    with tempfile.TemporaryFile() as packed:
        _pack(path, packed)
        packed.seek(0)
        return _sent(server, packed, f"{path.name}.zip")


def download(server: RunningServer, form: str, chats: tuple[str, ...], target: Target) -> None:
    """Every chat, or those named, into ``target``. The way is an archive, so that names and folders come along."""
    for chat in chats:
        with _asked(server, f"/v1/chats/{quote(chat, safe='')}/export?format={form}") as answer:
            target.write(answer.headers.get_filename() or f"{chat}.{form}", answer.read())
    if chats:
        return
    with tempfile.TemporaryFile() as packed:
        with _asked(server, f"/v1/chats/export?format={form}") as answer:
            while data := answer.read(CHUNK_BYTES):
                packed.write(data)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as opened:
                    while data := opened.read(CHUNK_BYTES):
                        target.write(entry.filename, data)


class _Told:
    """A file that tells how much of it was read."""

    def __init__(self, source: IO[bytes], tell: Callable[[int], None]) -> None:
        self._source = source
        self._tell = tell

    def read(self, count: int = CHUNK_BYTES) -> bytes:
        data = self._source.read(count)
        self._tell(self._source.tell())
        return data


def _sent(server: RunningServer, source: IO[bytes], name: str) -> dict[str, Any]:
    size = os.fstat(source.fileno()).st_size
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    with progress(name, size) as tell:
        body = _Told(source, lambda done: tell(done, "the server reads it" if done == size else "on its way"))
        with _asked(server, f"/v1/chats/import?name={quote(name, safe='')}", body, headers) as answer:
            report: dict[str, Any] = json.load(answer)
    return report


def _asked(server: RunningServer, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """Raises HubbubError with the server's words, EngineUnavailable where nobody answers."""
    request = urllib.request.Request(  # noqa: S310 - checked in RunningServer.find
        server.url + path, data=body, headers={**server.headers, **(headers or {})}
    )
    try:
        return urllib.request.urlopen(request, timeout=SILENCE_S)  # noqa: S310
    except urllib.error.HTTPError as refusal:
        raise HubbubError(f"{server.url} says: {refusal_words(refusal)}") from None
    except (OSError, http.client.HTTPException) as fault:
        reason = getattr(fault, "reason", fault)
        raise EngineUnavailable(f"no Hubbub answers at {server.url} ({reason}); start it with `hubbub serve`") from None


def _pack(folder: Path, packed: IO[bytes]) -> None:
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts)
            if path.suffix.lower() in (".md", ".json") and path.is_file() and not path.is_symlink() and not hidden:
                archive.write(path, name.as_posix())
