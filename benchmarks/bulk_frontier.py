"""What bulk can get beside 50 chats at which price in their TTFT, and what the steering makes of it. Simulated.

The scheduler before the simulated engine's batching on virtual time, as in ``tests/integration/test_hall.py``. For each
engine and kind of chats fixed numbers of bulk requests in flight are tried: the best that leaves the chats' TTFT p95
within 1.25 times of theirs alone is the frontier. Beside it what the steering reaches.

A step takes ``a`` and ``b`` for each token in it, read or said. So what the engine has left for bulk at any price for
the chats is bulk alone less the share of it that goes into as many tokens as the chats say and have read:
``bulk alone * (1 - chats' tokens / tokens of bulk alone)``. Shares are of that.

usage: PYTHONPATH=tests python -m benchmarks.bulk_frontier [--seeds 3] [--seconds 240] [--only NAME] [--draw]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.crowd import quantile
from benchmarks.table import RESULTS, stamp, write
from hubbub.core.config import SchedulerConfig
from hubbub.core.types import Priority
from hubbub.engines.sim_batch import Pace
from hubbub.planner.charts import HEIGHT, WIDTH, Line, line_chart
from support.hall import Asked, Hall, People, Rows

NAME = "bulk_frontier"
KEPT = RESULTS / f"{NAME}.json"
CHART = Path(__file__).parent.parent / "docs" / "img" / f"{NAME}.svg"
WARM_UP_S = 60.0
WITHIN = 1.25
FEW = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 48)
MANY = (1, 4, 16, 48, 96, 144, 190, 230)
FREE = SchedulerConfig(bulk_ttft_share=1e9)
CPU = Pace(base=0.025, per_sequence=0.00165, per_context_token=0.0, per_prefill_token=0.00165, jitter=0.1,
           max_sequences=256, kv_tokens=200_000, batch_tokens=256)  # fmt: skip
SLOW = replace(CPU, base=0.040, per_sequence=0.002, per_prefill_token=0.002)
GPU = replace(CPU, base=0.008, per_sequence=2e-5, per_prefill_token=2e-5, batch_tokens=2048)


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    pace: Pace
    think_s: float
    people: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    span: float = 1.0
    """Of the seconds that are asked for."""
    fixed: tuple[int, ...] = FEW
    """Numbers of bulk requests in flight that are tried."""


LONG = {"long_share": 0.1, "long": 600}
SCENES = (
    Scene("CPU, think 20 s", CPU, 20),
    Scene("CPU, think 30 s", CPU, 30),
    Scene("CPU, think 30 s, some long prompts", CPU, 30, LONG),
    Scene("CPU, think 30 s, short bulk answers", CPU, 30, rows={"prompt": 100, "answer": 8}),
    Scene("slow CPU, think 30 s", SLOW, 30),
    Scene("GPU, think 10 s", GPU, 10, span=0.2, fixed=MANY),
    Scene("CPU, think 10 s", CPU, 10),
    Scene("CPU, think 30 s, long bulk answers", CPU, 30, rows={"answer": 400}),
)
DRAWN = 6
"""Of the scenes: two in a row."""


@dataclass(slots=True)
class Seen:
    """Sums over some runs. ``read``: tokens of prompts."""

    seconds: float = 0.0
    chat: float = 0.0
    bulk: float = 0.0
    read: float = 0.0
    limit: float = 0.0
    ttft: list[float] = field(default_factory=list)

    @property
    def p95(self) -> float:
        return quantile(self.ttft, 0.95)

    def add(self, other: Seen) -> None:
        for name in ("seconds", "chat", "bulk", "read", "limit", "ttft"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def played(scene: Scene, seconds: float, seed: int, *, chats: int, bulk: int, fixed: bool) -> Seen:
    hall = Hall(scene.pace, FREE if fixed else SchedulerConfig(), seed)
    People(hall, chats, think_s=scene.think_s, **scene.people).come()
    hall.run(2.0)  # so that the steering is on when bulk comes
    Rows(hall, bulk, **scene.rows).come()
    hall.run(WARM_UP_S)
    since, read, told = hall.now, hall.batch.read, len(hall.limits)
    hall.run(seconds)
    spoken = [a for a in hall.told if a.request.priority is Priority.CHAT and a.began >= since and a.first]
    limits = hall.limits[told:]
    return Seen(
        hall.now - since,
        said(hall, Priority.CHAT, since),
        said(hall, Priority.BULK, since),
        hall.batch.read - read,
        sum(limits) / len(limits) * seconds,
        [asked.ttft for asked in spoken],
    )


def said(hall: Hall, priority: Priority, since: float) -> float:
    """Tokens since then."""

    def after(asked: Asked) -> float:
        begin, end = asked.first or hall.now, asked.ended or hall.now
        return asked.tokens * max(0.0, min(1.0, (end - since) / max(end - begin, 1e-9)))

    return sum(after(asked) for asked in hall.told if asked.request.priority is priority)


def one(job: tuple[Scene, float, int, dict[str, Any]]) -> Seen:
    scene, seconds, seed, how = job
    return played(scene, seconds, seed, **how)


def measured(scene: Scene, options: argparse.Namespace, pool: ProcessPoolExecutor) -> dict[str, Any]:
    ways: dict[str, dict[str, Any]] = {
        "alone": {"chats": 50, "bulk": 0, "fixed": True},
        "bulk": {"chats": 0, "bulk": 300, "fixed": True},
        "steered": {"chats": 50, "bulk": 300, "fixed": False},
        **{str(n): {"chats": 50, "bulk": n, "fixed": True} for n in scene.fixed},
    }
    seeds = range(1, options.seeds + 1)
    seen = {way: Seen() for way in ways}
    jobs = [(way, (scene, options.seconds * scene.span, seed, how)) for way, how in ways.items() for seed in seeds]
    for (way, _), result in zip(jobs, pool.map(one, [job for _, job in jobs]), strict=True):
        seen[way].add(result)
    return told(scene, seen)


def told(scene: Scene, seen: dict[str, Seen]) -> dict[str, Any]:
    alone, bulk = seen["alone"], seen["bulk"]
    rate = bulk.bulk / bulk.seconds
    taken = (alone.chat + alone.read) / alone.seconds
    left = rate * (1 - taken / ((bulk.bulk + bulk.read) / bulk.seconds))

    def point(way: str) -> dict[str, float]:
        it = seen[way]
        return {
            "bulk": float(way) if way.isdigit() else round(it.limit / it.seconds, 1),
            "ratio": round(it.p95 / alone.p95, 3),
            "p95_s": round(it.p95, 4),
            "tokens_s": round(it.bulk / it.seconds, 1),
            "share": round(it.bulk / it.seconds / left, 3),
        }

    fixed = [point(str(n)) for n in scene.fixed]
    best = max((p for p in fixed if p["ratio"] <= WITHIN), key=lambda p: p["tokens_s"], default=None)
    return {
        "scene": scene.name,
        "alone_p95_s": round(alone.p95, 4),
        "bulk_alone_tokens_s": round(rate, 1),
        "less_answers_tokens_s": round(rate - alone.chat / alone.seconds, 1),
        "left_tokens_s": round(left, 1),
        "best": best,
        "steered": point("steered"),
        "fixed": fixed,
    }


def drawn(found: Sequence[dict[str, Any]]) -> str:
    charts = [
        line_chart(
            it["scene"],
            f"alone p95 {it['alone_p95_s']:.2g} s; left for bulk {it['left_tokens_s']:.0f} tokens/s",
            "share of what is left that bulk gets",
            "TTFT p95 over that of chats alone",
            [
                Line("fixed numbers in flight", [(p["share"], p["ratio"]) for p in it["fixed"]]),
                Line("steered", [(it["steered"]["share"], it["steered"]["ratio"])]),
                Line("within", [(0.0, WITHIN), (1.0, WITHIN)]),
            ],
            y_max=3.0,
        )
        for it in found[:DRAWN]
    ]
    placed = [
        f'<svg x="{WIDTH * (n % 2)}" y="{HEIGHT * (n // 2)}" width="{WIDTH}" height="{HEIGHT}">{chart}</svg>'
        for n, chart in enumerate(charts)
    ]
    size = f'width="{2 * WIDTH}" height="{HEIGHT * (DRAWN // 2)}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *placed, "</svg>"]) + "\n"


HEADER = ("scene", "p95 alone s", "left tok/s", "less answers tok/s", "best fixed", "ratio", "share", "steered to",
          "ratio", "share")  # fmt: skip


def report(found: Sequence[dict[str, Any]]) -> None:
    rows = []
    for it in found:
        best, steered = it["best"] or dict.fromkeys(("bulk", "ratio", "share"), "-"), it["steered"]
        head = [it["scene"], it["alone_p95_s"], it["left_tokens_s"], it["less_answers_tokens_s"]]
        rows.append([str(v) for v in (*head, *(p[k] for p in (best, steered) for k in ("bulk", "ratio", "share")))])
    write(NAME, HEADER, rows, stamp() | {"scenes": list(found)}, __doc__ or "")
    CHART.write_text(drawn(found))


def main() -> None:
    options = parsed()
    kept = json.loads(KEPT.read_text())["scenes"] if KEPT.exists() else []
    found = {it["scene"]: it for it in kept}
    with ProcessPoolExecutor(options.processes) as pool:
        for scene in () if options.draw else SCENES:
            if options.only in scene.name:
                found[scene.name] = measured(scene, options, pool)
                report([found[scene.name] for scene in SCENES if scene.name in found])
    if options.draw:
        report([found[scene.name] for scene in SCENES if scene.name in found])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bulk beside chats in simulation.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--only", default="", help="scenes whose name has this in it; the others stay as they were")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before anew")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
