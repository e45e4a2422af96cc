"""What is read from a file before it is a chat, and what is said of a file that could not be read."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hubbub.core.tree import ITEM_PREFIX
from hubbub.core.types import ChatId, Item, ItemId, ItemType, Json, Style

TITLE_CHARACTERS = 200
"""The interface's bound."""
LATEST_S = 253_402_300_799.0
"""The last second of the year 9999."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Said:
    """One item and where it stands: below ``parent``, a place in ``Talk.said`` before its own; -1 for the first.
    ``at``: Unix seconds; None where the file does not say."""

    parent: int
    item: Item
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation as a file has it. ``source`` names it wherever it comes from again.

    ``current``: the place of the last item of the branch that is shown; -1 without items. ``rendered``: texts went
    through a form that does not keep every blank, so that equal ones are those that render alike. ``chat``: the chat of
    this house that it says it is. ``left_out`` counts what was not kept, by kind.
    """

    source: str
    title: str
    said: tuple[Said, ...]
    current: int
    created_at: float | None
    updated_at: float | None
    style: Style = field(default_factory=Style)
    metadata: Mapping[str, str] = field(default_factory=dict)
    chat: ChatId | None = None
    rendered: bool = False
    original: bytes = b""
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file, or ``chat`` in it (its title, number or place), was not brought, or not whole."""

    file: str
    message: str
    chat: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file held: a talk with the name of its file, or a problem."""

    file: str
    talk: Talk | None = None
    problem: Problem | None = None


def item_id(kind: ItemType, uid: str) -> ItemId:
    """The id of an item that is called ``uid`` elsewhere. What no id can hold is named by its hash."""
    if not _SAFE.fullmatch(uid):
        uid = hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return ItemId(ITEM_PREFIX[kind] + uid)


def uid_of(item: Item) -> str:
    """What an item is called elsewhere; :func:`item_id` makes its id of it again."""
    return item.id.removeprefix(ITEM_PREFIX[item.type])


def seconds(value: Json) -> float | None:
    """A time of a file as Unix seconds; None for what is none. Milliseconds are seen by their size."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    found = float(value) / 1000 if value > LATEST_S else float(value)
    return found if 0 < found <= LATEST_S else None


def title_of(text: str) -> str:
    """One line, no longer than a title may be."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def without_nul(text: str, left_out: Counter[str]) -> str:
    """The text without U+0000, at which engines would end it."""
    gone = text.count("\0")
    if gone:
        left_out["null_characters"] += gone
        return text.replace("\0", "\ufffd")
    return text
