"""The worked recipes, whole, on the bundled model: small targets, one engine for all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.corpus.reading import Reading
from hubbub.corpus.record import Record, decode
from hubbub.corpus.verify import verify
from support.corpus_kit import corpus, run
from support.corpus_recipes import RECIPES
from support.openvino_process import bundled_model, openvino_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    async with openvino_server(bundled_model(), "--kv-bytes", "300000000", "--max-sequences", "8") as running:
        yield running.url


async def written(name: str, size: str, url: str, out: Path) -> list[Record]:
    code, _, err = await run(RECIPES / f"{name}.toml", out, url, "--bytes", size, "--concurrency", "8")
    assert code == 0, err
    report = verify(out)
    assert not report.faults
    with Reading.open(out) as reading:
        return [decode(line) for line in reading.lines()]


async def test_the_encyclopedia_in_english_is_linked_pages(url: str, tmp_path: Path) -> None:
    records = await written("en-encyclopedia", "3kB", url, tmp_path / "out")
    assert sum(len(record.text.encode()) for record in records) >= 3000
    assert {record.lang for record in records} == {"en"}
    assert len({record.title for record in records}) == len(records)
    code, _, err = await corpus(
        "export", str(tmp_path / "out"), "--format", "obsidian", "--to", str(tmp_path / "vault")
    )
    assert code == 0, err
    pages = {path.stem: path.read_text() for path in (tmp_path / "vault").rglob("*.md")}
    targets = [target for text in pages.values() for target in re.findall(r"\[\[([^\]|]+)", text)]
    assert targets, "pages link to one another"
    assert all(target in pages for target in targets)


@pytest.mark.parametrize(("name", "size"), [("ru-encyclopedia", "150B"), ("phrases-ru-en", "800B")])
async def test_the_recipes_with_russian_reach_a_small_target(url: str, tmp_path: Path, name: str, size: str) -> None:
    records = await written(name, size, url, tmp_path / "out")
    assert records
    for record in records:
        assert record.lang == record.columns.get("lang", "ru")
        letters = re.findall(r"[a-zа-яё]", record.text.lower())
        cyrillic = sum(letter > "z" for letter in letters)
        assert cyrillic >= 0.6 * len(letters) if record.lang == "ru" else cyrillic == 0, record.text
