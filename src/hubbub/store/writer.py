"""The one writer: what a group of commits and appends does to the database, in one transaction.

A group is whatever came while the last one was written. Each commit in it has its own savepoint, so that one's Conflict
is its own; all appends become one row of the journal. If the transaction itself fails (the disk is full), each of the
group is tried by itself, so that a large one does not take small ones with it.

In memory the writer keeps where each live answer's journal stands (``_places``). A group works on a copy of what it
changes, which replaces the truth after COMMIT alone.

Durability is a property of the connection between two transactions: in WAL mode ``synchronous = FULL`` has COMMIT fsync
the log, ``NORMAL`` only hands it to the system. Frames that a NORMAL commit left unsynced are before those of the next
FULL one in the same log, and its fsync covers them. A checkpoint fsyncs under both.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from hubbub.core.errors import HubbubError
from hubbub.core.types import AnswerId
from hubbub.ports import JournalEntry
from hubbub.store import journal
from hubbub.store.changes import Applier, Prepared
from hubbub.store.config import StoreConfig, Synchronous
from hubbub.store.connection import connect, is_lock, translated
from hubbub.store.journal import Place
from hubbub.store.migrations import check_level, level, migrate
from hubbub.store.queries import query

CUT_ROWS = 1000
"""At most so many journal rows are deleted by one group, so that the next does not wait long."""

Commit = list[Prepared]
Append = tuple[JournalEntry, ...]
Outcome = HubbubError | None

log = logging.getLogger(__name__)


class Writer:
    """All methods block; one thread at a time may call them. ``deltas`` may be read from any."""

    def __init__(self, path: Path, config: StoreConfig) -> None:
        """Open, bring up to date and tidy the journal. Raises StorageError or sqlite3.Error."""
        self._path = path
        self._config = config
        self._places: dict[AnswerId, Place] = {}
        self._next_row = 1
        self._lowest_row = 1
        self._journal_bytes = 0
        self._journal_limit = config.journal_limit_bytes
        self._level = ""
        self.deltas = 0
        """Deltas of live answers in the journal."""
        self._connection = connect(path, config, reader=config.read_only)
        try:
            if config.read_only:
                check_level(level(self._connection))
            else:
                migrate(self._connection)
            self._load()
        except BaseException:
            self._connection.close()
            raise

    def run(self, jobs: Sequence[Commit | Append]) -> list[Outcome]:
        """One outcome a job: None when it is kept."""
        try:
            outcomes = self._transaction(jobs)
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            if len(jobs) == 1 or is_lock(error):
                return [translated(error, self._path) for _ in jobs]
            return [outcome for job in jobs for outcome in self.run([job])]
        if self._journal_bytes > self._journal_limit:
            self._tidy()
        return outcomes

    def close(self) -> None:
        if not self._config.read_only:
            try:
                self._connection.execute("PRAGMA optimize")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                log.warning("store: the last checkpoint failed, the log stays (%s)", error, extra={"action": "close"})
        self._connection.close()

    # A group --------------------------------------------------------------------------------------------------------

    def _transaction(self, jobs: Sequence[Commit | Append]) -> list[Outcome]:
        places = dict(self._places)
        batch: journal.Batch = []
        outcomes: list[Outcome] = []
        self._synchronous(any(isinstance(job, list) for job in jobs))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                if isinstance(job, list):
                    outcomes.append(self._commit(job, places))
                else:
                    outcomes.append(self._append(job, places, batch))
            data = self._add_batch(batch)
            cut = self._cut(places, 1 if data else 0)
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._places = places
        self.deltas = sum(place.next for place in places.values())
        self._lowest_row = cut
        if data:
            self._next_row += 1
            self._journal_bytes += len(data)
        if self._lowest_row >= self._next_row:
            self._journal_bytes = 0
        return outcomes

    def _synchronous(self, commits: bool) -> None:
        policy = self._config.synchronous
        full = policy is Synchronous.ALWAYS or (commits and policy is Synchronous.COMMITS)
        wanted = "FULL" if full else "NORMAL"
        if wanted != self._level:
            self._connection.execute(f"PRAGMA synchronous = {wanted}")
            self._level = wanted

    def _commit(self, changes: Commit, places: dict[AnswerId, Place]) -> Outcome:
        applier = Applier(self._connection, places)
        self._connection.execute("SAVEPOINT one")
        try:
            applier.apply(changes)
        except HubbubError as error:
            self._connection.execute("ROLLBACK TO one")
            self._connection.execute("RELEASE one")
            return error
        self._connection.execute("RELEASE one")
        for answer, place in applier.moved.items():
            if place is None:
                places.pop(answer, None)
            else:
                places[answer] = place
        return None

    def _append(self, entries: Append, places: dict[AnswerId, Place], batch: journal.Batch) -> Outcome:
        moved: dict[AnswerId, Place] = {}
        added: journal.Batch = []
        for entry in entries:
            answer, start, deltas = entry.answer, entry.start, entry.deltas
            place = moved.get(answer) or places.get(answer)
            if place is None or place.next != start:
                return journal.out_of_place(entry, place.next if place else None)
            moved[answer] = Place(place.number, start + len(deltas), place.first or self._next_row)
            added.append((place.number, start, [journal.to_wire(delta) for delta in deltas]))
        places.update(moved)
        batch += added
        return None

    def _add_batch(self, batch: journal.Batch) -> bytes:
        if not batch:
            return b""
        data = journal.encode(batch)
        self._connection.execute(query("journal_add"), (self._next_row, None, data))
        return data

    def _cut(self, places: dict[AnswerId, Place], rows: int) -> int:
        """Delete rows that no live answer needs, of which this group added ``rows``; the lowest there can be then."""
        needed = min((place.first for place in places.values() if place.first), default=self._next_row + rows)
        cut = min(needed, self._lowest_row + CUT_ROWS)
        if cut > self._lowest_row:
            self._connection.execute(query("journal_cut"), (cut,))
        return cut

    # The journal as a whole -----------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Learn where each live answer stands, and rewrite the journal so that each has a row of its own."""
        live = self._connection.execute(query("answers_live_numbers")).fetchall()
        self._places = {AnswerId(answer_id): Place(num, 0, 0) for num, answer_id in live}
        rows = self._connection.execute(query("journal_all")).fetchall()
        if rows:
            self._next_row, self._lowest_row = rows[-1][0] + 1, rows[0][0]
            found = self._gather(rows)
            if not self._config.read_only:
                self._rewrite(found)

    def _gather(self, rows: Sequence[tuple[int, bytes]]) -> dict[int, list[journal.Wire]]:
        """What is kept of each live answer by number; ``_places`` agree with it then."""
        live = {place.number: answer_id for answer_id, place in self._places.items()}
        found, faults = journal.gather((data for _, data in rows), live)
        for fault in faults:
            log.error("store: %s; what comes after is lost", fault, extra={"action": "journal"})
        first = rows[0][0] if rows else 0
        for number, answer_id in live.items():
            kept = len(found.get(number, ()))
            self._places[answer_id] = Place(number, kept, first if kept else 0)
        self.deltas = sum(place.next for place in self._places.values())
        return found

    def _rewrite(self, found: dict[int, list[journal.Wire]]) -> None:
        """Replace all rows by one for each live answer. Raises sqlite3.Error; nothing is changed then."""
        rows = [
            (self._next_row + index, number, journal.encode([(number, 0, wires)]))
            for index, (number, wires) in enumerate(found.items())
        ]
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:  # commits, or rolls back on the way out of an error
            self._connection.execute(query("journal_clear"))
            self._connection.executemany(query("journal_add"), rows)
        place_of = {number: row for row, number, _ in rows}
        self._places = {answer_id: p._replace(first=place_of.get(p.number, 0)) for answer_id, p in self._places.items()}
        self._lowest_row = self._next_row
        self._next_row += len(rows)
        self._journal_bytes = sum(len(data) for _, _, data in rows)
        # What is alive may by itself be more than the limit: wait until as much again has come.
        self._journal_limit = max(self._config.journal_limit_bytes, 2 * self._journal_bytes)

    def _tidy(self) -> None:
        try:
            self._rewrite(self._gather(self._connection.execute(query("journal_all")).fetchall()))
        except sqlite3.Error as error:
            # Nothing is lost but room; the next attempt comes when as much again has been written.
            self._journal_limit = 2 * self._journal_bytes
            log.warning("store: could not tidy the journal (%s)", error, extra={"action": "journal"})
