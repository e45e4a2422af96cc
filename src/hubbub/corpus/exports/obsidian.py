"""An Obsidian vault: one Markdown file a record, ``[[links]]`` between them, front matter with the columns.

Texts come from a model, so they are hostile: what Markdown or Obsidian would act on (HTML, images, embeds, code blocks
that plugins run, links of its own) is escaped. The only links are the corpus's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubbub.corpus.exports.corpus import Corpus, whole_folder
from hubbub.corpus.exports.names import Names
from hubbub.corpus.record import Record

FOLDER = 1000
"""Items of one folder: Obsidian finds a link's target in any, and file managers stay quick."""
_ACTIVE = re.compile(r"([\\`*_\[\]<>|~$%])")
_LINE_START = re.compile(r"^(\s*)([#>+=-]|\d+[.)])", re.MULTILINE)
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|file|javascript|obsidian|data):")


def export_obsidian(corpus: Corpus, to: Path) -> Path:
    names = Names(corpus.records())
    with whole_folder(to) as vault:
        made: set[Path] = set()
        for record in corpus.finished():
            folder = vault / f"{record.index // FOLDER:05d}"
            if folder not in made:
                folder.mkdir()
                made.add(folder)
            (folder / f"{names.of(record.id, record.title)}.md").write_text(_page(record, names), encoding="utf-8")
    return to


def _page(record: Record, names: Names) -> str:
    pieces = [_front_matter(record), "\n", _body(record, names), "\n"]
    also = [link for link in record.links if link.start < 0]
    if also:
        pieces.append("\n---\n\n")
        pieces += [f"- {escaped(link.kind)}: [[{names.of_link(link)}|{_alias(link.title)}]]\n" for link in also]
    return "".join(pieces)


def _front_matter(record: Record) -> str:
    values: dict[str, Any] = {"id": record.id, "title": record.title, "lang": record.lang, "aliases": []}
    values |= {f"col_{name}" if name in values else name: value for name, value in record.columns.items()}
    values |= {"bytes": record.bytes, "tokens": record.tokens, "model": record.model}
    return front_matter({name: value for name, value in values.items() if value != ""})


def front_matter(values: Mapping[str, Any]) -> str:
    """YAML between lines of dashes. JSON is YAML but for a few characters that YAML takes for line ends or refuses."""
    shown = {name: _NOT_YAML.sub(_code, json.dumps(value, ensure_ascii=False)) for name, value in values.items()}
    return "---\n" + "".join(f"{name}: {value}\n" for name, value in shown.items()) + "---\n"


def _code(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _body(record: Record, names: Names) -> str:
    pieces = []
    end = 0
    for link in sorted((link for link in record.links if link.start >= 0), key=lambda link: link.start):
        pieces.append(escaped(record.text[end : link.start], starts=end == 0))
        pieces.append(f"[[{names.of_link(link)}|{_alias(record.text[link.start : link.end])}]]")
        end = link.end
    pieces.append(escaped(record.text[end:], starts=end == 0))
    return "".join(pieces)


def escaped(text: str, *, starts: bool = True) -> str:
    """Markdown that shows ``text`` as it is. ``starts``: it begins a line."""
    text = _ADDRESS.sub(lambda found: f"{found.group(1)}\u200b:", text)
    text = _ACTIVE.sub(r"\\\1", text)
    if not starts:
        first, line, rest = text.partition("\n")
        return first + line + _LINE_START.sub(_escaped_start, rest)
    return _LINE_START.sub(_escaped_start, text)


def _escaped_start(found: re.Match[str]) -> str:
    space, mark = found.group(1)[:3], found.group(2)
    return f"{space}\\{mark}" if len(mark) == 1 else f"{space}{mark[:-1]}\\{mark[-1]}"


def _alias(text: str) -> str:
    return " ".join(re.sub(r"[\[\]|\\<>`]", " ", text).split())
