"""Changes applied to the database, inside a transaction that somebody else holds.

Nodes come first, whatever the order in a commit, and what is no longer needed goes last: between the two a commit may
point to and away from anything it likes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hubbub.core.errors import Conflict, StorageError
from hubbub.core.types import Answer, AnswerId, Chat, ChatId, Node, NodeHash, Origin, UserId
from hubbub.ports import (
    AnswerDeleted,
    AnswerSaved,
    BranchKept,
    Change,
    ChatDeleted,
    ChatEdited,
    ChatSaved,
    HeadMoved,
    NodesAdded,
    OriginSaved,
    StyleDeleted,
    StyleSaved,
)
from hubbub.store import rows
from hubbub.store.journal import Place
from hubbub.store.queries import query

Prepared = tuple[Change, tuple[tuple[object, ...], ...]]
"""A change and what of it has to be encoded: one tuple a node, or one for the chat or answer."""


def prepare(change: Change) -> Prepared:
    """Done by the caller, so that what cannot be encoded is the caller's error. Raises TypeError."""
    match change:
        case NodesAdded(nodes):
            return change, tuple((rows.digest(n.item), rows.node_doc(n), rows.fold(n.item.text)) for n in nodes)
        case ChatSaved(chat):
            return change, ((rows.chat_doc(chat), rows.fold(chat.title)),)
        case ChatEdited():
            return change, ((rows.edit_doc(change),),)
        case AnswerSaved(answer):
            return change, ((rows.answer_doc(answer),),)
        case StyleSaved(_, _, style):
            return change, ((rows.style_doc(style),),)
        case _:
            return change, ()


