"""What is asked: from a gateway's words to a place in the tree, messages for a model, and what has to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hubbub.core import tree
from hubbub.core.branches import ChatTree
from hubbub.core.errors import ChatBusy, Conflict, NotFound
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Item,
    ItemId,
    ItemType,
    Json,
    Message,
    Node,
    NodeHash,
    Priority,
    Role,
    Sampling,
    Style,
    UserId,
)
from hubbub.ports import AnswerSaved, BranchKept, Change, ChatEdited, HeadMoved, NodesAdded, Store
from hubbub.runtime.prompt import messages_of

TITLE_CHARACTERS = 60
TITLE_READ = 2000
"""Characters of a question that are looked at for its title."""
BRANCHES_MOST = 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, as a gateway hands it over.

    The path asked about is that of ``chat``, or of the answer ``previous``, or empty; ``items`` come after it.
    ``instructions`` is a system prompt for this answer alone; None takes the chat's style. Fields of ``sampling``
    that are None take the chat's style, then the model's defaults. ``params`` is what the wire echoes.
    """

    user: UserId
    kind: AnswerKind
    items: tuple[Item, ...]
    model: str = ""
    """Empty: the chat's model, else the server's first. May be the name of an adapter."""
    adapter: str | None = None
    """None: the chat's adapter. Empty: none."""
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    chat: ChatId | None = None
    after: ItemId | None = None
    """The item of ``chat`` to go on from, on any of its branches; empty: before the first. None: its last."""
    previous: AnswerId | None = None
    store: bool = True
    background: bool = False
    priority: Priority = Priority.CHAT
    metadata: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What an ask comes to: where it stands in the tree and what it adds there."""

    chat: Chat | None
    parent: Node | None
    added: tuple[Node, ...]
    system_prompt: str | None
    messages: tuple[Message, ...]
    style: Style
    left: NodeHash | None = None
    """The head of the chat where this leaves its branch, to be kept."""

    @property
    def input(self) -> Node | None:
        return self.added[-1] if self.added else self.parent


async def question_of(store: Store, ask: Ask, now: float) -> Question:
    """``now``: Unix seconds. Raises NotFound (chat or previous; ``param`` names it), ChatBusy, Conflict."""
    chat, head = await standing(store, ask)
    left = None
    if chat is not None and ask.after is not None:
        head, left = _place(await store.chat_tree(ask.user, chat.id), ask.after)
    path = await store.path(ask.user, head)
    if not path and any(item.role is Role.ASSISTANT for item in ask.items):
        path = await store.match(ask.user, ask.items)
        rest = ask.items[len(path) :]
    else:
        rest = ask.items
    parent = path[-1] if path else None
    added = tree.link(ask.user, parent, rest, now)
    style = chat.style if chat else Style()
    prompt = style.system_prompt if ask.instructions is None else ask.instructions
    messages = messages_of(prompt, (node.item for node in (*path, *added)))
    return Question(chat, parent, added, prompt, messages, style, left)


def _place(chat: ChatTree, after: ItemId) -> tuple[NodeHash | None, NodeHash | None]:
    """Where to go on, and the leaf to keep. Raises NotFound (param ``after``), Conflict."""
    found = chat.find(after) if after else None
    if after and found is None:
        raise NotFound(f"there is no item {after!r} in conversation", param="after")
    left = chat.left(found)
    if left is not None and len(chat.leaves) >= BRANCHES_MOST:
        raise Conflict(f"this conversation keeps {BRANCHES_MOST} branches already; fork it", param="after")
    return found, left


async def standing(store: Store, ask: Ask) -> tuple[Chat | None, NodeHash | None]:
    """The chat asked in, if any, and the head of the path asked about."""
    if ask.chat is not None:
        chat = await store.chat(ask.user, ask.chat)
        if chat is None:
            raise NotFound(f"there is no conversation {ask.chat!r}", param="conversation")
        return chat, chat.head
    if ask.previous is not None:
        before = await store.answer(ask.user, ask.previous)
        if before is None:
            raise NotFound(f"there is no response {ask.previous!r}", param="previous_response_id")
        if not before.status.final:
            raise ChatBusy(f"response {ask.previous!r} is still being written", param="previous_response_id")
        return None, before.output or before.input
    return None, None


def opening(answer: Answer, question: Question) -> list[Change]:
    """What is stored when a question is accepted."""
    changes: list[Change] = []
    chat = question.chat
    if answer.store or chat:
        changes.append(NodesAdded(question.added))
    if chat and answer.input != chat.head:
        title = title_of(node.item for node in question.added) if question.parent is None else chat.title
        if title != chat.title and not chat.named:
            changes.append(ChatEdited(chat.id, title=title))
        changes.append(HeadMoved(chat.id, chat.head, answer.input, answer.created_at))
        if question.left is not None:
            changes.append(BranchKept(chat.id, question.left))
    if answer.store:
        changes.append(AnswerSaved(answer))
    return changes


def closing(answer: Answer, nodes: tuple[Node, ...]) -> list[Change]:
    """What is stored when an answer has ended. ``nodes``: what it adds below its question."""
    changes: list[Change] = []
    if nodes and (answer.store or answer.chat):
        changes.append(NodesAdded(nodes))
    if nodes and answer.chat and answer.status is not AnswerStatus.FAILED and answer.completed_at is not None:
        changes.append(HeadMoved(answer.chat, answer.input, nodes[-1].hash, answer.completed_at))
    if answer.store:
        changes.append(AnswerSaved(answer))
    return changes


def title_of(items: Iterable[Item]) -> str:
    """The first words of the first question: what a chat is called until somebody names it."""
    said = next((item.text for item in items if item.type is ItemType.MESSAGE and item.role is Role.USER), "")
    line = " ".join(said[:TITLE_READ].split()).lstrip("#*>`- ")
    if len(line) <= TITLE_CHARACTERS:
        return line
    cut = line[: TITLE_CHARACTERS - 1]
    whole = cut.rpartition(" ")[0]
    return (whole if len(whole) > TITLE_CHARACTERS // 2 else cut).rstrip(" ,;:.") + "…"
