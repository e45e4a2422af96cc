"""Scripts of languages, and letters that have no business in a text. Language id alone calls a Russian text with a
Chinese word inside "ru"; looking at the letters costs a few microseconds and does not."""

from __future__ import annotations

import re
from functools import lru_cache

RANGES = {
    "latin": "A-Za-zªºÀ-ÖØ-öø-ʸᴀ-ᶿḀ-ỿ",
    "cyrillic": "Ѐ-ԯᲀ-ᲈⷠ-ⷿꙀ-ꚟ",
    "han": "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "kana": "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "hangul": "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3",
    "arabic": "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9\ufb50-\ufdfb\ufe70-\ufefc",
    "hebrew": "\u05d0-\u05f2",
    "devanagari": "\u0900-\u097f",
    "bengali": "\u0980-\u09ff",
    "tamil": "\u0b80-\u0bff",
    "thai": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "georgian": "\u10a0-\u10ff\u1c90-\u1cbf",
    "armenian": "\u0531-\u0556\u0561-\u0587",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
}
"""Letters of each script, as the inside of a character class (Unicode 16 blocks, without their punctuation)."""
_OF_SCRIPT = {
    ("latin",): "en de fr es it pt nl pl cs sk sl hr ro hu sv da no fi et lv lt tr az uz id ms vi sw ca eu gl is ga sq",
    ("cyrillic",): "ru uk be bg mk sr kk ky mn tg tt",
    ("han",): "zh",
    ("han", "kana"): "ja",
    ("hangul", "han"): "ko",
    ("arabic",): "ar fa ur",
    ("hebrew",): "he",
    ("devanagari",): "hi mr ne",
    ("bengali",): "bn",
    ("tamil",): "ta",
    ("thai",): "th",
    ("georgian",): "ka",
    ("armenian",): "hy",
    ("greek",): "el",
}
SCRIPTS_OF = {language: scripts for scripts, languages in _OF_SCRIPT.items() for language in languages.split()}
"""ISO 639-1 code -> scripts of the language."""
_MIXED = re.compile(rf"[{RANGES['cyrillic']}][{RANGES['latin']}]|[{RANGES['latin']}][{RANGES['cyrillic']}]")


@lru_cache(maxsize=64)
def _foreign(languages: tuple[str, ...]) -> re.Pattern[str]:
    """Letters of other scripts. Greek letters and Latin ones (names, units, formulas) are looked at apart."""
    own = {script for language in languages for script in SCRIPTS_OF[language]} | {"latin", "greek"}
    return re.compile("[" + "".join(letters for script, letters in RANGES.items() if script not in own) + "]")


_LATIN = re.compile(f"[{RANGES['latin']}]")


def foreign_letters(text: str, languages: tuple[str, ...]) -> int:
    """How many letters of ``text`` belong to a script that none of ``languages`` is written in."""
    if text.isascii():
        return 0
    pattern = _foreign(languages)
    return len(pattern.findall(text)) if pattern.search(text) else 0


def latin_share(text: str) -> float:
    """The share of Latin letters among the characters of a text."""
    return len(_LATIN.findall(text)) / max(1, len(text)) if _LATIN.search(text) else 0.0


def mixed_words(text: str) -> int:
    """How often a Cyrillic and a Latin letter stand side by side in one word: a model that switched in mid-word."""
    return 0 if text.isascii() else len(_MIXED.findall(text))
