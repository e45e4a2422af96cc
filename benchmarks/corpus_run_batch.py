"""vLLM's run-batch beside `hubbub corpus run` on a vLLM server: the same engine, model, flags and prompts, paired.

run-batch drives an engine of its own in its own process; Hubbub asks a server. Both have the bundled model
(SmolLM2-135M) on this processor in float32, at most so many sequences at once and answers of some tokens; Hubbub's
filters and deduplication are off, since run-batch has none, and every prompt becomes one line. Each is run whole, and
once more killed with SIGKILL in the middle: run-batch when half of its working time is over, Hubbub's client when half
of the records are accepted. run-batch has nothing to resume, so it begins anew: its
wall time after a kill is that of both. "Made again" are tokens that the engine
had to write twice. vLLM comes from `hubbub engine install vllm`.

usage: python -m benchmarks.corpus_run_batch [--records 96] [--sequences 32] [--max-tokens 32] [--environments FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes import free_port
from benchmarks.table import stamp, write
from hubbub.core.errors import StorageError
from hubbub.corpus.reading import Reading
from hubbub.engines.environments import environment_of
from hubbub.engines.gguf_folder import hugging_face_folder
from hubbub.engines.models import BUNDLED, resolve_model

ROOT = Path(__file__).parent.parent
LOOK_S = 0.1
START_S = 240.0
LIMIT_S = 240.0
TOPICS = ("a river", "a market", "a bridge", "snow", "a train", "a school", "a theatre", "a harbour", "a park")
PLACES = ("Lisbon", "Oslo", "Cairo", "Lima", "Kyoto", "Riga", "Quito")
RECIPE = """
name = "run-batch"
target = "{records} records"
[columns.row]
file = "prompts.jsonl"
each = true
[[steps]]
prompt = "{{{{ row.prompt }}}}"
[sampling]
temperature = 1.0
max_tokens = {tokens}
[filters]
cut = "keep"
refusals = false
leaks = false
echo = false
repetition = 1
line_repeats = 1
[dedup]
exact = false
near = false
"""
ENVIRON = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}
_TOKENS = re.compile(rb"^vllm:generation_tokens_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Took:
    """``records``: on the disk at the end."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_mb: float = 0.0
    records: int = 0
    code: int = 0


class Bench:
    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        self.place, self.options = place, options
        self.python = environment_of("vllm", options.environments).python
        self.model = str(hugging_face_folder(resolve_model(BUNDLED).path, place / "models"))
        self.flags = ["--model", self.model, "--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
        self.flags += ["--max-num-seqs", str(options.sequences)]
        prompts = [f"Write a short text number {n} about {TOPICS[n % 9]} in {PLACES[n % 7]}." for n in self.numbers]
        self._write("prompts.jsonl", [{"prompt": prompt} for prompt in prompts])
        self._write("asks.jsonl", [self._ask(n, prompt) for n, prompt in enumerate(prompts)])
        self.recipe = place / "recipe.toml"
        self.recipe.write_text(RECIPE.format(records=options.records, tokens=options.max_tokens))

    @property
    def numbers(self) -> range:
        return range(self.options.records)

    def _ask(self, number: int, prompt: str) -> dict[str, Any]:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "seed": number}
        body |= {"temperature": 1.0, "max_tokens": self.options.max_tokens}
        return {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        (self.place / name).write_text("\n".join(map(json.dumps, rows)) + "\n")

    def run_batch(self, name: str, kill_s: float | None) -> Took:
        """Not the command vllm, which wants the package to be called so: the one for processors is vllm-cpu."""
        out = self.place / f"{name}.jsonl"
        command = [str(self.python), "-m", "vllm.entrypoints.openai.run_batch"]
        command += ["-i", str(self.place / "asks.jsonl"), "-o", str(out), *self.flags]
        took = self._life(command, lambda seconds: kill_s is not None and seconds >= kill_s)
        took.records = len(out.read_bytes().splitlines()) if out.exists() else 0
        return took

    def hubbub(self, url: str, name: str, kill_at: int | None) -> Took:
        folder = self.place / name
        command = [sys.executable, "-m", "hubbub", "corpus", "run", str(self.recipe), "--out", str(folder)]
        command += ["--engine", url, "--concurrency", str(self.options.sequences), "--json-lines"]
        took = self._life(command, lambda _: kill_at is not None and records(folder) >= kill_at)
        took.records = records(folder)
        return took

    def _life(self, command: list[str], over: Callable[[float], bool]) -> Took:
        """Until it ends, or ``over`` says so of the seconds that it has run: then it is killed."""
        took, began = Took(), time.perf_counter()
        with (self.place / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **ENVIRON}
            )
        watched = psutil.Process(process.pid)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.perf_counter() - began
            if not pid and (over(seconds) or seconds > LIMIT_S):
                os.killpg(process.pid, signal.SIGKILL)
                pid, status, usage = os.wait4(process.pid, 0)
            if pid:
                break
            with contextlib.suppress(psutil.Error):
                family = [watched, *watched.children(recursive=True)]
                rss = sum(member.memory_info().rss for member in family) / 1e6
                took.peak_rss_mb = max(took.peak_rss_mb, rss)
            time.sleep(LOOK_S)
        process.returncode = took.code = os.waitstatus_to_exitcode(status)
        took.wall_s, took.cpu_s = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
        return took

    @contextlib.contextmanager
    def server(self) -> Iterator[tuple[str, float]]:
        """Its address, and how many seconds it took to start."""
        port, began = free_port(), time.perf_counter()
        command = [str(self.python), "-m", "vllm.entrypoints.openai.api_server", "--port", str(port), *self.flags]
        with (self.place / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **ENVIRON}
            )
        url = f"http://127.0.0.1:{port}"
        try:
            while not page(f"{url}/v1/models"):
                if process.poll() is not None or time.perf_counter() - began > START_S:
                    sys.exit(f"vLLM does not start:\n{(self.place / 'log').read_text(errors='replace')[-3000:]}")
                time.sleep(LOOK_S)
            yield url, time.perf_counter() - began
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def records(folder: Path) -> int:
    try:
        with Reading.open(folder) as reading:
            return reading.counters().get("records", 0)
    except StorageError:
        return 0  # nothing is there yet


