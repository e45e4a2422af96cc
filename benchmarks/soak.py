"""Hours of chats on the simulated engine: does anything grow that should not?

A server of its own with 200 chats in a closed loop. Every few seconds: resident memory and open files of the server and
of its engine, bytes of the journal in the database and of the write-ahead log beside it; every minute what the clients
saw of TTFT and ITL. The chart and the JSON are written at the end, and anew from the JSON with ``--draw``.

usage: python -m benchmarks.soak [--minutes 60] [--chats 200] [--itl-ms 200] [--out docs/img/soak] [--draw]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from benchmarks.crowd import Asked, Crowd, Habits, quantile
from benchmarks.table import stamp
from hubbub.cli.server_process import ServerProcess
from hubbub.planner.charts import HEIGHT, WIDTH, Line, line_chart
from hubbub.runtime.open_files import raise_file_limit

SAMPLE_SECONDS = 10.0
START_SECONDS = 60.0
MIB = 2**20
CONFIG = """
[engine]
flags = "--itl-ms {itl_ms} --output-median 40 --output-sigma 0.5 --max-sequences 256"
"""


async def main(options: argparse.Namespace) -> None:
    out = Path(options.out)
    if not options.draw:
        folder = Path(tempfile.mkdtemp(prefix="hubbub-soak-"))
        try:
            told = await soak(options, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        out.with_suffix(".json").write_text(json.dumps(told) + "\n")
    told = json.loads(out.with_suffix(".json").read_text())
    out.with_suffix(".svg").write_text(drawn(told))
    print(json.dumps(told["summary"], indent=1))


async def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    raise_file_limit(options.chats + 256)
    config = folder / "hubbub.toml"
    config.write_text(CONFIG.format(itl_ms=options.itl_ms))
    flags = ["--port", "0", "--data", str(folder / "data"), "--config", str(config), "--engine", "simulated"]
    server = await ServerProcess.launch(flags, folder / "server.log")
    try:
        url = await server.ready(START_SECONDS)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=300)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            crowd = Crowd(http, url, options.chats, Habits(think_s=3.0, max_tokens=120, turns=6))
            living = asyncio.create_task(crowd.live())
            began = time.perf_counter()
            samples = await watched(server, folder / "data", living, began, options.minutes * 60)
            living.cancel()
            await asyncio.wait([living])
        minutes = by_minute(crowd.told, began)
        ends: defaultdict[str, int] = defaultdict(int)
        for asked in crowd.told:
            ends[asked.end] += 1
    finally:
        await server.stop()
    told = stamp() | {"options": vars(options), "samples": samples, "minutes": minutes, "ends": dict(ends)}
    return told | {"summary": summary(samples, minutes, dict(ends), crowd.told)}


async def watched(
    server: ServerProcess, data: Path, living: asyncio.Task[None], began: float, seconds: float
) -> list[dict[str, float]]:
    """One sample every few seconds. Raises what ended the crowd, and ServerDied."""
    process, samples = psutil.Process(server.pid), []
    while (passed := time.perf_counter() - began) < seconds:
        await asyncio.wait([living], timeout=SAMPLE_SECONDS)
        if living.done():
            await server.check()
            living.result()
        samples.append({"at_s": round(passed, 1), **await asyncio.to_thread(weighed, process, data)})
    return samples


def weighed(process: psutil.Process, data: Path) -> dict[str, float]:
    children = process.children(recursive=True)
    times = [process.cpu_times(), *(child.cpu_times() for child in children)]
    database, log = data / "hubbub.db", data / "hubbub.db-wal"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as reading:
        rows, held = reading.execute("SELECT count(*), coalesce(sum(length(batch)), 0) FROM journal").fetchone()
    return {
        "server_rss": process.memory_info().rss,
        "engine_rss": sum(child.memory_info().rss for child in children),
        "server_files": process.num_fds(),
        "engine_files": sum(child.num_fds() for child in children),
        "server_cpu_s": times[0].user + times[0].system,
        "journal_rows": rows,
        "journal_bytes": held,
        "wal_bytes": log.stat().st_size if log.exists() else 0,
        "database_bytes": database.stat().st_size,
    }


def by_minute(told: Sequence[Asked], began: float) -> list[dict[str, float]]:
    minutes: defaultdict[int, list[Asked]] = defaultdict(list)
    for asked in told:
        if asked.end == "ok":
            minutes[int((asked.began - began) // 60)].append(asked)
    return [
        {
            "minute": minute,
            "answers": len(answers),
            "tokens": sum(asked.tokens for asked in answers),
            "ttft_p50": quantile((asked.ttft for asked in answers), 0.5),
            "ttft_p95": quantile((asked.ttft for asked in answers), 0.95),
            "itl_p50": quantile((asked.itl for asked in answers), 0.5),
            "itl_p95": quantile((asked.itl for asked in answers), 0.95),
        }
        for minute, answers in sorted(minutes.items())
    ]


def summary(
    samples: Sequence[dict[str, float]],
    minutes: Sequence[dict[str, float]],
    ends: dict[str, int],
    told: Sequence[Asked],
) -> dict[str, Any]:
    """The second and the last tenth of the run beside each other: the first tenth warms up."""

    def over(rows: Sequence[dict[str, float]], key: str) -> list[float]:
        tenth = max(1, len(rows) // 10)
        parts = rows[tenth : 2 * tenth] or rows, rows[-tenth:]
        return [round(quantile((row[key] for row in part), 0.5), 4) for part in parts]

    keys = ("server_rss", "engine_rss", "server_files", "engine_files", "journal_bytes", "wal_bytes")
    return {
        "ends": ends,
        "tokens": sum(asked.tokens for asked in told),
        "server_cpu_share": round(samples[-1]["server_cpu_s"] / max(samples[-1]["at_s"], 1.0), 3),
        "second_and_last_tenth": {
            **{key: over(samples, key) for key in keys},
            **{key: over(minutes, key) for key in ("ttft_p50", "ttft_p95", "itl_p50", "itl_p95")},
        },
        "journal_bytes_most": max(sample["journal_bytes"] for sample in samples),
    }


def drawn(told: dict[str, Any]) -> str:
    """Four charts in one SVG, two by two."""
    samples, minutes, options = told["samples"], told["minutes"], told["options"]
    answers = sum(minute["answers"] for minute in minutes)
    who = f"{options['chats']} chats, {answers:,} answers, {told['summary']['tokens']:,} tokens, simulated engine"

    def lines(kinds: dict[str, str], rows: list[dict[str, float]], x: str, per: float, scale: float) -> list[Line]:
        return [Line(label, [(row[x] / per, row[key] / scale) for row in rows]) for key, label in kinds.items()]

    charts = [
        line_chart(
            "Resident memory", who, "minutes", "MiB",
            lines({"server_rss": "server", "engine_rss": "engine"}, samples, "at_s", 60, MIB),
        ),
        line_chart(
            "Open files and sockets", who, "minutes", "descriptors",
            lines({"server_files": "server", "engine_files": "engine"}, samples, "at_s", 60, 1),
        ),
        line_chart(
            "Journal of live answers", who, "minutes", "MiB",
            lines({"journal_bytes": "journal", "wal_bytes": "write-ahead log"}, samples, "at_s", 60, MIB),
        ),
        line_chart(
            "Latency", f"an engine of one token every {options['itl_ms']} ms", "minutes", "seconds",
            lines(
                {"ttft_p95": "TTFT p95", "ttft_p50": "TTFT p50", "itl_p95": "ITL p95"}, minutes[:-1], "minute", 1, 1
            ),
        ),
    ]  # fmt: skip
    placed = [
        f'<svg x="{WIDTH * (number % 2)}" y="{HEIGHT * (number // 2)}" width="{WIDTH}" height="{HEIGHT}">{chart}</svg>'
        for number, chart in enumerate(charts)
    ]
    size = f'viewBox="0 0 {2 * WIDTH} {2 * HEIGHT}" width="{2 * WIDTH}" height="{2 * HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *placed, "</svg>"]) + "\n"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hours of chats on the simulated engine.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--itl-ms", type=int, default=200, help="of the simulated engine, whatever the load")
    parser.add_argument("--out", default="docs/img/soak", help="the chart's and the JSON's name without the suffix")
    parser.add_argument("--draw", action="store_true", help="draw the chart of an earlier run anew")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
