"""What a run has done, on disk: data and progress durable together, so that no kill loses or repeats a record.

A run's folder::

    run.sqlite3        progress: ranges of indices, counters, epochs, committed lengths of the shards
    run.sqlite3.lock   held by the one runner that writes
    shard-*.jsonl.zst  the records (see shards.py), with a done-marker each
    manifest.json      hashes, counts, provenance (see manifest.py)

State: ``done`` holds the indices that are settled: accepted, rejected or given up; ``failed`` those of them that were
given up. ``notes`` are what judging must know of them after a restart. Records stand in the order of acceptance. Every
``FRAME_RECORDS`` of them are one frame, whenever they were committed: so the bytes of the shards follow from the records
alone. What does not fill a frame yet lies in the table ``tail``; when a run ends or is stopped, a last, smaller frame (the
ending) makes the file whole, and goes again, by the committed length, if the run goes on.

A commit: append the frames, fsync; then one transaction with everything else. A kill before the transaction leaves
bytes beyond the committed length, which the next open cuts off; after it, nothing is missing.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.errors import Conflict, StorageError, StorageFull
from hubbub.corpus import run_tables as sql
from hubbub.corpus.ranges import IndexRanges
from hubbub.corpus.shards import (
    Done,
    ShardFile,
    done_path,
    frames_of,
    pack,
    shard_name,
    unpack,
    write_whole,
)

DATABASE = "run.sqlite3"
FRAME_RECORDS = 256
FRAME_BYTES = 4 << 20
"""Whichever comes first ends a frame: records, or bytes of their lines."""
SHARD_BYTES = 64 << 20
"""Of lines, before compression."""
SAMPLES_KEPT = 5
"""Newest rejected texts kept for each reason."""
NO_SPACE_BYTES = 1 << 20
"""An I/O error of SQLite with less room than this is the disk being full: it cannot always tell."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text that was rejected."""

    reason: str
    item: int
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit adds. ``lines``: accepted records as JSON, in order. ``counts``: added to the counters.

    ``failed``: indices of ``done`` that were given up. ``epochs``: epoch -> its weights. ``note``: what judging must
    know of this group after a restart. ``live``: how the run goes, replacing the last.
    """

    done: tuple[tuple[int, int], ...] = ()
    lines: Sequence[bytes] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: Sequence[int] = ()
    samples: Sequence[Sample] = ()
    epochs: Mapping[int, bytes] = field(default_factory=dict)
    note: bytes = b""
    live: str = ""


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
    """A run's folder, read. Any number may read beside the one that writes."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self.database = database

    @classmethod
    def open(cls, folder: Path) -> Reading:
        """Raises StorageError where there is no run."""
        path = folder / DATABASE
        if not path.is_file():
            raise StorageError(f"there is no corpus run in {folder}")
        database = _connect(path)
        reading = cls(folder, database)
        with _ours(path):
            database.execute("PRAGMA query_only = ON")
            check_format(reading.meta("format"), folder)
        return reading

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        self.database.close()

    def meta(self, name: str) -> Any:
        row = self.database.execute(sql.GET_META, (name,)).fetchone()
        return None if row is None else row[0]

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
        return [Shard(*row[:6], bool(row[6])) for row in self.database.execute(sql.ALL_SHARDS)]

    def frames(self, shard: int) -> list[tuple[int, int]]:
        """Length and records of each whole frame."""
        return list(self.database.execute(sql.ALL_FRAMES, (shard,)))

    def tail(self) -> list[bytes]:
        return [bytes(line) for (line,) in self.database.execute(sql.ALL_TAIL)]

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


