"""What the engines do with the same weights (SmolLM2-135M) and the same prompts, at 1, 8, 50 and 200 chats.

Each engine runs twice: with its own defaults, as who starts it by hand gets it, and with the settings Hubbub gives it
for 200 chats. The two stand side by side and are asked in turn, in turned order from round to round, so that what else
the machine does falls on both; the one that is not asked is stopped (SIGSTOP), so that its idle threads take nothing.
One engine's pair runs at a time, and has its share of the time. At each number of chats all begin together, greedily,
with a shared system prompt and questions of their own; at the most chats each asks a second question, which shows what
the prefix cache saves. Where an engine decodes fewer together than there are chats, the others wait, and their wait is
in the time to the first token. A point that takes longer than its limit is broken off and marked *: its tokens/s are of
what had come by then, and quantiles that lie beyond are shown as "> N". Measured at the Engine port, without Hubbub's
server. Precisions: OpenVINO and llama.cpp read the GGUF (4 bits), vLLM, transformers and FastChat the same weights
written out (bf16; Hubbub's settings compute in float32 where that is faster). Room for keys and values is held small,
so that two fit side by side.

usage: python -m benchmarks.engines [--only TEXT] [--minutes 5] [--limit 75] [--environments FOLDER]
           [--llama-server FILE] [--chats 1,8,50,200] [--eager] [--draw]

``--only`` takes the engines whose name holds TEXT; what was measured of others, and at other numbers of chats than
``--chats``, stays in the results. ``--draw`` writes
the table and the chart anew and measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.engines_own import CHATS, Kind, Make, kinds
from benchmarks.engines_told import OURS, OWN, Point, draw, merged
from benchmarks.table import stamp
from hubbub.bench.drive import Driven, Work, drive
from hubbub.bench.memory import PeakMemory
from hubbub.core.errors import HubbubError
from hubbub.core.types import EngineId
from hubbub.engines.kinds import ENVIRONMENTS
from hubbub.engines.supervisor import Supervised
from hubbub.ports import Engine

ANSWER = {1: 24, 8: 24}
"""Tokens an answer, by number of chats, at most."""
MANY_ANSWER = 16
TWICE = 8
"""Chats, at most, at which a round asks each twice: so short a measurement needs more of them."""
MOST_ROUNDS = 4
LEAST_S = 10.0
"""With less time left for a pair no point is begun."""
LEAST_FREE = 3 << 30
"""Bytes of memory; with less, no further engine is started."""
IDLE_SHARE, IDLE_WAIT_S = 0.25, 20.0
"""An engine is idle below so much of a core. One that is not after so long goes on with what nobody hears."""


@dataclass(slots=True)
class Subject:
    """One engine with one choice of settings. ``trouble``: why it is not measured. ``busy``: it may still compute what
    was broken off."""

    name: str
    settings: str
    make: Make
    engine: Engine | None = None
    start_s: float = 0.0
    memory: PeakMemory = field(default_factory=PeakMemory)
    points: dict[int, Point] = field(default_factory=dict)
    trouble: str = ""
    busy: bool = False

    async def start(self) -> None:
        """The time to start ends with the first answer: some load the model only then."""
        if psutil.virtual_memory().available < LEAST_FREE:
            self.trouble = "not started: memory was short"
            return
        began = time.perf_counter()
        try:
            name = EngineId(f"bench-{'own' if self.settings == OWN else 'ours'}")
            self.engine = await asyncio.to_thread(self.make, name)
            await self.engine.start()
            await drive(self.engine, Work(streams=1, tokens=1, seed=-1))
            self.start_s = self.start_s or time.perf_counter() - began
            await drive(self.engine, Work(streams=4, tokens=4, seed=-2))
        except HubbubError as error:
            self.trouble = f"does not start: {error.message.splitlines()[-1]}"
            print(f"{self.name}, {self.settings}: {error.message}", flush=True)
            await self.close()

    async def close(self) -> None:
        if self.engine is not None:
            engine, self.engine = self.engine, None
            await engine.close()

    def done(self, chats: int) -> bool:
        """Broken off or failed: not asked again."""
        point = self.points.get(chats)
        return point is not None and bool(point.cut_s or point.trouble)

    async def measure(self, work: Work, limit_s: float) -> None:
        if self.busy:
            self.busy = False
            await self.close()
            await self.start()
        if self.engine is None:
            return
        point, seen = self.points.setdefault(work.streams, Point()), Driven()
        try:
            async with self.weighed(), asyncio.timeout(limit_s):
                await drive(self.engine, work, seen)
            point.add(seen)
        except TimeoutError:
            point.add(seen, cut_s=limit_s)
            self.busy = not await self.idle()
        except HubbubError as error:
            point.trouble = error.message.splitlines()[0]

    @contextlib.asynccontextmanager
    async def weighed(self) -> AsyncIterator[None]:
        async def weigh() -> None:
            while True:
                self.memory.sample(self.pids())
                await asyncio.sleep(1.0)

        weighing = asyncio.create_task(weigh())
        try:
            yield
        finally:
            weighing.cancel()

    def pids(self) -> list[int]:
        engine: object = self.engine
        pid = engine.supervisor.pid if isinstance(engine, Supervised) else None
        return [pid] if pid else []

    def family(self) -> Iterator[psutil.Process]:
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                yield from (process, *process.children(recursive=True))

    def cpu_s(self) -> float:
        spent = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                spent += sum(process.cpu_times()[:2])
        return spent

    async def idle(self) -> bool:
        """Waits for it, some seconds."""
        for _ in range(int(IDLE_WAIT_S)):
            before = self.cpu_s()
            await asyncio.sleep(1.0)
            if self.cpu_s() - before < IDLE_SHARE:
                return True
        return False

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        halted = list(self.family())
        for process in halted:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in halted:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def as_json(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "settings": self.settings,
            "trouble": self.trouble,
            "start_s": round(self.start_s, 2),
            "rss_bytes": self.memory.peak,
            "chats": {str(chats): point.as_json() for chats, point in self.points.items()},
        }


async def pair(kind: Kind, options: argparse.Namespace) -> None:
    """Both settings of one engine, within its share of the time. What is measured is kept point by point."""
    ends = time.monotonic() + options.minutes * 60
    own, ours = Subject(kind.name, OWN, kind.own), Subject(kind.name, OURS, kind.ours)
    load = os.getloadavg()[0]

    def keep() -> None:
        loads = {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}
        more = stamp() | loads | {"eager": options.eager}
        merged([subject.as_json() | more for subject in (own, ours)], options.chats)

    async with AsyncExitStack() as stack:
        for subject in (own, ours):
            stack.push_async_callback(subject.close)
            with own.stopped() if subject is ours else contextlib.nullcontext():
                await subject.start()
            print(f"{subject.name}, {subject.settings}: {subject.trouble or f'{subject.start_s:.1f} s'}", flush=True)
        keep()
        await rounds((own, ours), options, ends, keep)


async def rounds(
    two: tuple[Subject, Subject], options: argparse.Namespace, ends: float, keep: Callable[[], None]
) -> None:
    """Over all numbers of chats until the time is over, from the least up. A point is repeated only where it was not
    broken off before, and fits into the time."""
    own, ours = two
    seed, spent = 0, dict[tuple[str, int], float]()
    for number in range(MOST_ROUNDS):
        for chats in options.chats:
            order = [own, ours] if number % 2 == 0 else [ours, own]
            for half in [order, order[::-1]] if chats <= TWICE else [order]:
                seed += 1
                for share, subject in zip((2, 1), half, strict=True):
                    key, left = (subject.settings, chats), ends - time.monotonic()
                    if left < max(LEAST_S, spent.get(key, 0.0)) or subject.done(chats):
                        continue
                    began = time.monotonic()
                    with (ours if subject is own else own).stopped():
                        await subject.measure(work(chats, seed, options.chats), min(options.limit, left / share))
                    spent[key] = time.monotonic() - began
                    keep()
                    told = subject.points[chats].as_json() if chats in subject.points else {}
                    print(f"{chats} chats, {subject.name}, {subject.settings}: {told.get('rates')}", flush=True)


def work(chats: int, seed: int, counts: list[int]) -> Work:
    tokens = next((tokens for most, tokens in ANSWER.items() if chats <= most), MANY_ANSWER)
    return Work(chats, tokens, seed, turns=2 if chats == max(counts) else 1)


async def main(options: argparse.Namespace) -> None:
    if options.draw:
        draw(__doc__ or "")
        return
    with tempfile.TemporaryDirectory(prefix="hubbub-engines-", ignore_cleanup_errors=True) as logs:
        for kind in kinds(options, Path(logs)):
            await pair(kind, options)
    draw(__doc__ or "")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The same weights and prompts on each engine.")
    parser.add_argument("--only", default="", help="engines whose name holds this")
    parser.add_argument("--minutes", type=float, default=5.0, help="for each engine, both settings, starts included")
    parser.add_argument("--limit", type=float, default=75.0, help="seconds of a point, at most")
    parser.add_argument("--environments", default=str(ENVIRONMENTS), help="where `hubbub engine install` made them")
    parser.add_argument("--llama-server", default="", help="a llama-server built for this CPU")
    parser.add_argument("--chats", default=[1, 8, 50, CHATS], type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--eager", action="store_true", help="vLLM without compiling, which takes minutes")
    parser.add_argument("--kv-gib", type=float, default=1.25, help="GiB of vLLM's KV cache")
    parser.add_argument("--draw", action="store_true", help="measure nothing, write table and chart anew")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.platform == "win32":
        asyncio.run(main(parsed()))
    else:
        import uvloop

        uvloop.run(main(parsed()))
