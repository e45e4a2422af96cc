"""Keys and users in a small SQLite file of their own, ``keys.db`` beside the chats.

Theory of operation. The store of chats belongs to one process; keys are made and revoked from the command line while a
server runs. So they live apart, in a file that any number of processes may write: each change is one short transaction,
and waits for others as long as ``busy_timeout_s``. Every change of a key or a user raises the number in ``revision`` in
the same transaction; a server asks for that number a few times a second and reads again when it has risen.

One connection, used by one thread. The file can be read by its owner alone; it holds no key, only hashes.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from hubbub.core.errors import Conflict, NotFound, StorageError
from hubbub.core.keys import SESSIONS_KEPT, Key, KeyId, Scope, Session, User
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.store.config import StoreConfig
from hubbub.store.connection import connect, is_lock, prepare_file, translated

T = TypeVar("T")

FILE = "keys.db"
APPLICATION_ID = 0x4862626B
"""``Hbbk``: marks the file as ours."""
DAYS_KEPT = 400
"""Days for which the tokens of each key are kept."""
OPEN_RETRY_S = 0.05

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE revision (number INTEGER NOT NULL)",
        "INSERT INTO revision (number) VALUES (0)",
        "CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, weight REAL NOT NULL)",
        """CREATE TABLE keys (
             id TEXT NOT NULL PRIMARY KEY,
             user TEXT NOT NULL REFERENCES users (id),
             digest TEXT NOT NULL UNIQUE,
             hint TEXT NOT NULL,
             scopes TEXT NOT NULL,
             label TEXT NOT NULL,
             limits TEXT NOT NULL,
             created_at REAL NOT NULL,
             expires_at REAL,
             revoked_at REAL,
             used_at REAL)""",
        """CREATE TABLE spent (
             key TEXT NOT NULL REFERENCES keys (id),
             day INTEGER NOT NULL,
             tokens INTEGER NOT NULL,
             PRIMARY KEY (key, day)) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE users ADD COLUMN admin INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE users ADD COLUMN password TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE users ADD COLUMN subject TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE users ADD COLUMN created_at REAL NOT NULL DEFAULT 0",
        "CREATE UNIQUE INDEX users_by_subject ON users (subject) WHERE subject != ''",
        """CREATE TABLE sessions (
             digest TEXT NOT NULL PRIMARY KEY,
             user TEXT NOT NULL REFERENCES users (id),
             created_at REAL NOT NULL,
             expires_at REAL NOT NULL) WITHOUT ROWID""",
    ),
)
"""Numbered steps, only ever appended to. ``PRAGMA user_version`` is how many a file has had."""

SAVE_USER = """
INSERT INTO users (id, weight, admin, password, subject, created_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET weight = excluded.weight, admin = excluded.admin, password = excluded.password,
  subject = excluded.subject, created_at = excluded.created_at
"""
TRIM_SESSIONS = """
DELETE FROM sessions WHERE user = ? AND digest NOT IN (
  SELECT digest FROM sessions WHERE user = ? ORDER BY created_at DESC, digest DESC LIMIT ?)
"""
END_SESSIONS = "DELETE FROM sessions WHERE user = ? AND (? = '' OR digest = ?) AND digest != ?"
COLUMNS = "id, user, digest, hint, scopes, label, limits, created_at, expires_at, revoked_at, used_at"


