"""The database of a run: opened, locked, checked to be of this very run; SQLite's errors in our words."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.errors import Conflict, StorageError
from hubbub.corpus import run_tables as sql
from hubbub.corpus.shards import disk_full

DATABASE = "run.sqlite3"
NO_SPACE_BYTES = 1 << 20
"""An I/O error of SQLite with less room than this is the disk being full: it cannot always tell."""


def prepare(database: sqlite3.Connection, folder: Path, identity: Mapping[str, str], shard_bytes: int) -> None:
    """Make the tables, or check that they are of this very run."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not tables:
        database.executescript(f"BEGIN; {sql.TABLES} COMMIT;")
    elif "meta" not in tables:
        raise Conflict(f"{folder / DATABASE} is no corpus run's: name another --out")
    pinned = get_meta(database, "identity")
    if pinned is not None:
        check_format(get_meta(database, "format"), folder)
    known = None if pinned is None else msgspec.json.decode(pinned, type=dict[str, str])
    if known == identity:
        return
    if known is None or database.execute(sql.IS_BEGUN).fetchone() is None:
        _pin(database, identity, shard_bytes)
        return
    names = [name for name in {**known, **identity} if known.get(name) != identity.get(name)]
    told = "; ".join(f"{n} was {_short(known.get(n))}, now {_short(identity.get(n))}" for n in names[:5])
    more = f"; and {len(names) - 5} more" if len(names) > 5 else ""
    raise Conflict(f"{folder} holds another run: {told}{more}. Name another --out, or go back to the old values")


def _pin(database: sqlite3.Connection, identity: Mapping[str, str], shard_bytes: int) -> None:
    """Whose run it is from now on. What a start left that came to nothing binds nobody."""
    rows = {
        "format": sql.FORMAT,
        "identity": msgspec.json.encode(dict(identity)).decode(),
        "shard_bytes": shard_bytes,
        "want": "run",
    }
    database.execute("BEGIN IMMEDIATE")
    for table in sql.EMPTIED:
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
    database.executemany(sql.SET_META, rows.items())
    database.execute("COMMIT")


def check_format(found: object, folder: Path) -> None:
    """Raises Conflict."""
    if found != sql.FORMAT:
        raise Conflict(f"{folder} was written in format {found} of corpus runs; this version reads format {sql.FORMAT}")


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return repr(value) if len(value) <= 60 else repr(value[:57] + "...")


def get_meta(database: sqlite3.Connection, name: str) -> Any:
    row = database.execute(sql.GET_META, (name,)).fetchone()
    return None if row is None else row[0]


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)


def locked(path: Path) -> sqlite3.Connection:
    """Hold the run until the connection is closed or the process ends. SQLite's own lock, on an empty database beside
    the run's: it works on every system, and a kill lets go of it. Raises Conflict."""
    with our_errors(path):
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
        locked(path).close()
    except Conflict:
        return True
    except StorageError:  # no room, or no leave, to take a lock that nobody holds
        return False
    return False


@contextlib.contextmanager
def our_errors(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as fault:
        code = _code(fault)
        no_room = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _room(path) < NO_SPACE_BYTES
        if code == sqlite3.SQLITE_FULL or no_room:
            raise disk_full(path) from fault
        no_text = isinstance(fault, sqlite3.OperationalError) and not code  # Python's own, of what is no UTF-8
        if no_text or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise damaged(path, fault) from fault
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise StorageError(f"cannot write {path} or beside it: check its owner and mode ({fault})") from fault
        raise StorageError(f"{path}: {fault}") from fault


def damaged(path: Path, fault: Exception) -> StorageError:
    return StorageError(f"{path} is damaged ({str(fault).partition(' with text ')[0]}): restore it from a backup")


def _code(fault: Exception) -> int:
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def _room(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 1 << 62
