"""A small recipe, a fast engine, and corpus runs as real processes."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from hubbub.core.errors import StorageError
from hubbub.corpus.board import Board
from hubbub.corpus.client import Endpoint, EndpointConfig
from hubbub.corpus.producing import Intake, LocalProducer, RunnerConfig
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe_check import load
from hubbub.corpus.runner import Outcome, Runner
from hubbub.corpus.screening import Here
from hubbub.corpus.session import opened
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig
from hubbub.engines.simulated_server import ServerOptions, serving
from support.command import asked

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
every = {every}

[shards]
size = "64KB"
{more}
"""
FAST = Pace(base=0.002, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.5, max_sequences=64)
BRIEF = Voice(output_median=40, output_sigma=0.5)


def write_recipe(folder: Path, *, target: str = "150KB", least: int = 60, every: int = 100, more: str = "") -> Path:
    """``least``: characters below which a text is rejected: some are."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(target=target, least=least, every=every, more=more))
    return path


@asynccontextmanager
async def engine(*faults: FaultRule, voice: Voice = BRIEF, pace: Pace = FAST) -> AsyncIterator[str]:
    """The simulated engine behind an address."""
    async with serving(ServerOptions(engine=SimulatedConfig(voice, pace, faults))) as url:
        yield url


async def begin(*arguments: str, before: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Process:
    """``hubbub corpus ...`` as a process, started by the command ``before`` where there is one."""
    command = (*before, sys.executable, "-m", "hubbub", "corpus", *arguments)
    told = {**environ, "HF_HUB_OFFLINE": "1"}
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=told)


async def corpus(*arguments: str) -> tuple[int, str, str]:
    """``hubbub corpus ...`` beside a run: exit code, stdout, stderr."""
    done = await asked("corpus", *arguments, cwd=Path.cwd())
    return done.returncode, done.stdout, done.stderr


async def run(recipe: Path, out: Path, url: str, *more: str) -> tuple[int, str, str]:
    """A whole run in a process of its own."""
    process = await begin("run", str(recipe), "--out", str(out), "--engine", url, "--json-lines", *more)
    told, err = await process.communicate()
    return process.returncode or 0, told.decode(), err.decode()


async def killed_at(process: Process, folder: Path, items: int) -> bool:
    """SIGKILL the run once ``items`` are done. False: it ended before."""
    while process.returncode is None:
        if done_items(folder) >= items:
            process.kill()
            await process.communicate()
            return True
        await asyncio.sleep(0.02)
    await process.communicate()
    return False


def done_items(folder: Path) -> int:
    try:
        with Reading.open(folder) as reading:
            return len(reading.ranges("done"))
    except StorageError:
        return 0  # nothing is there yet


def shards(folder: Path) -> dict[str, bytes]:
    """Names and bytes of all shards and their markers."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def lines(folder: Path) -> Sequence[bytes]:
    with Reading.open(folder) as reading:
        return list(reading.lines())


async def in_process(
    recipe: Path,
    folder: Path,
    url: str,
    config: RunnerConfig | None = None,
    *,
    hangs: Callable[[], None] | None = None,
    kept: Callable[[Runner], None] | None = None,
) -> Outcome:
    """One run in this process. ``kept`` is called on the disk's thread after each commit."""
    with opened(load(recipe), folder) as session:
        async with Endpoint.opened(EndpointConfig(url), session.model) as endpoint:
            session.serve(endpoint.served)
            settings = config or RunnerConfig()

            def producer(intake: Intake, board: Board) -> LocalProducer:
                screener = Here(session.judge)
                return LocalProducer(intake, board, session.items, screener, endpoint, settings, hangs)

            runner = session.runner(producer, settings, keep=(lambda: kept(runner)) if kept else None)
            outcome = await runner.run()
        await asyncio.to_thread(session.finish)
        return outcome


@dataclass
class Odd:
    """A server that answers as it is told: ``answer`` takes the number of the request and its body."""

    answer: Callable[[int, dict[str, Any]], Awaitable[web.Response]]
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def _chat(self, request: web.Request) -> web.Response:
        self.seen.append(await request.json())
        return await self.answer(len(self.seen) - 1, self.seen[-1])

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "odd"}]})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models)])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def completion(text: str, *, model: str = "odd", finish: str = "stop") -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 9, "completion_tokens": len(text) // 5, "total_tokens": 9 + len(text) // 5}
    return web.json_response({"id": "x", "model": model, "choices": [choice], "usage": usage})


def story(body: dict[str, Any]) -> str:
    """A text of its own for each prompt and seed."""
    rng = random.Random(f"{body['messages']} {body.get('seed')}")
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(3, 9))) for _ in range(30)).capitalize() + "."
