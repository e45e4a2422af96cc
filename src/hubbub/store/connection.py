"""Connections to the database file, and SQLite's errors in our words."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from hubbub.core.errors import StorageError, StorageFull
from hubbub.store.config import StoreConfig

SQLITE_MINIMUM = (3, 34, 0)
"""What the statements need; Python 3.11 on Debian 12 brings 3.40."""
WAL_KEPT_BYTES = 32 * 1024 * 1024
"""The write-ahead log is cut back to this after a checkpoint."""
NO_SPACE_BYTES = 1 << 20
"""An I/O error with less room than this on the disk is the disk being full: SQLite cannot always tell."""


def connect(path: Path, config: StoreConfig, *, reader: bool) -> sqlite3.Connection:
    """A connection that any one thread at a time may use. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=config.busy_timeout_s, isolation_level=None, cached_statements=256, check_same_thread=False
    )
    try:
        if reader:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
            connection.execute("PRAGMA foreign_keys = ON")
            # Some builds overwrite every freed page with zeros; FAST does so where it costs no further write.
            connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16384")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare_file(path: Path) -> None:
    """Make the file where it is missing, readable by its owner alone: chats are private. Raises StorageError."""
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        needed = ".".join(map(str, SQLITE_MINIMUM))
        raise StorageError(f"this Python has SQLite {sqlite3.sqlite_version}; at least {needed} is needed")
    try:
        # Never open one that is there: closing it again would drop the locks this process holds on it.
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StorageError(f"cannot open the store {path}: {error.strerror}") from error


def lock(path: Path) -> sqlite3.Connection:
    """Hold the store for this process until the connection is closed or the process ends. Raises StorageError.

    The writer keeps in memory where each journal stands, so there can be one only. The lock is SQLite's own, on an
    empty database beside the store: it works on every system, and a kill lets go of it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise StorageError(f"cannot open the store {path}: {error.strerror}") from error
    except sqlite3.OperationalError as error:
        raise translated(error, path) from error
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        holder.close()
        if _code(error) == sqlite3.SQLITE_BUSY:
            raise StorageError(f"another Hubbub has the store {path} open: stop it, or name another store") from error
        raise translated(error, path) from error
    return holder


def translated(error: sqlite3.Error | UnicodeError | OverflowError, path: Path) -> StorageError:
    """The one table from SQLite's errors to ours."""
    if isinstance(error, UnicodeError):
        return StorageError(f"an id or a name is not valid Unicode: {error}")
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _no_space(path)):
        return StorageFull(f"the disk of {path} is full: nothing was changed; make room and try again")
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageError(f"another program holds a lock on {path}: close it and try again ({error})")
        case sqlite3.SQLITE_CORRUPT:
            return StorageError(f"{path} is damaged ({error}): run 'hubbub store verify', and restore a backup")
        case sqlite3.SQLITE_NOTADB:
            return StorageError(f"{path} is not a SQLite database: name another file")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return StorageError(f"cannot write {path} or beside it: check its owner and mode ({error})")
        case sqlite3.SQLITE_IOERR:
            return StorageError(f"reading or writing {path} failed: check the disk and its quota ({error})")
        case _:
            return StorageError(f"{path}: {error}")


def is_lock(error: Exception) -> bool:
    """Whether another program is in the way: then no attempt fares better than the last."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: Exception) -> int:
    # The low byte is the kind, the rest details it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _no_space(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < NO_SPACE_BYTES
    except OSError:
        return False
