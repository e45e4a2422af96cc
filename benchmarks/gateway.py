"""What a gateway costs: CPU a chunk and a request, added time to first token, memory an open chat.

One simulated engine that says a token of every answer at a constant rate; in front of it, one after the other, Hubbub
(durable conversations, journal on; and plain chat completions), a bare aiohttp pass-through, SMG and LiteLLM. Before
them the same load goes straight to the engine. Client, gateway and engine share this machine: a busy one shows in the
direct run. CPU is the gateway's from the first question to the last end; the conversations of the durable load are made
before and read back after. All of it takes about ten minutes, beside the time to install the others.

usage: python -m benchmarks.gateway [--only NAME ...] [--scenario NAME ...] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.processes import CannotMeasure, Server, free_port, installed, started
from benchmarks.table import stamp, write
from hubbub.bench.load import Load
from hubbub.bench.report import Api, Plan, Result

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".benchmarks"
MODEL = "simulated"
KEY = "sk-benchmark"
"""LiteLLM does not start without one; the others do not ask."""
TTFT_MS = 50.0
LOOK_SECONDS = 0.02
RSS_LOOKS = 12
"""Memory is read once in so many looks."""
LIMIT_SECONDS = 60.0
"""One run is given up after this."""
TOTAL_SECONDS = 600.0
"""No run is begun after this: what is left is reported as left out."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``streams`` answers of ``tokens`` tokens, ``rate`` tokens a second each, ``turns`` times. They begin evenly over
    ``spread`` seconds and are then all open at once: what is added to a first token is the gateway's work on it, not
    its place in a burst. The load "requests" is that burst, with answers of one token."""

    name: str
    streams: int
    rate: float
    tokens: int
    turns: int = 1
    spread: float = 0.0


SCENARIOS = (
    Scenario("200 x 20/s", 200, 20, 200, spread=4.0),
    Scenario("200 x 50/s", 200, 50, 400, spread=4.0),
    Scenario("requests", 200, 50, 1, turns=4),
    Scenario("1,000 x 20/s", 1000, 20, 240, spread=8.0),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """``open`` starts it in front of the engine's URL, logging into the folder. ``loads``: those it can carry within
    the limit; empty means all."""

    name: str
    api: Api
    open: Callable[[str, Path], AbstractAsyncContextManager[Server]]
    loads: tuple[str, ...] = ()


@dataclass(slots=True)
class Run:
    """What one load through one server showed. Times in seconds."""

    gateway: str
    scenario: str
    result: dict[str, Any] = field(default_factory=dict)
    cpu_s: float = 0.0
    rss_before: int = 0
    rss_peak: int = 0
    trouble: str = ""


Comparison = tuple[list[Run], list[list[str]]]
"""Runs, and the lines of the table that they make."""


@asynccontextmanager
async def hubbub(engine: str, folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    command = ["-m", "hubbub", "serve", "--port", str(port), "--engine", engine, "--data", str(folder / "hubbub")]
    async with started("hubbub", [sys.executable, *command], port, folder, "/v1/models") as server:
        yield server


@asynccontextmanager
async def passthrough(engine: str, folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.passthrough", engine, str(port)]
    async with started("passthrough", command, port, folder, "/v1/models") as server:
        yield server


@asynccontextmanager
async def smg(engine: str, folder: Path) -> AsyncIterator[Server]:
    programs, port = await installed("smg", PEERS / "smg"), free_port()
    command = [str(programs / "smg"), "launch", "--worker-urls", engine, "--host", "127.0.0.1", "--port", str(port)]
    options = ["--policy", "round_robin", "--prometheus-port", str(free_port())]
    async with started("smg", [*command, *options], port, folder, "/v1/models") as server:
        yield server


@asynccontextmanager
async def litellm(engine: str, folder: Path) -> AsyncIterator[Server]:
    programs, port = await installed("litellm[proxy]", PEERS / "litellm"), free_port()
    route = {"model": f"openai/{MODEL}", "api_base": f"{engine}/v1", "api_key": "none"}
    config = folder / "litellm.yaml"  # JSON is YAML
    models = [{"model_name": MODEL, "litellm_params": route}]
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    command = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    async with started("litellm", command, port, folder, "/health/liveliness") as server:
        yield server


GATEWAYS = (
    Gateway("hubbub, durable", "responses", hubbub),
    Gateway("hubbub, completions", "chat", hubbub),
    Gateway("pass-through", "chat", passthrough),
    Gateway("smg", "chat", smg),
    Gateway("litellm", "chat", litellm, ("200 x 20/s", "requests")),
)


@asynccontextmanager
async def engine(scenario: Scenario, folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    flags = {
        "--port": port,
        "--model": MODEL,
        "--itl-ms": 1e3 / scenario.rate,
        "--ttft-ms": TTFT_MS,
        "--max-sequences": 4096,
        "--kv-tokens": 10_000_000,
        "--output-median": 4096,
        "--output-sigma": 0,
        "--context-window": 32_768,
    }
    command = [sys.executable, "-m", "hubbub.engines.simulated_server"]
    command += [str(word) for pair in flags.items() for word in pair]
    async with started("engine", command, port, folder, "/v1/models") as server:
        yield server


async def measure(name: str, server: Server, api: Api, scenario: Scenario) -> Run:
    """One load through one server. A load that does not end in time is reported as such."""
    run = Run(name, scenario.name)
    plan = Plan(
        server.url,
        api=api,
        model=MODEL,
        chats=scenario.streams,
        turns=scenario.turns,
        max_tokens=scenario.tokens,
        api_key=KEY,
        patience_seconds=LIMIT_SECONDS,
        silence_seconds=LIMIT_SECONDS,
        spread_seconds=scenario.spread,
    )
    load = Load(plan)
    task = asyncio.create_task(load.run())
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await weigh(load, task, server, run)
            result: Result = await task
    except TimeoutError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        run.trouble = f"not done after {LIMIT_SECONDS:.0f} s"
        return run
    run.result = result.as_json()
    if not result.sound:
        run.trouble = f"{result.failed} failed, {result.lost} lost: {result.failures}"
    return run


async def weigh(load: Load, task: asyncio.Task[Result], server: Server, run: Run) -> None:
    """The server's CPU between the first question and the last end, and its memory, until the load is done."""
    run.rss_before = run.rss_peak = server.weight().rss_bytes
    began: float | None = None
    looks = 0
    while not task.done():
        await asyncio.wait((task,), timeout=LOOK_SECONDS)
        looks += 1
        if began is None and load.board.began is not None:
            began = server.weight().cpu_s
        if began is not None and not run.cpu_s and load.board.ended is not None:
            run.cpu_s = server.weight().cpu_s - began
        if looks % RSS_LOOKS == 0:
            run.rss_peak = max(run.rss_peak, server.weight().rss_bytes)
    if began is not None and not run.cpu_s:
        run.cpu_s = server.weight().cpu_s - began


