"""Exports: whole or not at all, links valid, hostile text shown and not obeyed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from hubbub.core.errors import BadRequest, Conflict, StorageError
from hubbub.corpus.exports import FORMATS, Corpus, export
from hubbub.corpus.exports.names import Names
from hubbub.corpus.exports.obsidian import escaped
from hubbub.corpus.items import Items
from hubbub.corpus.record import Link, Record, decode
from support.corpus_recipes import LINKED, accepted, prose, recipe

HOSTILE = '<script>alert(1)</script> ![x](http://evil/a) [[Oak|b]] {% x %} `q` "quoted" & | # ]]> %%x%% <img src=x>'
MADE = recipe(LINKED + '[filters]\nleaks = false\n[card]\ntitle = "A <b> test"\n')
ANSWERS = [f"# {prose(number)}\n\n{HOSTILE} {number}" if number % 4 else "" for number in range(24)]
RECORDS, _ = accepted(MADE, ANSWERS)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(lambda: iter(RECORDS), MADE, Items(MADE), {"engine": {"name": "simulated"}, "shards": [1, 2]})


class Seen(HTMLParser):
    """The tags of a page, and where its links go."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_json_lines_have_every_record_and_edge(corpus: Corpus, tmp_path: Path) -> None:
    path = export(corpus, "jsonl", tmp_path / "out.jsonl")
    assert path is not None
    records = [decode(line) for line in path.read_bytes().splitlines()]
    assert [record.text for record in records] == [record.text for record in RECORDS]
    edges = [json.loads(line) for line in (tmp_path / "out.edges.jsonl").read_text().splitlines()]
    ids = {record.id for record in records}
    assert len(edges) > len(records)
    assert all(edge["source"] in ids and edge["target"] in ids for edge in edges)


def test_standard_output_takes_json_lines_alone(corpus: Corpus, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert export(corpus, "jsonl", None) is None
    assert len(capfdbinary.readouterr().out.splitlines()) == len(RECORDS)
    with pytest.raises(BadRequest, match="more than one file"):
        export(corpus, "html", None)


def test_every_link_of_the_site_leads_to_a_page_and_nothing_runs(corpus: Corpus, tmp_path: Path) -> None:
    site = export(corpus, "html", tmp_path / "site")
    assert site is not None
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(RECORDS)
    for page in pages:
        seen = Seen(page.read_text(encoding="utf-8"))
        assert not seen.tags & {"script", "img", "iframe", "b", "form"}
        assert all((page.parent / link).resolve().is_file() for link in seen.links)


def test_every_link_of_the_vault_names_a_file_and_nothing_is_active(corpus: Corpus, tmp_path: Path) -> None:
    vault = export(corpus, "obsidian", tmp_path / "vault")
    assert vault is not None
    files = {path.stem: path for path in vault.rglob("*.md")}
    assert len(files) == len(RECORDS)
    count = 0
    for path in files.values():
        text = path.read_text(encoding="utf-8")
        links = re.findall(r"(?<!\\)\[\[([^\]|]+)\|", text)
        count += len(links)
        assert all(link in files for link in links)
        assert not re.search(r"(?<!\\)(<script|!\[|`|%%)", text.split("---\n", 2)[2].replace("!\\[", ""))
    assert count == sum(len(record.links) for record in corpus.finished())


@pytest.mark.parametrize("format", ["obsidian", "html"])
def test_what_stands_there_is_not_written_over(corpus: Corpus, tmp_path: Path, format: str) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(Conflict, match="is there already"):
        export(corpus, format, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ending", ["", ".out"])
def test_a_place_that_cannot_be_is_told(corpus: Corpus, tmp_path: Path, format: str, ending: str) -> None:
    with pytest.raises(StorageError, match="cannot be written: File name too long"):
        export(corpus, format, tmp_path / ("a" * 300 + ending))


@pytest.mark.parametrize("format", ["jsonl", "obsidian", "html"])
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, format: str) -> None:
    def torn() -> Iterator[Record]:
        yield RECORDS[0]
        raise BadRequest("the shard is cut short")

    with pytest.raises(BadRequest, match="cut short"):
        export(Corpus(torn, MADE, Items(MADE), {}), format, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unknown_format_is_told_the_known_ones(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="there is jsonl, parquet, obsidian, html, dataset"):
        export(corpus, "xml", tmp_path)


def test_file_names_are_safe_and_never_shared() -> None:
    titles = [
        "Oak",
        "oak",
        "A/B",
        "A B",
        "..",
        "CON",
        "x" * 300,
        "",
        "Elm (3)",
        "a\nb",
        "[[Ash]]",
        "5",
        "🦉" * 80,
        "字" * 80,
        "é",
        "e\u0301",
    ]
    records = [
        Record(id=str(number), index=number, text="", bytes=0, title=title) for number, title in enumerate(titles)
    ]
    names = [Names(records).of(record.id, record.title) for record in records]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    assert names[0] == "Oak"
    for name in names:
        assert name not in ("", ".", "..", "CON")
        assert not set(name) & set('<>:"/\\|?*#^[]\n')
        assert len(name.encode()) < 250
    assert Names(records).of_link(Link("x", "1", "oak")) == names[1]


def test_markdown_is_shown_as_it_was_written() -> None:
    assert escaped("# a\n1. b\n- c\n*d* <e>") == "\\# a\n1\\. b\n\\- c\n\\*d\\* \\<e\\>"
    assert escaped("- c\n- d", starts=False) == "- c\n\\- d"


def test_a_record_is_one_line_of_json_and_comes_back() -> None:
    for record in RECORDS:
        line = msgspec.json.encode(record)
        assert b"\n" not in line
        assert decode(line) == record
