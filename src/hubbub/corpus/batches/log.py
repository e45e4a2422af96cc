"""What is known of files and batches, on disk. Its methods block: they belong on one thread of their own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from hubbub.core.batches import Batch, BatchId, BatchStatus, FileId, FilePurpose, StoredFile
from hubbub.core.errors import BadRequest, Conflict, NotFound, RateLimited, StorageError
from hubbub.core.types import Usage, UserId
from hubbub.corpus.batches import tables as sql
from hubbub.corpus.ranges import IndexRanges
from hubbub.corpus.run_database import connect, our_errors
from hubbub.ports import FileQuery, Page

DATABASE = "index.sqlite3"
LAST = 1 << 62
BATCH_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """A finished line of a batch. ``output``: its line of the output or error file, without the newline."""

    batch: BatchId
    line: int
    good: bool
    output: bytes
    usage: Usage


class BatchLog:
    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> BatchLog:
        """Raises StorageError, StorageFull."""
        path = folder / DATABASE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # What people asked is theirs alone. An existing file is left alone: closing it would drop SQLite's locks.
            if not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as fault:
            raise StorageError(f"cannot make {path}: {fault.strerror}") from fault
        with our_errors(path), contextlib.ExitStack() as stack:
            database = stack.enter_context(contextlib.closing(connect(path)))
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            known = database.execute("PRAGMA user_version").fetchone()[0]
            if known == 0:
                database.executescript(f"BEGIN; {sql.TABLES} PRAGMA user_version = {sql.FORMAT}; COMMIT;")
            elif known != sql.FORMAT:
                raise StorageError(f"{path} has format {known}; this version reads {sql.FORMAT}: upgrade Hubbub")
            stack.pop_all()
        return cls(path, database)

    def close(self) -> None:
        self._database.close()

    # Files ---------------------------------------------------------------------------------------------------------

    def check_room(self, user: UserId, most: int) -> None:
        """Raises Conflict for a user who has ``most`` files or more."""
        with our_errors(self.path):
            known = int(self._database.execute(sql.COUNT_FILES, (user, FilePurpose.BATCH)).fetchone()[0])
        if known >= most:
            raise Conflict(f"you have {known} files, this server keeps {most} of a user: delete some")

    def add_upload(self, file: StoredFile, most: int) -> None:
        """Raises Conflict as :meth:`check_room` does."""
        with self._transaction() as database:
            self.check_room(file.user, most)
            database.execute(sql.ADD_FILE, _file_row(file))

    def file(self, user: UserId, file: FileId) -> StoredFile:
        """Raises NotFound."""
        with our_errors(self.path):
            row = self._database.execute(sql.GET_FILE, (file, user)).fetchone()
        if row is None:
            raise NotFound(f"there is no file {file!r}", param="file_id")
        return _file(row[0])

    def files(self, user: UserId, query: FileQuery) -> Page[StoredFile]:
        """Raises NotFound."""
        statement, place = (sql.FILES_BEFORE, LAST) if query.descending else (sql.FILES_AFTER, 0)
        with our_errors(self.path):
            if query.after is not None:
                place = self._seq(sql.FILE_SEQ, (query.after, user), f"there is no file {query.after!r} to go on after")
            asked = (user, query.purpose, place, query.limit + 1)
            rows = self._database.execute(statement, asked).fetchall()
        return Page(tuple(_file(doc) for (doc,) in rows[: query.limit]), has_more=len(rows) > query.limit)

    def drop_file(self, user: UserId, file: FileId) -> None:
        """Raises NotFound, Conflict."""
        self.file(user, file)
        with self._transaction() as database:
            reader = database.execute(sql.IN_USE, (file,)).fetchone()
            if reader is not None:
                raise Conflict(f"batch {reader[0]!r} reads file {file!r}; wait for its end or cancel it")
            database.execute(sql.DROP_FILE, (file,))

    def drop_expired(self, now: float) -> list[FileId]:
        """The files whose time is over, and that no batch reads."""
        with self._transaction() as database:
            gone = [FileId(file) for (file,) in database.execute(sql.EXPIRED_FILES, (now,))]
            database.executemany(sql.DROP_FILE, [(file,) for file in gone])
        return gone

    def file_ids(self) -> set[str]:
        with our_errors(self.path):
            return {file for (file,) in self._database.execute(sql.FILE_IDS)}

    # Batches -------------------------------------------------------------------------------------------------------

    def add_batch(self, batch: Batch, most: int) -> None:
        """Raises NotFound without its input file, RateLimited for a user with ``most`` running batches or more."""
        user, wanted = batch.order.user, batch.order.input_file
        with self._transaction() as database:
            row = database.execute(sql.GET_FILE, (wanted, user)).fetchone()
            if row is None:
                raise NotFound(f"there is no file {wanted!r}", param="input_file_id")
            purpose = _file(row[0]).upload.purpose
            if purpose is not FilePurpose.BATCH:
                raise BadRequest(
                    f"file {wanted!r} has the purpose {purpose}; upload one with the purpose batch",
                    param="input_file_id",
                )
            running = database.execute(sql.COUNT_ACTIVE, (user,)).fetchone()[0]
            if running >= most:
                raise RateLimited(
                    f"you have {running} batches that have not ended, this server runs {most} of a user: wait for one",
                    retry_after=BATCH_RETRY_S,
                )
            database.execute(sql.ADD_BATCH, (batch.id, user, wanted, _json(batch)))

    def batch(self, user: UserId, batch: BatchId) -> Batch:
        """Raises NotFound."""
        with our_errors(self.path):
            row = self._database.execute(sql.GET_BATCH, (batch,)).fetchone()
        found = None if row is None else _batch(row)
        if found is None or found.order.user != user:
            raise NotFound(f"there is no batch {batch!r}", param="batch_id")
        return found

    def batches(self, user: UserId, after: BatchId | None, limit: int) -> Page[Batch]:
        """Raises NotFound."""
        place = LAST
        with our_errors(self.path):
            if after is not None:
                place = self._seq(sql.OWN_BATCH_SEQ, (after, user), f"there is no batch {after!r} to go on after")
            rows = self._database.execute(sql.BATCHES_BEFORE, (user, place, limit + 1)).fetchall()
        return Page(tuple(_batch(row) for row in rows[:limit]), has_more=len(rows) > limit)

    def active(self) -> list[Batch]:
        with our_errors(self.path):
            return [_batch(row) for row in self._database.execute(sql.ACTIVE_BATCHES)]

    def change(
        self, batch: BatchId, change: Callable[[Batch], Batch], files: Sequence[StoredFile] = ()
    ) -> tuple[Batch, Batch]:
        """The batch before and after. With its end its rows go: they are in ``files`` now."""
        with self._transaction() as database:
            row = database.execute(sql.GET_BATCH, (batch,)).fetchone()
            before = _batch(row)
            after = change(before)
            if after is not before:
                database.execute(sql.SAVE_BATCH, (_json(after), not after.status.final, row[0]))
                database.executemany(sql.ADD_FILE, [_file_row(file) for file in files])
                if after.status.final:
                    database.execute(sql.DROP_ROWS, (row[0],))
        return before, after

    # Rows ----------------------------------------------------------------------------------------------------------

    def add_rows(self, rows: Sequence[Row]) -> None:
        """All of them, with what they count, or none. A line that is there already, or whose batch has ended, is not
        added again."""
        with self._transaction() as database:
            for row in rows:
                found = database.execute(sql.BATCH_SEQ, (row.batch,)).fetchone()
                if found is None:
                    continue
                added = database.execute(sql.ADD_ROW, (found[0], row.line, row.good, row.output)).rowcount
                if added:
                    usage = (row.usage.input_tokens, row.usage.output_tokens, row.usage.cached_tokens)
                    database.execute(sql.COUNT_ROW, (row.good, not row.good, *usage, found[0]))

    def done_lines(self, batch: BatchId) -> IndexRanges:
        with our_errors(self.path):
            return IndexRanges((line, line + 1) for (line,) in self._database.execute(sql.ROW_LINES, (batch,)))

    def _seq(self, statement: str, asked: tuple[str, ...], otherwise: str) -> int:
        row = self._database.execute(statement, asked).fetchone()
        if row is None:
            raise NotFound(otherwise, param="after")
        return int(row[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with our_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextlib.contextmanager
def finished_rows(path: Path, batch: BatchId) -> Iterator[Iterator[tuple[int, bool, bytes]]]:
    """The finished lines of a batch by number, over a connection of its own: for a thread beside the log's."""
    with our_errors(path), contextlib.closing(connect(path)) as database:
        yield ((line, bool(good), output) for line, good, output in database.execute(sql.ROWS, (batch,)))


