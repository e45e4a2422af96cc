"""What an engine answered, as texts: JSON found among prose and fences, packed answers taken apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from hubbub.corpus.quality.words import PREAMBLES
from hubbub.corpus.recipe import PackFormat

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_NUMBER = re.compile(r"^[ \t]*(?:[*_#>-]+[ \t]*)?\(?(\d{1,3})[.):](?:[*_]+)?(?:[ \t]+|$)", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•–—]\s+|\(?\d{1,3}[.):]\s+)")
_QUOTES = {'"': '"', "«": "»", "“": "”", "'": "'", "„": "“"}
_UNSOUND = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_JSON = json.JSONDecoder(strict=False)
MOST_BRACKETS = 100
"""Places where JSON may begin that are tried: a model that repeats itself writes thousands."""


class RejectedAnswer(Exception):
    """An answer that no text can be taken from; asking again with another seed may help. ``reason``: a short key."""

    def __init__(self, reason: str, sample: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.sample = sample[:200]


def cleaned(text: str) -> str:
    """Without what a thinking model thought aloud, and without white space around. Raises RejectedAnswer("empty")."""
    if "<think>" in text:
        text = _THOUGHT.sub("", text, count=1)
    text = sound(text.replace("\r\n", "\n")).strip()
    if not text:
        raise RejectedAnswer("empty")
    return text


def sound(value: Any) -> Any:
    """Text without control characters and halves of surrogate pairs, which no file can hold; in lists and objects
    too."""
    if isinstance(value, str):
        return value if value.isprintable() else _UNSOUND.sub("", value)
    if isinstance(value, list):
        return [sound(entry) for entry in value]
    return {sound(key): sound(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def read_json(text: str) -> Any:
    """The first JSON object or list in the answer. Raises RejectedAnswer("invalid_json")."""
    fenced = _FENCE.search(text)
    for candidate in (fenced.group(1), text) if fenced else (text,):
        for match in islice(re.finditer(r"[{\[]", candidate), MOST_BRACKETS):
            try:
                return sound(_JSON.raw_decode(candidate, match.start())[0])
            except (ValueError, RecursionError):
                continue
    raise RejectedAnswer("invalid_json", text)


def split(text: str, form: PackFormat, count: int) -> list[Any]:
    """The texts (or JSON objects) of a packed answer, ``count`` at most. Raises RejectedAnswer where there is none."""
    if form is PackFormat.JSON:
        parts = _from_json(text)
    elif form is PackFormat.NUMBERED:
        parts = _from_numbers(text)
    else:
        parts = [_unmarked(line) for line in text.splitlines()]
    parts = [part for part in parts if part]
    if not parts:
        raise RejectedAnswer("unpackable", text)
    return parts[:count]


def _from_json(text: str) -> list[Any]:
    """A list, or an object with one list in it. From a list that was cut short, the entries that are whole."""
    try:
        found = read_json(text)
    except RejectedAnswer:
        found = None
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = lists[0] if len(lists) == 1 else None
    if not isinstance(found, list):
        found = _whole_entries(text)
    return [entry.strip() if isinstance(entry, str) else entry for entry in found if isinstance(entry, str | dict)]


def _whole_entries(text: str) -> list[Any]:
    place = text.find("[") + 1
    entries: list[Any] = []
    while place:
        while place < len(text) and text[place] in " \n\t,":
            place += 1
        try:
            entry, place = _JSON.raw_decode(text, place)
            entries.append(sound(entry))
        except (ValueError, RecursionError):
            break
    return entries


def _from_numbers(text: str) -> list[str]:
    """Numbers count up from the first; a number out of turn belongs to the text it stands in."""
    marks: list[tuple[int, int]] = []
    expected = None
    for match in _NUMBER.finditer(text):
        number = int(match.group(1))
        if expected is None or number == expected:
            marks.append((match.start(), match.end()))
            expected = number + 1
    if not marks:
        return _from_bullets(text)
    ends = [*(start for start, _ in marks[1:]), len(text)]
    return [_unquoted(text[start:end].strip()) for (_, start), end in zip(marks, ends, strict=False)]


def _from_bullets(text: str) -> list[str]:
    """Where a model made a list without numbers; one bullet alone is no list."""
    lines = [line for line in text.splitlines() if _BULLET.match(line)]
    return [_unmarked(line) for line in lines] if len(lines) > 1 else []


def _unmarked(line: str) -> str:
    return _unquoted(_BULLET.sub("", line).strip())


def _unquoted(text: str) -> str:
    text = text.strip("*_ ") if text[:2] in ("**", "__") else text
    closing = _QUOTES.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing) and closing not in text[1:-1]:
        return text[1:-1].strip()
    return text


_SENTENCE_END = re.compile(r"[.!?…。！？][\"'»”)\]]*(?=\s|\Z)")


def whole_sentences(text: str) -> str:
    """Up to the end of its last whole sentence; "" where that would lose more than half."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends and ends[-1] * 2 >= len(text) else ""


def score_of(text: str, pattern: str, field: str, parsed: Any) -> float:
    """A judge step's number. Raises RejectedAnswer("no_score")."""
    if field:
        value = parsed.get(field) if isinstance(parsed, dict) else None
    else:
        found = re.search(pattern, text)
        value = found.group(1) if found else None
    try:
        score = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        raise RejectedAnswer("no_score", text) from None
    if math.isnan(score):
        raise RejectedAnswer("no_score", text)
    return score


def without_preamble(text: str) -> str:
    """Without a first line like "Here is the article:"."""
    first, _, rest = text.partition("\n")
    if rest.strip() and first.rstrip().endswith(":") and first.lower().startswith(PREAMBLES):
        return rest.strip()
    return text


def text_field(parsed: Any, field: str) -> tuple[str, dict[str, Any]]:
    """The text of a structured answer, and the other fields. Without a name, the longest text there is."""
    if isinstance(parsed, str):
        return without_preamble(parsed.strip()), {}
    if not isinstance(parsed, dict):
        raise RejectedAnswer("no_text", str(parsed))
    name = field or max(
        (key for key, value in parsed.items() if isinstance(value, str)), key=lambda key: len(parsed[key]), default=""
    )
    if not isinstance(parsed.get(name), str) or not parsed[name].strip():
        raise RejectedAnswer("no_text", str(parsed))
    return parsed[name].strip(), {key: value for key, value in parsed.items() if key != name}


def shares(total: int, texts: Sequence[str]) -> list[int]:
    """``total`` tokens over the texts, by their length."""
    size = sum(map(len, texts)) or 1
    return [max(1, round(total * len(text) / size)) if total else 0 for text in texts]
