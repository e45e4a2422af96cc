"""A corpus on a real engine beside the engine's own offline maximum, paired.

The bundled model (SmolLM2-135M) in the embedded engine, the English encyclopedia's prompts, so many sequences decoded
together. "offline" is offline_engine.py: the engine's pipeline alone in a process, requests always waiting, no server
and no text. "corpus" is `hubbub corpus run` with every filter and a server of the same engine, by the engine's own
count of tokens. The two take turns, in an order that is turned round; the first seconds of each are left out. Each turn
of the corpus is ended by SIGKILL, and the next goes on in the same folder; at the end it is verified.

usage: python -m benchmarks.corpus_real [--bytes 5MB] [--seconds 75] [--rounds 2] [--sequences 32]
       (the whole 5 MB: --seconds 10000 --rounds 1)
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from benchmarks.table import stamp, write
from hubbub.cli.corpus_engine import SPARE
from hubbub.corpus.client import body_of
from hubbub.corpus.items import Items
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe_check import load, parse_target
from hubbub.corpus.verify import verify
from hubbub.engines.models import BUNDLED, resolve_model

RECIPE = Path(__file__).parent.parent / "recipes" / "en-encyclopedia.toml"
PROMPTS = 512
LOOK_S = 0.5
_TOKENS = re.compile(rb"^hubbub_engine_output_tokens_total (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Turns:
    """Of one way: tokens a second of each turn; of the corpus, what its command took, too."""

    rates: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss: int = 0
    ended: bool = False


def offline(bodies: Path, options: argparse.Namespace, turns: Turns) -> None:
    flags = ["--sequences", str(options.sequences), "--warm", str(options.warm), "--seconds", str(options.seconds)]
    command = [sys.executable, "-m", "benchmarks.offline_engine", str(bodies), *flags]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    turns.rates.append(json.loads(said.splitlines()[-1])["tokens_s"])


@contextmanager
def engine(sequences: int) -> Iterator[str]:
    model = str(resolve_model(BUNDLED).path)
    command = [sys.executable, "-m", "hubbub.engines.openvino_server", "--model", model]
    process = subprocess.Popen([*command, "--max-sequences", str(sequences)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def tokens(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310
        found = _TOKENS.search(answer.read())
    return float(found.group(1)) if found else 0.0


def corpus(folder: Path, options: argparse.Namespace, turns: Turns) -> None:
    in_flight = str(round(options.sequences * SPARE))
    with engine(options.sequences) as url, (folder.parent / "log").open("ab") as log:
        argv = [sys.executable, "-m", "hubbub", "corpus", "run", str(RECIPE), "--out", str(folder), "--engine", url]
        argv += ["--bytes", options.bytes, "--concurrency", in_flight, "--json-lines"]
        process = psutil.Popen(argv, stdout=log, stderr=log)
        while process.poll() is None and not tokens(url):
            time.sleep(LOOK_S)
        began, first = time.perf_counter(), (0.0, 0.0)
        now, cpu = (0.0, 0.0), 0.0
        while process.poll() is None and now[0] < options.seconds:
            now = (time.perf_counter() - began, tokens(url))
            if not first[0] and now[0] >= options.warm:
                first = now
            with suppress(psutil.Error):  # it has just ended
                cpu, turns.peak_rss = sum(process.cpu_times()[:2]), max(turns.peak_rss, process.memory_info().rss)
            time.sleep(LOOK_S)
        turns.ended = process.poll() == 0
        process.kill()
        if process.wait() not in (0, -9):
            sys.exit(f"the run ended with exit code {process.wait()}:\n{(folder.parent / 'log').read_text()[-2000:]}")
    turns.wall_s += now[0]
    turns.cpu_s += cpu
    turns.rates.append((now[1] - first[1]) / (now[0] - first[0]))


def bodies_of(path: Path) -> None:
    """The requests of the recipe's first items, as the command sends them."""
    items = Items(load(RECIPE))
    calls = [items.next_call(items.item(index), ()) for index in range(PROMPTS)]
    lines = [body_of("", call.messages, call.sampling, flex=False) for call in calls if call is not None]
    path.write_bytes(b"\n".join(line.replace(b'"model":"",', b"") for line in lines) + b"\n")


def measured(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    bodies, folder = place / "bodies.jsonl", place / "run"
    bodies_of(bodies)
    alone, whole = Turns(), Turns()
    for number in range(options.rounds):
        for way in (alone, whole) if number % 2 == 0 else (whole, alone):
            if way is alone:
                offline(bodies, options, alone)
            else:
                corpus(folder, options, whole)
            print(f"offline {alone.rates} corpus {whole.rates} tokens/s", flush=True)
    found = verify(folder)
    if found.faults:
        sys.exit("unsound: " + "; ".join(found.faults))
    with Reading.open(folder) as reading:
        counters = reading.counters()
    rate = mean(whole.rates)
    a_token = counters.get("bytes", 0) / max(1, counters.get("answer_tokens", 0))
    return {
        **stamp(),
        "options": {name: str(value) for name, value in vars(options).items()},
        "offline_tokens_s": alone.rates,
        "corpus_tokens_s": whole.rates,
        "ratio": rate / mean(alone.rates),
        "bytes": counters.get("bytes", 0),
        "records": counters.get("records", 0),
        "items": counters.get("items", 0),
        "accepted_bytes_a_token": a_token,
        "client_cpu_share": whole.cpu_s / whole.wall_s,
        "client_cpu_ms_a_record": whole.cpu_s / max(1, counters.get("records", 0)) * 1e3,
        "client_peak_rss_mb": whole.peak_rss / 1e6,
        "target_reached": whole.ended,
        "hours_for_the_target": parse_target(options.bytes).amount / max(1e-9, rate * a_token) / 3600,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", default="5MB")
    parser.add_argument("--seconds", type=float, default=75.0, help="of one turn, its warm-up in them")
    parser.add_argument("--warm", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=32)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hubbub-corpus-real-"))
    try:
        told = measured(place, options)
    finally:
        shutil.rmtree(place)
    each = {way: ", ".join(f"{rate:.1f}" for rate in told[f"{way}_tokens_s"]) for way in ("offline", "corpus")}
    rows = [
        ("offline maximum, a turn each", f"{each['offline']} tokens/s"),
        ("corpus, a turn each", f"{each['corpus']} tokens/s"),
        ("corpus over offline", f"{told['ratio']:.3f}"),
        ("accepted in these turns", f"{told['bytes']:,} bytes, {told['records']:,} records of {told['items']:,} items"),
        ("the client's share of one core", f"{told['client_cpu_share']:.1%}, its start included"),
        ("the client's peak memory", f"{told['client_peak_rss_mb']:,.0f} MB"),
        (f"{options.bytes} at this rate", f"{told['hours_for_the_target']:.1f} hours"),
    ]
    write("corpus_real", ("what", "measured"), rows, told, str(__doc__))


if __name__ == "__main__":
    main()
