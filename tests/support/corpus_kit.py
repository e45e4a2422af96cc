"""A small recipe, a fast engine, and corpus runs as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from hubbub.corpus.reading import Reading
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig
from hubbub.engines.simulated_server import ServerOptions, serving

RECIPE = """
name = "cities"
seed = 7
target = "{target}"

[columns.city]
values = ["Москва", "Тверь", "Псков", "Казань", "Пермь"]
[columns.topic]
values = ["река", "рынок", "мост", "снег", "поезд"]

[[steps]]
name = "story"
prompt = "A short text on {{{{ topic }}}} in {{{{ city }}}}, number {{{{ index }}}}."

[sampling]
temperature = 0.8
max_tokens = 120

[filters]
language = false
script = false
chars = {{ min = {least} }}

[steering]
every = 100

[shards]
size = "64KB"
{more}
"""
FAST = Pace(base=0.002, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.5, max_sequences=64)
BRIEF = Voice(output_median=40, output_sigma=0.5)


def write_recipe(folder: Path, *, target: str = "150KB", least: int = 60, more: str = "") -> Path:
    """``least``: characters below which a text is rejected: some are."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(target=target, least=least, more=more))
    return path


@asynccontextmanager
async def engine(*faults: FaultRule, voice: Voice = BRIEF, pace: Pace = FAST) -> AsyncIterator[str]:
    """The simulated engine behind an address."""
    async with serving(ServerOptions(engine=SimulatedConfig(voice, pace, faults))) as url:
        yield url


async def begin(*arguments: str) -> Process:
    """``hubbub corpus ...`` as a process."""
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubbub", "corpus", *arguments, stdout=PIPE, stderr=PIPE, env=environ
    )


async def corpus(*arguments: str) -> tuple[int, str, str]:
    """The same to its end: exit code, stdout, stderr."""
    process = await begin(*arguments)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def run(recipe: Path, out: Path, url: str, *more: str) -> tuple[int, str, str]:
    return await corpus("run", str(recipe), "--out", str(out), "--engine", url, "--json-lines", *more)


async def killed_at(process: Process, folder: Path, items: int) -> bool:
    """SIGKILL the run once ``items`` are done. False: it ended before."""
    while process.returncode is None:
        if done_items(folder) >= items:
            kill_family(process.pid)
            await process.communicate()
            return True
        await asyncio.sleep(0.02)
    await process.communicate()
    return False


def kill_family(pid: int) -> None:
    """The process alone: what it started must see by itself that it is gone."""
    psutil.Process(pid).send_signal(signal.SIGKILL)


def done_items(folder: Path) -> int:
    if not (folder / "run.sqlite3").exists():
        return 0
    try:
        with Reading.open(folder) as reading:
            return len(reading.ranges("done"))
    except Exception as fault:
        if "no such table" in str(fault) or "holds a lock" in str(fault):
            return 0
        raise


def shards(folder: Path) -> dict[str, bytes]:
    """Names and bytes of all shards and their markers."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def lines(folder: Path) -> Sequence[bytes]:
    with Reading.open(folder) as reading:
        return list(reading.lines())
