"""Where chats, items and answers are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubbub.core.branches import ChatTree
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Delta,
    Item,
    Node,
    NodeHash,
    Origin,
    Style,
    Usage,
    UserId,
)
from hubbub.ports.changes import Change, JournalEntry
from hubbub.ports.paging import Page


@dataclass(frozen=True, slots=True)
class ChatQuery:
    """A page of one user's chats, by last change. ``after`` is the last id of the page before. ``search``: all its
    words are in the title, or in one text of the chat's path, without regard to case. ``pinned_first``: those before
    all others, whatever the order."""

    search: str = ""
    after: ChatId | None = None
    limit: int = 20
    descending: bool = True
    pinned_first: bool = False


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The end of an answer, without its words."""

    id: AnswerId
    status: AnswerStatus
    usage: Usage


@dataclass(frozen=True, slots=True)
class Glance:
    """What a list shows of a chat beside itself.

    ``items``: how many its path has. ``last``: its last message, if it is near the end. ``answer``: the stored one that
    said the last item, else the latest asked in this chat. ``found``: the last item that has what was searched for.
    """

    items: int = 0
    last: Item | None = None
    answer: LastAnswer | None = None
    found: Item | None = None


@dataclass(frozen=True, slots=True)
class AnswerQuery:
    """A page of one user's stored answers of a kind, by creation."""

    kind: AnswerKind
    model: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    after: AnswerId | None = None
    limit: int = 20
    descending: bool = False


class ChatStore(Protocol):
    """Chats, items and answers of all users. A row of another user is as if it were not there."""

    async def commit(self, *changes: Change) -> None:
        """Apply all or nothing; durable when it returns. Raises Conflict, StorageFull or StorageError."""
        ...

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None: ...

    async def chats(self, user: UserId, query: ChatQuery) -> Page[Chat]:
        """Raises NotFound (param ``after``) for a cursor that is not one of this user's chats."""
        ...

    async def glance(self, chat: Chat, search: str = "") -> Glance:
        """Raises NotFound for a head that is not there any more."""
        ...

    async def answer(self, user: UserId, answer: AnswerId) -> Answer | None: ...

    async def answers(self, user: UserId, query: AnswerQuery) -> Page[Answer]:
        """Raises NotFound (param ``after``) for a cursor that is not one of this user's answers."""
        ...

    async def styles(self, user: UserId) -> Mapping[str, Style]:
        """Those that the user keeps, by name."""
        ...


class ItemTree(Protocol):
    """The tree of items, read along its paths."""

    async def path(self, user: UserId, head: NodeHash | None, last: int | None = None) -> tuple[Node, ...]:
        """All nodes from the root to ``head``, or the ``last`` so many of them, at a cost of these alone; empty for
        None. Raises NotFound for a head that is not this user's."""
        ...

    async def match(self, user: UserId, items: Sequence[Item]) -> tuple[Node, ...]:
        """The longest path from the root whose items have the same bodies, whatever their ids: what is already kept
        of a history that a client sent again."""
        ...


class Beginnings(Protocol):
    """What a chat has beside its path: branches, and where it was brought from."""

    async def branches(self, user: UserId, chat: ChatId) -> tuple[NodeHash, ...]:
        """The kept leaves of a chat, in the order they were kept; the head is not among them by itself."""
        ...

    async def chat_tree(self, user: UserId, chat: ChatId) -> ChatTree:
        """All paths of a chat, without their texts. Raises NotFound (param ``conversation``)."""
        ...

    async def origin(self, user: UserId, chat: ChatId) -> Origin | None: ...

    async def brought(self, user: UserId, source: str) -> Origin | None:
        """The origin of the chat that ``source`` became."""
        ...


class Journal(Protocol):
    """The live part of every stored answer, append-only."""

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        """All or nothing; survives a kill of the process when it returns. Raises StorageFull, or StorageError for an
        entry that does not go on where its answer's journal stands, or whose answer is not being written."""
        ...

    async def entries(self, answer: AnswerId) -> tuple[Delta, ...]: ...

    async def unfinished(self) -> tuple[Answer, ...]:
        """Answers of all users that have not ended, in the order they were first saved: after a start, those that the
        last stop interrupted."""
        ...


class Upkeep(Protocol):
    """Opening, checking and closing a store."""

    async def verify(self) -> tuple[str, ...]:
        """Re-hash every node and check every pointer; one line a fault, empty when sound."""
        ...

    async def counts(self) -> dict[str, int]:
        """Rows by table: ``chats``, ``nodes``, ``answers``; and ``journal``, the deltas of live answers."""
        ...

    async def close(self) -> None: ...


class Store(ChatStore, ItemTree, Beginnings, Journal, Upkeep, Protocol):
    """What one adapter brings: all five."""
