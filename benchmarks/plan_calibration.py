"""Is a calibrated plan right on this machine? Fits the embedded engine's points, and sets it beside other loads.

One Hubbub server with the embedded engine is started. In each of three rounds the points of ``hubbub plan calibrate``
and bursts of 1, 8, 50 and 200 chats take turns, with lengths the calibration does not use. The plan is calibrated on
the medians of the points, and what it says of the loads is set beside the medians of the loads: tokens/s, time to the
first token, time between tokens. In turns, because a machine that others share runs a fifth faster in one minute than
in the next, which is no error of the plan. Every prompt is new, and what the prefix cache knows of it (its template's
beginning) is not counted as read. Some four minutes on a quiet machine of two cores.

usage: python -m benchmarks.plan_calibration [--chats 1,8,50,200] [--rounds 3] [--max-tokens 32] [--prompt-tokens 48]
       [--model SPEC]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.processes import free_port, started
from benchmarks.table import stamp, write
from hubbub.planner.calibrate import Point, measure_once, middle, points
from hubbub.planner.calibration import Sample, calibrated, expected
from hubbub.planner.detect import detect
from hubbub.planner.memory import Load
from hubbub.planner.setup import Setup, make_setup

CONTEXT = 2048
PATIENCE_S = 240.0
"""For one load: 200 chats on two busy cores take minutes."""
HEADER = (
    "chats",
    "tokens/s planned",
    "measured",
    "error",
    "TTFT ms planned",
    "measured",
    "error",
    "ITL ms planned",
    "measured",
    "error",
)


def setup_of(options: argparse.Namespace, folder: Path) -> Setup:
    found = detect(folder=folder)
    base = make_setup(options.shape, "CPU", quant=options.quant, engine="openvino")
    return replace(base, machine=found.machine, load=Load())


def errors(planned: Sample, measured: Sample) -> list[float]:
    return [
        planned.rate / measured.rate - 1,
        planned.ttft_s / measured.ttft_s - 1,
        planned.itl_s / measured.itl_s - 1,
    ]


def row(planned: Sample, measured: Sample) -> list[str]:
    rate, ttft, itl = errors(planned, measured)
    return [
        str(measured.streams),
        f"{planned.rate:,.1f}",
        f"{measured.rate:,.1f}",
        f"{rate:+.1%}",
        f"{planned.ttft_s * 1e3:,.0f}",
        f"{measured.ttft_s * 1e3:,.0f}",
        f"{ttft:+.1%}",
        f"{planned.itl_s * 1e3:,.1f}",
        f"{measured.itl_s * 1e3:,.1f}",
        f"{itl:+.1%}",
    ]


async def main(options: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hubbub-plan-"))
    try:
        port, model = free_port(), ["--model", options.model] if options.model else []
        command = [sys.executable, "-m", "hubbub", "serve", "--data", str(folder / "data"), "--port", str(port)]
        async with started("server", [*command, "--engine", "openvino", *model], port, folder, "/v1/models") as server:
            setup = await asyncio.to_thread(setup_of, options, folder)
            loads = [Point(chats, options.prompt_tokens, options.max_tokens) for chats in options.chats]
            seen = await in_turns(f"{server.url}/v1", points(CONTEXT, slow=True), loads, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    known, record = calibrated(setup, [middle(seen[point]) for point in points(CONTEXT, slow=True)], "")
    _say(f"calibrated: {record.residual_before:.1%} before, {record.residual_after:.1%} after")
    pairs = [(expected(known, measured), measured) for measured in (middle(seen[point]) for point in loads)]
    flat = [abs(e) for planned, measured in pairs for e in errors(planned, measured)]
    _say(f"median error {statistics.median(flat):.1%}, worst {max(flat):.1%}")
    told = stamp() | {
        "options": vars(options),
        "calibration": record.as_json(),
        "median_error": statistics.median(flat),
        "rounds": {str(point.streams): [asdict(s) for s in seen[point]] for point in loads},
    }
    write("plan_calibration", HEADER, [row(*pair) for pair in pairs], told, __doc__ or "")


async def in_turns(
    url: str, calibrating: Sequence[Point], loads: Sequence[Point], rounds: int
) -> dict[Point, list[Sample]]:
    """Every point and load, once a round, one of these after one of those."""
    mixed = [p for pair in itertools.zip_longest(calibrating, loads) for p in pair if p is not None]
    seen: dict[Point, list[Sample]] = {point: [] for point in mixed}
    began = time.perf_counter()
    for turn, point in itertools.product(range(rounds), mixed):
        found = await measure_once(url, point, timeout_s=PATIENCE_S)
        seen[point].append(found)
        _say(
            f"{time.perf_counter() - began:4.0f} s  round {turn + 1} of {rounds}  {point}: {found.rate:.1f} tokens/s, "
            f"first token {found.ttft_s * 1e3:,.0f} ms, {found.itl_s * 1e3:.1f} ms a token"
        )
    return seen


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chats", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 50, 200])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=48)
    parser.add_argument("--model", default="", help="as hubbub serve takes it; empty: its own choice")
    parser.add_argument("--shape", default="SmolLM2-135M", help="the same model, as hubbub plan names it")
    parser.add_argument("--quant", default="Q4_1", help="its quantization")
    asyncio.run(main(parser.parse_args()))
