"""The store twin with faults: one disk that outlives kills, one handle a life of the server.

As the real store it has one writer that takes jobs in the order they come, and what was acknowledged stays. A job that
was not may be kept, too: a kill finds the first one half done (a journal's tail is torn anywhere), those behind it not
begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from hubbub.core.branches import ChatTree
from hubbub.core.errors import StorageError, StorageFull
from hubbub.core.types import Answer, AnswerId, Chat, ChatId, Delta, Item, Node, NodeHash, Origin, Style, UserId
from hubbub.ports import AnswerQuery, AnswerSaved, Change, ChatQuery, Glance, JournalEntry, Page
from hubbub.store.memory import MemoryStore

from .fate import Fate

WRITE_S = 0.0005
SLOW_S = 3.0


class Disk:
    """``full_until``: virtual time up to which it takes nothing new."""

    def __init__(self, fate: Fate) -> None:
        self.fate = fate
        self.kept = MemoryStore()
        self.full_until = 0.0


class Handle:
    """The Store port of one life."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._kept = disk.kept
        self._fate = disk.fate
        self._writer = asyncio.Lock()
        self._writing: tuple[Change, ...] | Sequence[JournalEntry] | None = None
        self._dead = False

    async def die(self) -> None:
        """The process is gone; what it was writing may be kept, the last of it in part."""
        self._dead = True
        job, self._writing = self._writing, None
        if not job or self._disk.full_until > self._fate.now():
            return
        rng = self._fate.rng
        if isinstance(job, tuple):
            if rng.random() < 0.5:
                try:
                    await self._kept.commit(*job)
                except StorageError:
                    return
            return
        for entry in job[: rng.randrange(len(job) + 1)]:
            deltas = entry.deltas[: rng.randrange(len(entry.deltas) + 1)]
            if deltas:
                self._fate.note("torn tail")
                await self._kept.append([JournalEntry(entry.answer, entry.start, deltas)])

    # Writes -----------------------------------------------------------------------------------------------------------

    async def commit(self, *changes: Change) -> None:
        ends = any(isinstance(change, AnswerSaved) and change.answer.status.final for change in changes)
        async with self._writer:
            await self._begin(changes, "commit")
            await self._kept.commit(*changes)
            await self._settle()
            if ends and self._fate.strikes("end kept, but not said so", 0.004):
                raise StorageError("the disk does not say whether it was kept")

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        async with self._writer:
            await self._begin(entries, "append")
            await self._kept.append(entries)
            await self._settle()
            if self._fate.strikes("journal kept, but not said so", 0.0005):
                raise StorageError("the disk does not say whether it was kept")

    async def _begin(self, job: tuple[Change, ...] | Sequence[JournalEntry], what: str) -> None:
        self._check()
        slow = self._fate.strikes(f"slow {what}", 0.0007)
        self._writing = job
        try:
            await asyncio.sleep(SLOW_S * self._fate.rng.random() if slow else WRITE_S * self._fate.rng.random())
        finally:
            self._writing = None
        if self._disk.full_until > self._fate.now():
            raise StorageFull
        if self._fate.strikes(f"failing {what}", 0.0015):
            raise StorageError(f"the disk failed this {what}")

    async def _settle(self) -> None:
        """Kept, not acknowledged yet."""
        await asyncio.sleep(WRITE_S * self._fate.rng.random())

    def _check(self) -> None:
        if self._dead:
            raise StorageError("this process is dead")

    # Reads ------------------------------------------------------------------------------------------------------------

    async def _read(self) -> MemoryStore:
        self._check()
        await asyncio.sleep(0)
        return self._kept

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None:
        return await (await self._read()).chat(user, chat)

    async def chats(self, user: UserId, query: ChatQuery) -> Page[Chat]:
        return await (await self._read()).chats(user, query)

    async def answer(self, user: UserId, answer: AnswerId) -> Answer | None:
        return await (await self._read()).answer(user, answer)

    async def answers(self, user: UserId, query: AnswerQuery) -> Page[Answer]:
        return await (await self._read()).answers(user, query)

    async def path(self, user: UserId, head: NodeHash | None, last: int | None = None) -> tuple[Node, ...]:
        return await (await self._read()).path(user, head, last)

    async def match(self, user: UserId, items: Sequence[Item]) -> tuple[Node, ...]:
        return await (await self._read()).match(user, items)

    async def branches(self, user: UserId, chat: ChatId) -> tuple[NodeHash, ...]:
        return await (await self._read()).branches(user, chat)

    async def glance(self, chat: Chat, search: str = "") -> Glance:
        return await (await self._read()).glance(chat, search)

    async def styles(self, user: UserId) -> Mapping[str, Style]:
        return await (await self._read()).styles(user)

    async def chat_tree(self, user: UserId, chat: ChatId) -> ChatTree:
        return await (await self._read()).chat_tree(user, chat)

    async def origin(self, user: UserId, chat: ChatId) -> Origin | None:
        return await (await self._read()).origin(user, chat)

    async def brought(self, user: UserId, source: str) -> Origin | None:
        return await (await self._read()).brought(user, source)

    async def entries(self, answer: AnswerId) -> tuple[Delta, ...]:
        return await (await self._read()).entries(answer)

    async def unfinished(self) -> tuple[Answer, ...]:
        return await (await self._read()).unfinished()

    async def verify(self) -> tuple[str, ...]:
        return await (await self._read()).verify()

    async def counts(self) -> dict[str, int]:
        return await (await self._read()).counts()

    async def close(self) -> None:
        """The disk stays."""
