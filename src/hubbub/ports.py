"""What the runtime needs of the world, as small Protocols. Each has a twin in this package for tests and simulation.

| port     | real                                   | twin                                |
| -------- | -------------------------------------- | ----------------------------------- |
| Engine   | engines/*                              | engines/simulated.py                |
| Store    | store/sqlite.py                        | store/memory.py                     |
| KeyStore | store/keys_sqlite.py                   | store/keys_memory.py                |
| Clock    | runtime/clock.py SystemClock           | runtime/clock.py VirtualClock       |
| Files, Batches | corpus/batches/desk.py           | the same in an empty folder         |
| Corpora  | corpus/hosted/desk.py                  | the same in an empty folder         |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from hubbub.core.batches import Batch, BatchId, BatchOrder, FileId, RowAnswer, StoredFile, Upload
from hubbub.core.branches import ChatTree
from hubbub.core.corpora import CheckedRecipe, Corpus, CorpusOrder, CorpusRecords, Rejection, WorkedRecipe
from hubbub.core.keys import Key, KeyId, Session, User
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Chunk,
    Delta,
    EngineId,
    EngineState,
    Item,
    Message,
    Node,
    NodeHash,
    Origin,
    Request,
    RequestId,
    Style,
    Usage,
    UserId,
)

T = TypeVar("T")

Sink: TypeAlias = Callable[[RequestId, Chunk], None]
"""Takes chunks from an engine. Called on the event loop, never blocks, never raises."""


@runtime_checkable
class Killable(Protocol):
    """What an engine is beside its port where its process is ours."""

    def kill(self) -> None:
        """End it at once, for it hangs. It is brought back like one that crashed."""
        ...


class Engine(Protocol):
    """One engine, ready or not. Every ``submit`` is answered by chunks and at the end exactly one last chunk."""

    id: EngineId

    async def start(self) -> EngineState:
        """Connect (and launch, where the engine is ours). Raises EngineUnavailable with the way out."""
        ...

    async def state(self) -> EngineState:
        """Capacity and gauges now. Raises EngineUnavailable when the engine does not answer."""
        ...

    def submit(self, request: Request, sink: Sink) -> None:
        """Start the request. Errors, too, come through the sink, as a last chunk."""
        ...

    def cancel(self, request: RequestId) -> None:
        """Stop it and free its slot; the sink gets a last chunk with finish CANCELLED. Unknown ids are ignored."""
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """Tokens of the rendered prompt, or None where the engine cannot say."""
        ...

    async def close(self) -> None: ...


# Changes of the store: data, so that one commit can hold several and all stores apply the same -----------------------


@dataclass(frozen=True, slots=True)
class NodesAdded:
    """Adding a node that is already there changes nothing. In a commit nodes come first, wherever they stand; a parent
    that is not there, or gone in the meantime, is a Conflict (so is a pointer to a node that is not there)."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ChatSaved:
    """A new chat, or a chat whose title, style or metadata changed. The head moves by ``HeadMoved`` alone, except for
    a new chat."""

    chat: Chat


@dataclass(frozen=True, slots=True)
class HeadMoved:
    """The chat goes on from ``before`` to ``after``. If its head is not ``before``, the whole commit fails with
    Conflict. Also removes the nodes from ``before`` upwards that nothing needs any more."""

    chat: ChatId
    before: NodeHash | None
    after: NodeHash | None
    at: float


@dataclass(frozen=True, slots=True)
class BranchKept:
    """``leaf`` and all above it stay as long as the chat does, wherever its head is. A leaf that is not there, or a
    chat that is not, is a Conflict."""

    chat: ChatId
    leaf: NodeHash


@dataclass(frozen=True, slots=True)
class OriginSaved:
    """Where a chat was brought from, new or changed; gone with the chat. A chat that is not there, or a source that
    another chat of its user has, is a Conflict."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class StyleSaved:
    """A style that a user keeps by a name, new or changed."""

    user: UserId
    name: str
    style: Style


@dataclass(frozen=True, slots=True)
class StyleDeleted:
    user: UserId
    name: str


@dataclass(frozen=True, slots=True)
class ChatDeleted:
    """Also removes the nodes that no other chat, answer or node needs."""

    chat: ChatId


@dataclass(frozen=True, slots=True)
class AnswerSaved:
    """A new answer, or the new state of one. An answer in a final state clears its journal, and never goes back to
    another state (Conflict)."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class AnswerDeleted:
    """Also removes the nodes that nothing else needs."""

    answer: AnswerId


Change = (
    NodesAdded
    | ChatSaved
    | HeadMoved
    | BranchKept
    | OriginSaved
    | StyleSaved
    | StyleDeleted
    | ChatDeleted
    | AnswerSaved
    | AnswerDeleted
)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Deltas ``start``, ``start + 1``, ... of one live answer."""

    answer: AnswerId
    start: int
    deltas: tuple[Delta, ...]


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


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    rows: tuple[T, ...]
    has_more: bool


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


class KeyBook(Protocol):
    """Keys and users. Several processes may write: a running server reads what the command line does beside it."""

    async def revision(self) -> int:
        """Rises with every change of a key or a user, whoever made it; cheap. Raises StorageError."""
        ...

    async def keys(self) -> tuple[Key, ...]:
        """All, by creation; expired and revoked ones too."""
        ...

    async def users(self) -> tuple[User, ...]:
        """All, by name."""
        ...

    async def add(self, key: Key) -> None:
        """A user that is not known is made, with weight 1. Raises Conflict for an id or a digest that is there."""
        ...

    async def revoke(self, key: KeyId, at: float) -> Key:
        """The key as it is then; one that was revoked before keeps its time. Raises NotFound."""
        ...

    async def save_user(self, user: User) -> None:
        """Make or change it."""
        ...


class Members(Protocol):
    """Who may sign in, and which browsers have. Every change raises the revision."""

    async def sessions(self) -> tuple[Session, ...]:
        """By creation; also those that are over."""
        ...

    async def add_session(self, session: Session) -> None:
        """Sessions that are over by its creation go, and the user's oldest beyond SESSIONS_KEPT. Raises NotFound."""
        ...

    async def end_sessions(self, user: UserId, *, only: str = "", but: str = "") -> None:
        """End all sessions of a user; ``only`` and ``but`` name one by its digest."""
        ...

    async def delete_user(self, user: UserId) -> None:
        """With all keys and sessions. Raises NotFound."""
        ...


