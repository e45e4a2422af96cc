"""The filters that look at one text alone. Pure: the same text gets the same verdict, in any order, on any machine.

The cheap ones come first, so that most bad texts cost a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.corpus.quality.custom import load_filter
from hubbub.corpus.quality.language import language_of
from hubbub.corpus.quality.scripts import SCRIPTS_OF, foreign_letters, latin_share, mixed_words
from hubbub.corpus.quality.words import APOLOGIES, LEAK_SIGNS, LEAKS, PREAMBLES, REFUSALS, SPEAKERS
from hubbub.corpus.recipe import Bounds, Filters, Recipe

RUN = 25
"""Times the same character in one word: no table is that wide."""
_RUN = re.compile(rf"(.)\1{{{RUN - 1},}}")
MIXED_WORDS = 2
"""Words with letters of two scripts in one text; one can be a name ("Wi-Fiем")."""


class Screen:
    """The filters of one recipe. ``literals``: pieces of its prompts that an answer must not repeat."""

    def __init__(self, recipe: Recipe, literals: Sequence[str]) -> None:
        """Raises CustomFault for a custom filter that cannot be loaded."""
        self._filters: Filters = recipe.filters
        self._languages = recipe.languages
        self._literals = tuple(literals) if recipe.filters.echo else ()
        self._forbid = [re.compile(pattern) for pattern in recipe.filters.forbid]
        self._require = [re.compile(pattern) for pattern in recipe.filters.require]
        self._custom = [(name, load_filter(name, recipe.path.parent)) for name in recipe.filters.custom]

    def reason(
        self, text: str, words: Sequence[str], tokens: int, columns: Mapping[str, Any]
    ) -> tuple[str | None, str]:
        """(why the text is rejected, or None; its language, or "" where it was not looked for).

        ``words``: the text split at white space. Raises ConfigError where a custom filter fails.
        """
        filters = self._filters
        bounds = (("chars", len(text), filters.chars), ("words", len(words), filters.words))
        reason = _length(bounds) or (_length((("tokens", tokens, filters.tokens),)) if tokens else None)
        reason = reason or self._said(text) or self._repeats(text, words) or self._patterns(text)
        if reason:
            return reason, ""
        reason, language = self._language(text, columns)
        return reason or self._own(text, columns), language

    def _said(self, text: str) -> str | None:
        filters = self._filters
        if not (filters.refusals or filters.leaks or self._literals):
            return None
        low = text.lower()
        if filters.refusals and (low.startswith(APOLOGIES) or any(phrase in low for phrase in REFUSALS)):
            return "refusal"
        if filters.refusals and low.startswith(PREAMBLES) and "\n" in low:
            return "preamble"
        if filters.leaks and (_leaks(low) or _speaks(low)):
            return "template_leak"
        if any(literal in text for literal in self._literals):
            return "prompt_echo"
        return None

    def _patterns(self, text: str) -> str | None:
        if any(pattern.search(text) for pattern in self._forbid):
            return "forbidden"
        return None if all(pattern.search(text) for pattern in self._require) else "lacks_required"

    def _repeats(self, text: str, words: Sequence[str]) -> str | None:
        filters = self._filters
        if filters.repetition < 1:
            count = len(words) - 3
            if count > 4:
                different = len(set(zip(words, words[1:], words[2:], words[3:], strict=False)))
                if count - different > filters.repetition * count:
                    return "repetition"
            elif count <= 0 and len(text) > 60 and _char_repeats(text) > filters.repetition:
                return "repetition"
            if max(map(len, words), default=0) >= RUN and _RUN.search(text):
                return "repetition"
        if filters.line_repeats < 1 and "\n" in text:
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) > 2 and len(lines) - len(set(lines)) > filters.line_repeats * len(lines):
                return "line_repeats"
        return None

    def _language(self, text: str, columns: Mapping[str, Any]) -> tuple[str | None, str]:
        filters = self._filters
        expected = self._languages
        if filters.language_column:
            chosen = str(columns.get(filters.language_column, ""))
            if chosen not in SCRIPTS_OF:
                raise ConfigError(
                    f"filters.language_column: column {filters.language_column!r} is {chosen!r}, which is no language "
                    "code known here; use codes like ru and en"
                )
            expected = (chosen,)
        if expected and filters.script:
            if foreign_letters(text, expected):
                return "foreign_script", ""
            latin = _latin(expected)
            share = 1.0 if latin else latin_share(text)
            if share > filters.latin_share and not latin:
                return "latin_share", ""
            if share and mixed_words(text) >= MIXED_WORDS:
                return "mixed_script", ""
        if not (expected and filters.language):
            return None, expected[0] if len(expected) == 1 else ""
        if len(text) < filters.language_min_chars:
            if not _in_script(text, expected):
                return "language", ""
            return None, expected[0] if len(expected) == 1 else ""
        language, good = language_of(text, expected)
        return (None if good else "language"), language

    def _own(self, text: str, columns: Mapping[str, Any]) -> str | None:
        for name, custom in self._custom:
            try:
                reason = custom(text, columns)
            except Exception as error:
                raise ConfigError(f"the custom filter {name} failed: {type(error).__name__}: {error}") from error
            if reason:
                return f"custom:{str(reason)[:60]}"
        return None


def _length(bounds: Sequence[tuple[str, int, Bounds]]) -> str | None:
    for what, size, bound in bounds:
        if bound.min is not None and size < bound.min:
            return f"short_{what}"
        if bound.max is not None and size > bound.max:
            return f"long_{what}"
    return None


def _leaks(low: str) -> bool:
    """Most texts have none of the signs that leaks begin with."""
    return any(sign in low for sign in LEAK_SIGNS) and any(leak in low for leak in LEAKS)


def _speaks(low: str) -> bool:
    return low.startswith(SPEAKERS) or ("\n" in low and any("\n" + speaker in low for speaker in SPEAKERS))


def _char_repeats(text: str) -> float:
    """Of a text without spaces (Chinese, or one endless word): the share of 6-grams of characters said before."""
    count = len(text) - 5
    return 1 - len({text[start : start + 6] for start in range(count)}) / count


def _in_script(text: str, expected: tuple[str, ...]) -> bool:
    """Whether a short text has letters of a script that one of the languages is written in."""
    if _latin(expected):
        return len(expected) > 1 or latin_share(text) >= 0.3
    return latin_share(text) <= 0.5


def _latin(languages: Sequence[str]) -> bool:
    return any("latin" in SCRIPTS_OF[language] for language in languages)
