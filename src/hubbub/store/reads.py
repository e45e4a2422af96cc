"""What the store's reads ask of a connection. Blocking; each runs in a reader's thread, within one snapshot."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from typing import Any, TypeVar

from hubbub.core import search
from hubbub.core.branches import ChatTree, Twig
from hubbub.core.errors import NotFound, StorageError
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
from hubbub.ports import AnswerQuery, ChatQuery, Glance, Page
from hubbub.store import journal, rows
from hubbub.store.queries import page_query, query
from hubbub.store.rows import GLANCE_ITEMS

Row = TypeVar("Row")


def chat(connection: sqlite3.Connection, user: UserId, chat_id: ChatId) -> Chat | None:
    row = connection.execute(query("chat"), {"id": rows.key(chat_id), "user": rows.key(user)}).fetchone()
    return _chat(row) if row else None


def chats(connection: sqlite3.Connection, user: UserId, wanted: ChatQuery) -> Page[Chat]:
    params = _place(connection, user, "chat", wanted.after, descending=wanted.descending)
    params["rows"] = max(wanted.limit, 0) + 1
    name, hits = "chats_page", ""
    words = _words(wanted.search)
    if words:
        params["words"] = rows.dumps(words)
        params["grams"] = " AND ".join(map(_quoted, search.grams(words)))
        name, hits = "chats_search", "hits_by_index" if params["grams"] else "hits_by_reading"
    statement = page_query(name, descending=wanted.descending, pinned_first=wanted.pinned_first, hits=hits)
    found = connection.execute(statement, params).fetchall()
    return _page([_chat(row) for row in found], wanted.limit)


def glance(connection: sqlite3.Connection, of: Chat, wanted: str) -> Glance:
    params = {"user": rows.key(of.user), "chat": rows.key(of.id), "head": of.head}
    nodes = path(connection, of.user, of.head, GLANCE_ITEMS) if of.head else ()
    last = next((node.item for node in reversed(nodes) if node.item.type is ItemType.MESSAGE), None)
    answered = connection.execute(query("answer_last"), params).fetchone()
    words = _words(wanted)
    found = None
    if words and of.head:
        params["words"] = rows.dumps(words)
        row = connection.execute(query("passage"), params).fetchone()
        found = rows.node_from(of.user, row[0], None, row[1], json.loads(row[2])).item if row else None
    return Glance(nodes[-1].depth if nodes else 0, last, rows.last_answer_from(*answered) if answered else None, found)


def styles(connection: sqlite3.Connection, user: UserId) -> dict[str, Style]:
    found = connection.execute(query("styles"), (rows.key(user),)).fetchall()
    return {name: Style(*json.loads(doc)) for name, doc in found}


def _words(wanted: str) -> list[str]:
    return [rows.key(word) for word in search.words(wanted)]


def _quoted(gram: str) -> str:
    return '"' + gram.replace('"', '""') + '"'


def answer(connection: sqlite3.Connection, user: UserId, answer_id: AnswerId) -> Answer | None:
    row = connection.execute(query("answer"), {"id": rows.key(answer_id), "user": rows.key(user)}).fetchone()
    return rows.answer_from(row[0]) if row else None


def answers(connection: sqlite3.Connection, user: UserId, wanted: AnswerQuery) -> Page[Answer]:
    params = _place(connection, user, "answer", wanted.after, descending=wanted.descending)
    params["rows"] = max(wanted.limit, 0) + 1
    params["kind"] = wanted.kind
    params["model"] = None if wanted.model is None else rows.key(wanted.model)
    params["metadata"] = rows.dumps(wanted.metadata)
    found = connection.execute(page_query("answers_page", descending=wanted.descending), params).fetchall()
    return _page([rows.answer_from(doc) for (doc,) in found], wanted.limit)


def path(connection: sqlite3.Connection, user: UserId, head: NodeHash, last: int | None = None) -> tuple[Node, ...]:
    # One more than is wanted: the first one's parent is known by its hash.
    wanted = {"head": rows.key(head), "user": rows.key(user), "rows": -1 if last is None else last + 1}
    (text,) = connection.execute(query("path"), wanted).fetchone()
    if text is None:
        raise NotFound(f"there is no item {head[:16]}")
    found = sorted(json.loads(text), key=lambda row: int(row[1]))
    nodes: list[Node] = []
    parent: str | None = None
    if last is not None and len(found) > last:
        parent = found.pop(0)[0]
    try:
        for node_hash, depth, doc in found:
            nodes.append(rows.node_from(user, node_hash, parent, depth, doc))
            parent = node_hash
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"node {node_hash[:16]} is damaged: run 'hubbub store verify'") from error
    return tuple(nodes)


def match(connection: sqlite3.Connection, user: UserId, items: Sequence[Item]) -> tuple[Node, ...]:
    row = connection.execute(
        query("match"), {"user": rows.key(user), "digests": b"".join(map(rows.digest, items))}
    ).fetchone()
    return path(connection, user, NodeHash(row[0])) if row else ()


def branches(connection: sqlite3.Connection, user: UserId, chat_id: ChatId) -> tuple[NodeHash, ...]:
    found = connection.execute(query("branches"), {"id": rows.key(chat_id), "user": rows.key(user)}).fetchall()
    return tuple(NodeHash(leaf) for (leaf,) in found)


def chat_tree(connection: sqlite3.Connection, user: UserId, chat_id: ChatId) -> ChatTree:
    found = chat(connection, user, chat_id)
    if found is None:
        raise NotFound(f"there is no conversation {chat_id!r}", param="conversation")
    twigs = [Twig(*row) for row in connection.execute(query("chat_tree"), {"chat": found.id})]
    return ChatTree(found.head, branches(connection, user, chat_id), twigs)


def origin(connection: sqlite3.Connection, user: UserId, chat_id: ChatId) -> Origin | None:
    row = connection.execute(query("origin"), {"id": rows.key(chat_id), "user": rows.key(user)}).fetchone()
    return Origin(*row) if row else None


def brought(connection: sqlite3.Connection, user: UserId, source: str) -> Origin | None:
    row = connection.execute(query("brought"), {"user": rows.key(user), "source": rows.key(source)}).fetchone()
    return Origin(*row) if row else None


def entries(connection: sqlite3.Connection, answer_id: AnswerId) -> tuple[Delta, ...]:
    live = connection.execute(query("journal_number"), (rows.key(answer_id),)).fetchone()
    if live is None:
        return ()
    batches = connection.execute(query("journal_of"), {"id": rows.key(answer_id)}).fetchall()
    found, faults = journal.gather((data for (data,) in batches), {live[0]: answer_id})
    if faults:
        raise StorageError(f"{faults[0]}: run 'hubbub store verify'")
    return tuple(map(journal.from_wire, found.get(live[0], ())))


def unfinished(connection: sqlite3.Connection) -> tuple[Answer, ...]:
    return tuple(rows.answer_from(doc) for (doc,) in connection.execute(query("answers_live")).fetchall())


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    chats, nodes, answers = connection.execute(query("count_rows")).fetchone()
    return {"chats": chats, "nodes": nodes, "answers": answers}


def _place(
    connection: sqlite3.Connection, user: UserId, what: str, after: str | None, *, descending: bool
) -> dict[str, Any]:
    """Where a page starts: beyond the cursor's row, or beyond all rows at the end it starts from."""
    if after is None:
        return {"user": rows.key(user), "time": math.inf if descending else -math.inf, "id": "", "pinned": 2}
    row = connection.execute(query(f"{what}_cursor"), {"id": rows.key(after), "user": rows.key(user)}).fetchone()
    if row is None:
        raise NotFound(f"there is no {what} {after}", param="after")
    return {"user": rows.key(user), "time": row[0], "id": row[1], "pinned": row[2]}


def _chat(row: tuple[Any, ...]) -> Chat:
    chat_id, user, created, updated, head, doc = row
    return rows.chat_from(chat_id, user, (created, updated), head, doc)


def _page(found: list[Row], limit: int) -> Page[Row]:
    limit = max(limit, 0)
    return Page(tuple(found[:limit]), has_more=len(found) > limit)
