"""The store's twin: all five ports in dictionaries, for tests, simulation and ``--store :memory:``.

Everything happens before the first await, so that a commit is atomic by itself; an undo log takes a failing one back.
Chats and answers are kept as documents and read anew each time, so that nobody's later change of a dictionary reaches
the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hubbub.core.branches import ChatTree, Twig
from hubbub.core.errors import Conflict, NotFound, StorageError
from hubbub.core.search import has, words
from hubbub.core.types import (
    Answer,
    AnswerId,
    Chat,
    ChatId,
    Delta,
    Item,
    ItemType,
    Node,
    NodeHash,
    Origin,
    Style,
    UserId,
)
from hubbub.ports import (
    AnswerDeleted,
    AnswerQuery,
    AnswerSaved,
    BranchKept,
    Change,
    ChatDeleted,
    ChatEdited,
    ChatQuery,
    ChatSaved,
    Glance,
    HeadMoved,
    JournalEntry,
    LastAnswer,
    NodesAdded,
    OriginSaved,
    Page,
    StyleDeleted,
    StyleSaved,
)
from hubbub.store import check, rows
from hubbub.store.journal import out_of_place

Row = TypeVar("Row", Chat, Answer)
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class _ChatRow:
    id: ChatId
    user: UserId
    created_at: float
    updated_at: float
    head: NodeHash | None
    doc: str
    title: str
    """Folded."""
    pinned: bool

    def read(self) -> Chat:
        return rows.chat_from(self.id, self.user, (self.created_at, self.updated_at), self.head, self.doc)


@dataclass(frozen=True, slots=True)
class _AnswerRow:
    answer: Answer
    doc: str

    @property
    def pointers(self) -> tuple[NodeHash | None, ...]:
        return self.answer.input, self.answer.output

    def read(self) -> Answer:
        return rows.answer_from(self.doc)


class MemoryStore:
    def __init__(self) -> None:
        self._nodes: dict[NodeHash, tuple[int, Node]] = {}
        self._kids: dict[tuple[UserId, NodeHash | None, bytes], tuple[NodeHash, ...]] = {}
        self._needed: dict[NodeHash, int] = {}
        """How many children, heads and answers point to a node."""
        self._chats: dict[ChatId, _ChatRow] = {}
        self._branches: dict[ChatId, tuple[NodeHash, ...]] = {}
        self._origins: dict[ChatId, Origin] = {}
        self._styles: dict[tuple[UserId, str], Style] = {}
        self._answers: dict[AnswerId, _AnswerRow] = {}
        self._journal: dict[AnswerId, list[Delta]] = {}
        self._undo: list[Callable[[], None]] = []
        self._born = 0
        self._closed = False

    # ChatStore ------------------------------------------------------------------------------------------------------

    async def commit(self, *changes: Change) -> None:
        self._check_open()
        self._undo = []
        released: list[NodeHash | None] = []
        try:
            for change in changes:
                if isinstance(change, NodesAdded):
                    self._add_nodes(change.nodes)
            for change in changes:
                self._apply(change, released)
            for gone in released:
                self._sweep(gone)
        except BaseException:
            for undo in reversed(self._undo):
                undo()
            raise

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None:
        self._check_open()
        row = self._chats.get(chat)
        return row.read() if row and row.user == user else None

    async def chats(self, user: UserId, query: ChatQuery) -> Page[Chat]:
        self._check_open()
        wanted = [rows.key(word) for word in words(query.search)]
        after = self._chats.get(query.after) if query.after is not None else None
        if query.after is not None and (after is None or after.user != user):
            raise NotFound(f"there is no chat {query.after}", param="after")
        found = [row for row in self._chats.values() if row.user == user and self._matches(row, wanted)]
        found.sort(key=lambda row: _standing(row, query), reverse=query.descending)
        if after:
            place = _standing(after, query)
            found = [row for row in found if _beyond(_standing(row, query), place, query.descending)]
        return _page([row.read() for row in found[: max(query.limit, 0) + 1]], query.limit)

    async def glance(self, chat: Chat, search: str = "") -> Glance:
        path = await self.path(chat.user, chat.head)
        last = next((n.item for n in reversed(path[-rows.GLANCE_ITEMS :]) if n.item.type is ItemType.MESSAGE), None)
        wanted = [rows.key(word) for word in words(search)]
        found = next((n.item for n in reversed(path) if wanted and has(rows.fold(n.item.text), wanted)), None)
        return Glance(len(path), last, self._last_answer(chat), found)

    def _last_answer(self, chat: Chat) -> LastAnswer | None:
        theirs = [row.answer for row in self._answers.values() if row.answer.user == chat.user]
        said = [answer for answer in theirs if chat.head is not None and answer.output == chat.head]
        found = (said or [answer for answer in theirs if answer.chat == chat.id])[-1:]
        return LastAnswer(found[0].id, found[0].status, found[0].usage) if found else None

    async def styles(self, user: UserId) -> Mapping[str, Style]:
        self._check_open()
        mine = {name: style for (owner, name), style in self._styles.items() if owner == user}
        return dict(sorted(mine.items()))

    async def answer(self, user: UserId, answer: AnswerId) -> Answer | None:
        self._check_open()
        row = self._answers.get(answer)
        return row.read() if row and row.answer.user == user else None

    async def answers(self, user: UserId, query: AnswerQuery) -> Page[Answer]:
        self._check_open()
        after = self._answers.get(query.after) if query.after is not None else None
        if query.after is not None and (after is None or after.answer.user != user):
            raise NotFound(f"there is no answer {query.after}", param="after")
        found = [row for row in self._answers.values() if row.answer.user == user and _wanted(row.answer, query)]
        found.sort(key=lambda row: (row.answer.created_at, row.answer.id), reverse=query.descending)
        if after:
            place = (after.answer.created_at, after.answer.id)
            found = [r for r in found if _beyond((r.answer.created_at, r.answer.id), place, query.descending)]
        return _page([row.read() for row in found[: max(query.limit, 0) + 1]], query.limit)

    # ItemTree -------------------------------------------------------------------------------------------------------

    async def path(self, user: UserId, head: NodeHash | None, last: int | None = None) -> tuple[Node, ...]:
        self._check_open()
        if head is None:
            return ()
        if head not in self._nodes or self._nodes[head][1].user != user:
            raise NotFound(f"there is no item {head[:16]}")
        return self._walk(head, last)

    async def match(self, user: UserId, items: Sequence[Item]) -> tuple[Node, ...]:
        self._check_open()
        reached: list[NodeHash] = []
        parents: list[NodeHash | None] = [None]
        for item in items:
            digest = rows.digest(item)
            parents = [kid for parent in parents for kid in self._kids.get((user, parent, digest), ())]
            if not parents:
                break
            reached = [kid for kid in parents if kid is not None]
        if not reached:
            return ()
        return self._walk(min(reached, key=lambda node_hash: self._nodes[node_hash][0]))

    # Beginnings -----------------------------------------------------------------------------------------------------

    async def branches(self, user: UserId, chat: ChatId) -> tuple[NodeHash, ...]:
        self._check_open()
        row = self._chats.get(chat)
        return self._branches.get(chat, ()) if row and row.user == user else ()

    async def chat_tree(self, user: UserId, chat: ChatId) -> ChatTree:
        self._check_open()
        row = self._chats.get(chat)
        if row is None or row.user != user:
            raise NotFound(f"there is no conversation {chat!r}", param="conversation")
        leaves = self._branches.get(chat, ())
        found = {node.hash: node for end in (row.head, *leaves) for node in self._walk(end)}
        twigs = [Twig(node.hash, node.parent, node.item.id, self._nodes[node.hash][0]) for node in found.values()]
        return ChatTree(row.head, leaves, twigs)

    async def origin(self, user: UserId, chat: ChatId) -> Origin | None:
        self._check_open()
        found = self._origins.get(chat)
        return found if found and found.user == user else None

    async def brought(self, user: UserId, source: str) -> Origin | None:
        self._check_open()
        return self._brought(user, source)

    # Journal --------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        self._check_open()
        expected = {answer: len(deltas) for answer, deltas in self._journal.items()}
        for entry in entries:
            if expected.get(entry.answer) != entry.start:
                raise out_of_place(entry, expected.get(entry.answer))
            expected[entry.answer] = entry.start + len(entry.deltas)
        for entry in entries:
            self._journal[entry.answer].extend(entry.deltas)

    async def entries(self, answer: AnswerId) -> tuple[Delta, ...]:
        self._check_open()
        return tuple(self._journal.get(answer, ()))

    async def unfinished(self) -> tuple[Answer, ...]:
        self._check_open()
        return tuple(row.read() for row in self._answers.values() if not row.answer.status.final)

    # Upkeep ---------------------------------------------------------------------------------------------------------

    async def verify(self) -> tuple[str, ...]:
        self._check_open()
        faults: list[str] = []
        for _, node in self._nodes.values():
            above = self._nodes[node.parent][1] if node.parent in self._nodes else None
            faults += check.node_faults(node, (above.user, above.depth) if above else None)
        for chat in self._chats.values():
            faults += check.chat_faults(chat.read(), self._owner(chat.head))
            faults += [
                f"branch of chat {chat.id} (user {chat.user}): its leaf {leaf[:16]} is {check.whose(self._owner(leaf))}"
                for leaf in self._branches.get(chat.id, ())
                if self._owner(leaf) != chat.user
            ]
        for row in self._answers.values():
            faults += check.answer_faults(row.read(), *map(self._owner, row.pointers))
        return tuple(faults)

    async def counts(self) -> dict[str, int]:
        self._check_open()
        return {
            "chats": len(self._chats),
            "nodes": len(self._nodes),
            "answers": len(self._answers),
            "journal": sum(map(len, self._journal.values())),
        }

    async def close(self) -> None:
        self._closed = True

    # Changes --------------------------------------------------------------------------------------------------------

    def _apply(self, change: Change, released: list[NodeHash | None]) -> None:
        match change:
            case NodesAdded():
                pass
            case ChatSaved(chat):
                self._save_chat(chat)
            case ChatEdited():
                self._edit_chat(change)
            case HeadMoved(chat_id, before, after, at):
                row = self._chats.get(chat_id)
                if row is None or row.head != before:
                    raise Conflict(f"chat {chat_id} has gone on in the meantime")
                self._point(row.user, (after,), (before,))
                self._put(self._chats, chat_id, replace(row, head=after, updated_at=at))
                released.append(before)
            case BranchKept(chat_id, leaf):
                self._keep_branch(chat_id, leaf)
            case OriginSaved(origin):
                self._save_origin(origin)
            case StyleSaved(user, name, style):
                self._put(self._styles, (user, name), style)
            case StyleDeleted(user, name):
                self._put(self._styles, (user, name), _ABSENT)
            case ChatDeleted(chat_id):
                released += self._delete_chat(chat_id)
            case AnswerSaved(answer):
                released += self._save_answer(answer)
            case AnswerDeleted(answer_id):
                gone = self._answers.get(answer_id)
                if gone:
                    self._point(gone.answer.user, (), gone.pointers)
                    released += gone.pointers
                    self._put(self._answers, answer_id, _ABSENT)
                    self._put(self._journal, answer_id, _ABSENT)

    def _add_nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.hash in self._nodes:
                continue
            above = self._nodes[node.parent][1] if node.parent in self._nodes else None
            if node.parent is not None and (above is None or above.user != node.user):
                raise Conflict(f"the item {node.parent[:16]} that this goes on from is gone")
            if node.depth != (above.depth + 1 if above else 1):
                raise StorageError(f"node {node.hash[:16]} has depth {node.depth}, which its parent's does not fit")
            self._born += 1
            self._put(self._nodes, node.hash, (self._born, node))
            place = (node.user, node.parent, rows.digest(node.item))
            self._put(self._kids, place, (*self._kids.get(place, ()), node.hash))
            self._point(node.user, (node.parent,), ())

    def _save_chat(self, chat: Chat) -> None:
        old = self._chats.get(chat.id)
        if old is None:
            self._point(chat.user, (chat.head,), ())
        elif old.user != chat.user:
            raise Conflict(f"the chat id {chat.id} is taken")
        created, head = (old.created_at, old.head) if old else (float(chat.created_at), chat.head)
        kept = replace(chat, forked_from=old.read().forked_from) if old else chat
        doc, title = rows.chat_doc(kept), rows.fold(chat.title)
        row = _ChatRow(chat.id, chat.user, created, float(chat.updated_at), head, doc, title, chat.pinned)
        self._put(self._chats, chat.id, row)

    def _edit_chat(self, edit: ChatEdited) -> None:
        old = self._chats.get(edit.chat)
        if old is None:
            raise Conflict(f"chat {edit.chat} is gone")
        title, pinned, doc = rows.edited(old.doc, rows.edit_doc(edit))
        at = old.updated_at if edit.at is None else float(edit.at)
        self._put(self._chats, edit.chat, replace(old, doc=doc, title=rows.fold(title), pinned=pinned, updated_at=at))

    def _keep_branch(self, chat_id: ChatId, leaf: NodeHash) -> None:
        if chat_id not in self._chats:
            raise Conflict(f"chat {chat_id} is gone")
        kept = self._branches.get(chat_id, ())
        if leaf not in kept:
            self._point(self._chats[chat_id].user, (leaf,), ())
            self._put(self._branches, chat_id, (*kept, leaf))

    def _save_origin(self, origin: Origin) -> None:
        row = self._chats.get(origin.chat)
        if row is None or row.user != origin.user:
            raise Conflict(f"chat {origin.chat} is gone")
        other = self._brought(origin.user, origin.source)
        if other and other.chat != origin.chat:
            raise Conflict(f"{origin.source} has been brought already, as chat {other.chat}")
        self._put(self._origins, origin.chat, origin)

    def _delete_chat(self, chat_id: ChatId) -> tuple[NodeHash | None, ...]:
        if chat_id not in self._chats:
            return ()
        gone = (self._chats[chat_id].head, *self._branches.get(chat_id, ()))
        self._point(self._chats[chat_id].user, (), gone)
        self._put(self._chats, chat_id, _ABSENT)
        self._put(self._branches, chat_id, _ABSENT)
        self._put(self._origins, chat_id, _ABSENT)
        return gone

    def _save_answer(self, answer: Answer) -> tuple[NodeHash | None, ...]:
        old = self._answers.get(answer.id)
        if old and old.answer.user != answer.user:
            raise Conflict(f"the answer id {answer.id} is taken")
        if old and old.answer.status.final and not answer.status.final:
            raise Conflict(f"answer {answer.id} has ended")
        doc = rows.answer_doc(answer)
        row = _AnswerRow(rows.answer_from(doc), doc)
        released = old.pointers if old else ()
        self._point(answer.user, row.pointers, released)
        self._put(self._answers, answer.id, row)
        if answer.status.final:
            self._put(self._journal, answer.id, _ABSENT)
        elif old is None:
            self._put(self._journal, answer.id, [])
        return released

    def _point(self, user: UserId, to: Iterable[NodeHash | None], away: Iterable[NodeHash | None]) -> None:
        for node_hash in to:
            if node_hash is not None:
                if self._owner(node_hash) != user:
                    raise Conflict(f"the item {node_hash[:16]} is gone")
                self._put(self._needed, node_hash, self._needed.get(node_hash, 0) + 1)
        for node_hash in away:
            if node_hash is not None:
                self._put(self._needed, node_hash, self._needed[node_hash] - 1)

    def _sweep(self, gone: NodeHash | None) -> None:
        while gone is not None and gone in self._nodes and not self._needed.get(gone):
            node = self._nodes[gone][1]
            place = (node.user, node.parent, rows.digest(node.item))
            kids = tuple(kid for kid in self._kids[place] if kid != gone)
            self._put(self._kids, place, kids or _ABSENT)
            self._put(self._nodes, gone, _ABSENT)
            self._put(self._needed, gone, _ABSENT)
            self._point(node.user, (), (node.parent,))
            gone = node.parent

    def _put(self, table: dict[Any, Any], key: object, value: object) -> None:
        old = table.get(key, _ABSENT)
        self._undo.append(lambda: _set(table, key, old))
        _set(table, key, value)

    # Reading --------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the store is closed")

    def _owner(self, node_hash: NodeHash | None) -> UserId | None:
        return self._nodes[node_hash][1].user if node_hash in self._nodes else None

    def _brought(self, user: UserId, source: str) -> Origin | None:
        return next((o for o in self._origins.values() if (o.user, o.source) == (user, source)), None)

    def _walk(self, head: NodeHash | None, last: int | None = None) -> tuple[Node, ...]:
        path: list[Node] = []
        while head is not None and (last is None or len(path) < last):
            path.append(self._nodes[head][1])
            head = path[-1].parent
        return tuple(reversed(path))

    def _matches(self, row: _ChatRow, wanted: Sequence[str]) -> bool:
        return has(row.title, wanted) or any(has(rows.fold(node.item.text), wanted) for node in self._walk(row.head))


def _set(table: dict[Any, Any], key: object, value: object) -> None:
    if value is _ABSENT:
        table.pop(key, None)
    else:
        table[key] = value


def _wanted(answer: Answer, query: AnswerQuery) -> bool:
    if answer.kind is not query.kind or query.model not in (None, answer.model):
        return False
    return all(answer.metadata.get(key) == value for key, value in query.metadata)


def _standing(row: _ChatRow, query: ChatQuery) -> tuple[bool, float, str]:
    rank = (row.pinned if query.descending else not row.pinned) if query.pinned_first else False
    return rank, row.updated_at, row.id


def _beyond(row: tuple[Any, ...], place: tuple[Any, ...], descending: bool) -> bool:
    return row < place if descending else row > place


def _page(found: list[Row], limit: int) -> Page[Row]:
    limit = max(limit, 0)
    return Page(tuple(found[:limit]), has_more=len(found) > limit)
