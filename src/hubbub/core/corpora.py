"""Corpus runs that live in the server: who has one, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hubbub.core.types import Json, UserId


class CorpusState(StrEnum):
    """``waiting``: for its turn, as only some run at once, or for a model to be there. ``paused`` and ``stopped`` go on
    when told to, ``failed`` tries again."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def going(self) -> bool:
        return self in (CorpusState.WAITING, CorpusState.RUNNING)


@dataclass(frozen=True, slots=True)
class CorpusOrder:
    """``key``: the id of the key that is charged; empty where there is none. ``target``: as ``20MB``; empty takes the
    recipe's."""

    user: UserId
    key: str
    name: str
    recipe: str
    target: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A text that a filter rejected."""

    reason: str
    item: int
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """``created_at`` is Unix seconds. ``live``: how it goes or last went, None before it began: ``corpus.board.Live``.
    ``linked``: its pages refer to one another."""

    order: CorpusOrder
    created_at: float
    state: CorpusState
    reason: str
    linked: bool
    model: str = ""
    live: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class CorpusRecords:
    """``rows``: records as they are in the shards. ``first``: the place of the first of them, from 0. ``total``: all
    that are accepted."""

    rows: tuple[Json, ...]
    first: int
    total: int


@dataclass(frozen=True, slots=True)
class WorkedRecipe:
    name: str
    description: str
    target: str
    languages: tuple[str, ...]
    linked: bool
    text: str


@dataclass(frozen=True, slots=True)
class RecipeFault:
    """``line`` counts from 1; 0 where the whole is meant. ``message`` says the fix, too."""

    line: int
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The first request of a work item. ``messages``: (role, text)."""

    item: int
    title: str
    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CheckedRecipe:
    """``faults`` empty: it is sound, and the rest says what it is."""

    faults: tuple[RecipeFault, ...] = ()
    name: str = ""
    description: str = ""
    target: int = 0
    unit: str = ""
    languages: tuple[str, ...] = ()
    linked: bool = False
    steps: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = field(default=())
