"""Two recipes with steering on and off, at equal size: how varied is what comes out?

Each recipe is run twice to the same number of accepted bytes, once with its steering (epochs made shorter, so that it
acts in so small a run), once with its columns taken out of `[steering]`. Near-duplicates are the share of texts past
the filters that the deduplication rejected. Distinct words and pairs of words (higher is more varied) and compression
(lower is more varied) are taken over the first 200 characters of the same number of accepted texts, evenly spread over
each run. "Asked": tokens that the model had to write for each token that was accepted.

Two engines. "bundled": SmolLM2-135M, embedded; a cell is judged from 20 texts on, so a run of some kB has steering for
its first cells at most. "uneven": repetitive_engine.py, which has much to say of some values of a column and little of
others, at a size where steering can matter.

usage: python -m benchmarks.corpus_diversity [--engine bundled|uneven] [--bytes 12kB] [--every 20] [--only RECIPE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.table import RESULTS, stamp, write
from hubbub.corpus.diversity import EXCERPT, measured
from hubbub.corpus.reading import Reading
from hubbub.corpus.record import decode
from hubbub.engines.models import BUNDLED, resolve_model

RECIPES = Path(__file__).parent.parent / "recipes"
NAMES = ("en-encyclopedia", "phrases-ru-en")
STEERED = re.compile(r"\[steering\]\ncolumns = (\[.*\])\n(every = \d+\n)?")
IN_FLIGHT = 32
UNEVEN = (sys.executable, "-m", "benchmarks.repetitive_engine")


def written(name: str, folder: Path, every: int, *, steered: bool) -> Path:
    """The recipe, with other epochs, steered or not."""
    source = (RECIPES / f"{name}.toml").read_text()
    found = STEERED.search(source)
    if found is None:
        sys.exit(f"{name}.toml has no [steering] as it is looked for here")
    columns = f"columns = {found.group(1)}\n" if steered else ""
    path = folder / f"{name}-{'on' if steered else 'off'}.toml"
    path.write_text(source.replace(found.group(), f"[steering]\n{columns}every = {every}\n"))
    return path


def texts(folder: Path) -> list[str]:
    with Reading.open(folder) as reading:
        return [decode(line).text for line in reading.lines()]


def facts(folder: Path, many: int) -> dict[str, Any]:
    """Of ``many`` accepted texts, spread over the run; duplicates and tokens of the whole run."""
    with Reading.open(folder) as reading:
        counters, epochs = reading.counters(), reading.epochs()
    duplicates = counters.get("rejected:near_duplicate", 0) + counters.get("rejected:duplicate", 0)
    said = texts(folder)
    found = measured([said[number * len(said) // many][:EXCERPT] for number in range(many)])
    cells = json.loads(epochs[max(epochs)]).get("cells", {}) if epochs else {}
    return {
        "records": counters["records"],
        "items": counters["items"],
        "epochs": len(epochs),
        "cells_weighed": len(cells),
        "cells_retired": sum(weight == 0 for weight in cells.values()),
        "asked": counters["answer_tokens"] / max(1, counters["tokens"]),
        "duplicates": duplicates / max(1, duplicates + counters["records"]),
        "distinct_1": found.distinct_1,
        "distinct_2": found.distinct_2,
        "compression": found.compression,
    }


@contextlib.asynccontextmanager
async def engine(kind: str) -> AsyncIterator[str]:
    bundled = (sys.executable, "-m", "hubbub.engines.openvino_server", "--model", str(resolve_model(BUNDLED).path))
    command = (*bundled, "--max-sequences", str(IN_FLIGHT)) if kind == "bundled" else UNEVEN
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{json.loads(await process.stdout.readline())['port']}"
    finally:
        process.terminate()
        await process.wait()


async def runs(names: list[str], place: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Wall seconds of each run."""
    took: dict[str, dict[str, float]] = {}
    async with engine(options.engine) as url:
        for name in names:
            for steered in (True, False):
                recipe = written(name, place, options.every, steered=steered)
                began = time.perf_counter()
                run = (sys.executable, "-m", "hubbub", "corpus", "run", str(recipe), "--out", str(place / recipe.stem))
                more = ("--engine", url, "--bytes", options.bytes, "--concurrency", str(IN_FLIGHT), "--json-lines")
                process = await asyncio.create_subprocess_exec(*run, *more, stdout=subprocess.DEVNULL)
                if await process.wait():
                    sys.exit(f"{recipe.stem} ended with exit code {process.returncode}")
                took.setdefault(name, {})["on" if steered else "off"] = time.perf_counter() - began
    return took


def row(run: str, found: dict[str, Any]) -> tuple[str, ...]:
    return (
        run,
        f"{found['bytes']}, {found['records']:,} records of {found['items']:,} items",
        f"{found['cells_weighed']} of which {found['cells_retired']} retired, {found['epochs']} epochs",
        f"{found['duplicates']:.1%}",
        f"{found['distinct_1']:.3f}",
        f"{found['distinct_2']:.3f}",
        f"{found['compression']:.2f}",
        f"{found['asked']:.2f}",
        f"{found['wall_s']:.0f} s",
    )


HEADER = ("run", "size", "cells", "near-duplicates", "distinct-1", "distinct-2", "compression", "asked", "wall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("bundled", "uneven"), default="bundled")
    parser.add_argument("--bytes", default="12kB")
    parser.add_argument("--every", type=int, default=20, help="items of an epoch")
    parser.add_argument("--only", choices=NAMES, help="the others as they were in the last results")
    options = parser.parse_args()
    names = [options.only] if options.only else list(NAMES)
    before = RESULTS / "corpus_diversity.json"
    kept = json.loads(before.read_text())["runs"] if before.exists() else {}
    place = Path(tempfile.mkdtemp(prefix="hubbub-diversity-"))
    try:
        took = asyncio.run(runs(names, place, options))
        for name in names:
            folders = {steered: place / f"{name}-{steered}" for steered in ("on", "off")}
            many = min(len(texts(folder)) for folder in folders.values())
            for steered, folder in folders.items():
                found = {**facts(folder, many), "wall_s": took[name][steered]}
                kept[f"{options.engine}, {name}, {steered}"] = {"bytes": options.bytes, "every": options.every, **found}
    finally:
        shutil.rmtree(place)
    order = sorted(kept, key=lambda run: (*run.split(", ")[:2], run.endswith("off")))
    told = {**stamp(), "runs": {run: kept[run] for run in order}}
    write("corpus_diversity", HEADER, [row(run, kept[run]) for run in order], told, str(__doc__))


if __name__ == "__main__":
    main()
