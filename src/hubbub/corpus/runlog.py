"""What a run has done, on disk: data and progress durable together, so that no kill loses or repeats a record.

A run's folder::

    run.sqlite3        progress: ranges of indices, counters, epochs, committed lengths of the shards
    run.sqlite3.lock   held by the one runner that writes
    shard-*.jsonl.zst  the records (see shards.py), with a done-marker each
    manifest.json      hashes, counts, provenance (see manifest.py)

State: ``done`` holds the places that are settled: accepted, rejected or given up; ``failed`` the items that were given
up and have not come back. ``notes`` are what judging must know of them after a restart. Records stand in the order of
acceptance. Every ``FRAME_RECORDS`` of them are one frame, whenever they were committed: so the bytes of the shards
follow from the records alone. What does not fill a frame yet lies in the table ``tail``; when a run ends or is stopped,
a last, smaller frame (the ending) makes the file whole, and goes again, by the committed length, if the run goes on.

A commit: append the frames, fsync; then one transaction with everything else. A kill before the transaction leaves
bytes beyond the committed length, which the next open cuts off; after it, nothing is missing.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hubbub.core.errors import Conflict, StorageError
from hubbub.corpus import run_tables as sql
from hubbub.corpus.ranges import IndexRanges
from hubbub.corpus.reading import Reading, Sample, Shard
from hubbub.corpus.run_database import DATABASE, connect, get_meta, locked, our_errors, prepare
from hubbub.corpus.shards import Done, ShardFile, check_size, done_path, pack, storage_error, write_whole

FRAME_RECORDS = 256
FRAME_BYTES = 4 << 20
"""Whichever comes first ends a frame: records, or bytes of their lines."""
SHARD_BYTES = 64 << 20
"""Of lines, before compression."""
SAMPLES_KEPT = 5
"""Newest rejected texts kept for each reason."""


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit adds. ``lines``: accepted records as JSON, in order. ``counts``: added to the counters.

    ``done``: places. ``failed``: indices of items that were given up; ``salvaged``: of those that came back and were
    answered. ``epochs``: epoch -> its weights. ``note``: what judging must
    know of this group after a restart. ``live``: how the run goes, replacing the last.
    """

    done: tuple[tuple[int, int], ...] = ()
    lines: Sequence[bytes] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: Sequence[int] = ()
    salvaged: Sequence[int] = ()
    samples: Sequence[Sample] = ()
    epochs: Mapping[int, bytes] = field(default_factory=dict)
    note: bytes = b""
    live: str = ""


class RunLog(Reading):
    """The one writer. Its methods block on the disk: call them from a thread that may, one at a time."""

    def __init__(self, folder: Path, database: sqlite3.Connection, lock: sqlite3.Connection, shard_bytes: int) -> None:
        super().__init__(folder, database)
        self._lock = lock
        self._shard_bytes = shard_bytes
        self._file: ShardFile | None = None
        self._broken = False
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
            lock = stack.enter_context(contextlib.closing(locked(path)))
            with our_errors(path):
                database = stack.enter_context(contextlib.closing(connect(path)))
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                prepare(database, folder, identity, shard_bytes)
                log = cls(folder, database, lock, int(get_meta(database, "shard_bytes")))
            log._reopen()
            stack.pop_all()
            return log

    def commit(self, group: Group) -> None:
        """All of it, durably, or nothing. Raises StorageFull or StorageError, and from then on for every group: what
        came behind one that is lost would leave a hole."""
        if self._broken:
            raise StorageError(f"nothing more can be written in {self.folder}, as a write failed before")
        self._broken = True
        self._commit(group)
        self._broken = False

    def _commit(self, group: Group) -> None:
        lines = [*self._tail, *group.lines]
        shards, frames, used = self._write_frames(lines)
        for lo, hi in group.done:
            self.done.add(lo, hi)
        for index in group.failed:
            self.failed.add(index)
        for index in group.salvaged:
            self.failed.remove(index)
        with our_errors(self.folder / DATABASE), self._transaction() as database:
            if group.done:
                self._save_ranges("done", self.done)
            if group.failed or group.salvaged:
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
        with our_errors(self.folder / DATABASE), self._transaction() as database:
            database.executemany(sql.SET_META, values.items())

    def end(self) -> None:
        """Make the last shard whole with what fills no frame yet. Raises StorageFull or StorageError."""
        shard = self._shard
        if self._broken:
            return
        if self._tail and not shard.ending:
            file = self._open_file()
            frame = pack(self._tail)
            file.append(frame)
            shard.ending = len(frame)
            shard.records += len(self._tail)
        if not shard.size:
            return
        shard.sha256 = self._open_file().sha256
        with our_errors(self.folder / DATABASE), self._transaction() as database:
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
            with our_errors(self.folder / DATABASE), self._transaction() as database:
                database.execute(sql.SAVE_SHARD, shard.row())
        try:
            done_path(path).unlink(missing_ok=True)
            if not shard.length:
                path.unlink(missing_ok=True)
        except OSError as fault:
            raise storage_error(fault, path) from fault
        if shard.length:
            self._file = ShardFile.open(path, shard.length)
        for closed in self.shards():
            if closed.closed:
                check_size(self.folder / closed.name, closed.size)
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