class SqliteKeyStore:
    """Made by :meth:`open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread

    @classmethod
    async def open(cls, path: Path, *, busy_timeout_s: float = 5.0) -> SqliteKeyStore:
        """Open it, making it if it is not there. Raises StorageError."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="hubbub-keys")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _open, path, busy_timeout_s)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, connection, thread)

    async def revision(self) -> int:
        return await self._run(lambda db: int(db.execute("SELECT number FROM revision").fetchone()[0]))

    async def keys(self) -> tuple[Key, ...]:
        statement = f"SELECT {COLUMNS} FROM keys ORDER BY created_at, id"  # noqa: S608 - our own words
        return await self._run(lambda db: tuple(map(_key, db.execute(statement))))

    async def users(self) -> tuple[User, ...]:
        statement = "SELECT id, weight, admin, password, subject, created_at FROM users ORDER BY id"
        return await self._run(lambda db: tuple(map(_user, db.execute(statement))))

    async def add(self, key: Key) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR IGNORE INTO users (id, weight) VALUES (?, 1.0)", (key.user,))
            slots = ", ".join("?" * len(COLUMNS.split(",")))
            try:
                db.execute(f"INSERT INTO keys ({COLUMNS}) VALUES ({slots})", _row(key))  # noqa: S608 - our own words
            except sqlite3.IntegrityError:
                raise Conflict(f"there is a key {key.id!r} already") from None
            _revise(db)

        await self._change(change)

    async def revoke(self, key: KeyId, at: float) -> Key:
        def change(db: sqlite3.Connection) -> Key:
            done = db.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, key))
            if done.rowcount:
                _revise(db)
            row = db.execute(f"SELECT {COLUMNS} FROM keys WHERE id = ?", (key,)).fetchone()  # noqa: S608
            if row is None:
                raise NotFound(f"there is no key {key!r}", param="key")
            return _key(row)

        return await self._change(change)

    async def save_user(self, user: User) -> None:
        def change(db: sqlite3.Connection) -> None:
            row = (user.id, user.weight, user.admin, user.password, user.subject, user.created_at)
            try:
                db.execute(SAVE_USER, row)
            except sqlite3.IntegrityError:
                raise Conflict("another user has this subject of the identity provider") from None
            _revise(db)

        await self._change(change)

    async def sessions(self) -> tuple[Session, ...]:
        statement = "SELECT digest, user, created_at, expires_at FROM sessions ORDER BY created_at, digest"
        return await self._run(
            lambda db: tuple(Session(digest, UserId(user), *times) for digest, user, *times in db.execute(statement))
        )

    async def add_session(self, session: Session) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM sessions WHERE expires_at <= ?", (session.created_at,))
            row = (session.digest, session.user, session.created_at, session.expires_at)
            try:
                db.execute("INSERT INTO sessions (digest, user, created_at, expires_at) VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise NotFound(f"there is no user {session.user!r}", param="user") from None
            db.execute(TRIM_SESSIONS, (session.user, session.user, SESSIONS_KEPT))
            _revise(db)

        await self._change(change)

    async def end_sessions(self, user: UserId, *, only: str = "", but: str = "") -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute(END_SESSIONS, (user, only, only, but))
            _revise(db)

        await self._change(change)

    async def delete_user(self, user: UserId) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
            db.execute("DELETE FROM spent WHERE key IN (SELECT id FROM keys WHERE user = ?)", (user,))
            db.execute("DELETE FROM keys WHERE user = ?", (user,))
            if not db.execute("DELETE FROM users WHERE id = ?", (user,)).rowcount:
                raise NotFound(f"there is no user {user!r}", param="user")
            _revise(db)

        await self._change(change)

    async def record(self, used: Mapping[KeyId, float], spent: Mapping[tuple[KeyId, int], int]) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE keys SET used_at = max(coalesce(used_at, 0), ?) WHERE id = ?",
                [(at, name) for name, at in used.items()],
            )
            db.executemany(
                "INSERT INTO spent (key, day, tokens) SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM keys WHERE id = ?)"
                " ON CONFLICT (key, day) DO UPDATE SET tokens = tokens + excluded.tokens",
                [(name, day, tokens, name) for (name, day), tokens in spent.items()],
            )
            if spent:
                db.execute("DELETE FROM spent WHERE day < ?", (max(day for _, day in spent) - DAYS_KEPT,))

        await self._change(change)

    async def spent(self, day: int) -> Mapping[KeyId, int]:
        statement = "SELECT key, tokens FROM spent WHERE day = ?"
        return await self._run(lambda db: {KeyId(name): tokens for name, tokens in db.execute(statement, (day,))})

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(db: sqlite3.Connection) -> T:
            with _transaction(db):
                return work(db)

        return await self._run(transaction)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def told() -> T:
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise translated(error, self._path) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, told)


def _open(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    prepare_file(path)
    try:
        connection = _connected(path, busy_timeout_s)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connected(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Changing to WAL does not wait for a lock by itself: two processes that open a new file together meet here."""
    until = time.monotonic() + busy_timeout_s
    while True:
        try:
            return connect(path, StoreConfig(busy_timeout_s=busy_timeout_s), reader=False)
        except sqlite3.OperationalError as error:
            if not is_lock(error) or time.monotonic() >= until:
                raise
            time.sleep(OPEN_RETRY_S)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    with _transaction(db):  # from the first read on: another process may be at it, too
        done = db.execute("PRAGMA user_version").fetchone()[0]
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        if mark != APPLICATION_ID and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StorageError(f"{path} is a database of another program: name another data folder")
        if done > len(MIGRATIONS):
            raise StorageError(f"a newer Hubbub made {path}: upgrade Hubbub, or name another data folder")
        for step in MIGRATIONS[done:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    with db:  # commits, or rolls back on the way out of an error
        yield


def _revise(db: sqlite3.Connection) -> None:
    db.execute("UPDATE revision SET number = number + 1")


def _user(row: tuple[Any, ...]) -> User:
    name, weight, admin, password, subject, created_at = row
    return User(UserId(name), weight, bool(admin), password, subject, created_at)


def _row(key: Key) -> tuple[Any, ...]:
    limits = json.dumps({name: value for name, value in asdict(key.limits).items() if value is not None})
    scopes = ",".join(sorted(key.scopes))
    named = (key.id, key.user, key.digest, key.hint, scopes, key.label, limits)
    return (*named, key.created_at, key.expires_at, key.revoked_at, key.used_at)


def _key(row: tuple[Any, ...]) -> Key:
    name, user, digest, hint, scopes, label, limits, created_at, expires_at, revoked_at, used_at = row
    return Key(
        id=KeyId(name),
        user=UserId(user),
        digest=digest,
        hint=hint,
        scopes=frozenset(map(Scope, scopes.split(","))),
        created_at=created_at,
        label=label,
        limits=Limits(**json.loads(limits)),
        expires_at=expires_at,
        revoked_at=revoked_at,
        used_at=used_at,
    )
