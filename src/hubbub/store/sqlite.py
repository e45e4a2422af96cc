"""The store in one SQLite file: one writer thread with group commits, a few threads that read.

Promises
    ``commit`` returns when its changes survive a power cut: the transaction of every group that holds a commit ends
    with an fsync of the write-ahead log. ``append`` returns when its deltas survive a kill of the process: they are
    with the operating system, and a group of appends alone waits for no disk. A power cut can take the last moments of
    live journals (never of finished answers), and never leaves a gap. ``Synchronous`` in the configuration changes who
    waits for the disk.

    All or nothing: a commit that fails changed nothing, and says why (Conflict, StorageFull, StorageError). The store
    goes on; after a full disk it takes commits again as soon as there is room.

    One process a store: ``PATH.lock`` is held while it is open. ``read_only`` opens beside it.

Where things are
    queries.sql (every statement), migrations.py (the tables), changes.py (what a commit does), writer.py (what a group
    does), groups.py (how a group comes together), journal.py (batches of deltas), reads.py, audit.py (verify),
    connection.py (files, locks, errors). PostgreSQL will share rows.py, check.py and the contract suite.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hubbub.core.branches import ChatTree
from hubbub.core.errors import StorageError
from hubbub.core.types import Answer, AnswerId, Chat, ChatId, Delta, Item, Node, NodeHash, Origin, Style, UserId
from hubbub.ports import AnswerQuery, Change, ChatQuery, Glance, JournalEntry, Page
from hubbub.store import audit, reads
from hubbub.store.changes import prepare
from hubbub.store.config import StoreConfig
from hubbub.store.connection import lock, prepare_file, translated
from hubbub.store.groups import Groups
from hubbub.store.readers import Readers
from hubbub.store.writer import Append, Commit, Writer


class SqliteStore:
    """Made by :meth:`open`."""

    def __init__(self, writer: Writer, thread: ThreadPoolExecutor, readers: Readers, config: StoreConfig) -> None:
        self._writer = writer
        self._thread = thread
        self._readers = readers
        self._config = config
        self._groups = Groups(writer, thread)
        self._lock: sqlite3.Connection | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, config: StoreConfig | None = None) -> SqliteStore:
        """Raises StorageError: in use, not a store, of a newer Hubbub, not to be read; StorageFull."""
        config = config or StoreConfig(path=str(path))
        thread = ThreadPoolExecutor(1, thread_name_prefix="hubbub-store-writer")
        try:
            holder, writer = await asyncio.get_running_loop().run_in_executor(thread, _open, path, config)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        store = cls(writer, thread, Readers(path, config), config)
        store._lock = holder
        return store

    # ChatStore ------------------------------------------------------------------------------------------------------

    async def commit(self, *changes: Change) -> None:
        if changes:
            await self._submit([prepare(change) for change in changes])

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None:
        return await self._open_readers().run(reads.chat, user, chat)

    async def chats(self, user: UserId, query: ChatQuery) -> Page[Chat]:
        return await self._open_readers().run(reads.chats, user, query)

    async def glance(self, chat: Chat, search: str = "") -> Glance:
        return await self._open_readers().run(reads.glance, chat, search)

    async def styles(self, user: UserId) -> Mapping[str, Style]:
        return await self._open_readers().run(reads.styles, user)

    async def answer(self, user: UserId, answer: AnswerId) -> Answer | None:
        return await self._open_readers().run(reads.answer, user, answer)

    async def answers(self, user: UserId, query: AnswerQuery) -> Page[Answer]:
        return await self._open_readers().run(reads.answers, user, query)

    # ItemTree -------------------------------------------------------------------------------------------------------

    async def path(self, user: UserId, head: NodeHash | None, last: int | None = None) -> tuple[Node, ...]:
        readers = self._open_readers()
        return () if head is None else await readers.run(reads.path, user, head, last)

    async def match(self, user: UserId, items: Sequence[Item]) -> tuple[Node, ...]:
        return await self._open_readers().run(reads.match, user, tuple(items))

    # Beginnings -----------------------------------------------------------------------------------------------------

    async def branches(self, user: UserId, chat: ChatId) -> tuple[NodeHash, ...]:
        return await self._open_readers().run(reads.branches, user, chat)

    async def chat_tree(self, user: UserId, chat: ChatId) -> ChatTree:
        return await self._open_readers().run(reads.chat_tree, user, chat)

    async def origin(self, user: UserId, chat: ChatId) -> Origin | None:
        return await self._open_readers().run(reads.origin, user, chat)

    async def brought(self, user: UserId, source: str) -> Origin | None:
        return await self._open_readers().run(reads.brought, user, source)

    # Journal --------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        if entries:
            await self._submit(tuple(entries))

    async def entries(self, answer: AnswerId) -> tuple[Delta, ...]:
        return await self._open_readers().run(reads.entries, answer)

    async def unfinished(self) -> tuple[Answer, ...]:
        return await self._open_readers().run(reads.unfinished)

    # Upkeep ---------------------------------------------------------------------------------------------------------

    async def verify(self) -> tuple[str, ...]:
        return await self._open_readers().run(audit.verify)

    async def counts(self) -> dict[str, int]:
        found = await self._open_readers().run(reads.counts)
        return {**found, "journal": self._writer.deltas}

    async def close(self) -> None:
        """Whatever was submitted is kept first. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        await self._groups.drain()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._readers.close()
        self._writer.close()
        if self._lock:
            self._lock.close()

    async def _submit(self, job: Commit | Append) -> None:
        if self._closed:
            raise StorageError("the store is closed")
        if self._config.read_only:
            raise StorageError("the store was opened to be read only")
        await self._groups.submit(job)

    def _open_readers(self) -> Readers:
        if self._closed:
            raise StorageError("the store is closed")
        return self._readers


def _open(path: Path, config: StoreConfig) -> tuple[sqlite3.Connection | None, Writer]:
    if config.read_only:
        if not path.is_file():
            raise StorageError(f"there is no store at {path}")
        return None, _writer(path, config)
    holder = lock(path)
    try:
        prepare_file(path)
        return holder, _writer(path, config)
    except BaseException:
        holder.close()
        raise


def _writer(path: Path, config: StoreConfig) -> Writer:
    try:
        return Writer(path, config)
    except sqlite3.Error as error:
        raise translated(error, path) from error
