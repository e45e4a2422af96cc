"""Static pages to browse: an index, categories, lists, one page a record. No script, no font, no request to anywhere.

Texts come from a model, so they are hostile: all of it is escaped, and a content security policy in each page forbids
what an escape might have missed.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from hubbub.corpus.exports.corpus import Corpus, whole_folder
from hubbub.corpus.record import Link, Record, node_of

FOLDER = 1000
"""Items of one folder of pages."""
LIST = 500
"""Entries of one page of a list."""
MOST_CATEGORIES = 500
"""Values of one column. A column with more is no category."""
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 18px/1.6 Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
nav, footer, .facts { font: 15px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; } a { color: #0b62a3; } ul.entries { columns: 2 16rem; padding-left: 1.2rem; }
footer { border-top: 1px solid #8888; margin-top: 2rem; padding-top: .5rem; } .text { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { a { color: #7cc0f5; } }
"""


def export_site(corpus: Corpus, to: Path) -> Path:
    with whole_folder(to) as site:
        _Site(site, corpus).write()
    return to


class _List:
    """A list of entries, written 500 to a file as they come."""

    def __init__(self, site: Path, slug: str, title: str) -> None:
        self.slug, self.title, self.count = slug, title, 0
        self._site = site
        self._entries: list[str] = []
        self._pages = 0

    def add(self, entry: str) -> None:
        if len(self._entries) == LIST:
            self.flush(more=True)
        self._entries.append(entry)
        self.count += 1

    def flush(self, *, more: bool = False) -> None:
        self._pages += 1
        before = f'<a href="{self.slug}-{self._pages - 1}.html">← earlier</a> ' if self._pages > 1 else ""
        after = f'<a href="{self.slug}-{self._pages + 1}.html">more →</a>' if more else ""
        body = f'<ul class="entries">{"".join(self._entries)}</ul><nav>{before}{after}</nav>'
        path = self._site / "lists" / f"{self.slug}-{self._pages}.html"
        path.write_text(_page(self.title, body, "../"), encoding="utf-8")
        self._entries = []


class _Site:
    def __init__(self, site: Path, corpus: Corpus) -> None:
        self._site = site
        self._corpus = corpus
        self._all = _List(site, "all", "All records")
        self._lists: dict[str, dict[str, _List]] = {}
        self._dropped: set[str] = set()
        self._records = self._bytes = self._links = 0

    def write(self) -> None:
        (self._site / "lists").mkdir()
        (self._site / "style.css").write_text(_STYLE, encoding="utf-8")
        folders: set[Path] = set()
        for record in self._corpus.finished():
            path = self._site / page_path(record.id)
            if path.parent not in folders:
                path.parent.mkdir(parents=True)
                folders.add(path.parent)
            path.write_text(_record_page(record), encoding="utf-8")
            self._listed(record)
        self._all.flush()
        for lists in self._lists.values():
            for made in lists.values():
                made.flush()
        (self._site / "index.html").write_text(self._index(), encoding="utf-8")

    def _listed(self, record: Record) -> None:
        entry = f'<li><a href="../{page_path(record.id)}">{escape(_shown(record))}</a></li>'
        self._all.add(entry)
        self._records += 1
        self._bytes += record.bytes
        self._links += len(record.links)
        categories = {"language": record.lang, **record.columns} if record.lang else dict(record.columns)
        for name, value in categories.items():
            word = _category(value)
            if word is None or name in self._dropped:
                continue
            lists = self._lists.setdefault(name, {})
            if word not in lists and len(lists) >= MOST_CATEGORIES:
                self._dropped.add(name)
                continue
            if word not in lists:
                number = sum(map(len, self._lists.values()))
                lists[word] = _List(self._site, f"c{number}", f"{name}: {word}")
            lists[word].add(entry)

    def _index(self) -> str:
        recipe = self._corpus.recipe
        facts = f"{self._records:,} records, {self._bytes:,} bytes of text, {self._links:,} links"
        pieces = [f"<p>{escape(recipe.description)}</p><p class=facts>{facts}</p>"]
        pieces.append('<p><a href="lists/all-1.html">All records</a></p>')
        for name, lists in self._lists.items():
            if name in self._dropped or len(lists) < 2:
                continue
            entries = "".join(
                f'<li><a href="lists/{made.slug}-1.html">{escape(word)}</a> ({made.count:,})</li>'
                for word, made in sorted(lists.items(), key=lambda pair: -pair[1].count)
            )
            pieces.append(f'<h2>{escape(name)}</h2><ul class="entries">{entries}</ul>')
        return _page(recipe.card.title or recipe.name, "".join(pieces), "")


def page_path(id: str) -> str:
    return f"pages/{node_of(id)[0] // FOLDER:05d}/{id}.html"


def _category(value: Any) -> str | None:
    """A topic goes by its first level; other lists, objects and numbers are no categories."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = value[0]
    return value if isinstance(value, str) and 0 < len(value) <= 80 else None


def _shown(record: Record) -> str:
    return record.title or (record.text[:60] + ("…" if len(record.text) > 60 else ""))


def _record_page(record: Record) -> str:
    also = "".join(
        f"<li>{escape(link.kind)}: {_anchor(link, link.title)}</li>" for link in record.links if link.start < 0
    )
    facts = " · ".join(
        f"{escape(name)}: {escape(' / '.join(map(str, value)) if isinstance(value, list) else str(value))}"
        for name, value in record.columns.items()
    )
    body = f'<div class="text"><p>{_paragraphs(_body(record))}</p></div>'
    body += f"<nav><ul>{also}</ul></nav>" if also else ""
    body += f"<footer>{facts}<br>record {escape(record.id)}, {record.bytes:,} bytes, {escape(record.model)}</footer>"
    return _page(_shown(record), body, "../../", record.lang)


def _body(record: Record) -> str:
    pieces = []
    end = 0
    for link in sorted((link for link in record.links if link.start >= 0), key=lambda link: link.start):
        pieces.append(escape(record.text[end : link.start]))
        pieces.append(_anchor(link, record.text[link.start : link.end]))
        end = link.end
    return "".join(pieces) + escape(record.text[end:])


def _anchor(link: Link, said: str) -> str:
    return f'<a href="../../{page_path(link.target)}" title="{escape(link.kind)}">{escape(said)}</a>'


def _paragraphs(escaped: str) -> str:
    return escaped.replace("\n\n", "</p><p>").replace("\n", "<br>")


def _page(title: str, body: str, root: str, lang: str = "") -> str:
    language = f' lang="{escape(lang)}"' if lang else ""
    return (
        f'<!doctype html><html{language}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{root}style.css"></head><body>'
        f'<nav><a href="{root}index.html">Contents</a></nav><h1>{escape(title)}</h1>{body}</body></html>\n'
    )
