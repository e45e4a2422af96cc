"""Changes of the store: data, so that one commit can hold several and all stores apply the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hubbub.core.types import Answer, AnswerId, Chat, ChatId, Delta, Node, NodeHash, Origin, Style, UserId


@dataclass(frozen=True, slots=True)
class NodesAdded:
    """Adding a node that is already there changes nothing. In a commit nodes come first, wherever they stand; a parent
    that is not there, or gone in the meantime, is a Conflict (so is a pointer to a node that is not there)."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ChatSaved:
    """A new chat, or all of a chat but its head anew. The head moves by ``HeadMoved`` alone, except for a new chat."""

    chat: Chat


@dataclass(frozen=True, slots=True)
class ChatEdited:
    """Sets what is not None and leaves the rest as it is by then; a chat that is not there is a Conflict. A title that
    comes without ``named`` does not take the place of one that somebody gave. ``at``: the time of the last change."""

    chat: ChatId
    title: str | None = None
    named: bool | None = None
    style: Style | None = None
    metadata: Mapping[str, str] | None = None
    pinned: bool | None = None
    at: float | None = None


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
    | ChatEdited
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
