"""What Hubbub costs on a real engine: the same chats straight at the embedded engine and through Hubbub, paired.

One engine process serves all. It is asked three ways, in turn, in an order that is turned round every round:
"direct" is the engine's own HTTP, one SSE stream a chat; "hubbub, frames" is the server that runs it, which takes all
chats' new tokens over one connection; "hubbub, SSE" is a second server in front of the same engine's HTTP. Both servers
keep every chat in their store. Every run has prompts of its own, so that none profits from another's prefix cache.

usage: python -m benchmarks.real_engine [--chats 200] [--turns 2] [--max-tokens 48] [--rounds 2] [--model SPEC]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from benchmarks.processes import Server, free_port, started
from benchmarks.table import stamp, write
from hubbub.bench.histogram import Durations
from hubbub.bench.load import Load
from hubbub.bench.report import Api, Plan

SETTLE_SECONDS = 2.0
"""Between runs, for cancelled work and group commits to end."""
LIMIT_SECONDS = 540.0
"""No run is begun after this."""


@dataclass(slots=True)
class Way:
    """One way to ask, and what all its runs showed together."""

    name: str
    api: Api
    url: str
    server: Server | None = None
    aside: frozenset[int] = frozenset()
    tokens: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    turns: int = 0
    bad: int = 0
    ttft: Durations = field(default_factory=Durations)
    itl: Durations = field(default_factory=Durations)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.tokens / self.wall_s if self.wall_s else 0.0

    async def run(self, options: argparse.Namespace, seed: int) -> None:
        before = self.server.weight(self.aside).cpu_s if self.server else 0.0
        plan = Plan(
            self.url,
            api=self.api,
            chats=options.chats,
            turns=options.turns,
            max_tokens=options.max_tokens,
            seed=seed,
        )
        result = await Load(plan).run()
        self.cpu_s += self.server.weight(self.aside).cpu_s - before if self.server else 0.0
        self.tokens += result.output_tokens
        self.wall_s += result.wall_s
        self.turns += result.ok
        self.bad += result.failed + result.lost
        self.ttft.merge(result.ttft)
        self.itl.merge(result.itl)
        self.runs.append(result.as_json())


async def engine_of(url: str) -> tuple[int, str]:
    """Process id and address of the engine that a Hubbub server runs."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
        pid = int((await response.json())["engines"][0]["pid"])
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ports = {c.laddr.port for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    for port in sorted(ports):
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/v1/models") as response,
            ):
                if response.status == 200:
                    return pid, f"http://127.0.0.1:{port}"
        except aiohttp.ClientError:
            continue
    raise RuntimeError(f"the engine, process {pid}, has no port that lists models")


async def main(options: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hubbub-bench-"))
    try:
        async with AsyncExitStack() as stack:
            ways = await prepared(options, folder, stack)
            await measure(options, ways)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    direct = ways[0]
    told = stamp() | {"options": vars(options), "runs": {way.name: way.runs for way in ways}}
    write("real_engine", HEADER, [row(direct, way) for way in ways], told, __doc__ or "")


async def prepared(options: argparse.Namespace, folder: Path, stack: AsyncExitStack) -> list[Way]:
    """The server that runs the engine, and a second one in front of the same engine."""
    command = [sys.executable, "-m", "hubbub", "serve", "--data"]
    port, model = free_port(), ["--model", options.model] if options.model else []
    own = [*command, str(folder / "own"), "--port", str(port), "--engine", "openvino", *model]
    frames = await stack.enter_async_context(started("frames", own, port, folder, "/v1/models"))
    pid, url = await engine_of(frames.url)
    port = free_port()
    other = [*command, str(folder / "other"), "--port", str(port), "--engine", url]
    sse = await stack.enter_async_context(started("sse", other, port, folder, "/v1/models"))
    aside = frozenset(process.pid for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)))
    return [
        Way("direct", "chat", url),
        Way("hubbub, frames", "responses", frames.url, frames, aside),
        Way("hubbub, SSE", "responses", sse.url, sse),
    ]


async def measure(options: argparse.Namespace, ways: list[Way]) -> None:
    began, seed = time.perf_counter(), 0
    await Load(Plan(ways[0].url, api="chat", chats=8, turns=1, max_tokens=16, seed=-1)).run()
    for number in range(options.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            if time.perf_counter() - began > LIMIT_SECONDS:
                print("out of time: the rest is left out", flush=True)
                return
            seed += 1
            await way.run(options, seed)
            last = way.runs[-1]
            print(f"{time.perf_counter() - began:4.0f} s  {way.name}: {last['tokens_per_s']} tokens/s", flush=True)
            await asyncio.sleep(SETTLE_SECONDS)


HEADER = (
    "way",
    "runs",
    "tokens/s",
    "of direct",
    "TTFT p50 s",
    "TTFT p99 s",
    "added TTFT p50 ms",
    "added TTFT p99 ms",
    "ITL p50 ms",
    "ITL p99 ms",
    "gateway CPU us a token",
    "failed or lost",
)


def row(direct: Way, way: Way) -> list[str]:
    p50, p99 = (way.ttft.quantile(q) or 0.0 for q in (0.5, 0.99))
    base50, base99 = (direct.ttft.quantile(q) or 0.0 for q in (0.5, 0.99))
    return [
        way.name,
        str(len(way.runs)),
        f"{way.rate:,.1f}",
        f"{way.rate / direct.rate:.3f}" if direct.rate else "-",
        f"{p50:.2f}",
        f"{p99:.2f}",
        f"{(p50 - base50) * 1e3:.0f}",
        f"{(p99 - base99) * 1e3:.0f}",
        f"{(way.itl.quantile(0.5) or 0.0) * 1e3:.0f}",
        f"{(way.itl.quantile(0.99) or 0.0) * 1e3:.0f}",
        f"{way.cpu_s / way.tokens * 1e6:.0f}" if way.server and way.tokens else "-",
        str(way.bad),
    ]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What Hubbub costs on a real engine.")
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
