"""Reads: a few threads, each with a connection of its own that cannot write. One call is one snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from hubbub.store.config import StoreConfig
from hubbub.store.connection import connect, translated

T = TypeVar("T")
P = ParamSpec("P")


class Readers:
    def __init__(self, path: Path, config: StoreConfig) -> None:
        self._path = path
        self._config = config
        self._threads = ThreadPoolExecutor(config.readers, thread_name_prefix="hubbub-store-reader")
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []

    async def run(self, read: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``read(connection, ...)`` in a thread. Raises what it raises, SQLite's errors as StorageError."""

        def work() -> T:
            try:
                connection = self._connection()
                # All statements of one read see one state; ended by the exit, as nothing was written.
                connection.execute("BEGIN")
                with connection:
                    return read(connection, *args, **kwargs)
            except sqlite3.Error as error:
                raise translated(error, self._path) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown()
        for connection in self._all:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = connect(self._path, self._config, reader=True)
            self._all.append(connection)
        return connection
