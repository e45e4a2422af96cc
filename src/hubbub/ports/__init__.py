"""What the runtime needs of the world, as small Protocols. Each has a twin for tests and simulation.

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

from hubbub.ports.changes import (
    AnswerDeleted,
    AnswerSaved,
    BranchKept,
    Change,
    ChatDeleted,
    ChatEdited,
    ChatSaved,
    HeadMoved,
    JournalEntry,
    NodesAdded,
    OriginSaved,
    StyleDeleted,
    StyleSaved,
)
from hubbub.ports.clock import Clock
from hubbub.ports.corpora import Corpora, CorpusRuns
from hubbub.ports.engine import Engine, Killable, Sink
from hubbub.ports.files import AskRow, Batches, Draft, FileQuery, Files, FilesAndBatches
from hubbub.ports.keys import KeyBook, KeyStore, KeyUse, Members
from hubbub.ports.paging import Page
from hubbub.ports.store import (
    AnswerQuery,
    Beginnings,
    ChatQuery,
    ChatStore,
    Glance,
    ItemTree,
    Journal,
    LastAnswer,
    Store,
    Upkeep,
)

__all__ = [
    "AnswerDeleted",
    "AnswerQuery",
    "AnswerSaved",
    "AskRow",
    "Batches",
    "Beginnings",
    "BranchKept",
    "Change",
    "ChatDeleted",
    "ChatEdited",
    "ChatQuery",
    "ChatSaved",
    "ChatStore",
    "Clock",
    "Corpora",
    "CorpusRuns",
    "Draft",
    "Engine",
    "FileQuery",
    "Files",
    "FilesAndBatches",
    "Glance",
    "HeadMoved",
    "ItemTree",
    "Journal",
    "JournalEntry",
    "KeyBook",
    "KeyStore",
    "KeyUse",
    "Killable",
    "LastAnswer",
    "Members",
    "NodesAdded",
    "OriginSaved",
    "Page",
    "Sink",
    "Store",
    "StyleDeleted",
    "StyleSaved",
    "Upkeep",
]