@dataclass(slots=True)
class Applier:
    """Applies one commit. ``places`` are the live answers as of now; ``moved`` what this commit changes of them."""

    connection: sqlite3.Connection
    places: dict[AnswerId, Place]
    moved: dict[AnswerId, Place | None] = field(default_factory=dict)
    _known: dict[NodeHash, tuple[int, UserId, int]] = field(default_factory=dict)
    _released: list[int | None] = field(default_factory=list)

    def apply(self, changes: Sequence[Prepared]) -> None:
        """Raises Conflict, StorageError or sqlite3.Error; the caller rolls back."""
        for change, encoded in changes:
            if isinstance(change, NodesAdded):
                self._add_nodes(change.nodes, encoded)
        for change, encoded in changes:
            self._apply(change, encoded)
        sweep = query("nodes_sweep")
        for num in dict.fromkeys(self._released):
            if num is not None:
                self.connection.execute(sweep, (num,))

    def _apply(self, change: Change, encoded: tuple[tuple[object, ...], ...]) -> None:
        match change:
            case NodesAdded():
                pass
            case ChatSaved(chat):
                self._save_chat(chat, *encoded[0])
            case ChatEdited():
                self._edit_chat(change, str(encoded[0][0]))
            case HeadMoved():
                self._move_head(change)
            case BranchKept(chat_id, leaf):
                self.connection.execute(query("branch_keep"), (chat_id, self._pointer(self._owner(chat_id), leaf)))
            case OriginSaved(origin):
                self._save_origin(origin)
            case StyleSaved(user, name):
                self.connection.execute(query("style_save"), (user, name, *encoded[0]))
            case StyleDeleted(user, name):
                self.connection.execute(query("style_delete"), (user, name))
            case ChatDeleted(chat_id):
                self._delete_chat(chat_id)
            case AnswerSaved(answer):
                self._save_answer(answer, *encoded[0])
            case AnswerDeleted(answer_id):
                self._delete_answer(answer_id)

    def _add_nodes(self, nodes: Iterable[Node], encoded: Iterable[tuple[object, ...]]) -> None:
        for node, (digest, doc, folded) in zip(nodes, encoded, strict=True):
            if self._find(node.hash):
                continue
            above = self._find(node.parent) if node.parent is not None else None
            if node.parent is not None and (above is None or above[1] != node.user):
                raise Conflict(f"the item {node.parent[:16]} that this goes on from is gone")
            if node.depth != (above[2] + 1 if above else 1):
                raise StorageError(f"node {node.hash[:16]} has depth {node.depth}, which its parent's does not fit")
            row = (node.hash, above[0] if above else None, node.depth, node.user, digest, doc)
            num = self.connection.execute(query("node_add"), row).lastrowid
            assert num is not None
            self.connection.execute(query("node_text_add"), (num, node.user, folded))
            self._known[node.hash] = (num, node.user, node.depth)

    def _save_chat(self, chat: Chat, doc: object, title: object) -> None:
        old = self.connection.execute(query("chat_find"), (chat.id,)).fetchone()
        if old is None:
            head = self._pointer(chat.user, chat.head)
            row = (chat.updated_at, title, chat.pinned, doc, chat.id, chat.user, chat.created_at, head)
            self.connection.execute(query("chat_add"), row)
            return
        user, _, _, old_doc = old
        if user != chat.user:
            raise Conflict(f"the chat id {chat.id} is taken")
        origin = rows.chat_from(chat.id, user, (0.0, 0.0), None, old_doc).forked_from
        if origin != chat.forked_from:
            doc = rows.chat_doc(replace(chat, forked_from=origin))
        self.connection.execute(query("chat_change"), (chat.updated_at, title, chat.pinned, doc, chat.id))

    def _edit_chat(self, edit: ChatEdited, changed: str) -> None:
        found = self.connection.execute(query("chat_find"), (edit.chat,)).fetchone()
        if found is None:
            raise Conflict(f"chat {edit.chat} is gone")
        title, pinned, doc = rows.edited(found[3], changed)
        self.connection.execute(query("chat_change"), (edit.at, rows.fold(title), pinned, doc, edit.chat))

    def _move_head(self, move: HeadMoved) -> None:
        found = self.connection.execute(query("chat_owner"), (move.chat,)).fetchone()
        before = self._find(move.before) if move.before is not None else None
        if found is None or found[1] != (before[0] if before else None) or (move.before and not before):
            raise Conflict(f"chat {move.chat} has gone on in the meantime")
        after = self._pointer(UserId(found[0]), move.after)
        row = {"after": after, "before": found[1], "at": move.at, "id": move.chat}
        self.connection.execute(query("chat_move"), row)
        self._released.append(found[1])

    def _delete_chat(self, chat_id: ChatId) -> None:
        found = self.connection.execute(query("chat_owner"), (chat_id,)).fetchone()
        if found:
            leaves = self.connection.execute(query("branches_of"), (chat_id,)).fetchall()
            self.connection.execute(query("chat_delete"), (chat_id,))
            self._released += [found[1], *(leaf for (leaf,) in leaves)]

    def _save_origin(self, origin: Origin) -> None:
        if self._owner(origin.chat) != origin.user:
            raise Conflict(f"chat {origin.chat} is gone")
        other = self.connection.execute(query("origin_owner"), (origin.user, origin.source)).fetchone()
        if other and other[0] != origin.chat:
            raise Conflict(f"{origin.source} has been brought already, as chat {other[0]}")
        row = (origin.chat, origin.user, origin.source, origin.name, origin.leaf, origin.original)
        self.connection.execute(query("origin_save"), row)

    def _owner(self, chat_id: ChatId) -> UserId:
        found = self.connection.execute(query("chat_owner"), (chat_id,)).fetchone()
        if found is None:
            raise Conflict(f"chat {chat_id} is gone")
        return UserId(found[0])

    def _save_answer(self, answer: Answer, doc: object) -> None:
        final = answer.status.final
        old = self.connection.execute(query("answer_find"), (answer.id,)).fetchone()
        if old and old[1] != answer.user:
            raise Conflict(f"the answer id {answer.id} is taken")
        if old and not old[2] and not final:
            raise Conflict(f"answer {answer.id} has ended")
        pointers = self._pointer(answer.user, answer.input), self._pointer(answer.user, answer.output)
        row = (answer.kind, answer.model, answer.created_at, not final, *pointers, answer.chat, doc)
        if old:
            self.connection.execute(query("answer_change"), (*row, old[0]))
            self._released += old[3:5]
            if final:
                self.moved[answer.id] = None
            return
        num = self.connection.execute(query("answer_add"), (*row, answer.user, answer.id)).lastrowid
        assert num is not None
        if not final:
            self.moved[answer.id] = Place(num, 0, 0)

    def _delete_answer(self, answer_id: AnswerId) -> None:
        old = self.connection.execute(query("answer_find"), (answer_id,)).fetchone()
        if old:
            self.connection.execute(query("answer_delete"), (old[0],))
            self._released += old[3:5]
            self.moved[answer_id] = None

    def _pointer(self, user: UserId, node_hash: NodeHash | None) -> int | None:
        if node_hash is None:
            return None
        found = self._find(node_hash)
        if found is None or found[1] != user:
            raise Conflict(f"the item {node_hash[:16]} is gone")
        return found[0]

    def _find(self, node_hash: NodeHash) -> tuple[int, UserId, int] | None:
        """Number, user and depth of a node."""
        known = self._known.get(node_hash)
        if known is None:
            known = self.connection.execute(query("node_find"), {"hash": node_hash}).fetchone()
            if known is not None:
                self._known[node_hash] = known
        return known
