"""Load past the limit: 2,000 clients at a server sized for 200, on the simulated engine.

First as many clients as the engine has room for, and half as many again: the peak. Then 2,000 in a closed loop, who
wait when they are told to. Goodput is output tokens of whole answers a second; a refusal is quick when it comes within
a second; a client hangs when nothing has come of its request after ``--patience`` seconds.

usage: python -m benchmarks.overload [--clients 2000] [--sized 200] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.crowd import Crowd, Habits, quantile, tokens_within
from benchmarks.table import stamp, write
from hubbub.cli.server_process import ServerProcess
from hubbub.runtime.open_files import raise_file_limit

START_SECONDS = 120.0
CONFIG = """
[scheduler]
max_predicted_ttft_s = {patience}
[engine]
flags = "--itl-ms {itl_ms} --output-median 40 --output-sigma 0.3 --max-sequences {sized}"
"""


async def main(options: argparse.Namespace) -> None:
    raise_file_limit(options.clients + 256)
    folder = Path(tempfile.mkdtemp(prefix="hubbub-overload-"))
    config = folder / "hubbub.toml"
    config.write_text(CONFIG.format(patience=options.patience / 2, itl_ms=options.itl_ms, sized=options.sized))
    flags = ["--port", "0", "--data", str(folder / "data"), "--config", str(config), "--engine", "simulated"]
    server = await ServerProcess.launch(flags, folder / "server.log")
    try:
        url = await server.ready(START_SECONDS)
        runs = [
            await run(url, clients, options) for clients in (options.sized, options.sized * 3 // 2, options.clients)
        ]
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    peak = max(told["goodput_tokens_s"] for told in runs)
    verdict = {"goodput_of_peak": round(runs[-1]["goodput_tokens_s"] / peak, 3)}
    rows = [[str(value) for value in told.values()] for told in runs]
    note = (__doc__ or "").partition("usage:")[
        0
    ] + f"\nGoodput of 2,000 clients is {verdict['goodput_of_peak']} of the peak."
    write("overload", HEADER, rows, stamp() | {"options": vars(options), "runs": runs, "verdict": verdict}, note)


async def run(url: str, clients: int, options: argparse.Namespace) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=None, sock_read=options.patience)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        habits = Habits(think_s=1.0, max_tokens=80, turns=4, seed=clients, conversations=False)
        crowd = Crowd(http, url, clients, habits)
        living = asyncio.create_task(crowd.live())
        await asyncio.sleep(options.warm_up)
        since = time.perf_counter()
        await asyncio.wait([living], timeout=options.seconds)
        until = time.perf_counter()
        await asyncio.sleep(options.drain)  # what was begun in the span ends
        living.cancel()
        await asyncio.wait([living])
    inside = [asked for asked in crowd.told if since <= asked.ended]
    refused = [asked for asked in inside if asked.end in ("429", "503")]
    good = [asked for asked in inside if asked.end == "ok"]
    return {
        "clients": clients,
        "goodput_tokens_s": round(tokens_within(crowd.told, since, until) / (until - since), 1),
        "answers": len(good),
        "ttft_p50": round(quantile((asked.ttft for asked in good), 0.5), 2),
        "ttft_p95": round(quantile((asked.ttft for asked in good), 0.95), 2),
        "refused": len(refused),
        "refusal_p50": round(quantile((asked.ended - asked.began for asked in refused), 0.5), 4),
        "refusal_p99": round(quantile((asked.ended - asked.began for asked in refused), 0.99), 4),
        "retry_after_p50": quantile((asked.retry_after for asked in refused), 0.5),
        "other": len(inside) - len(good) - len(refused),
    }


HEADER = ("clients", "goodput tok/s", "answers", "TTFT p50 s", "TTFT p95 s", "refused", "refusal p50 s",
          "refusal p99 s", "Retry-After p50 s", "hung or failed")  # fmt: skip


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="2,000 clients at a server sized for 200.")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--sized", type=int, default=200, help="sequences of the engine")
    parser.add_argument("--itl-ms", type=int, default=200, help="of the simulated engine, whatever the load")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=20.0)
    parser.add_argument("--drain", type=float, default=10.0)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds; the server promises half of it")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
