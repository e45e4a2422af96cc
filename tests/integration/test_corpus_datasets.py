"""Exports that need pyarrow, read back by pyarrow and by Hugging Face datasets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when datasets is imported

import pyarrow.parquet
import pytest

from hubbub.core.errors import BadRequest
from hubbub.corpus.exports import Corpus, export
from hubbub.corpus.items import Items
from hubbub.corpus.record import Record
from support.corpus_recipes import LINKED, accepted, prose, recipe

MADE = recipe(LINKED + '[card]\ntitle = "A <b> test"\n')
RECORDS, _ = accepted(MADE, [prose(number) if number % 4 else "" for number in range(24)])


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(lambda: iter(RECORDS), MADE, Items(MADE), {"engine": {"name": "simulated"}, "shards": [1, 2]})


def test_parquet_reads_back(corpus: Corpus, tmp_path: Path) -> None:
    path = export(corpus, "parquet", tmp_path / "out.parquet")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["text"] for row in rows] == [record.text for record in RECORDS]
    assert json.loads(rows[0]["columns"]) == RECORDS[0].columns
    assert rows[0]["links"][0]["kind"] in {"related", "far", "next", "hub"}


def test_a_data_set_loads_and_its_card_says_what_it_is(corpus: Corpus, tmp_path: Path) -> None:
    folder = export(corpus, "dataset", tmp_path / "data")
    assert folder is not None
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'path": "data/train-00000.parquet"' in card
    assert f"| records | {len(RECORDS)} |" in card
    assert "engine.name | simulated" in card
    assert "A \\<b\\> test" in card
    for plot in re.findall(r"\]\((plots/[^)]+)\)", card):
        assert (folder / plot).read_text(encoding="utf-8").startswith("<svg ")
    assert pyarrow.parquet.read_table(folder / "data").num_rows == len(RECORDS)


@pytest.mark.parametrize("format", ["parquet", "dataset"])
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, format: str) -> None:
    def torn() -> Iterator[Record]:
        yield RECORDS[0]
        raise BadRequest("the shard is cut short")

    with pytest.raises(BadRequest, match="cut short"):
        export(Corpus(torn, MADE, Items(MADE), {}), format, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
