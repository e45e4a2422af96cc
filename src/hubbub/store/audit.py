"""``verify`` of the SQLite store: the file's own check, then every row against what it says of itself and others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from hubbub.core.types import AnswerId, ChatId, UserId
from hubbub.store import check, journal, rows
from hubbub.store.queries import query

DAMAGE = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a document raises when a byte of it has changed."""
FAULTS_MOST = 1000
"""Lines after which the point has been made."""


def verify(connection: sqlite3.Connection) -> tuple[str, ...]:
    faults: list[str] = []
    # A text that is no longer UTF-8 is a finding, and not the end of looking.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        for fault in _all(connection):
            faults.append(fault.encode("utf-8", "backslashreplace").decode())
            if len(faults) == FAULTS_MOST:
                faults.append(f"and more: verify stops after {FAULTS_MOST}")
                break
    finally:
        connection.text_factory = str
    return tuple(faults)


def _all(connection: sqlite3.Connection) -> Iterator[str]:
    try:
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"file: {line}"
        yield from _nodes(connection)
        yield from (
            f"index for search: node in row {num} {what}" for num, what in connection.execute(query("verify_search"))
        )
        yield from _chats(connection)
        yield from _beginnings(connection)
        yield from _answers(connection)
        yield from _journal(connection)
    except sqlite3.DatabaseError as error:
        yield f"file: {error}"


def _nodes(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute(query("verify_nodes")):
        num, node_hash, parent, depth, user, digest, doc, above, above_user, above_depth, text_user, folded = row
        label = f"node {str(node_hash)[:16]} (row {num}, user {user})"
        if parent is not None and above is None:
            yield f"{label}: its parent, row {parent}, is missing"
            continue
        try:
            node = rows.node_from(user, node_hash, above, depth, json.loads(doc))
            same_digest, same_text = rows.digest(node.item) == digest, rows.fold(node.item.text) == folded
            yield from check.node_faults(node, None if above is None else (above_user, above_depth))
        except DAMAGE as error:
            yield f"{label}: its document cannot be read ({error})"
            continue
        if not same_digest:
            yield f"{label}: its digest is not that of what it holds"
        if not same_text or text_user != user:
            yield f"{label}: what search looks through is not what it holds"


def _chats(connection: sqlite3.Connection) -> Iterator[str]:
    for chat_id, user, created, updated, head, node_hash, owner, title, doc in connection.execute(
        query("verify_chats")
    ):
        label = f"chat {chat_id} (user {user})"
        if head is not None and node_hash is None:
            yield f"{label}: its head, row {head}, is missing"
            continue
        try:
            chat = rows.chat_from(ChatId(chat_id), UserId(user), (created, updated), node_hash, doc)
            same_title = rows.fold(chat.title) == title
        except DAMAGE as error:
            yield f"{label}: its document cannot be read ({error})"
            continue
        if not same_title:
            yield f"{label}: what search looks through is not its title"
        yield from check.chat_faults(chat, owner)


def _beginnings(connection: sqlite3.Connection) -> Iterator[str]:
    for chat_id, leaf, user, owner in connection.execute(query("verify_branches")):
        if user is None:
            yield f"branch of chat {chat_id}: there is no such chat"
        elif owner != user:
            yield f"branch of chat {chat_id} (user {user}): its leaf, row {leaf}, is {check.whose(owner)}"
    for chat_id, user, owner in connection.execute(query("verify_origins")):
        if owner != user:
            yield f"origin of chat {chat_id} (user {user}): its chat is {check.whose(owner, 'one')}"


def _answers(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute(query("verify_answers")):
        num, answer_id, user, live, doc, asked, input_user, output, output_user = row
        label = f"answer {answer_id} (row {num}, user {user})"
        try:
            answer = rows.answer_from(doc)
        except DAMAGE as error:
            yield f"{label}: its document cannot be read ({error})"
            continue
        if (answer.id, answer.user, not answer.status.final) != (answer_id, user, bool(live)):
            yield f"{label}: its document is that of another answer, or of another state"
        for name, kept, pointed in (("input", answer.input, asked), ("output", answer.output, output)):
            if kept is not None and pointed is not None and kept != pointed:
                yield f"{label}: its {name} points to {pointed[:16]} and says {kept[:16]}"
        found = [
            None if kept is None or pointed is None else owner
            for kept, pointed, owner in ((answer.input, asked, input_user), (answer.output, output, output_user))
        ]
        yield from check.answer_faults(answer, *found)


def _journal(connection: sqlite3.Connection) -> Iterator[str]:
    live: dict[int, AnswerId] = dict(connection.execute(query("answers_live_numbers")).fetchall())
    batches = connection.execute(query("journal_all")).fetchall()
    _, faults = journal.gather((data for _, data in batches), live)
    yield from faults
