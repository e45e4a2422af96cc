"""Chats brought from files into the store: each in one commit, all of it or nothing.

A source that was brought before adds to the chat it became: what is there already is not added again, what is new goes
on from where it belongs. The chat moves along, unless somebody has gone on in it here; then what came is kept as a
branch beside.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from hubbub.core.errors import ChatBusy, Conflict
from hubbub.core.types import Chat, ChatId, Node, Origin, UserId
from hubbub.exchange.files import Bounds, Reading
from hubbub.exchange.model import Found, Problem, Talk
from hubbub.exchange.nexus_note import read
from hubbub.exchange.packed import unpacked
from hubbub.exchange.planting import Planted, plant
from hubbub.ports import BranchKept, Change, ChatSaved, Clock, HeadMoved, NodesAdded, OriginSaved, Store

BATCH_CHATS, BATCH_ITEMS = 64, 2000
"""Chats committed together: they wait for the disk once. Bounds what is held, too."""
MOST_TOLD = 1000
"""Problems and chats that are told one by one; of the others, how many there were."""


@dataclass(slots=True)
class Report:
    """What an import came to. ``left_out``: by kind, what is not text or was not understood; ``passed_over``: files
    that hold no chats, by their endings."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    items: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    chats: list[ChatId] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.created + self.updated + self.unchanged

    def trouble(self, problem: Problem) -> None:
        self.problem_count += 1
        if self.problem_count <= MOST_TOLD:
            self.problems.append(problem)

    def kept(self, chat: ChatId, items: int, *, new: bool) -> None:
        self.created += new
        self.updated += not new
        self.items += items
        if len(self.chats) < MOST_TOLD:
            self.chats.append(chat)


@dataclass(frozen=True, slots=True)
class _Was:
    """A chat as it is before more is brought: where it was brought from, and the path it is on."""

    chat: Chat
    origin: Origin
    path: tuple[Node, ...]