class KeyUse(Protocol):
    """What keys were used for."""

    async def record(self, used: Mapping[KeyId, float], spent: Mapping[tuple[KeyId, int], int]) -> None:
        """``used``: times of last use, never going back. ``spent``: tokens to add by key and day (may be negative)."""
        ...

    async def spent(self, day: int) -> Mapping[KeyId, int]:
        """Tokens by key of one day (days since 1970)."""
        ...

    async def close(self) -> None: ...


class KeyStore(KeyBook, Members, KeyUse, Protocol):
    """What one adapter brings: all of it."""


class Clock(Protocol):
    """Time as the runtime sees it. ``wall`` is Unix seconds for people; ``now`` only ever rises and orders events."""

    def now(self) -> float: ...

    def wall(self) -> float: ...


class Draft(Protocol):
    """A file on its way in. What is not kept is gone when its context ends."""

    async def write(self, data: bytes) -> None:
        """Raises BodyTooLarge, StorageFull, StorageError."""
        ...


@dataclass(frozen=True, slots=True)
class FileQuery:
    purpose: str = ""
    after: FileId | None = None
    limit: int = 20
    descending: bool = True


class Files(Protocol):
    """Files of all users. One of another user is as if it were not there."""

    def draft(self, user: UserId) -> AbstractAsyncContextManager[Draft]:
        """Raises RateLimited where the user has too many files already."""
        ...

    async def keep(self, user: UserId, draft: Draft, upload: Upload) -> StoredFile:
        """Durable when it returns. Raises StorageError."""
        ...

    async def file(self, user: UserId, file: FileId) -> StoredFile:
        """Raises NotFound."""
        ...

    async def files(self, user: UserId, query: FileQuery) -> Page[StoredFile]:
        """Raises NotFound (param ``after``)."""
        ...

    async def content(self, user: UserId, file: FileId) -> Path:
        """Where its bytes are. Raises NotFound."""
        ...

    async def delete(self, user: UserId, file: FileId) -> None:
        """Raises NotFound, Conflict while a batch reads it."""
        ...


class Batches(Protocol):
    """Batches of all users. One of another user is as if it were not there."""

    async def create(self, order: BatchOrder) -> Batch:
        """Durable when it returns, and begun. Raises NotFound (param ``input_file_id``), RateLimited, StorageError."""
        ...

    async def batch(self, user: UserId, batch: BatchId) -> Batch:
        """Raises NotFound."""
        ...

    async def batches(self, user: UserId, after: BatchId | None, limit: int) -> Page[Batch]:
        """Newest first. Raises NotFound (param ``after``)."""
        ...

    async def cancel(self, user: UserId, batch: BatchId) -> Batch:
        """What is done is kept. Raises NotFound, Conflict for one that has ended otherwise."""
        ...


class FilesAndBatches(Files, Batches, Protocol):
    """One desk for both: a batch reads a file and writes two."""


class CorpusRuns(Protocol):
    """Corpus runs of one user each. One of another user is as if it were not there."""

    async def create(self, order: CorpusOrder) -> Corpus:
        """Durable when it returns, and begun. Raises BadRequest, Conflict, RateLimited, StorageError."""
        ...

    async def corpora(self, user: UserId) -> tuple[Corpus, ...]:
        """Newest first."""
        ...

    async def corpus(self, user: UserId, name: str) -> Corpus:
        """Raises NotFound, as all of these do."""
        ...

    async def pause(self, user: UserId, name: str) -> Corpus:
        """What is in flight ends and is kept. Raises Conflict for one that has ended, as ``stop`` does."""
        ...

    async def stop(self, user: UserId, name: str) -> Corpus: ...

    async def resume(self, user: UserId, name: str) -> Corpus:
        """Raises Conflict for one that is finished."""
        ...

    async def delete(self, user: UserId, name: str) -> None: ...

    async def records(self, user: UserId, name: str, first: int | None, limit: int) -> CorpusRecords:
        """``first``: where to begin, from 0; None: the newest. Raises StorageError."""
        ...

    async def rejected(self, user: UserId, name: str) -> tuple[Rejection, ...]:
        """The newest texts that were rejected, some of each reason."""
        ...

    async def page(self, user: UserId, name: str, path: str) -> Path:
        """A file of its hypertext; an empty ``path`` is the first page. Raises Conflict while it is being written."""
        ...


class Corpora(CorpusRuns, Protocol):
    """Corpora of all users, and the recipes that they are made from."""

    async def recipes(self) -> tuple[WorkedRecipe, ...]:
        """Those that come with Hubbub."""
        ...

    async def check(self, recipe: str, target: str, prompts: int) -> CheckedRecipe:
        """What is wrong with it, or what it is, with its first ``prompts``."""
        ...


AskRow: TypeAlias = Callable[[BatchOrder, bytes], Awaitable[RowAnswer]]
"""Answers one line of a batch, whose ``body`` is given as JSON. Does not raise HubbubError."""
