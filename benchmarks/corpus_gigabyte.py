"""A gigabyte, whole, through the real pipeline, with kills: wall time, CPU a record, memory, and where the time goes.

The real command (`hubbub corpus run`) writes BYTES of Russian text from an engine that costs next to nothing
(instant_engine.py; one answer in twelve is bad on purpose), with every filter and both kinds of deduplication on. It is
killed with SIGKILL at random moments and started again each time; at the end everything is verified. CPU and memory are
those of the command alone, all its lives together. Before it, QUICK bytes are written undisturbed, with the filters in
the command's own process and in another one. The stages are then timed one by one, in one process, on texts of the same
engine.

usage: python -m benchmarks.corpus_gigabyte [BYTES] [--kills 20] [--concurrency 128] [--processes 0] [--compare]
       [--quick QUICK]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.table import stamp, write
from hubbub.core.errors import StorageError
from hubbub.corpus.client import Endpoint, EndpointConfig
from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe_check import load, parse_target
from hubbub.corpus.record import encode
from hubbub.corpus.runlog import Group, RunLog
from hubbub.corpus.verify import verify
from hubbub.planner.charts import Line, line_chart

LOOK_S = 0.2
CHART = Path(__file__).parent.parent / "docs" / "img" / "corpus_memory.svg"
POINTS = 100
"""Of the chart of memory."""
CHARTED_BYTES = 500_000_000
"""A smaller run says little of memory, and leaves the chart as it is."""
STAGED = 4000
"""Items that are timed stage by stage."""
RECIPE = """
name = "gigabyte"
seed = 20261122
target = "1GB"
languages = ["ru"]

[columns.city]
values = ["Москва", "Тверь", "Псков", "Казань", "Пермь", "Омск", "Томск", "Чита", "Орёл", "Тула"]
[columns.topic]
values = ["река", "рынок", "мост", "снег", "поезд", "школа", "театр", "порт", "завод", "парк"]
[columns.reader]
values = ["школьник", "студент", "инженер", "путешественник"]
[columns.mood]
values = { "спокойно" = 3, "весело" = 2, "строго" = 1 }

[[steps]]
name = "story"
system = "Ты пишешь короткие тексты на русском языке, без вступлений."
prompt = "Напиши {{ mood }} короткий текст: {{ topic }} в городе {{ city }}. Читатель: {{ reader }}."

[sampling]
temperature = { uniform = [0.7, 1.0] }
top_p = 0.95
max_tokens = 400

[filters]
chars = [200, 4000]

[steering]
columns = ["city", "topic"]
every = 2000
"""


@dataclass(slots=True)
class Lives:
    """What all processes of one run took together."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss: int = 0
    kills: int = 0
    idle_s: float = 0.0
    """From the start of a process to its first commit: imports, the index rebuilt, the first answers."""
    starts: list[float] = field(default_factory=list)
    start_cpu_s: float = 0.0
    start_bytes: int = 0
    """CPU and accepted bytes of the starts."""
    memory: list[tuple[int, int]] = field(default_factory=list)
    """(bytes accepted, resident bytes), now and then."""


class Engine:
    """instant_engine.py on a port of its own."""

    def __enter__(self) -> Engine:
        script = Path(__file__).with_name("instant_engine.py")
        self.process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()


def one_life(argv: list[str], folder: Path, kill_at: int | None, lives: Lives) -> bool:
    """Run the command until it ends, or is killed at ``kill_at`` accepted bytes. True: it ended by itself."""
    before, began = accepted(folder), time.perf_counter()
    with (folder.parent / "log").open("ab") as log:
        process = psutil.Popen(argv, stdout=log, stderr=log)
    cpu = started = 0.0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            cpu = max(cpu, sum(sum(member.cpu_times()[:2]) for member in family))  # a child's is gone with it
            resident = sum(member.memory_info().rss for member in family)
        except psutil.Error:
            break
        now = accepted(folder)
        lives.peak_rss = max(lives.peak_rss, resident)
        if now > before:
            lives.memory.append((now, resident))
        if not started and now > before:
            started = time.perf_counter() - began
            lives.start_cpu_s += cpu
            lives.start_bytes += now - before
        if kill_at is not None and now >= kill_at:
            process.kill()
            lives.kills += 1
            break
        time.sleep(LOOK_S)
    code = process.wait()
    lives.wall_s += time.perf_counter() - began
    lives.cpu_s += cpu
    lives.starts.append(started)
    if code not in (0, -9):
        sys.exit(f"the run ended with exit code {code}:\n{(folder.parent / 'log').read_text()[-3000:]}")
    return code == 0


