"""What one message of a ChatGPT export says: its text, and what it holds beside text.

After the exports of 2023 to 2026, which are documented nowhere. Each ``content_type`` has fields of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hubbub.core.types import Json

Fields = Mapping[str, Any]
THOUGHTS = ("thoughts", "reasoning_recap")
INSTRUCTIONS = ("user_editable_context", "model_editable_context")
_MARKS = re.compile("[\ue000-\uf8ff]")
"""ChatGPT wraps citations in characters of the private use area."""
MOST_CITATIONS = 2000
"""Of one message; each is looked for in its text."""
_TEXT_FIELDS = ("text", "result", "content", "summary")


def fields(value: Json) -> Fields:
    """An object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def word(value: Json) -> str:
    """A text, or an empty one in place of anything else."""
    return value if isinstance(value, str) else ""


def text_of(message: Fields, left_out: Counter[str]) -> str:
    """The text of a message. What is not text is counted in ``left_out``, and named in the text where it stood."""
    content, metadata = fields(message.get("content")), fields(message.get("metadata"))
    kind = word(content.get("content_type")) or "text"
    read = _READERS.get(kind)
    if read is None:
        left_out[f"unknown_content:{kind[:40]}"] += 1
    text = (read or _any)(content, left_out)
    files = _files(metadata, content, left_out)
    return "\n".join(part for part in (_cited(text, metadata, left_out), *files) if part)


def instructions_of(message: Fields) -> str:
    """Custom instructions, or what ChatGPT remembered."""
    content = fields(message.get("content"))
    names = ("user_profile", "user_instructions", "model_set_context")
    return "\n\n".join(text for name in names if (text := word(content.get(name)).strip()))


def _parts(content: Fields, left_out: Counter[str]) -> str:
    parts = content.get("parts")
    texts = [_part(part, left_out) for part in parts] if isinstance(parts, list) else [word(content.get("text"))]
    return "\n\n".join(text for text in texts if text)


def _part(part: Json, left_out: Counter[str]) -> str:
    if isinstance(part, str):
        return part
    given = fields(part)
    kind = word(given.get("content_type"))
    if kind == "image_asset_pointer":
        left_out["images"] += 1
        prompt = word(fields(fields(given.get("metadata")).get("dalle")).get("prompt"))
        return f"[image, not imported: {prompt}]" if prompt else "[image, not imported]"
    if "audio" in kind or "video" in kind:
        text = word(given.get("text"))
        if text:
            return text
        left_out["audio_and_video"] += 1
        return ""
    text = word(given.get("text")) or word(given.get("content"))
    if not text and kind:
        left_out[f"unknown_content:{kind[:40]}"] += 1
    return text


def _code(content: Fields, left_out: Counter[str]) -> str:
    return word(content.get("text"))


def _quote(content: Fields, left_out: Counter[str]) -> str:
    head = " ".join(text for name in ("title", "url") if (text := word(content.get(name))))
    return "\n\n".join(text for text in (head, word(content.get("text"))) if text)


def _display(content: Fields, left_out: Counter[str]) -> str:
    return word(content.get("result")) or word(content.get("summary"))


def _fault(content: Fields, left_out: Counter[str]) -> str:
    return ": ".join(text for name in ("name", "text") if (text := word(content.get(name))))


def _any(content: Fields, left_out: Counter[str]) -> str:
    """Of a kind that is not known: whatever text it has where others have theirs."""
    texts = [word(content.get(name)) for name in _TEXT_FIELDS]
    parts = _parts(content, left_out) if isinstance(content.get("parts"), list) else ""
    return "\n\n".join(text for text in (*texts, parts) if text)


_READERS: dict[str, Callable[[Fields, Counter[str]], str]] = {
    "text": _parts,
    "multimodal_text": _parts,
    "code": _code,
    "execution_output": _code,
    "tether_quote": _quote,
    "tether_browsing_display": _display,
    "system_error": _fault,
}


def _files(metadata: Fields, content: Fields, left_out: Counter[str]) -> list[str]:
    """A line for each file that came with the message, but for images that stand in its parts."""
    given = metadata.get("attachments")
    parts = content.get("parts")
    shown = {
        word(fields(part).get("asset_pointer")).rpartition("://")[2]
        for part in (parts if isinstance(parts, list) else ())
    }
    lines = []
    for file in map(fields, given if isinstance(given, list) else ()):
        if word(file.get("id")) not in shown:
            left_out["files"] += 1
            lines.append(f"[file, not imported: {word(file.get('name')) or 'without a name'}]")
    return lines


def _cited(text: str, metadata: Fields, left_out: Counter[str]) -> str:
    """Citations as ChatGPT shows them, in place of the marks it keeps them by."""
    if not _MARKS.search(text):
        return text
    references = metadata.get("content_references")
    for reference in map(fields, references[:MOST_CITATIONS] if isinstance(references, list) else ()):
        mark, shown = word(reference.get("matched_text")), reference.get("alt")
        if _MARKS.search(mark) and mark in text:
            if not isinstance(shown, str):
                left_out["citations"] += 1
            text = text.replace(mark, word(shown))
    return text
