"""What tests of the store build from: short words for users, texts, chats and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hubbub.core.tree import link
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Delta,
    Item,
    ItemId,
    ItemType,
    Node,
    Role,
    UserId,
)
from hubbub.ports import ChatSaved, JournalEntry, NodesAdded, Store

ANN = UserId("ann")
BOB = UserId("bob")
NOW = 1_700_000_000.123456789


def said(text: str, *, role: Role = Role.USER, item_id: str = "") -> Item:
    return Item(ItemId(item_id), ItemType.MESSAGE, (text,), role)


def nodes(*texts: str, user: UserId = ANN, below: Node | None = None, ids: Sequence[str] = ()) -> tuple[Node, ...]:
    given = [said(text, item_id=ids[index] if ids else "") for index, text in enumerate(texts)]
    return link(user, below, given, NOW)


def a_chat(name: str, path: Sequence[Node] = (), *, user: UserId = ANN, at: float = NOW, title: str = "") -> Chat:
    head = path[-1].hash if path else None
    return Chat(ChatId(name), user, created_at=at, updated_at=at, head=head, title=title)


def an_answer(name: str, *, user: UserId = ANN, at: float = NOW, status: AnswerStatus = AnswerStatus.QUEUED) -> Answer:
    return Answer(AnswerId(name), user, AnswerKind.RESPONSE, "m", at, status)


def ended(answer: Answer) -> Answer:
    return replace(answer, status=AnswerStatus.COMPLETED)


def entry(name: str, start: int, *texts: str) -> JournalEntry:
    return JournalEntry(AnswerId(name), start, tuple(map(Delta, texts)))


async def keep(store: Store, name: str, *texts: str, user: UserId = ANN, at: float = NOW, title: str = "") -> Chat:
    """A chat that says these texts."""
    path = nodes(*texts, user=user)
    chat = a_chat(name, path, user=user, at=at, title=title)
    await store.commit(NodesAdded(path), ChatSaved(chat))
    return chat