def accepted(folder: Path) -> int:
    try:
        with Reading.open(folder) as reading:
            return reading.counters().get("bytes", 0)
    except StorageError:
        return 0  # nothing is there yet


def whole_run(recipe: Path, folder: Path, url: str, size: int, kills: int, concurrency: int, processes: int) -> Lives:
    argv = [sys.executable, "-m", "hubbub", "corpus", "run", str(recipe), "--out", str(folder), "--engine", url]
    argv += ["--json-lines", "--bytes", str(size), "--concurrency", str(concurrency), "--processes", str(processes)]
    rng, lives = random.Random(size), Lives()
    for kill_at in [*sorted(rng.randrange(size) for _ in range(kills)), None]:
        if one_life(argv, folder, kill_at, lives):
            return lives
    return lives


# Stage by stage -----------------------------------------------------------------------------------------------------


async def stages(recipe: Path, url: str, folder: Path) -> dict[str, float]:
    """CPU milliseconds an item of each stage, alone."""
    read = load(recipe)
    items, judge = Items(read), Judge(read)
    took: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        done = work()
        took[name] = (time.process_time() - began) / STAGED * 1e3
        return done

    made = timed("item and prompt", lambda: [(item := items.item(n), items.next_call(item, [])) for n in range(STAGED)])
    async with Endpoint.opened(EndpointConfig(url)) as endpoint:
        began = time.process_time()
        answers = []
        for start in range(0, STAGED, 64):
            calls = [call for _, call in made[start : start + 64]]
            answers += await asyncio.gather(
                *(endpoint.ask(call.model, call.messages, call.sampling) for call in calls if call is not None)
            )
        took["request and answer"] = (time.process_time() - began) / STAGED * 1e3
    said = [[Said(answer.text, answer.tokens, answer.finish, 0, answer.model)] for answer in answers]
    judge.screen(made[0][0], said[0])  # the language model is loaded when it is first asked
    screened = timed("filters, signature", lambda: [judge.screen(made[n][0], said[n]) for n in range(STAGED)])
    verdicts = timed("deduplication, steering", lambda: [judge.admit(one) for one in screened])
    lines = timed("record to JSON", lambda: [encode(record) for verdict in verdicts for record in verdict.records])
    with closing(RunLog.begin(folder, {})) as log:
        group = Group(((0, STAGED),), lines, note=judge.drain())
        timed("zstd, hash, commit", lambda: log.commit(group))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", default="1GB", metavar="BYTES")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=128)
    parser.add_argument("--processes", type=int, default=0, help="for the filters")
    parser.add_argument("--quick", default="", metavar="BYTES", help="so much without kills, before")
    parser.add_argument("--compare", action="store_true", help="once more without kills, and compare the bytes")
    parser.add_argument("--keep", type=Path, help="leave the run's folder there")
    options = parser.parse_args()
    size = parse_target(options.size).amount
    place = Path(tempfile.mkdtemp(prefix="hubbub-gigabyte-"))
    try:
        told = measured(place, size, options)
        if options.keep:
            shutil.copytree(place / "run", options.keep)
    finally:
        shutil.rmtree(place)
    print(json.dumps(told, indent=1))
    report(told)


def measured(place: Path, size: int, options: argparse.Namespace) -> dict[str, Any]:
    recipe = place / "recipe.toml"
    recipe.write_text(RECIPE)
    with Engine() as engine:
        quick = [undisturbed(recipe, place, engine.url, options, processes) for processes in (0, 1) if options.quick]
        lives = whole_run(
            recipe, place / "run", engine.url, size, options.kills, options.concurrency, options.processes
        )
        with Reading.open(place / "run") as reading:
            counters = reading.counters()
        began = time.perf_counter()
        found = verify(place / "run")
        verify_s = time.perf_counter() - began
        if found.faults:
            sys.exit("unsound: " + "; ".join(found.faults))
        same = None
        if options.compare:
            whole_run(recipe, place / "undisturbed", engine.url, size, 0, options.concurrency, options.processes)
            same = files(place / "run") == files(place / "undisturbed")
        staged = uvloop.run(stages(recipe, engine.url, place / "stages"))
    on_disk = sum(path.stat().st_size for path in (place / "run").glob("shard-*.zst"))
    records, working = counters["records"], lives.wall_s - sum(lives.starts)
    return {
        **stamp(),
        "bytes": counters["bytes"],
        "records": records,
        "items": counters["items"],
        "requests": counters["requests"],
        "rejected": {name: n for name, n in counters.items() if name.startswith("rejected:")},
        "kills": lives.kills,
        "wall_s": lives.wall_s,
        "starting_s": sum(lives.starts),
        "last_start_s": lives.starts[-1],
        "records_s": records / lives.wall_s,
        "records_s_working": records / working,
        "mb_s_working": counters["bytes"] / 1e6 / working,
        "cpu_ms_a_record": lives.cpu_s / records * 1e3,
        "peak_rss_mb": lives.peak_rss / 1e6,
        "rss_mb": highest(lives.memory, counters["bytes"]),
        "shards_mb": on_disk / 1e6,
        "database_mb": (place / "run" / "run.sqlite3").stat().st_size / 1e6,
        "verify_s": verify_s,
        "same_bytes_as_undisturbed": same,
        "stages_cpu_ms": staged,
        "undisturbed": quick,
    }


