"""Parquet during a run: each closed shard is converted, whole, and never one that is another by now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from hubbub.core.errors import StorageError
from hubbub.corpus.converting import bring_up_to_date, parquet_path
from hubbub.corpus.exports.parquet import made_from
from hubbub.corpus.reading import Reading
from hubbub.corpus.record import decode
from hubbub.corpus.verify import verify
from support.corpus_kit import begin, engine, in_process, run, write_recipe

FORMAT = 'format = "parquet"'


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("shard-*.parquet"))
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


async def test_shards_are_converted_as_they_close_through_a_kill(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, target="900KB"), tmp_path / "out"
    async with engine() as url:
        process = await begin("run", str(recipe), "--out", str(out), "--engine", url, "--parquet", "--json-lines")
        while not any(out.glob("shard-*.parquet")):
            assert process.returncode is None, (await process.communicate())[1]
            await asyncio.sleep(0.02)
        process.kill()
        await process.communicate()
        with Reading.open(out) as reading:
            assert reading.meta("state") == "running", "the first file was there before the run's end"
            sealed = {shard.name: shard.sha256 for shard in reading.shards() if shard.closed}
        first = min(out.glob("shard-*.parquet"))
        assert made_from(first) in sealed.values(), "what is there is whole"
        (out / "shard-00001.parquet.part").write_bytes(b"torn")
        code, _, err = await run(recipe, out, url, "--parquet")
        assert code == 0, err
    with Reading.open(out) as reading:
        records = [decode(line) for line in reading.lines()]
        assert len(list(out.glob("shard-*.parquet"))) == len(reading.shards()) > 1
    assert [(row["id"], row["text"]) for row in rows(out)] == [(record.id, record.text) for record in records]
    assert not list(out.glob("*.part"))
    assert (verify(out).faults, verify(out).notes) == ([], [])


async def test_a_damaged_shard_is_told_and_not_converted(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, target="150KB"), tmp_path / "out"
    async with engine() as url:
        await in_process(recipe, out, url)
        first = min(out.glob("shard-*.zst"))
        sound = first.read_bytes()
        for damage in (bytes([sound[len(sound) // 3] ^ 1]), b""):
            first.write_bytes(sound[: len(sound) // 3] + damage + sound[len(sound) // 3 + 1 :])
            with pytest.raises(StorageError, match=f"{first.name} cannot be read"):
                bring_up_to_date(out, [(first.name, "")])
    assert not list(out.glob("*.parquet*"))


async def test_what_is_of_a_shard_that_has_grown_is_made_anew(tmp_path: Path) -> None:
    async with engine() as url:
        out = tmp_path / "out"
        await in_process(write_recipe(tmp_path, target="20KB", more=FORMAT), out, url)
        few = rows(out)
        await in_process(write_recipe(tmp_path, target="20KB"), out, url)
        with Reading.open(out) as reading:
            assert len(few) == reading.counters()["records"]
        await in_process(write_recipe(tmp_path, target="30KB"), out, url)
        assert any("not of the shard that is there" in note for note in verify(out).notes)
        await in_process(write_recipe(tmp_path, target="30KB", more=FORMAT), out, url)
    with Reading.open(out) as reading:
        assert len(rows(out)) == reading.counters()["records"] > len(few)
    assert not verify(out).notes


@pytest.mark.parametrize("torn", [b"", b"PAR1", b"PAR1" + bytes(100)])
async def test_a_broken_file_is_made_anew(tmp_path: Path, torn: bytes) -> None:
    async with engine() as url:
        await in_process(write_recipe(tmp_path, target="5KB"), tmp_path / "out", url)
    with Reading.open(tmp_path / "out") as reading:
        sealed = [(shard.name, shard.sha256) for shard in reading.shards()]
    path = parquet_path(tmp_path / "out", sealed[0][0])
    path.write_bytes(torn)
    (tmp_path / "out" / "shard-00009.parquet").write_bytes(b"of a shard that is open again")
    bring_up_to_date(tmp_path / "out", sealed)
    assert made_from(path) == sealed[0][1]
    assert not (tmp_path / "out" / "shard-00009.parquet").exists()