def page(url: str) -> bytes:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())
    return b""


def tokens(url: str) -> float:
    return sum(map(float, _TOKENS.findall(page(f"{url}/metrics"))))


def measured(bench: Bench) -> dict[str, Any]:
    half = bench.options.records // 2
    with bench.server() as (url, start_s):
        marks = [tokens(url)]
        whole = bench.hubbub(url, "whole", None)
        marks.append(tokens(url))
        killed = bench.hubbub(url, "killed", half)
        resumed = bench.hubbub(url, "killed", None)
        marks.append(tokens(url))
    alone = bench.run_batch("batch", None)
    if alone.code or not alone.records:
        sys.exit(f"run-batch failed:\n{(bench.place / 'log').read_text(errors='replace')[-3000:]}")
    cut = bench.run_batch("batch-killed", start_s + (alone.wall_s - start_s) / 2)
    once, twice = marks[1] - marks[0], marks[2] - marks[1]
    return {
        **stamp(),
        # Not where the environments are: that says something of one machine only.
        "options": {name: value for name, value in vars(bench.options).items() if name != "environments"},
        "server_start_s": start_s,
        "hubbub": {
            "whole": asdict(whole),
            "killed": asdict(killed),
            "resumed": asdict(resumed),
            "tokens": once,
            "tokens_made_again": twice - once,
        },
        "run_batch": {"whole": asdict(alone), "killed": asdict(cut)},
    }


HEADER = ("", "engine's start", "wall, start included", "client CPU", "peak RSS", "on disk at the kill", "a kill costs")


def rows(told: dict[str, Any]) -> list[tuple[str, ...]]:
    ours, theirs, start = told["hubbub"], told["run_batch"], told["server_start_s"]
    whole, killed, resumed = ours["whole"], ours["killed"], ours["resumed"]
    again = ours["tokens_made_again"] / max(1.0, ours["tokens"])
    more = killed["wall_s"] + resumed["wall_s"] - whole["wall_s"]
    batch, cut = theirs["whole"], theirs["killed"]
    client = f"{whole['cpu_s']:.1f} s, its start included"
    return [
        (
            "Hubbub on a vLLM server",
            f"{start:.0f} s",
            f"{start + whole['wall_s']:.0f} s",
            client,
            f"client {whole['peak_rss_mb']:,.0f} MB",
            f"{killed['records']} of {whole['records']}",
            f"{more:.0f} s; {again:.0%} of the tokens made again",
        ),
        (
            "vLLM run-batch",
            "within",
            f"{batch['wall_s']:.0f} s",
            "none: one process",
            f"with its engine {batch['peak_rss_mb']:,.0f} MB",
            f"{cut['records']} of {batch['records']}",
            f"{cut['wall_s']:.0f} s; all made again",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=96)
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--environments", type=Path, default=ROOT / ".make" / "engines")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hubbub-run-batch-"))
    try:
        told = measured(Bench(place, options))
    finally:
        shutil.rmtree(place)
    print(json.dumps(told, indent=1))
    write("corpus_run_batch", HEADER, rows(told), told, str(__doc__))


if __name__ == "__main__":
    main()