def undisturbed(recipe: Path, place: Path, url: str, options: argparse.Namespace, processes: int) -> dict[str, Any]:
    folder = place / f"quick-{processes}"
    lives = whole_run(recipe, folder, url, parse_target(options.quick).amount, 0, options.concurrency, processes)
    with Reading.open(folder) as reading:
        counters = reading.counters()
    working = lives.wall_s - sum(lives.starts)
    share = 1 - lives.start_bytes / counters["bytes"]
    records = counters["records"] * share
    told = {
        "processes": processes,
        "bytes": counters["bytes"],
        "records_s": records / working,
        "requests_s": counters["requests"] * share / working,
        "cpu_ms_a_record": lives.cpu_s / counters["records"] * 1e3,
        "cpu_ms_a_record_working": (lives.cpu_s - lives.start_cpu_s) / records * 1e3,
        "peak_rss_mb": lives.peak_rss / 1e6,
    }
    print(json.dumps(told), flush=True)
    return told


def highest(memory: list[tuple[int, int]], size: int) -> list[tuple[float, float]]:
    """(MB accepted, MB resident) at the end of each hundredth part of the run: the most there was in it."""
    most: dict[int, int] = {}
    for accepted_bytes, resident in memory:
        part = accepted_bytes * POINTS // (size + 1)
        most[part] = max(most.get(part, 0), resident)
    return [((part + 1) / POINTS * size / 1e6, resident / 1e6) for part, resident in sorted(most.items())]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def report(told: dict[str, Any]) -> None:
    rows = [
        ("text accepted", f"{told['bytes'] / 1e6:,.1f} MB, {told['records']:,} records of {told['items']:,} items"),
        ("kill -9", f"{told['kills']}, verified sound afterwards"),
        ("wall time", f"{told['wall_s']:,.0f} s, of these {told['starting_s']:,.0f} s starting again after kills"),
        ("speed while it works", f"{told['records_s_working']:,.0f} records/s, {told['mb_s_working']:.2f} MB/s"),
        ("CPU a record", f"{told['cpu_ms_a_record']:.2f} ms, all starts and work done twice included"),
        ("peak memory", f"{told['peak_rss_mb']:,.0f} MB"),
        ("on disk", f"{told['shards_mb']:,.1f} MB of shards, {told['database_mb']:,.1f} MB of run.sqlite3"),
        ("verify", f"{told['verify_s']:,.1f} s"),
    ]
    rows += [(f"stage: {name}", f"{ms:.3f} ms of CPU") for name, ms in told["stages_cpu_ms"].items()]
    for run in told["undisturbed"]:
        where = "in a process of their own" if run["processes"] else "in the command's process"
        said = f"{run['records_s']:,.0f} records/s, {run['cpu_ms_a_record_working']:.2f} ms of CPU a record"
        rows.append((f"{run['bytes'] / 1e6:,.0f} MB undisturbed, filters {where}", said))
    if told["same_bytes_as_undisturbed"] is not None:
        rows.append(("the same bytes as without kills", str(told["same_bytes_as_undisturbed"])))
    write("corpus_gigabyte", ("what", "measured"), rows, told, str(__doc__))
    if told["bytes"] >= CHARTED_BYTES:
        CHART.write_text(chart(told) + "\n")


def chart(told: dict[str, Any]) -> str:
    return line_chart(
        "Memory of a corpus run",
        f"{told['kills']} kills, {told['records']:,} records; the index of near-duplicates grows by doubling",
        "MB of text accepted",
        "MB resident",
        [Line("the command and its processes", told["rss_mb"])],
    )


if __name__ == "__main__":
    main()
