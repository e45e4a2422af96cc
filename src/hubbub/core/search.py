"""What finds a text: all words of a search, anywhere in it, without regard to case. Pure."""

from __future__ import annotations

from collections.abc import Sequence

WORDS_MOST = 16
GRAM = 3
"""Characters of a piece in the index."""
GRAMS_MOST = 48
SNIPPET_CHARACTERS = 160
BEFORE = 40
"""Characters shown before what was found."""


def words(search: str) -> tuple[str, ...]:
    """Folded, each once; of a very long search the first."""
    return tuple(dict.fromkeys(search.casefold().split()))[:WORDS_MOST]


def has(folded: str, wanted: Sequence[str]) -> bool:
    return all(word in folded for word in wanted)


def grams(wanted: Sequence[str]) -> tuple[str, ...]:
    """Pieces that every text with these words has; none where all words are shorter."""
    pieces = (word[at : at + GRAM] for word in wanted for at in range(len(word) - GRAM + 1))
    return tuple(dict.fromkeys(pieces))[:GRAMS_MOST]


def snippet(text: str, wanted: Sequence[str]) -> str:
    """One line of a text around the first word that is found, with an ellipsis where it was cut."""
    place = _place(text, wanted)
    start = max(0, place - BEFORE)
    if start:  # from the beginning of a word, if there is one
        space = text.find(" ", start, place)
        start = start if space < 0 else space + 1
    piece = text[start : start + 2 * SNIPPET_CHARACTERS]
    line = ("…" if start else "") + " ".join(piece.split())
    if len(line) > SNIPPET_CHARACTERS:
        return line[: SNIPPET_CHARACTERS - 1].rstrip() + "…"
    return line if start + len(piece) == len(text) else line + "…"


def _place(text: str, wanted: Sequence[str]) -> int:
    """Where the first of the words begins in the text as it is written."""
    folded = text.casefold()
    found = min((place for word in wanted if (place := folded.find(word)) >= 0), default=0)
    if len(folded) == len(text):
        return found
    seen = 0
    for place, letter in enumerate(text):  # some letters are several when folded
        seen += len(letter.casefold())
        if seen > found:
            return place
    return 0