class RunLog(Reading):
    """The one writer. Its methods block on the disk: call them from a thread that may, one at a time."""

    def __init__(self, folder: Path, database: sqlite3.Connection, lock: sqlite3.Connection, shard_bytes: int) -> None:
        super().__init__(folder, database)
        self._lock = lock
        self._shard_bytes = shard_bytes
        self._file: ShardFile | None = None
        self.done = self.ranges("done")
        self.failed = self.ranges("failed")
        self._tail: list[bytes] = self.tail()
        self._tail_at = self._first_tail()
        shards = self.shards()
        self._shard = shards[-1] if shards and not shards[-1].closed else Shard(len(shards))
        self._frames = int(database.execute(sql.COUNT_FRAMES, (self._shard.number,)).fetchone()[0])

    @classmethod
    def begin(cls, folder: Path, identity: Mapping[str, str], *, shard_bytes: int = SHARD_BYTES) -> RunLog:
        """Take the folder, new or of the same run, and cut off what was never committed.

        ``identity``: what makes it the same run. Raises Conflict naming what differs, or that another runner is at
        work; StorageError, StorageFull.
        """
        path = folder / DATABASE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise StorageError(f"cannot make the folder {folder}: {fault.strerror}") from fault
        fresh = not path.exists()
        if fresh and any(folder.glob("shard-*")):
            raise Conflict(f"{folder} has shards but no {DATABASE}: restore it, or name an empty folder")
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(contextlib.closing(_locked(path)))
            with _ours(path):
                database = stack.enter_context(contextlib.closing(_connect(path)))
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                _prepare(database, folder, identity, shard_bytes)
                log = cls(folder, database, lock, int(_meta(database, "shard_bytes")))
            log._reopen()
            stack.pop_all()
            return log

    def commit(self, group: Group) -> None:
        """All of it, durably, or nothing. Raises StorageFull or StorageError; the log must then be closed."""
        lines = [*self._tail, *group.lines]
        shards, frames, used = self._write_frames(lines)
        for lo, hi in group.done:
            self.done.add(lo, hi)
        for index in group.failed:
            self.failed.add(index)
        with _ours(self.folder / DATABASE), self._transaction() as database:
            if group.done:
                self._save_ranges("done", self.done)
            if group.failed:
                self._save_ranges("failed", self.failed)
            database.executemany(sql.COUNT, group.counts.items())
            database.executemany(sql.ADD_EPOCH, group.epochs.items())
            if group.note:
                database.execute(sql.ADD_NOTE, (group.note,))
            if group.live:
                database.execute(sql.SET_META, ("live", group.live))
            self._save_samples(group.samples)
            database.executemany(sql.SAVE_SHARD, [shard.row() for shard in shards])
            database.executemany(sql.ADD_FRAME, frames)
            self._save_tail(lines, used)
        for shard in shards:
            if shard.closed:
                self._mark(shard)

    def set_meta(self, **values: str | int | float) -> None:
        with _ours(self.folder / DATABASE), self._transaction() as database:
            database.executemany(sql.SET_META, values.items())

    def end(self) -> None:
        """Make the last shard whole with what fills no frame yet. Raises StorageFull or StorageError."""
        shard = self._shard
        if self._tail and not shard.ending:
            file = self._open_file()
            frame = pack(self._tail)
            file.append(frame)
            shard.ending = len(frame)
            shard.records += len(self._tail)
        if not shard.size:
            return
        shard.sha256 = self._open_file().sha256
        with _ours(self.folder / DATABASE), self._transaction() as database:
            database.execute(sql.SAVE_SHARD, shard.row())
        self._mark(shard)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self.database.close()
        self._lock.close()

    # Frames --------------------------------------------------------------------------------------------------------

    def _write_frames(self, lines: Sequence[bytes]) -> tuple[list[Shard], list[tuple[int, int, int, int]], int]:
        """Append all whole frames, one fsync a shard. The shards' and frames' new rows, and how many lines are in."""
        shards, frames = [self._shard], []
        pending, used = bytearray(), 0
        while end := _frame_end(lines, used):
            part = lines[used:end]
            frame = pack(part)
            shard = shards[-1]
            pending += frame
            frames.append((shard.number, self._frames, len(frame), len(part)))
            self._frames += 1
            shard.length += len(frame)
            shard.raw += sum(map(len, part)) + len(part)
            shard.records += len(part)
            used = end
            if shard.raw >= self._shard_bytes:
                self._flush(pending)
                self._close_shard()
                shards.append(self._shard)
        if pending:
            self._flush(pending)
        return [shard for shard in shards if shard.length], frames, used

    def _flush(self, pending: bytearray) -> None:
        self._open_file().append(bytes(pending))
        pending.clear()

    def _close_shard(self) -> None:
        file, shard = self._open_file(), self._shard
        shard.sha256, shard.closed = file.sha256, True
        file.close()
        self._file, self._shard, self._frames = None, Shard(shard.number + 1), 0

    def _open_file(self) -> ShardFile:
        if self._file is None:
            # What _write_frames has counted in already is not on the disk yet: a new file begins at nothing.
            path = self.folder / self._shard.name
            self._file = ShardFile.open(path, 0)
        return self._file

    def _reopen(self) -> None:
        """Cut the open shard back to its whole frames; put back markers that a kill left out."""
        shard = self._shard
        path = self.folder / shard.name
        if shard.ending or shard.sha256:
            shard.records -= len(self._tail) if shard.ending else 0
            shard.ending, shard.sha256 = 0, ""
            with _ours(self.folder / DATABASE), self._transaction() as database:
                database.execute(sql.SAVE_SHARD, shard.row())
        done_path(path).unlink(missing_ok=True)
        if shard.length or path.exists():
            self._file = ShardFile.open(path, shard.length)
        for closed in self.shards():
            if closed.closed:
                self._mark(closed)

    def _mark(self, shard: Shard) -> None:
        path = done_path(self.folder / shard.name)
        if not path.exists():
            done = Done(shard.name, shard.sha256, shard.size, shard.records)
            write_whole(path, msgspec.json.format(msgspec.json.encode(done)) + b"\n")

    # Rows ----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield self.database
            self.database.execute("COMMIT")
        except BaseException:
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            raise

    def _save_ranges(self, kind: str, ranges: IndexRanges) -> None:
        self.database.execute(sql.CLEAR_RANGES, (kind,))
        self.database.executemany(sql.ADD_RANGE, [(kind, lo, hi) for lo, hi in ranges])

    def _save_samples(self, samples: Sequence[Sample]) -> None:
        rows = [(sample.reason, sample.item, sample.text) for sample in samples]
        self.database.executemany(sql.ADD_SAMPLE, rows)
        for reason in {sample.reason for sample in samples}:
            self.database.execute(sql.TRIM_SAMPLES, (reason, reason, SAMPLES_KEPT))

    def _save_tail(self, lines: list[bytes], used: int) -> None:
        """``lines``: the tail and what came to it; the first ``used`` of them are in frames now."""
        known = len(self._tail)
        if used:
            self.database.execute(sql.CUT_TAIL, (self._tail_at + used,))
        first = max(known, used)
        rows = [(self._tail_at + first + n, line) for n, line in enumerate(lines[first:])]
        self.database.executemany(sql.ADD_TAIL, rows)
        self._tail_at += used
        self._tail = lines[used:]

    def _first_tail(self) -> int:
        first = self.database.execute("SELECT min(position) FROM tail").fetchone()[0]
        return 0 if first is None else int(first)


