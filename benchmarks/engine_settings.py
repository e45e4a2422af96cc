"""Which settings make the embedded engine fastest here, at 1, 8, 50 and 200 chats.

    python -m benchmarks.engine_settings [--minutes 8] [--model FILE] [--tokens 16] [--chats 1,8,50,200] [--only TEXT]

Each candidate differs from the base in one thing. Base and candidate live in processes of their own at the same time,
and each round asks one after the other, so that what else the machine does falls on both; the table gives the median
over rounds of candidate over base, in tokens a second. The first candidate is the base once more: how far it strays
from 1 is the noise, and only what strays farther is called faster or slower. It measures the stepper (the pipeline as
the server drives it), not HTTP. Every candidate has its share of ``--minutes``, and one round at least; converting the
weights comes before and takes a minute. Writes ``results/engine_settings.json`` and ``results/engine_settings.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from benchmarks import weights
from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino_server.model_info import read_model_info
from hubbub.engines.openvino_server.protocol import (
    Add,
    Failed,
    Op,
    Ready,
    Sampler,
    Say,
    Splitter,
    Step,
    frame,
    say_decoder,
)
from hubbub.engines.openvino_server.sizing import Wishes, derive
from hubbub.engines.openvino_server.stepper import Config

RESULTS = Path(__file__).parent / "results"
KV_TOKENS = 40_000
WORDS = 20_000
"""Token numbers below this are used for prompts."""
LOAD_S = 8.0
"""Of a candidate's share, for loading it."""
LEAST_NOISE = 0.03
"""Of the speed: less than this is never called a difference."""
FEW_ROUNDS, FEW_NOISE = 3, 0.21
"""With fewer rounds, less than this is not: what one setting was seen to stray from itself (0.83 to 1.21)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """``form``: of the weights, as in ``weights.py``; empty: the model as it is. ``properties``: OpenVINO's."""

    wishes: Wishes = field(default_factory=lambda: Wishes(batched_tokens=256))
    kv_tokens: int = KV_TOKENS
    form: str = ""
    properties: dict[str, str] = field(default_factory=dict)


BASE = Setting()
AGAIN = "the base again"


def _but(**wishes: Any) -> Setting:
    return Setting(replace(BASE.wishes, **wishes))


