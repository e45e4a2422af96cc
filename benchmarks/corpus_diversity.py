"""Two recipes with steering on and off, at equal size, on the bundled model: how varied is what comes out?

Each recipe is run twice to the same number of accepted bytes, once with its steering (epochs made short, so that it
acts in so small a run), once with its columns taken out of `[steering]`. Near-duplicates are the share of texts past
the filters that the deduplication rejected. Distinct words and pairs of words (higher is more varied) and compression
(lower is more varied) are taken over the first 200 characters of the same number of accepted texts.

usage: python -m benchmarks.corpus_diversity [--bytes 30kB] [--every 40]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import stamp, write
from hubbub.corpus.diversity import EXCERPT, measured
from hubbub.corpus.reading import Reading
from hubbub.corpus.record import decode
from hubbub.engines.models import BUNDLED, resolve_model

RECIPES = Path(__file__).parent.parent / "recipes"
NAMES = ("en-encyclopedia", "phrases-ru-en")
STEERED = re.compile(r"\[steering\]\ncolumns = (\[.*\])\n(every = \d+\n)?")


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
    """Of the first ``many`` accepted texts; duplicates of the whole run."""
    with Reading.open(folder) as reading:
        counters, epochs = reading.counters(), reading.epochs()
    duplicates = counters.get("rejected:near_duplicate", 0) + counters.get("rejected:duplicate", 0)
    found = measured([text[:EXCERPT] for text in texts(folder)[:many]])
    return {
        "records": counters["records"],
        "items": counters["items"],
        "epochs": len(epochs),
        "duplicates": duplicates / max(1, duplicates + counters["records"]),
        "distinct_1": found.distinct_1,
        "distinct_2": found.distinct_2,
        "compression": found.compression,
    }


async def all_runs(place: Path, size: str, every: int) -> dict[str, dict[str, float]]:
    """Wall seconds of each run."""
    took: dict[str, dict[str, float]] = {}
    command = (sys.executable, "-m", "hubbub.engines.openvino_server", "--model", str(resolve_model(BUNDLED).path))
    engine = await asyncio.create_subprocess_exec(*command, "--served-name", "smollm2", stdout=subprocess.PIPE)
    assert engine.stdout is not None
    try:
        url = re.search(rb'"url": ?"([^"]+)"', await engine.stdout.readline())
        assert url is not None
        for name in NAMES:
            for steered in (True, False):
                recipe = written(name, place, every, steered=steered)
                began = time.perf_counter()
                run = (sys.executable, "-m", "hubbub", "corpus", "run", str(recipe), "--out", str(place / recipe.stem))
                more = ("--engine", url.group(1).decode(), "--bytes", size, "--concurrency", "32", "--json-lines")
                process = await asyncio.create_subprocess_exec(*run, *more, stdout=subprocess.DEVNULL)
                if await process.wait():
                    sys.exit(f"{recipe.stem} ended with exit code {process.returncode}")
                took.setdefault(name, {})["on" if steered else "off"] = time.perf_counter() - began
    finally:
        engine.terminate()
        await engine.wait()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", default="30kB")
    parser.add_argument("--every", type=int, default=40, help="items of an epoch")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hubbub-diversity-"))
    told: dict[str, Any] = {**stamp(), "bytes": options.bytes, "every": options.every, "runs": {}}
    rows = []
    try:
        took = asyncio.run(all_runs(place, options.bytes, options.every))
        for name in NAMES:
            folders = {steered: place / f"{name}-{steered}" for steered in ("on", "off")}
            many = min(len(texts(folder)) for folder in folders.values())
            for steered, folder in folders.items():
                found = {**facts(folder, many), "wall_s": took[name][steered]}
                told["runs"][f"{name} {steered}"] = found
                rows.append(
                    (
                        name,
                        steered,
                        f"{found['records']:,} of {found['items']:,} items, {found['epochs']} epochs",
                        f"{found['duplicates']:.1%}",
                        f"{found['distinct_1']:.3f}",
                        f"{found['distinct_2']:.3f}",
                        f"{found['compression']:.2f}",
                        f"{found['wall_s']:.0f} s",
                    )
                )
    finally:
        shutil.rmtree(place)
    header = ("recipe", "steering", "records", "near-duplicates", "distinct-1", "distinct-2", "compression", "wall")
    write("corpus_diversity", header, rows, told, str(__doc__))


if __name__ == "__main__":
    main()
