"""Where exported chats go: a folder, or stdout."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from enum import Enum, auto
from pathlib import Path
from typing import IO, Self

from hubbub.core.errors import StorageError
from hubbub.exchange.files import safe

_WHOSE = re.compile(rb"^(?:hubbub_chat|conversation_id): *(\S+)", re.MULTILINE)
_OUR_JSON = re.compile(rb'"hubbub": ?\{"source"')
HEAD_BYTES, TAIL_BYTES = 4096, 1 << 20
"""Where a note says whose it is, and where a JSON file of ours has our words."""


class Found(Enum):
    """What is in a file's place already."""

    NOTHING = auto()
    SAME = auto()
    OURS = auto()
    ANOTHERS = auto()


class Target(ABC):
    """Takes files piece by piece; a name that differs from the last begins a new one."""

    def __init__(self) -> None:
        self.written = 0
        self.same = 0
        self._name = ""
        self._file: IO[bytes] | None = None

    def write(self, name: str, data: bytes) -> None:
        """Raises StorageError."""
        if self._file is None or name != self._name:
            self._end()
            self._name, self._file = name, self._begun(name)
        self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._end()

    @abstractmethod
    def _begun(self, name: str) -> IO[bytes]: ...

    @abstractmethod
    def _end(self) -> None:
        """The file that was begun is whole."""


class Folder(Target):
    """Nothing is half-written, nothing outside is touched, and what is another chat's is left alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _begun(self, name: str) -> IO[bytes]:
        return tempfile.TemporaryFile()

    def _end(self) -> None:
        if self._file is None:
            return
        if not safe(self._name):
            raise StorageError(f"{self._name!r} leads out of {self._folder}: it was not written")
        path = self._folder / self._name
        try:
            with self._file as file:
                self._keep(path, file)
        except OSError as fault:
            raise StorageError(f"{fault.filename or path} cannot be written: {fault.strerror}") from None
        self._file = None

    def _keep(self, path: Path, file: IO[bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise StorageError(f"{path.parent} leads out of {self._folder}: nothing was written there")
        place, number = path, 0
        while (found := _found(place, file)) is Found.ANOTHERS:
            number += 1
            place = path.with_name(f"{path.stem} ({number}){path.suffix}")
        if found is Found.SAME:
            self.same += 1
            return
        beside = place.with_name(f".{place.stem[:40]}.new")
        file.seek(0)
        with beside.open("wb") as out:
            shutil.copyfileobj(file, out)
        beside.replace(place)
        self.written += 1


def _found(place: Path, file: IO[bytes]) -> Found:
    """What is where ``file`` would go."""
    if place.is_symlink():
        return Found.ANOTHERS
    if not place.exists():
        return Found.NOTHING
    file.seek(0)
    with place.open("rb") as there:
        if place.suffix == ".json":
            there.seek(max(0, place.stat().st_size - TAIL_BYTES))
            return Found.OURS if _OUR_JSON.search(there.read()) else Found.ANOTHERS
        old, new = there.read(), file.read()
    if old == new:
        return Found.SAME
    whose = _WHOSE.findall(old[:HEAD_BYTES])
    ours = (old and new.startswith(old)) or set(whose) & set(_WHOSE.findall(new[:HEAD_BYTES]))
    return Found.OURS if ours else Found.ANOTHERS


class Stream(Target):
    """One JSON file as it is; notes as a .zip."""

    def __init__(self, out: IO[bytes], form: str) -> None:
        super().__init__()
        self._out = out
        self._archive = None if form == "json" else zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)

    def _begun(self, name: str) -> IO[bytes]:
        self.written += 1
        return self._out if self._archive is None else self._archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)

    def _end(self) -> None:
        if self._file is not None and self._file is not self._out:
            self._file.close()
        self._file = None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if self._archive is not None and kind is None:
            self._archive.close()
        self._out.flush()
