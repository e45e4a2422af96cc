"""How a database becomes what this version expects: numbered steps, only ever appended to.

A fresh database is one at step 0, so a new one and an old one take the same road. Each step is one transaction together
with its line in the table ``migrations``: a kill between two steps is made good by the next start.

    nodes       one row an item, linked to its parent; ``num`` is for joins, ``hash`` is its name
    node_texts  the same texts folded; node_search is the index over them, kept by triggers
    chats       a pointer into the tree each
    answers     one run of the model each; ``live`` until it has ended; numbers are never used twice, as the journal
                knows answers by them
    branches    leaves beside a chat's path that are kept with it
    styles      those a user keeps by a name
    origins     where a chat was brought from; ``leaf`` is a hash and keeps nothing
    journal     batches of deltas of live answers (see journal.py); ``answer`` where a row is of one answer alone
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from hubbub.core.errors import StorageError

APPLICATION_ID = 0x48756262
"""``Hubb``: marks the file as ours for ``file`` and for us."""


class Migration(NamedTuple):
    name: str
    statements: tuple[str, ...]


M001 = Migration(
    "m001_tree",
    (
        """CREATE TABLE nodes (
             num INTEGER PRIMARY KEY,
             parent INTEGER REFERENCES nodes (num),
             depth INTEGER NOT NULL,
             hash TEXT NOT NULL UNIQUE,
             user TEXT NOT NULL,
             digest BLOB NOT NULL,
             doc TEXT NOT NULL)""",
        "CREATE INDEX nodes_below ON nodes (parent, digest)",
        """CREATE TABLE node_texts (
             num INTEGER PRIMARY KEY REFERENCES nodes (num) ON DELETE CASCADE,
             user TEXT NOT NULL,
             folded TEXT NOT NULL)""",
        """CREATE TABLE chats (
             id TEXT NOT NULL PRIMARY KEY,
             user TEXT NOT NULL,
             created_at REAL NOT NULL,
             updated_at REAL NOT NULL,
             head INTEGER REFERENCES nodes (num),
             title TEXT NOT NULL,
             doc TEXT NOT NULL)""",
        "CREATE INDEX chats_by_change ON chats (user, updated_at, id)",
        "CREATE INDEX chats_by_head ON chats (head)",
        """CREATE TABLE answers (
             num INTEGER PRIMARY KEY AUTOINCREMENT,
             id TEXT NOT NULL UNIQUE,
             user TEXT NOT NULL,
             kind TEXT NOT NULL,
             model TEXT NOT NULL,
             created_at REAL NOT NULL,
             live INTEGER NOT NULL,
             input INTEGER REFERENCES nodes (num),
             output INTEGER REFERENCES nodes (num),
             doc TEXT NOT NULL)""",
        "CREATE INDEX answers_by_creation ON answers (user, kind, created_at, id)",
        "CREATE INDEX answers_by_input ON answers (input)",
        "CREATE INDEX answers_by_output ON answers (output)",
        "CREATE INDEX answers_live ON answers (live) WHERE live",
        "CREATE TABLE journal (seq INTEGER PRIMARY KEY, answer INTEGER, batch BLOB NOT NULL)",
        "CREATE INDEX journal_by_answer ON journal (answer)",
    ),
)

M002 = Migration(
    "m002_brought",
    (
        """CREATE TABLE branches (
             chat TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
             leaf INTEGER NOT NULL REFERENCES nodes (num),
             PRIMARY KEY (chat, leaf))""",
        "CREATE INDEX branches_by_leaf ON branches (leaf)",
        """CREATE TABLE origins (
             chat TEXT NOT NULL PRIMARY KEY REFERENCES chats (id) ON DELETE CASCADE,
             user TEXT NOT NULL,
             source TEXT NOT NULL,
             name TEXT NOT NULL,
             leaf TEXT,
             original BLOB NOT NULL,
             UNIQUE (user, source))""",
    ),
)

M003 = Migration(
    "m003_lists",
    (
        "ALTER TABLE chats ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX chats_pinned ON chats (user, pinned, updated_at, id)",
        "ALTER TABLE answers ADD COLUMN chat TEXT",
        "UPDATE answers SET chat = json_extract(doc, '$.chat')",
        "CREATE INDEX answers_by_chat ON answers (chat, num) WHERE chat IS NOT NULL",
        """CREATE TABLE styles (
             user TEXT NOT NULL,
             name TEXT NOT NULL,
             doc TEXT NOT NULL,
             PRIMARY KEY (user, name)) WITHOUT ROWID""",
    ),
)

M004 = Migration(
    "m004_search",
    (
        # Pieces of three characters find any part of a word in any script. Where they stand in a text is not kept: what
        # they find is looked at again (instr), and the index is half as large.
        """CREATE VIRTUAL TABLE node_search USING fts5 (
             folded, content='node_texts', content_rowid='num', tokenize='trigram', detail='none')""",
        """CREATE TRIGGER node_texts_added AFTER INSERT ON node_texts BEGIN
             INSERT INTO node_search (rowid, folded) VALUES (new.num, new.folded);
           END""",
        """CREATE TRIGGER node_texts_gone AFTER DELETE ON node_texts BEGIN
             INSERT INTO node_search (node_search, rowid, folded) VALUES ('delete', old.num, old.folded);
           END""",
        "INSERT INTO node_search (node_search) VALUES ('rebuild')",
    ),
)

MIGRATIONS: tuple[Migration, ...] = (M001, M002, M003, M004)


def level(connection: sqlite3.Connection) -> int:
    """How many migrations this database has had. Raises StorageError if it is not one of ours."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" in tables and connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        done: int = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0]
        return done
    if tables:
        raise StorageError(f"this is a database of another program (tables: {', '.join(sorted(tables)[:5])})")
    return 0


def check_level(done: int, known: Sequence[Migration] = MIGRATIONS) -> None:
    """Raises StorageError for a database of a newer Hubbub."""
    if done > len(known):
        raise StorageError(
            f"a newer Hubbub made this store (migration {done}; this version knows {len(known)}): upgrade Hubbub, "
            "or name another store"
        )


def migrate(connection: sqlite3.Connection, known: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply what is missing; how many that were. Raises StorageError for a database that is not ours, or too new."""
    done = level(connection)
    check_level(done, known)
    for number, migration in enumerate(known[done:], start=done + 1):
        connection.execute("BEGIN IMMEDIATE")
        with connection:  # commits, or rolls back on the way out of an error
            if number == 1:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied_at REAL)")
            for statement in migration.statements:
                connection.execute(statement)
            row = (number, migration.name, time.time())
            connection.execute("INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)", row)
    return len(known) - done
