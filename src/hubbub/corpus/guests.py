"""What a recipe of a guest may not have: one who may ask this server, but is not to reach its files, code or network.

On the command line a recipe runs with the rights of whoever runs it. In the server it is data of a user: it names no
file and no code, its schemas lead nowhere else, and what bounds memory and time cannot be turned off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hubbub.corpus.recipe import Recipe

MAX_WINDOW = 1_000_000
"""Texts to compare with: about 400 MB."""
MAX_EVERY = 10_000
"""Items of a steering epoch, whose texts are kept until it is judged."""
NO_FILES = "is not for recipes in the server, which reach no files and no code of its machine"
TOO_SLOW = (
    "could take very long on some texts; in the server a pattern has at most one * or + or {n,}, none of them behind a "
    "group, and no \\1"
)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OPEN = re.compile(r"(?<!\\)(?:\\\\)*(?:[*+]|\{\d*,\})")
_GROUPED = re.compile(r"(?<!\\)(?:\\\\)*\)(?:[*+]|\{\d*,?\d*\})")
_BACK = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?P=)")
_CLASS = re.compile(r"(?<!\\)\[\^?\]?(?:\\.|[^\]\\])*\]")


def slow(pattern: str) -> bool:
    """Whether a pattern might need more than the square of a text's length. Errs to the safe side: Python's engine
    backtracks, holds the interpreter meanwhile, and cannot be stopped."""
    bare = _CLASS.sub("x", pattern)
    return len(_OPEN.findall(bare)) > 1 or bool(_GROUPED.search(bare) or _BACK.search(bare))


def leads_away(schema: Any) -> bool:
    """Whether a JSON schema refers to anything outside itself, which a validator would read or fetch."""
    for key, value in _pairs(schema):
        if key in _REFERENCES and not (isinstance(value, str) and value.startswith("#")):
            return True
        if key in ("$id", "id", "$schema") and isinstance(value, str) and "json-schema.org" not in value:
            return True
    return False


def excesses(recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys whose values would take too much of the server's memory, and what to write."""
    if recipe.dedup.window > MAX_WINDOW:
        yield ("dedup", "window"), f"can be {MAX_WINDOW:,} at most in the server"
    if recipe.steering.every > MAX_EVERY:
        yield ("steering", "every"), f"can be {MAX_EVERY:,} at most in the server"


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)