async def through(gateway: Gateway, scenario: Scenario, target: Server, folder: Path) -> Run:
    """The load through a gateway in front of the engine ``target``."""
    try:
        async with gateway.open(target.url, folder) as server:
            await measure(gateway.name, server, gateway.api, Scenario("warm", 20, scenario.rate, 2))
            return await measure(gateway.name, server, gateway.api, scenario)
    except CannotMeasure as reason:
        return Run(gateway.name, scenario.name, trouble=str(reason))


def row(direct: Run, run: Run, scenario: Scenario) -> list[str]:
    """A line of the table; the reason where there is nothing to tell."""
    if not run.result or not direct.result:
        return [scenario.name, run.gateway, *["-"] * 7, run.trouble or direct.trouble]
    tokens, turns = max(1, run.result["output_tokens"]), scenario.streams * scenario.turns
    added = [
        f"{(run.result['ttft_s'][q] - direct.result['ttft_s'][q]) * 1e3:.1f}" if run.result["ttft_s"][q] else "-"
        for q in ("p50", "p99")
    ]
    return [
        scenario.name,
        run.gateway,
        f"{run.result['tokens_per_s']:,.0f}",
        f"{run.result['tokens_per_s'] / direct.result['tokens_per_s'] * 100:.0f} %",
        "-" if scenario.tokens == 1 else f"{run.cpu_s / tokens * 1e6:.0f}",
        f"{run.cpu_s / turns * 1e3:.2f}",
        *added,
        f"{(run.rss_peak - run.rss_before) / scenario.streams / 1024:.0f}",
        run.trouble,
    ]


HEADER = (
    "load",
    "gateway",
    "tokens/s",
    "of direct",
    "CPU us a chunk",
    "CPU ms a request",
    "added TTFT p50 ms",
    "added TTFT p99 ms",
    "RSS KiB a chat",
    "trouble",
)


async def compare(scenario: Scenario, gateways: Sequence[Gateway], folder: Path, began: float) -> Comparison:
    """A load straight at the engine, then through each gateway."""
    runs, rows = [], []
    async with engine(scenario, folder) as target:
        direct = await measure("direct", target, "chat", scenario)
        runs.append(direct)
        for gateway in gateways:
            if time.perf_counter() - began > TOTAL_SECONDS:
                run = Run(gateway.name, scenario.name, trouble="left out: no time")
            elif gateway.loads and scenario.name not in gateway.loads:
                run = Run(gateway.name, scenario.name, trouble="left out: more than it can carry in time")
            else:
                run = await through(gateway, scenario, target, folder)
            runs.append(run)
            rows.append(row(direct, run, scenario))
            print(f"{time.perf_counter() - began:4.0f} s  " + "  ".join(rows[-1]), flush=True)
    return runs, rows


async def main(options: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hubbub-bench-"))
    gateways = [g for g in GATEWAYS if not options.only or g.name in options.only]
    scenarios = [s for s in SCENARIOS if not options.scenario or s.name in options.scenario]
    if options.quick:
        scenarios = [Scenario(s.name, min(50, s.streams), s.rate, min(20, s.tokens), s.turns) for s in scenarios]
    began = time.perf_counter()
    try:
        compared = [await compare(scenario, gateways, folder, began) for scenario in scenarios]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told = stamp() | {"runs": [asdict(run) for runs, _ in compared for run in runs]}
    write("gateway", HEADER, [line for _, rows in compared for line in rows], told, __doc__ or "")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a gateway costs.")
    names = [gateway.name for gateway in GATEWAYS]
    parser.add_argument("--only", action="append", choices=names, help="this gateway alone; may be repeated")
    loads = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=loads, help="this load alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a small load, to see that everything runs")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
