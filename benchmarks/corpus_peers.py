"""Hubbub beside other generators of text: the same engine, the same prompts, one after the other on one machine.

The engine (instant_engine.py) answers 0.2 s after it is asked, with about 1 kB of Russian, and costs next to nothing.
Each tool is given the same prompts and 256 requests in flight; Hubbub filters and deduplicates every text besides.
Measured once undisturbed, and once killed with SIGKILL when half were asked, and started again as the tool's own
documentation says to resume. Speed and CPU a request are those between the first and the last tenth of the requests;
CPU "with the start" is all that the tool's processes took, a record. "Finished" are records that the tool has given
out; datatrove and curator keep more answers in a cache of their own, so what a kill really costs is "asked again". The
tools are installed into `.benchmarks/`. vLLM's run-batch has an engine of its own: corpus_run_batch.py.

usage: python -m benchmarks.corpus_peers [--records 2000] [--in-flight 256] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes import TOOLS
from benchmarks.table import RESULTS, stamp, write
from hubbub.core.errors import StorageError
from hubbub.corpus.reading import Reading
from hubbub.corpus.record import decode

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".benchmarks"
SCRIPTS = Path(__file__).parent / "peers"
MODEL = "instant"
DELAY_MS = 200
LOOK_S = 0.1
LIMIT_S = 150.0
RECIPE = """
name = "peers"
target = "{records} records"
languages = ["ru"]
[columns.row]
file = "prompts.jsonl"
each = true
[[steps]]
prompt = "{{{{ row.prompt }}}}"
[sampling]
max_tokens = 400
[filters]
chars = [100, 4000]
"""
PROMPT = "Напиши короткий текст номер {number}: {topic} в городе {city}."
TOPICS = ("река", "рынок", "мост", "снег", "поезд", "школа", "театр", "порт", "завод", "парк")
CITIES = ("Москва", "Тверь", "Псков", "Казань", "Пермь", "Омск", "Томск", "Чита", "Орёл", "Тула", "Уфа")


@dataclass(frozen=True, slots=True)
class Tool:
    """``ids``: of the records in its output, in a folder."""

    name: str
    package: str
    command: Callable[[Task], list[str]]
    ids: Callable[[Path], list[str]]


@dataclass(frozen=True, slots=True)
class Task:
    prompts: Path
    url: str
    folder: Path
    records: int
    in_flight: int


@dataclass(slots=True)
class Took:
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss: int = 0
    asked: int = 0
    marks: list[tuple[float, int, float]] = field(default_factory=list)
    """Seconds since the start, requests that were asked, seconds of CPU."""


def script(name: str, folder: str) -> Callable[[Task], list[str]]:
    def command(task: Task) -> list[str]:
        python = PEERS / folder / "bin" / "python"
        where = [str(task.prompts), task.url, MODEL, str(task.folder), str(task.in_flight)]
        return [str(python), str(SCRIPTS / name), *where]

    return command


def hubbub(task: Task) -> list[str]:
    recipe = task.prompts.with_name("recipe.toml")
    recipe.write_text(RECIPE.format(records=task.records))
    out = ["--out", str(task.folder / "out"), "--engine", task.url, "--concurrency", str(task.in_flight)]
    return [sys.executable, "-m", "hubbub", "corpus", "run", str(recipe), "--json-lines", *out]


def hubbub_ids(folder: Path) -> list[str]:
    try:
        with Reading.open(folder / "out") as reading:
            return [decode(line).id for line in reading.lines()]
    except StorageError:
        return []


def json_ids(folder: Path) -> list[str]:
    """Of whole lines; a torn one counts for nothing."""
    found = []
    for path in [*folder.glob("out/*.jsonl"), *folder.glob("out.jsonl")]:
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                found.append(str(json.loads(line)["id"]))
    return found


def parquet_ids(folder: Path) -> list[str]:
    import pyarrow.parquet

    paths = folder.glob("artifacts/peer*/parquet-files/*.parquet")
    return [str(row) for path in paths for row in pyarrow.parquet.read_table(path, columns=["id"])["id"].to_pylist()]


TOOLS_MEASURED = (
    Tool("Hubbub", "", hubbub, hubbub_ids),
    Tool("datatrove", "datatrove[inference]", script("datatrove_run.py", "datatrove"), json_ids),
    Tool("Data Designer", "data-designer", script("data_designer_run.py", "data-designer"), parquet_ids),
    Tool("curator", "bespokelabs-curator", script("curator_run.py", "bespokelabs-curator"), json_ids),
)


@contextlib.contextmanager
def engine() -> Iterator[str]:
    program = [
        sys.executable,
        str(Path(__file__).with_name("instant_engine.py")),
        "--delay-ms",
        str(DELAY_MS),
        "--good",
    ]
    process = subprocess.Popen(program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.kill()
        process.wait()


def asked(url: str) -> int:
    with urllib.request.urlopen(f"{url}/asked", timeout=10) as answer:  # noqa: S310
        return int(answer.read())


def life(tool: Tool, task: Task, kill_at: int | None) -> tuple[Took, int]:
    """One process until it ends, or is killed when ``kill_at`` requests were asked. What it took; its exit code."""
    took, began = Took(), time.perf_counter()
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / "log").open("ab") as log:
        environ = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(tool.command(task), stdout=log, stderr=log, start_new_session=True, env=environ)
    watched = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        with contextlib.suppress(psutil.Error):
            family = [watched, *watched.children(recursive=True)]
            took.peak_rss = max(took.peak_rss, sum(member.memory_info().rss for member in family))
            cpu = sum(sum(member.cpu_times()[:2]) for member in family)
            took.marks.append((time.perf_counter() - began, asked(task.url), cpu))
        over = time.perf_counter() - began > LIMIT_S
        if over or (kill_at is not None and took.marks and took.marks[-1][1] >= kill_at):
            os.killpg(process.pid, 9)
            _, status, usage = os.wait4(process.pid, 0)
            break
        time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    took.wall_s, took.cpu_s = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    took.asked = asked(task.url)
    return took, process.returncode


def in_between(took: Took, records: int) -> tuple[float, float]:
    """Requests a second, and milliseconds of CPU a request, between the first and the last tenth of them."""
    low = next((mark for mark in took.marks if mark[1] >= 0.1 * records), None)
    high = next((mark for mark in took.marks if mark[1] >= 0.9 * records), None)
    if low is None or high is None or high[1] == low[1]:
        return 0.0, 0.0
    return (high[1] - low[1]) / (high[0] - low[0]), (high[2] - low[2]) / (high[1] - low[1]) * 1e3


def measured(tool: Tool, place: Path, records: int, in_flight: int) -> dict[str, Any]:
    folder = place / tool.name.replace(" ", "-")
    with engine() as url:
        task = Task(place / "prompts.jsonl", url, folder / "whole", records, in_flight)
        whole, code = life(tool, task, None)
    if code:
        return {"fault": (task.folder / "log").read_text(errors="replace")[-600:]}
    ids = tool.ids(task.folder)
    rate, cpu = in_between(whole, records)
    with engine() as url:
        task = Task(place / "prompts.jsonl", url, folder / "killed", records, in_flight)
        first, _ = life(tool, task, records // 2)
        kept = len(tool.ids(task.folder))
        second, code = life(tool, task, None)
    after = tool.ids(task.folder)
    return {
        "records": len(ids),
        "wall_s": whole.wall_s,
        "requests_s": rate,
        "cpu_ms_a_request": cpu,
        "cpu_ms_a_record": whole.cpu_s / max(1, len(ids)) * 1e3,
        "peak_rss_mb": whole.peak_rss / 1e6,
        "requests": whole.asked,
        "killed": {
            "exit_code": code,
            "records_on_disk_at_the_kill": kept,
            "records": len(after),
            "twice": len(after) - len(set(after)),
            "requests": second.asked,
            "asked_again": second.asked - whole.asked,
            "wall_s": first.wall_s + second.wall_s,
        },
    }


def install(tool: Tool) -> None:
    python = PEERS / tool.package.partition("[")[0] / "bin" / "python"
    if tool.package and not python.exists():
        uv = str(TOOLS / "uv") if (TOOLS / "uv").exists() else "uv"
        subprocess.run([uv, "venv", "-q", str(python.parent.parent)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), tool.package], check=True)


def prompts(place: Path, records: int) -> None:
    rows = [
        {"id": str(n), "prompt": PROMPT.format(number=n, topic=TOPICS[n % 10], city=CITIES[n % 11])}
        for n in range(records)
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (place / "prompts.jsonl").write_text(text + "\n", encoding="utf-8")


def row(name: str, told: dict[str, Any]) -> tuple[str, ...]:
    if "fault" in told:
        return (name, "did not run: " + " ".join(told["fault"].split())[-160:], *[""] * 7)
    killed = told["killed"]
    end = f"{killed['records']:,} records, {killed['twice']} twice"
    return (
        name,
        f"{told['wall_s']:.1f} s",
        f"{told['requests_s']:,.0f}",
        f"{told['cpu_ms_a_request']:.2f} ms",
        f"{told['cpu_ms_a_record']:.2f} ms",
        f"{told['peak_rss_mb']:,.0f} MB",
        f"{killed['records_on_disk_at_the_kill']:,}",
        f"{killed['asked_again']:,}",
        end + (f", exit code {killed['exit_code']}" if killed["exit_code"] else ""),
    )


HEADER = (
    "",
    "wall",
    "requests/s",
    "CPU a request",
    "with the start",
    "peak RSS",
    "finished at the kill",
    "asked again",
    "after resuming",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--only", nargs="*", default=[], help="the others as they were in the last results")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hubbub-peers-"))
    before = RESULTS / "corpus_peers.json"
    told: dict[str, Any] = {**stamp(), "records": options.records, "in_flight": options.in_flight, "tools": {}}
    if options.only and before.exists():
        told = {**told, "tools": json.loads(before.read_text())["tools"]}
    try:
        prompts(place, options.records)
        for tool in TOOLS_MEASURED:
            if not options.only or tool.name in options.only:
                install(tool)
                told["tools"][tool.name] = measured(tool, place, options.records, options.in_flight)
                print(json.dumps({tool.name: told["tools"][tool.name]}), flush=True)
        rows = [row(*entry) for entry in told["tools"].items()]
    finally:
        shutil.rmtree(place)
    write("corpus_peers", HEADER, rows, told, str(__doc__))


if __name__ == "__main__":
    main()
