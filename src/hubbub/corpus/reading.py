"""A run's folder, read: by the one that writes it, and by any number beside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from hubbub.core.errors import StorageError
from hubbub.corpus import run_tables as sql
from hubbub.corpus.ranges import IndexRanges
from hubbub.corpus.run_database import DATABASE, check_format, connect, damaged, get_meta, our_errors
from hubbub.corpus.shards import frames_of, shard_name, unpack


class NotBegun(StorageError):
    """There is no run in a folder, or not yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text that was rejected."""

    reason: str
    item: int
    text: str


@dataclass(slots=True)
class Shard:
    """A row of ``shards``."""

    number: int
    length: int = 0
    ending: int = 0
    raw: int = 0
    records: int = 0
    sha256: str = ""
    closed: bool = False

    @property
    def name(self) -> str:
        return shard_name(self.number)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.length + self.ending

    def row(self) -> tuple[Any, ...]:
        return (self.number, self.length, self.ending, self.raw, self.records, self.sha256, self.closed)


class Reading:
    """A run's folder, read. Any number may read beside the one that writes. A damaged database that shows only on the
    way is told in our words when the reading ends: StorageError."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self.database = database

    @classmethod
    def open(cls, folder: Path) -> Reading:
        """Raises NotBegun, StorageError."""
        path = folder / DATABASE
        try:
            there = path.is_file()
        except OSError as fault:
            raise StorageError(f"{folder} cannot be read: {fault.strerror}") from fault
        if not there:
            raise NotBegun(f"there is no corpus run in {folder}")
        with contextlib.ExitStack() as stack, our_errors(path):
            database = stack.enter_context(contextlib.closing(connect(path)))
            database.execute("PRAGMA query_only = ON")
            known = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
            found = get_meta(database, "format") if known else None
            if found is None:
                raise NotBegun(f"the run in {folder} has not begun yet")
            check_format(found, folder)
            stack.pop_all()
        return cls(folder, database)

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()
        if isinstance(fault, sqlite3.Error):
            with our_errors(self.folder / DATABASE):
                raise fault
        if isinstance(fault, msgspec.DecodeError):
            raise damaged(self.folder / DATABASE, fault) from fault

    def meta(self, name: str) -> Any:
        return get_meta(self.database, name)

    def notes(self) -> Iterator[bytes]:
        """What judging must know, in the order of the commits."""
        for (note,) in self.database.execute(sql.ALL_NOTES):
            yield bytes(note)

    def ranges(self, kind: str) -> IndexRanges:
        return IndexRanges(self.database.execute(sql.ALL_RANGES, (kind,)))

    def counters(self) -> dict[str, int]:
        return dict(self.database.execute(sql.ALL_COUNTERS))

    def epochs(self) -> dict[int, bytes]:
        return {boundary: bytes(weights) for boundary, weights in self.database.execute(sql.ALL_EPOCHS)}

    def samples(self) -> list[Sample]:
        return [Sample(*row) for row in self.database.execute(sql.ALL_SAMPLES)]

    def shards(self) -> list[Shard]:
        rows = self.database.execute(sql.ALL_SHARDS)
        return [
            Shard(number, length, ending, raw, records, digest, bool(closed))
            for number, length, ending, raw, records, digest, closed in rows
        ]

    def frames(self, shard: int) -> list[tuple[int, int]]:
        """Length and records of each whole frame."""
        return list(self.database.execute(sql.ALL_FRAMES, (shard,)))

    def tail(self) -> list[bytes]:
        return [bytes(line) for (line,) in self.database.execute(sql.ALL_TAIL)]

    def page(self, start: int, limit: int) -> list[bytes]:
        """At most ``limit`` accepted records from the ``start``-th on (from 0), as of now. Raises StorageError for a
        shard that is cut short or damaged."""
        self.database.execute("BEGIN")
        try:
            plan = [(shard.name, self.frames(shard.number)) for shard in self.shards()]
            tail = self.tail()
        finally:
            self.database.execute("COMMIT")
        found: list[bytes] = []
        position = 0
        for name, frames in plan:
            offset = 0
            for length, records in frames:
                if position + records > start and len(found) < limit:
                    found += self._frame(name, offset, length)[max(0, start - position) :]
                position += records
                offset += length
        return (found + tail[max(0, start - position) :])[:limit]

    def _frame(self, name: str, offset: int, length: int) -> list[bytes]:
        with (self.folder / name).open("rb") as file:
            file.seek(offset)
            return unpack(file.read(length))

    def lines(self) -> Iterator[bytes]:
        """All accepted records, in order, as of now. Raises StorageError for a shard that is cut short or damaged."""
        self.database.execute("BEGIN")  # one view of shards and tail, whatever is committed meanwhile
        try:
            plan = [(shard, [length for length, _ in self.frames(shard.number)]) for shard in self.shards()]
            tail = self.tail()
        finally:
            self.database.execute("COMMIT")
        for shard, lengths in plan:
            path = self.folder / shard.name
            for number, frame in enumerate(frames_of(path, lengths)):
                try:
                    yield from unpack(frame)
                except StorageError as fault:
                    raise StorageError(f"{path}, frame {number}: {fault.message}") from fault
        yield from tail