CANDIDATES: dict[str, Setting] = {
    AGAIN: BASE,
    "threads 1": _but(threads=1),
    "batched tokens 128": _but(batched_tokens=128),
    "batched tokens 512": _but(batched_tokens=512),
    "batched tokens 2048": _but(batched_tokens=2048),
    "split-fuse off, 2048": _but(split_fuse=False, batched_tokens=2048),
    "precision f32": _but(precision="f32"),
    "precision bf16": _but(precision="bf16"),
    "KV f16": _but(kv_precision="f16"),
    "KV bf16": _but(kv_precision="bf16"),
    "KV blocks for 20,000 tokens": Setting(kv_tokens=KV_TOKENS // 2),
    "prefix cache off": _but(prefix_cache=False),
    "hint LATENCY": _but(performance_hint="LATENCY"),
    "dynamic quantization off": Setting(properties={"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}),
    **{name: Setting(form=form) for form, name in weights.FORMS.items()},
}


class Subject:
    """One stepper process with one choice of settings. ``model``: a GGUF file or a folder of IR."""

    def __init__(self, model: Path, setting: Setting) -> None:
        sizing = derive(read_model_info(model), replace(setting.wishes, max_sequences=256))
        config = Config(str(model), replace(sizing, kv_blocks=setting.kv_tokens // 32), [], setting.properties)
        self._splitter = Splitter()
        self._pending: list[Say] = []
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hubbub.engines.openvino_server.stepper", msgspec.json.encode(config).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ready(self) -> str:
        """Empty, or why it does not load."""
        said = self._next()
        return "" if isinstance(said, Ready) else said.message if isinstance(said, Failed) else repr(said)

    def measure(self, chats: int, prompt: int, tokens: int) -> dict[str, float]:
        """Tokens a second over all chats, and the median seconds to a chat's first token."""
        self._number += 1000
        began = time.perf_counter()
        for chat in range(chats):
            number = self._number + chat
            # A shared beginning, as a system prompt is, then words that no prompt before had: the base is asked all
            # the time, and would find in its prefix cache what a new candidate has to read.
            ids = [7 * i % WORDS + 100 for i in range(prompt // 2)]
            ids += Random(number).choices(range(100, WORDS), k=prompt - len(ids))
            self._send(Add(number, ids, Sampler(tokens, 0.0, 1.0, 0, 0, ignore_eos=True)))
        first: dict[int, float] = {}
        said = left = 0
        left = chats
        while left:
            step = self._next()
            assert isinstance(step, Step), step
            now = time.perf_counter() - began
            for out in step.outs:
                first.setdefault(out.id, now)
                said += len(out.tokens)
                left -= out.finish != ""
        seconds = time.perf_counter() - began
        return {"tokens_per_s": said / seconds, "ttft_s": statistics.median(first.values())}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, op: Op) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(frame(op))
        self._process.stdin.flush()

    def _next(self) -> Say:
        assert self._process.stdout is not None
        while not self._pending:
            data = os.read(self._process.stdout.fileno(), 1 << 20)
            assert data, "the stepper ended"
            self._pending = [say_decoder.decode(body) for body in self._splitter.feed(data)]
        return self._pending.pop(0)


def compare(name: str, model: Path, base: Subject, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Rounds over all numbers of chats until ``seconds`` are over."""
    row: dict[str, Any] = {"name": name, "chats": {}}
    subject = Subject(model, CANDIDATES[name])
    try:
        if trouble := subject.ready():
            return {**row, "trouble": trouble}
        subject.measure(8, options.prompt, 4)
        pairs: dict[int, list[tuple[dict[str, float], dict[str, float]]]] = {chats: [] for chats in options.chats}
        spent: dict[int, float] = {}
        ends = time.monotonic() + seconds
        while True:
            for chats in options.chats:
                if chats in spent and time.monotonic() + spent[chats] > ends:
                    continue
                began = time.monotonic()
                asked = (chats, options.prompt, options.tokens)
                # In turn first and second, since what the first heats up the second may find hot.
                if len(pairs[chats]) % 2:
                    theirs, ours = subject.measure(*asked), base.measure(*asked)
                else:
                    ours, theirs = base.measure(*asked), subject.measure(*asked)
                pairs[chats].append((ours, theirs))
                spent[chats] = time.monotonic() - began
            if all(time.monotonic() + spent[chats] > ends for chats in options.chats):
                break
        row["chats"] = {str(chats): summary(pairs[chats]) for chats in options.chats}
    finally:
        subject.close()
    return row


def summary(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    def median(key: str, side: int) -> float:
        return round(statistics.median(pair[side][key] for pair in pairs), 3)

    ratios = [theirs["tokens_per_s"] / ours["tokens_per_s"] for ours, theirs in pairs]
    return {
        "rounds": len(pairs),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "base_tokens_per_s": median("tokens_per_s", 0),
        "tokens_per_s": median("tokens_per_s", 1),
        "base_ttft_s": median("ttft_s", 0),
        "ttft_s": median("ttft_s", 1),
    }


def noise(rows: list[dict[str, Any]], row: dict[str, Any], chats: str) -> float:
    """How far from 1 a median of this row may be by chance: as far as the base strays from itself."""
    again = [cell for other in rows if other["name"] == AGAIN and (cell := other["chats"].get(chats))]
    strays = [stray for cell in again for stray in (1 - cell["ratio_low"], cell["ratio_high"] - 1)]
    few = FEW_NOISE if row["chats"][chats]["rounds"] < FEW_ROUNDS else LEAST_NOISE
    return float(max(few, *strays)) if strays else few


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    what = (
        f"openvino-genai {version('openvino-genai')}, {os.cpu_count()} cores, prompts of {options.prompt} tokens half "
        f"of which are shared, {options.tokens} tokens a chat, greedy. Tokens a second over those of the base (batched "
        "tokens 256, split-fuse, all cores, KV u8 for 40,000 tokens, the engine's own precision, prefix cache on, the "
        "GGUF as it is), run in turn: median (lowest to highest; rounds). Above 1 is faster. **Bold** where the median "
        f"is farther from 1 than the base ever was from itself, and than {LEAST_NOISE:.0%} ({FEW_NOISE:.0%} with "
        f"fewer than {FEW_ROUNDS} rounds); all else is noise."
    )
    title = f"# Settings of the embedded engine ({options.model.name})"
    head = "| setting | " + " | ".join(f"{n} chats" for n in options.chats) + " | TTFT at most chats |"
    lines = [title, "", what, "", head, "|" + " --- |" * (len(options.chats) + 2)]
    for row in rows:
        if "trouble" in row:
            lines.append(f"| {row['name']} | {row['trouble']} |" + " |" * (len(options.chats)))
            continue
        shown = []
        for chats in options.chats:
            cell = row["chats"][str(chats)]
            ratio = f"{cell['ratio']:.2f}"
            if row["name"] != AGAIN and abs(cell["ratio"] - 1) > noise(rows, row, str(chats)):
                ratio = f"**{ratio}**"
            shown.append(f"{ratio} ({cell['ratio_low']:.2f} to {cell['ratio_high']:.2f}; {cell['rounds']})")
        shown.append(f"{cell['ttft_s']:.1f} s (base {cell['base_ttft_s']:.1f} s)")
        lines.append(f"| {row['name']} | " + " | ".join(shown) + " |")
    speeds = [[row["chats"][str(n)]["base_tokens_per_s"] for row in rows if row["chats"]] for n in options.chats]
    median = " | ".join(f"{statistics.median(seen):.0f} tokens/s" if seen else "" for seen in speeds)
    lines.append(f"| the base itself | {median} | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file; the bundled one if not given")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all candidates together")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=16, help="tokens of each answer")
    parser.add_argument("--chats", default=[1, 8, 50, 200], type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--only", default="", help="candidates whose name holds this, and the base again")
    options = parser.parse_args()
    options.model = options.model or resolve_model(BUNDLED).path
    with tempfile.TemporaryDirectory(prefix="hubbub-settings-") as scratch:
        run(options, Path(scratch))


def run(options: argparse.Namespace, scratch: Path) -> None:
    wanted = [name for name in CANDIDATES if name == AGAIN or options.only in name]
    rows: list[dict[str, Any]] = []
    models: dict[str, Path] = {}
    for name in wanted:
        form = CANDIDATES[name].form
        models[name] = scratch / form if form else options.model
        if form and not weights.missing(form):
            print(f"making {name}", flush=True)
            command = [sys.executable, "-m", "benchmarks.weights", form, str(options.model), str(models[name])]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = Subject(options.model, BASE)
    began = time.monotonic()
    try:
        if trouble := base.ready():
            sys.exit(f"the base does not load: {trouble}")
        base.measure(8, options.prompt, 4)
        for place, name in enumerate(wanted):
            trouble = weights.missing(CANDIDATES[name].form)
            left = options.minutes * 60 - (time.monotonic() - began)
            started = time.monotonic()
            share = max(0.0, left / (len(wanted) - place) - LOAD_S)
            row = {"name": name, "chats": {}, "trouble": trouble} if trouble else {}
            rows.append(row or compare(name, models[name], base, options, share))
            keep(rows, options)
            told = {n: cell["ratio"] for n, cell in rows[-1]["chats"].items()} or rows[-1].get("trouble")
            spent = time.monotonic() - started
            eta = max(left - spent, 0.0)
            print(f"[{place + 1}/{len(wanted)}] {name}: {told} ({spent:.0f} s; {eta / 60:.1f} min left)", flush=True)
    finally:
        base.close()


def keep(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "engine_settings.json").write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "engine_settings.md").write_text(table(rows, options))


if __name__ == "__main__":
    main()
