"""What the engines do with the same weights (SmolLM2-135M) and the same prompts, at 1, 8, 50 and 200 chats.

Each engine runs twice: with its own defaults, as who starts it by hand gets it, and with the settings Hubbub gives it
for 200 chats. All stand side by side and are asked one after the other, in turned order from round to round, so that
what else the machine does falls on all. At each number of chats all begin together, greedily, with a shared system
prompt and questions of their own; at the most chats each asks a second question, which shows what the prefix cache
saves. Where an engine decodes fewer together than there are chats, the others wait, and their wait is in the time to
the first token. Measured at the Engine port, without Hubbub's server. Precisions: OpenVINO and llama.cpp read the GGUF
(4 bits), vLLM and transformers the same weights written out (bf16). Room for keys and values is held small, so that all
fit side by side.

usage: python -m benchmarks.engines [--minutes 12] [--environments FOLDER] [--llama-server FILE] [--chats 1,8,50,200]
           [--only TEXT] [--eager]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.table import RESULTS, stamp, write
from hubbub.app import engine_of
from hubbub.bench.drive import Driven, Turn, Work, drive
from hubbub.bench.histogram import Durations
from hubbub.bench.memory import PeakMemory
from hubbub.core.errors import HubbubError
from hubbub.core.types import EngineId
from hubbub.engines import vllm as vllm_kind
from hubbub.engines.dialect import Dialect, Limits
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import isolated, model_of
from hubbub.engines.hf_transformers import TransformersOptions
from hubbub.engines.kinds import ENVIRONMENTS, EngineSpec
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.llamacpp import LlamaCppOptions, server_command
from hubbub.engines.llamacpp_dialect import LlamaCppDialect
from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino import OpenVINOConfig
from hubbub.engines.openvino_server.sizing import usable_cores
from hubbub.engines.supervisor import Supervised
from hubbub.engines.vllm import VLLMOptions
from hubbub.engines.vllm_dialect import VLLMDialect
from hubbub.planner.charts import Line, line_chart
from hubbub.ports import Engine

CHART = Path(__file__).parent.parent / "docs" / "img" / "engines.svg"
OWN, OURS = "own defaults", "Hubbub's settings"
CHATS = 200
KV_TOKENS = CHATS * 256
"""Enough for what is asked here, two turns of some 100 tokens a chat."""
VLLM_SEQUENCES = 128
"""Its default on a CPU (vllm/engine/arg_utils.py)."""
ANSWER = {1: 32, 8: 24, 50: 12}
"""Tokens an answer, by number of chats, at most."""
MANY_ANSWER = 8
POINT_SHARE = 1 / 15
"""Of all the time: a measurement that takes longer is broken off, and the engine with it."""
LEAST_FREE = 3 << 30
"""Bytes of memory; with less, no further engine is started."""


@dataclass(slots=True)
class Point:
    """One engine at one number of chats, all rounds together."""

    rates: list[float] = field(default_factory=list)
    ttft: Durations = field(default_factory=Durations)
    itl: Durations = field(default_factory=Durations)
    turns: list[Turn] = field(default_factory=list)
    trouble: str = ""

    def add(self, seen: Driven) -> None:
        self.rates.append(seen.tokens_per_s)
        self.ttft.merge(seen.turns[0].ttft)
        self.itl.merge(seen.itl)
        for number, turn in enumerate(seen.turns):
            if number == len(self.turns):
                self.turns.append(Turn())
            self.turns[number].ttft.merge(turn.ttft)
            self.turns[number].input_tokens += turn.input_tokens
            self.turns[number].cached_tokens += turn.cached_tokens

    def second_turn(self) -> dict[str, float]:
        """Cached tokens of all of the second turn's input, and its TTFT over the first's; empty without one."""
        if len(self.turns) < 2 or not self.turns[1].input_tokens:
            return {}
        first, second = (turn.ttft.quantile(0.5) or 0.0 for turn in self.turns[:2])
        cached = self.turns[1].cached_tokens / self.turns[1].input_tokens
        return {"cached": round(cached, 3), "ttft_ratio": round(second / first, 3) if first else 0.0}

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"rounds": len(self.rates), "trouble": self.trouble}
        if self.rates:
            told |= {
                "tokens_per_s": round(statistics.median(self.rates), 2),
                "rates": [round(rate, 2) for rate in self.rates],
                "ttft_s": self.ttft.summary(),
                "itl_s": self.itl.summary(),
                "second_turn": self.second_turn(),
            }
        return told


@dataclass(slots=True)
class Subject:
    """``make`` may raise HubbubError. ``trouble``: why it is not measured."""

    name: str
    settings: str
    make: Callable[[EngineId], Engine]
    engine: Engine | None = None
    start_s: float = 0.0
    memory: PeakMemory = field(default_factory=PeakMemory)
    points: dict[int, Point] = field(default_factory=dict)
    trouble: str = ""

    async def start(self, stack: AsyncExitStack, number: int) -> None:
        """The time to start ends with the first answer: some load the model only then."""
        if psutil.virtual_memory().available < LEAST_FREE:
            self.trouble = "not started: memory was short"
            return
        began = time.perf_counter()
        try:
            engine = await asyncio.to_thread(self.make, EngineId(f"bench-{number}"))
            stack.push_async_callback(engine.close)
            await engine.start()
            await drive(engine, Work(streams=1, tokens=1, seed=-1))
            self.start_s = time.perf_counter() - began
            await drive(engine, Work(streams=4, tokens=4, seed=-2))
        except HubbubError as error:
            self.trouble = f"does not start: {error.message.splitlines()[-1]}"
            print(f"{self.name}, {self.settings}: {error.message}", flush=True)
            return
        self.engine = engine
        self.weigh()

    async def measure(self, work: Work, limit_s: float) -> None:
        engine = self.engine
        if engine is None:
            return
        point = self.points.setdefault(work.streams, Point())
        try:
            async with asyncio.timeout(limit_s):
                point.add(await drive(engine, work))
        except TimeoutError:
            point.trouble = f"over {limit_s:.0f} s"
            self.engine = None
            await engine.close()  # some go on with what nobody hears, beside the next engine's turn
        except HubbubError as error:
            point.trouble = error.message.splitlines()[0]
        self.weigh()

    def weigh(self) -> None:
        engine: object = self.engine
        if isinstance(engine, Supervised) and engine.supervisor.pid:
            self.memory.sample([engine.supervisor.pid])

    def as_json(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "settings": self.settings,
            "trouble": self.trouble,
            "start_s": round(self.start_s, 2),
            "rss_bytes": self.memory.peak,
            "chats": {str(chats): point.as_json() for chats, point in self.points.items()},
        }


def subjects(options: argparse.Namespace, logs: Path) -> list[Subject]:
    def spec(kind: str, settings: Any = None) -> Callable[[EngineId], Engine]:
        return lambda name: engine_of(
            EngineSpec(
                name, kind, logs, BUNDLED, chats=CHATS, options=settings, environments=Path(options.environments)
            )
        )

    def llamacpp(binary: str) -> list[Subject]:
        name = "llama.cpp, built for this CPU" if binary else "llama.cpp, wheel (AVX2)"
        ours = LlamaCppOptions(binary=binary, kv_tokens=KV_TOKENS)
        return [
            Subject(name, OWN, lambda engine: llama_server(engine, logs, binary)),
            Subject(name, OURS, spec("llamacpp", ours)),
        ]

    # OpenVINO GenAI's SchedulerConfig() as it comes: 256 batched tokens, 256 sequences, no prefix cache.
    by_itself = OpenVINOConfig(prefix_cache=False, batched_tokens=256, max_sequences=256)
    found = [
        Subject("OpenVINO GenAI", OWN, spec("openvino", by_itself)),
        Subject("OpenVINO GenAI", OURS, spec("openvino", OpenVINOConfig())),
        *llamacpp(""),
        *(llamacpp(options.llama_server) if options.llama_server else []),
        Subject("vLLM, CPU", OWN, lambda name: vllm_server(name, logs, options)),
        Subject("vLLM, CPU", OURS, spec("vllm", VLLMOptions(kv_gib=options.kv_gib, eager=options.eager))),
        Subject("transformers", OWN, lambda name: transformers_serve(name, logs, Path(options.environments))),
        Subject("transformers", OURS, spec("transformers", TransformersOptions(kv_tokens=KV_TOKENS))),
    ]
    return [one for one in found if options.only.lower() in one.name.lower()]


def llama_server(name: EngineId, logs: Path, binary: str) -> LaunchedEngine:
    """As it comes: 4 slots of one pool of the model's window, RAM prompt cache on. The wheel is told these defaults of
    llama-server, since it has others as a library."""
    model = resolve_model(BUNDLED)
    flags = ["--model", str(model.path), "--alias", model.name, "--metrics", "--slots", "--jinja", "--host", HOST]
    if not binary:
        flags += ["--parallel", "4", "--kv-unified", "--cache-ram", "8192", "--cache-idle-slots"]
        flags += ["--threads", str(usable_cores())]
    server = server_command(binary, logs / "none")
    launch = Launch(lambda port: (*server, *flags, "--port", str(port)))
    return LaunchedEngine(name, launch, logs, LlamaCppDialect((model.name,)), Limits((model.name,)))


def vllm_server(name: EngineId, logs: Path, options: argparse.Namespace) -> LaunchedEngine:
    """As it comes, but for the room of its KV cache: by itself it takes 92 % of all memory."""
    environments = Path(options.environments)
    python = str(environment_of("vllm", environments).python)
    model = model_of(EngineSpec(name, "vllm", logs, BUNDLED, environments=environments))
    flags = ["--model", model.path, "--served-model-name", model.name, "--enable-prompt-tokens-details"]
    flags += ["--kv-cache-memory-bytes", str(int(options.kv_gib * (1 << 30)))]
    if options.eager:
        flags.append("--enforce-eager")
    command = (python, "-m", vllm_kind.MODULE, *flags, "--host", HOST)
    env = isolated(model) | {"VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": HOST}
    limits = Limits((model.name,), max_sequences=VLLM_SEQUENCES)
    return LaunchedEngine(
        name,
        Launch(lambda port: (*command, "--port", str(port)), env=env),
        logs,
        VLLMDialect(priorities=False),
        limits,
    )


def transformers_serve(name: EngineId, logs: Path, environments: Path) -> LaunchedEngine:
    """``transformers serve`` as it comes, which batches nothing."""
    python = environment_of("transformers", environments).python
    model = model_of(EngineSpec(name, "transformers", logs, BUNDLED, environments=environments))
    command = (str(python), str(python.parent / "transformers"), "serve", "--host", HOST)
    launch = Launch(lambda port: (*command, "--port", str(port)), env=isolated(model))
    return LaunchedEngine(name, launch, logs, Dialect(), Limits((model.path,), max_sequences=CHATS))


async def main(options: argparse.Namespace) -> None:
    ends = time.monotonic() + options.minutes * 60
    began = os.getloadavg()
    async with AsyncExitStack() as stack:
        logs = stack.enter_context(tempfile.TemporaryDirectory(prefix="hubbub-engines-", ignore_cleanup_errors=True))
        measured = subjects(options, Path(logs))
        for number, subject in enumerate(measured):
            await subject.start(stack, number)
            print(f"{subject.name}, {subject.settings}: {subject.trouble or f'{subject.start_s:.1f} s'}", flush=True)
        await rounds(measured, options.chats, ends, options.minutes * 60 * POINT_SHARE)
    keep(measured, options, {"load_before": began, "load_after": os.getloadavg()})


async def rounds(measured: list[Subject], counts: list[int], ends: float, limit_s: float) -> None:
    """Over all numbers of chats and all engines, until the time is over; the first round goes from the least chats up,
    so that what is missing in the end is one of the most."""
    number, spent = 0, dict[tuple[str, str, int], float]()
    while True:
        for chats in counts:
            number += 1
            tokens = next((tokens for most, tokens in ANSWER.items() if chats <= most), MANY_ANSWER)
            turns = 2 if chats == max(counts) else 1
            for subject in measured if number % 2 else measured[::-1]:
                key = (subject.name, subject.settings, chats)
                if time.monotonic() + spent.get(key, 0.0) > ends:
                    continue
                began = time.monotonic()
                await subject.measure(Work(chats, tokens, seed=number, turns=turns), limit_s)
                spent[key] = time.monotonic() - began
                told = subject.points[chats].as_json() if chats in subject.points else {}
                print(f"{chats} chats, {subject.name}, {subject.settings}: {told.get('tokens_per_s')}", flush=True)
        if time.monotonic() + min(spent.values(), default=0.0) > ends:
            return


HEADER = ("engine", "settings", "chats", "tokens/s", "TTFT p50 s", "TTFT p99 s", "ITL p50 ms", "ITL p99 ms", "rounds")
HEADER_2 = ("memory MB", "start s", "second turn: cached", "second turn: TTFT")


def keep(measured: list[Subject], options: argparse.Namespace, load: Mapping[str, tuple[float, ...]]) -> None:
    told = stamp() | {"options": vars(options), **load, "engines": [subject.as_json() for subject in measured]}
    before, after = (f"{load[key][0]:.1f}" for key in ("load_before", "load_after"))
    more = f"\n\nThe machine was shared: its load was {before} before the first engine was started, {after} at the end."
    compiled = " vLLM ran without compiling (--eager)." if options.eager else ""
    rows = [row for subject in measured for row in table(subject)]
    write("engines", (*HEADER, *HEADER_2), rows, told, (__doc__ or "").partition("usage:")[0].strip() + more + compiled)
    lines = [line for subject in measured if (line := chart_line(subject)) is not None]
    cores = told["machine"]["cores"]
    CHART.parent.mkdir(exist_ok=True)
    CHART.write_text(
        line_chart(
            "The same model on each engine, with Hubbub's settings",
            f"SmolLM2-135M, {cores} cores, short answers",
            "chats at once",
            "tokens/s, all chats together",
            lines,
            log_x=True,
            y_max=1.5 * max((y for line in lines for _, y in line.points), default=1.0),  # the labels stand on top
        )
        + "\n"
    )
    print(f"written to {RESULTS}/engines.json, .md and {CHART}")


def chart_line(subject: Subject) -> Line | None:
    points = [(float(n), statistics.median(p.rates)) for n, p in sorted(subject.points.items()) if p.rates]
    return Line(subject.name, points) if subject.settings == OURS and points else None


def table(subject: Subject) -> list[list[str]]:
    if not subject.points:
        return [[subject.name, subject.settings, subject.trouble or "no time", *[""] * 10]]
    rows = []
    for place, (chats, point) in enumerate(sorted(subject.points.items())):
        head = [subject.name, subject.settings] if place == 0 else ["", ""]
        if not point.rates:
            rows.append([*head, str(chats), point.trouble or "no time", *[""] * 9])
            continue
        second = point.second_turn()
        rows.append(
            [
                *head,
                str(chats),
                f"{statistics.median(point.rates):,.1f}",
                *(f"{point.ttft.quantile(q) or 0:.2f}" for q in (0.5, 0.99)),
                *(f"{(point.itl.quantile(q) or 0) * 1e3:.0f}" for q in (0.5, 0.99)),
                f"{len(point.rates)}{f' ({point.trouble})' if point.trouble else ''}",
                *([f"{subject.memory.peak / 1e6:,.0f}", f"{subject.start_s:.1f}"] if place == 0 else ["", ""]),
                f"{second['cached']:.0%}" if second else "",
                f"{second['ttft_ratio']:.2f} x the first" if second else "",
            ]
        )
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The same weights and prompts on each engine.")
    parser.add_argument("--minutes", type=float, default=12.0, help="for all, starts included")
    parser.add_argument("--environments", default=str(ENVIRONMENTS), help="where `hubbub engine install` made them")
    parser.add_argument("--llama-server", default="", help="a llama-server built for this CPU")
    parser.add_argument("--chats", default=[1, 8, 50, 200], type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--only", default="", help="engines whose name holds this")
    parser.add_argument("--eager", action="store_true", help="vLLM without compiling, which takes minutes")
    parser.add_argument("--kv-gib", type=float, default=1.25, help="GiB of vLLM's KV cache")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.platform == "win32":
        asyncio.run(main(parsed()))
    else:
        import uvloop

        uvloop.run(main(parsed()))
