"""Does bulk hurt the chats, and does it take what they leave? 50 live chats alone and with bulk beside, in turns.

One server with the embedded engine and its bundled model. Phases: bulk alone, then chats alone and chats with bulk, in
turns; a moment at the beginning of each is left out, in which the crowd comes in and the server steers. Bulk is asked
for with ``service_tier: flex`` by more clients than the engine has room for. TTFT is over all chat answers that were
asked for in a phase.

What chats leave of the engine is told in three ways, each in output tokens of bulk a second. ``left``: bulk alone, less
the share of it that would go into as many tokens as the chats alone say and have read (what no cache had); a token
costs the same wherever it is. ``less answers``: bulk alone less the tokens that chats alone say, as if prompts cost
nothing. ``no chat``: bulk alone times the share of time in which no chat is being answered, as if a step with one chat
in it had no room for bulk.

With ``--recipe`` bulk is `hubbub corpus run`, with so many requests in flight at most. Its tokens are then what the
server has counted less those of the chats; tokens of its prompts are counted when an answer ends.

usage: python -m benchmarks.bulk_beside_chats [--chats 50] [--think 20] [--bulk 200] [--seconds 50] [--rounds 2]
           [--recipe FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from benchmarks.crowd import Asked, Crowd, Habits, present_within, quantile, read_within, tokens_within
from benchmarks.table import stamp, write
from hubbub.cli.server_process import ServerProcess

START_SECONDS = 120.0
DRAIN_SECONDS = 3.0
KINDS = ("generated", "input", "cached")
SHOWN = ("name", "seconds", "answers", "ttft_p95", "chat_tokens_s", "bulk_tokens_s", "bulk_limit_p50", "failed")


class Counted(NamedTuple):
    """Tokens that the server has said, and read of prompts without a cache."""

    output: float
    read: float


@dataclass(slots=True)
class Phase:
    """Spans of ``time.perf_counter`` and what was told in them, over all rounds."""

    name: str
    spans: list[tuple[float, float]] = field(default_factory=list)
    chats: list[Asked] = field(default_factory=list)
    bulk: list[Asked] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    served: list[Counted] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(until - since for since, until in self.spans)

    def bulk_rates(self) -> tuple[float, float]:
        """Tokens a second said and read, by the clients of bulk; where those tell nothing, by the server."""
        if self.bulk or not self.served:
            return self.rate(self.bulk), self.read_rate(self.bulk)
        output, read = (sum(column) / self.seconds for column in zip(*self.served, strict=True))
        return output - self.rate(self.chats), read - self.read_rate(self.chats)

    def rate(self, told: Sequence[Asked]) -> float:
        """Output tokens a second."""
        return sum(tokens_within(told, *span) for span in self.spans) / self.seconds if self.spans else 0.0

    def read_rate(self, told: Sequence[Asked]) -> float:
        """Tokens of prompts a second that no cache had."""
        return sum(read_within(told, *span) for span in self.spans) / self.seconds if self.spans else 0.0

    def chat_share(self) -> float:
        """Of the time, in which some chat was being answered."""
        return sum(present_within(self.chats, *span) for span in self.spans) / self.seconds if self.spans else 0.0

    def answers(self) -> list[Asked]:
        return [
            asked
            for asked in self.chats
            if asked.end == "ok" and any(since <= asked.began < until for since, until in self.spans)
        ]

    def told(self) -> dict[str, Any]:
        answers = self.answers()
        bulk_tokens_s, bulk_read_s = self.bulk_rates()
        return {
            "name": self.name,
            "seconds": round(self.seconds, 1),
            "answers": len(answers),
            "ttft_p50": round(quantile((asked.ttft for asked in answers), 0.5), 4),
            "ttft_p95": round(quantile((asked.ttft for asked in answers), 0.95), 4),
            "itl_p50": round(quantile((asked.itl for asked in answers), 0.5), 4),
            "itl_p95": round(quantile((asked.itl for asked in answers), 0.95), 4),
            "chat_tokens_s": round(self.rate(self.chats), 1),
            "bulk_tokens_s": round(bulk_tokens_s, 1),
            "chat_read_s": round(self.read_rate(self.chats), 1),
            "bulk_read_s": round(bulk_read_s, 1),
            "chat_time": round(self.chat_share(), 3),
            "bulk_limit_p50": quantile(self.limits, 0.5),
            "failed": sum(asked.end != "ok" for asked in (*self.chats, *self.bulk)),
        }


class Bench:
    def __init__(self, http: aiohttp.ClientSession, url: str, options: argparse.Namespace, folder: Path) -> None:
        self._http, self._url, self._options, self._folder = http, url, options, folder
        self._seed = 0

    async def phase(self, phase: Phase, *, chats: bool, bulk: bool) -> None:
        options = self._options
        self._seed += 1
        async with contextlib.AsyncExitStack() as stack:
            talking = working = None
            if chats:
                habits = Habits(options.think, options.max_tokens, 6, self._seed)
                talking = await stack.enter_async_context(self._present(options.chats, habits))
            if bulk and options.recipe:
                await stack.enter_async_context(self._corpus())
            elif bulk:
                flex = {"service_tier": "flex", "store": False}
                habits = Habits(0.0, options.bulk_tokens, 20, 1000 + self._seed, flex, conversations=False)
                working = await stack.enter_async_context(self._present(options.bulk, habits))
            await asyncio.sleep(options.warm_up)
            since, before = time.perf_counter(), await self._counted()
            while time.perf_counter() < since + options.seconds:
                await asyncio.sleep(1.0)
                phase.limits.append(await self._limit())
            until, after = time.perf_counter(), await self._counted()
            # What was asked in the span gets to its end: only then its tokens are known.
            await asyncio.sleep(options.drain)
        phase.spans.append((since, until))
        phase.served += [Counted(after.output - before.output, after.read - before.read)] if bulk else []
        phase.chats += talking.told if talking else []
        phase.bulk += working.told if working else []
        told = phase.told()
        print(", ".join(f"{key} {told[key]}" for key in SHOWN), flush=True)
        await asyncio.sleep(DRAIN_SECONDS)

    @contextlib.asynccontextmanager
    async def _present(self, people: int, habits: Habits) -> AsyncIterator[Crowd]:
        crowd = Crowd(self._http, self._url, people, habits)
        living = asyncio.create_task(crowd.live())
        try:
            yield crowd
        finally:
            living.cancel()
            await asyncio.wait([living])

    @contextlib.asynccontextmanager
    async def _corpus(self) -> AsyncIterator[None]:
        """Each time it goes on in the same folder, and keeps what is done."""
        options = self._options
        argv = ["-m", "hubbub", "corpus", "run", options.recipe, "--out", str(self._folder / "corpus"), "--json-lines"]
        argv += ["--bytes", "1GB", "--engine", self._url, "--concurrency", str(options.bulk)]
        with (self._folder / "corpus.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=log, stderr=log)
        try:
            yield
        finally:
            if process.returncode is not None:
                sys.exit(f"the corpus ended:\n{(self._folder / 'corpus.log').read_text()[-2000:]}")
            process.send_signal(signal.SIGINT)
            await process.wait()

    async def _metrics(self, *names: str) -> list[float]:
        """Each over all its labels."""
        async with self._http.get(f"{self._url}/metrics") as response:
            rows = [line.rpartition(" ")[::2] for line in (await response.text()).splitlines()]
        return [sum(float(value) for label, value in rows if label.partition("{")[0] == name) for name in names]

    async def _limit(self) -> float:
        return (await self._metrics("hubbub_bulk_limit"))[0]

    async def _counted(self) -> Counted:
        said, given, cached = await self._metrics(*(f"hubbub_{kind}_tokens_total" for kind in KINDS))
        return Counted(said, given - cached)


async def main(options: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hubbub-bulk-"))
    flags = ["--port", "0", "--data", str(folder / "data"), "--engine", options.engine]
    flags += ["--model", options.model] if options.model else []
    flags += ["--config", options.config] if options.config else []
    server = await ServerProcess.launch(flags, folder / "server.log")
    try:
        url = await server.ready(START_SECONDS)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=300)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            phases = await measured(Bench(http, url, options, folder), options)
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report([phase.told() for phase in phases], options)


async def measured(bench: Bench, options: argparse.Namespace) -> list[Phase]:
    alone, beside, bulk = Phase("chats alone"), Phase("chats and bulk"), Phase("bulk alone")
    await bench.phase(bulk, chats=False, bulk=True)
    for _ in range(options.rounds):
        await bench.phase(alone, chats=True, bulk=False)
        await bench.phase(beside, chats=True, bulk=True)
    return [alone, beside, bulk]


HEADER = ("phase", "s", "answers", "TTFT p50 s", "TTFT p95 s", "ITL p50 s", "ITL p95 s", "chats tok/s", "bulk tok/s",
          "chats read/s", "bulk read/s", "chat time", "bulk limit", "failed")  # fmt: skip


def report(told: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    alone, beside, bulk = told
    rate, got = bulk["bulk_tokens_s"], beside["bulk_tokens_s"]
    taken = (alone["chat_tokens_s"] + alone["chat_read_s"]) / max(rate + bulk["bulk_read_s"], 1e-9)
    ways = {"left": rate * (1 - taken), "less_answers": rate - alone["chat_tokens_s"]}
    ways["no_chat"] = rate * (1 - alone["chat_time"])
    verdict = {
        "ttft_p50_ratio": ratio(beside["ttft_p50"], alone["ttft_p50"]),
        "ttft_p95_ratio": ratio(beside["ttft_p95"], alone["ttft_p95"]),
        "itl_p50_ratio": ratio(beside["itl_p50"], alone["itl_p50"]),
        **{f"{way}_tokens_s": round(tokens, 1) for way, tokens in ways.items()},
        **{f"bulk_share_of_{way}": ratio(got, tokens) for way, tokens in ways.items()},
    }
    rows = [[str(value) for value in phase.values()] for phase in told]
    note = (__doc__ or "").partition("usage:")[0] + "\n" + ", ".join(f"{k} {v}" for k, v in verdict.items()) + "."
    whole = stamp() | {"options": vars(options), "phases": list(told), "verdict": verdict}
    if options.dry:
        print("\n".join("  ".join(row) for row in [list(HEADER), *rows]), verdict, sep="\n")
    else:
        write("corpus_beside_chats" if options.recipe else "bulk_beside_chats", HEADER, rows, whole, note)


def ratio(value: float, base: float) -> float:
    return round(value / base, 3) if base else 0.0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bulk beside live chats on a real engine.")
    parser.add_argument("--chats", type=int, default=50)
    parser.add_argument("--think", type=float, default=20.0, help="mean seconds between an answer and a question")
    parser.add_argument("--max-tokens", type=int, default=48, help="of a chat's answer")
    parser.add_argument("--bulk", type=int, default=200, help="bulk clients")
    parser.add_argument("--bulk-tokens", type=int, default=96, help="of a bulk answer")
    parser.add_argument("--seconds", type=float, default=50.0, help="measured in each phase")
    parser.add_argument("--warm-up", type=float, default=25.0, help="seconds before that")
    parser.add_argument("--drain", type=float, default=8.0, help="seconds after that: as long as an answer takes")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--config", default="", help="a hubbub.toml for the server")
    parser.add_argument("--recipe", default="", help="bulk is this corpus")
    parser.add_argument("--dry", action="store_true", help="print, write no result")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
