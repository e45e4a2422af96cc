"""Is a calibrated plan right on this machine? Calibrates on the embedded engine, then asks it at other loads.

One Hubbub server with the embedded engine is started. ``hubbub plan calibrate`` runs its points against it; then 1, 8,
50 and 200 chats ask at once, with lengths the calibration did not use, and tokens/s, time to the first token and time
between tokens are set beside what the calibrated plan said before. Every prompt is new, so that no prefix cache helps.
Under five minutes on a quiet machine of two cores.

usage: python -m benchmarks.plan_calibration [--chats 1,8,50,200] [--max-tokens 32] [--prompt-tokens 48] [--model SPEC]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.processes import free_port, started
from benchmarks.table import stamp, write
from hubbub.planner.api import calibrate_here
from hubbub.planner.calibrate import Point, measure_once
from hubbub.planner.calibration import Sample, expected, recall
from hubbub.planner.detect import detect
from hubbub.planner.memory import Load
from hubbub.planner.setup import Setup, make_setup

LIMIT_SECONDS = 280.0
"""No load is begun after this."""
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
    began = time.perf_counter()
    try:
        port, model = free_port(), ["--model", options.model] if options.model else []
        command = [sys.executable, "-m", "hubbub", "serve", "--data", str(folder / "data"), "--port", str(port)]
        async with started("server", [*command, "--engine", "openvino", *model], port, folder, "/v1/models") as server:
            url = f"{server.url}/v1"
            setup = await asyncio.to_thread(setup_of, options, folder)
            record, _ = await asyncio.to_thread(calibrate_here, setup, url, "", 2048, folder, _say)
            _say(f"calibrated: {record.residual_before:.1%} before, {record.residual_after:.1%} after")
            known = recall(setup, record.fingerprint, folder)
            pairs = await compared(options, known, url, began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    flat = [abs(e) for planned, measured in pairs for e in errors(planned, measured)]
    _say(f"median error {statistics.median(flat):.1%}, worst {max(flat):.1%}")
    told = stamp() | {
        "options": vars(options),
        "calibration": record.as_json(),
        "median_error": statistics.median(flat),
    }
    write("plan_calibration", HEADER, [row(*pair) for pair in pairs], told, __doc__ or "")


async def compared(options: argparse.Namespace, setup: Setup, url: str, began: float) -> list[tuple[Sample, Sample]]:
    """What the plan says and what the server does, for each number of chats there is time for."""
    pairs = []
    for chats in options.chats:
        if time.perf_counter() - began > LIMIT_SECONDS:
            _say(f"out of time: {chats} chats and more are left out")
            break
        point = Point(chats, options.prompt_tokens, options.max_tokens)
        measured = await measure_once(url, point, timeout_s=PATIENCE_S)
        pairs.append((expected(setup, measured), measured))
        _say(f"{time.perf_counter() - began:4.0f} s  {chats} chats: {'  '.join(row(*pairs[-1])[1:])}")
    return pairs


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chats", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 50, 200])
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=48)
    parser.add_argument("--model", default="", help="as hubbub serve takes it; empty: its own choice")
    parser.add_argument("--shape", default="SmolLM2-135M", help="the same model, as hubbub plan names it")
    parser.add_argument("--quant", default="Q4_1", help="its quantization")
    asyncio.run(main(parser.parse_args()))