def _frame_end(lines: Sequence[bytes], start: int) -> int:
    """Where the frame that begins at ``start`` ends; 0 while it is not full."""
    size = 0
    for at in range(start, len(lines)):
        size += len(lines[at])
        if at + 1 - start == FRAME_RECORDS or size >= FRAME_BYTES:
            return at + 1
    return 0


def _prepare(database: sqlite3.Connection, folder: Path, identity: Mapping[str, str], shard_bytes: int) -> None:
    """Make the tables, or check that they are of this very run."""
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        database.executescript(f"BEGIN; {sql.TABLES} COMMIT;")
    if _meta(database, "identity") is None:
        rows = {
            "format": sql.FORMAT,
            "identity": msgspec.json.encode(dict(identity)).decode(),
            "shard_bytes": shard_bytes,
            "want": "run",
        }
        database.execute("BEGIN IMMEDIATE")
        database.executemany(sql.SET_META, rows.items())
        database.execute("COMMIT")
        return
    check_format(_meta(database, "format"), folder)
    known = msgspec.json.decode(_meta(database, "identity"), type=dict[str, str])
    if known == identity:
        return
    names = [name for name in {**known, **identity} if known.get(name) != identity.get(name)]
    told = "; ".join(f"{n} was {_short(known.get(n))}, now {_short(identity.get(n))}" for n in names[:5])
    more = f"; and {len(names) - 5} more" if len(names) > 5 else ""
    raise Conflict(f"{folder} holds another run: {told}{more}. Name another --out, or go back to the old values")


def check_format(found: object, folder: Path) -> None:
    """Raises Conflict."""
    if found != sql.FORMAT:
        raise Conflict(f"{folder} was written in format {found} of corpus runs; this version reads format {sql.FORMAT}")


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return repr(value) if len(value) <= 60 else repr(value[:57] + "...")


def _meta(database: sqlite3.Connection, name: str) -> Any:
    row = database.execute(sql.GET_META, (name,)).fetchone()
    return None if row is None else row[0]


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)


def _locked(path: Path) -> sqlite3.Connection:
    """Hold the run until the connection is closed or the process ends. SQLite's own lock, on an empty database beside
    the run's: it works on every system, and a kill lets go of it. Raises Conflict."""
    with _ours(path):
        holder = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            holder.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as fault:
            holder.close()
            if _code(fault) == sqlite3.SQLITE_BUSY:
                raise Conflict(f"another runner is at work in {path.parent}: wait for it, or stop it first") from fault
            raise
    return holder


def is_running(folder: Path) -> bool:
    """Whether a runner holds the folder now."""
    path = folder / DATABASE
    if not Path(f"{path}.lock").exists():
        return False
    try:
        _locked(path).close()
    except Conflict:
        return True
    return False


@contextlib.contextmanager
def _ours(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as fault:
        code = _code(fault)
        no_room = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _room(path) < NO_SPACE_BYTES
        if code == sqlite3.SQLITE_FULL or no_room:
            raise StorageFull(
                f"the disk of {path.parent} is full: what was accepted is safe; make room and run the same command again"
            ) from fault
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageError(f"{path} is damaged ({fault}): restore it from a backup") from fault
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise StorageError(f"cannot write {path} or beside it: check its owner and mode ({fault})") from fault
        raise StorageError(f"{path}: {fault}") from fault


def _code(fault: Exception) -> int:
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def _room(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 1 << 62
