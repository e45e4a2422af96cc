"""Which settings make the embedded engine fastest here, at 1, 8, 50 and 200 chats.

    python benchmarks/engine_settings.py [--model FILE] [--tokens 32] [--rounds 3] [--chats 1,8,50,200]

Each candidate differs from the base in one thing. All candidates live in processes of their own at the same time, and
each round asks base and candidate one after the other, so that what else the machine does falls on both; the table
gives the median over rounds of candidate over base, in tokens a second. It measures the stepper (the pipeline as the
server drives it), not HTTP. Writes ``results/engine_settings.json`` and ``results/engine_settings.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino_server.model_info import ModelInfo, read_model_info
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
BASE = Wishes(batched_tokens=256)
CANDIDATES: dict[str, Wishes] = {
    "threads 1": replace(BASE, threads=1),
    "batched tokens 128": replace(BASE, batched_tokens=128),
    "batched tokens 512": replace(BASE, batched_tokens=512),
    "batched tokens 1024": replace(BASE, batched_tokens=1024),
    "batched tokens 2048": replace(BASE, batched_tokens=2048),
    "split-fuse off, 2048": replace(BASE, split_fuse=False, batched_tokens=2048),
    "precision f32": replace(BASE, precision="f32"),
    "precision bf16": replace(BASE, precision="bf16"),
    "precision f16": replace(BASE, precision="f16"),
    "KV f16": replace(BASE, kv_precision="f16"),
    "KV bf16": replace(BASE, kv_precision="bf16"),
    "KV f32": replace(BASE, kv_precision="f32"),
    "hint LATENCY": replace(BASE, performance_hint="LATENCY"),
    "hint THROUGHPUT": replace(BASE, performance_hint="THROUGHPUT"),
    "prefix cache off": replace(BASE, prefix_cache=False),
}


class Subject:
    """One stepper process with one choice of settings."""

    def __init__(self, info: ModelInfo, wishes: Wishes, model: Path, kv_tokens: int = KV_TOKENS) -> None:
        sizing = replace(derive(info, replace(wishes, max_sequences=256)), kv_blocks=kv_tokens // 32)
        config = Config(str(model), sizing, [])
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
            # A shared beginning, as a system prompt is, then words of its own.
            ids = [7 * i % 20_000 + 100 for i in range(prompt // 2)]
            ids += [(number * 31 + i * 17) % 20_000 + 100 for i in range(prompt - len(ids))]
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


def compare(info: ModelInfo, name: str, options: argparse.Namespace, base: Subject) -> dict[str, Any]:
    subject = Subject(info, CANDIDATES[name], options.model)
    try:
        row: dict[str, Any] = {"name": name, "wishes": asdict(CANDIDATES[name]), "chats": {}}
        if trouble := subject.ready():
            return {**row, "trouble": trouble}
        for chats in options.chats:
            subject.measure(min(chats, 8), options.prompt, 4)
            load_of = (chats, options.prompt, options.tokens)
            rounds = options.rounds if chats > 1 else options.rounds + 2
            pairs = [(base.measure(*load_of), subject.measure(*load_of)) for _ in range(rounds)]
            row["chats"][str(chats)] = summary(pairs)
            print(name, chats, row["chats"][str(chats)], flush=True)
    finally:
        subject.close()
    return row


def summary(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    def median(key: str, side: int) -> float:
        return round(statistics.median(pair[side][key] for pair in pairs), 3)

    ratios = [theirs["tokens_per_s"] / ours["tokens_per_s"] for ours, theirs in pairs]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "base_tokens_per_s": median("tokens_per_s", 0),
        "tokens_per_s": median("tokens_per_s", 1),
        "base_ttft_s": median("ttft_s", 0),
        "ttft_s": median("ttft_s", 1),
    }


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    head = "| setting | " + " | ".join(f"{n} chats" for n in options.chats) + " | TTFT at most chats |"
    what = (
        f"openvino-genai {version('openvino-genai')}, {os.cpu_count()} cores, prompts of {options.prompt} tokens half "
        f"of which are shared, {options.tokens} tokens a chat, greedy. Tokens a second over those of the base (batched "
        "tokens 256, split-fuse, all cores, KV u8, the engine's own precision, prefix cache on), run in turn: median "
        f"of {options.rounds} (lowest to highest). Above 1 is faster."
    )
    title = f"# Settings of the embedded engine ({options.model.name})"
    lines = [title, "", what, "", head, "|" + " --- |" * (len(options.chats) + 2)]
    for row in rows:
        if "trouble" in row:
            lines.append(f"| {row['name']} | does not load: {row['trouble']} |" + " |" * (len(options.chats)))
            continue
        cells = [row["chats"][str(chats)] for chats in options.chats]
        shown = [f"{c['ratio']:.2f} ({c['ratio_low']:.2f} to {c['ratio_high']:.2f})" for c in cells]
        last = cells[-1]
        shown.append(f"{last['ttft_s']:.1f} s (base {last['base_ttft_s']:.1f} s)")
        lines.append(f"| {row['name']} | " + " | ".join(shown) + " |")
    speeds = [[row["chats"][str(n)]["base_tokens_per_s"] for row in rows if row["chats"]] for n in options.chats]
    median = " | ".join(f"{statistics.median(seen):.0f} tokens/s" for seen in speeds)
    lines.append(f"| the base itself | {median} | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chats", default=[1, 8, 50, 200], type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--only", default="", help="candidates whose name holds this")
    options = parser.parse_args()
    options.model = options.model or resolve_model(BUNDLED).path
    info = read_model_info(options.model)
    base = Subject(info, BASE, options.model)
    try:
        base.ready()
        base.measure(8, options.prompt, 4)
        for name in CANDIDATES:
            if options.only in name:
                keep(compare(info, name, options, base), options)
    finally:
        base.close()


def keep(row: dict[str, Any], options: argparse.Namespace) -> None:
    """Into the results, in the place of an older row of its name."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "engine_settings.json"
    rows = {old["name"]: old for old in (json.loads(file.read_text()) if file.is_file() else [])}
    rows[row["name"]] = row
    ordered = [rows[name] for name in CANDIDATES if name in rows]
    file.write_text(json.dumps(ordered, indent=1) + "\n")
    (RESULTS / "engine_settings.md").write_text(table(ordered, options))


if __name__ == "__main__":
    main()