def _file_row(file: StoredFile) -> tuple[str, str, str, float | None, str]:
    return (file.id, file.user, file.upload.purpose, file.expires_at, msgspec.json.encode(file).decode())


def _file(doc: str) -> StoredFile:
    return msgspec.json.decode(doc, type=StoredFile)


def _json(batch: Batch) -> str:
    return msgspec.json.encode(replace(batch, completed=0, failed=0, usage=Usage())).decode()


def _batch(row: Sequence[object]) -> Batch:
    _, doc, completed, failed, taken, said, cached = row
    batch = msgspec.json.decode(str(doc), type=Batch)
    counted = msgspec.convert([taken, said, cached], type=tuple[int, int, int])
    return replace(
        batch,
        completed=msgspec.convert(completed, int),
        failed=msgspec.convert(failed, int),
        usage=Usage(input_tokens=counted[0], output_tokens=counted[1], cached_tokens=counted[2]),
    )


ENDINGS = {
    BatchStatus.IN_PROGRESS: BatchStatus.EXPIRED,
    BatchStatus.VALIDATING: BatchStatus.EXPIRED,
    BatchStatus.FINALIZING: BatchStatus.COMPLETED,
    BatchStatus.CANCELLING: BatchStatus.CANCELLED,
}
"""What a batch comes to that asks no more, by where it stands."""