class Importer:
    """``busy`` says whether an answer is being written in a chat: its path must not change meanwhile."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[str], str],
        busy: Callable[[UserId, ChatId], bool],
        bounds: Bounds | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._busy = busy
        self._bounds = bounds or Bounds()

    async def bring(
        self, user: UserId, name: str, source: IO[bytes], report: Report, told: Callable[[], None] = lambda: None
    ) -> None:
        """Everything in one file, added to ``report``; ``told`` is called after each handful of chats.

        What is wrong with the file is in the report. Raises StorageError, StorageFull; what was kept until then stays.
        """
        reading = Reading(name, self._bounds)
        await self.take(user, reading.found(source), report, told)
        report.passed_over += reading.passed_over

    async def bring_folder(
        self, user: UserId, folder: Path, report: Report, told: Callable[[], None] = lambda: None
    ) -> None:
        """Every note and export below a folder, as :meth:`bring`."""
        reading = Reading(str(folder), self._bounds)
        await self.take(user, reading.folder(folder), report, told)
        report.passed_over += reading.passed_over

    async def take(
        self, user: UserId, found: Iterator[Found], report: Report, told: Callable[[], None] = lambda: None
    ) -> None:
        """What was found, some together."""
        batches = _batches(found)
        while batch := await asyncio.to_thread(next, batches, None):
            outcomes = await asyncio.gather(
                *(self._one(user, found, report) for found in batch), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            told()

    async def _one(self, user: UserId, found: Found, report: Report) -> None:
        if found.problem is not None:
            report.trouble(found.problem)
        if found.talk is None:
            return
        try:
            try:
                await self._keep(user, found.talk, found.file, report)
            except Conflict as lost:  # somebody else was quicker; what they did is seen now
                if isinstance(lost, ChatBusy):
                    raise
                await self._keep(user, found.talk, found.file, report)
        except Conflict as wrong:
            report.trouble(Problem(found.file, wrong.message, found.talk.title))
        else:
            report.left_out += found.talk.left_out

    async def _keep(self, user: UserId, talk: Talk, file: str, report: Report) -> None:
        """Raises Conflict, ChatBusy, StorageError."""
        origin = await self._store.brought(user, talk.source)
        named = origin.chat if origin else talk.chat
        chat = await self._store.chat(user, named) if named else None
        if chat is None:
            await self._create(user, talk, file, report)
            return
        paths = await self._paths(chat)
        planted = await asyncio.to_thread(plant, user, talk, paths, self._clock.wall())
        if origin is None and paths[0] and paths[0][0].hash not in planted.path:
            await self._create(user, talk, file, report)  # it says it is this chat, and has nothing of it
            return
        before = origin or await self._store.origin(user, chat.id) or Origin(chat.id, user, talk.source)
        await self._update(_Was(chat, before, paths[0]), planted, talk, file, report)

    async def _create(self, user: UserId, talk: Talk, file: str, report: Report) -> None:
        now = self._clock.wall()
        planted = await asyncio.to_thread(plant, user, talk, (), talk.created_at or now)
        created = now if talk.created_at is None else talk.created_at
        chat = Chat(
            id=ChatId(self._new_id("conv_")),
            user=user,
            created_at=created,
            updated_at=max(created, created if talk.updated_at is None else talk.updated_at),
            head=planted.head,
            title=talk.title,
            style=talk.style,
            metadata=talk.metadata,
        )
        origin = Origin(chat.id, user, talk.source, file, planted.head, talk.original)
        branches = [BranchKept(chat.id, leaf) for leaf in planted.leaves if leaf != planted.head]
        await self._store.commit(NodesAdded(planted.added), ChatSaved(chat), *branches, OriginSaved(origin))
        report.kept(chat.id, len(planted.added), new=True)

    async def _update(self, was: _Was, planted: Planted, talk: Talk, file: str, report: Report) -> None:
        chat, before = was.chat, was.origin
        changes = _moves(was, planted, talk)
        name = file if talk.rendered or not before.name else before.name
        after = replace(before, leaf=planted.head, name=name, original=_newer(before, talk))
        if not planted.added and not changes and after.original == before.original:
            report.unchanged += 1
            return
        if self._busy(chat.user, chat.id):
            raise ChatBusy("an answer is being written in this chat: bring it again when that has ended")
        await self._store.commit(NodesAdded(planted.added), *changes, OriginSaved(after))
        report.kept(chat.id, len(planted.added), new=False)

    async def _paths(self, chat: Chat) -> list[tuple[Node, ...]]:
        """Of all branches; the one that is on first."""
        paths = [await self._store.path(chat.user, chat.head)]
        leaves = await self._store.branches(chat.user, chat.id)
        return paths + [await self._store.path(chat.user, leaf) for leaf in leaves]


def _moves(was: _Was, planted: Planted, talk: Talk) -> list[Change]:
    """Where the chat goes, and which branches are kept."""
    chat, head = was.chat, planted.head
    changes: list[Change] = [BranchKept(chat.id, leaf) for leaf in planted.leaves if leaf != head]
    if head is None or head in {node.hash for node in was.path}:
        return changes
    goes_on = chat.head is None or chat.head in planted.path
    if not goes_on and chat.head != was.origin.leaf:  # somebody went on here
        return [*changes, BranchKept(chat.id, head)] if head in planted.leaves else changes
    if not goes_on and chat.head is not None:
        changes.append(BranchKept(chat.id, chat.head))
    at = max(chat.updated_at, talk.updated_at or 0.0)
    return [*changes, HeadMoved(chat.id, chat.head, head, at)]


def _newer(before: Origin, talk: Talk) -> bytes:
    """The file to give back: an older copy of a note does not take the place of a newer one."""
    if not talk.original or not before.original or talk.original == before.original:
        return talk.original or before.original
    kept = read(unpacked(before.original).decode())
    return talk.original if len(talk.said) >= len(kept.pieces) else before.original


def _batches(found: Iterator[Found]) -> Iterator[list[Found]]:
    """A handful at a time, no source twice in one."""
    batch: list[Found] = []
    sources: set[str] = set()
    items = 0
    for one in found:
        source = one.talk.source if one.talk else ""
        if len(batch) == BATCH_CHATS or items >= BATCH_ITEMS or (source and source in sources):
            yield batch
            batch, sources, items = [], set(), 0
        batch.append(one)
        sources.add(source)
        items += len(one.talk.said) if one.talk else 0
    if batch:
        yield batch
