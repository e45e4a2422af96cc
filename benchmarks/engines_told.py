"""What ``engines`` has measured: kept in ``results/engines.json`` from run to run, told as a table and a chart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.table import RESULTS, stamp, write
from hubbub.bench.drive import Driven, Turn
from hubbub.bench.histogram import Durations
from hubbub.planner.charts import HEIGHT, WIDTH, Line, line_chart

NAME = "engines"
CHART = Path(__file__).parent.parent / "docs" / "img" / f"{NAME}.svg"
OWN, OURS = "own defaults", "Hubbub's settings"
ORDER = ("OpenVINO GenAI", "llama.cpp, wheel (AVX2)", "llama.cpp, built for this CPU", "vLLM, CPU", "transformers")
"""Of the table; others follow."""
QUANTILES = {"p50": 0.5, "p99": 0.99}


@dataclass(slots=True)
class Point:
    """One engine at one number of chats, all rounds together. ``cut_s``: where it was broken off, 0 for nowhere."""

    rates: list[float] = field(default_factory=list)
    itl: Durations = field(default_factory=Durations)
    turns: list[Turn] = field(default_factory=list)
    cut_s: float = 0.0
    trouble: str = ""

    def add(self, seen: Driven, cut_s: float = 0.0) -> None:
        self.cut_s = cut_s
        self.rates.append(seen.tokens_per_s)
        self.itl.merge(seen.itl)
        for number, turn in enumerate(seen.turns):
            if number == len(self.turns):
                self.turns.append(Turn())
            mine = self.turns[number]
            mine.ttft.merge(turn.ttft)
            mine.wanted += turn.wanted
            mine.input_tokens += turn.input_tokens
            mine.cached_tokens += turn.cached_tokens

    def second_turn(self) -> dict[str, float | None]:
        """Cached tokens of all of the second turn's input, and its median TTFT over the first's; empty without one."""
        if len(self.turns) < 2 or not self.turns[1].input_tokens:
            return {}
        first, second = (quantiles(turn)["p50"] for turn in self.turns[:2])
        cached = self.turns[1].cached_tokens / self.turns[1].input_tokens
        return {"cached": round(cached, 3), "ttft_ratio": round(second / first, 3) if first and second else None}

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"rounds": len(self.rates), "cut_s": round(self.cut_s, 1), "trouble": self.trouble}
        if self.rates:
            told |= {
                "tokens_per_s": round(statistics.median(self.rates), 2),
                "rates": [round(rate, 2) for rate in self.rates],
                "ttft_s": quantiles(self.turns[0]) if self.turns else {},
                "itl_s": {name: self.itl.quantile(share) for name, share in QUANTILES.items()},
                "second_turn": self.second_turn(),
            }
        return told


def quantiles(turn: Turn) -> dict[str, float | None]:
    """Of the time to the first token over all who wanted one; None where that many had none when it was broken off."""
    most = turn.ttft.count / turn.wanted if turn.wanted else 0.0
    return {name: turn.ttft.quantile(share / most) if share <= most else None for name, share in QUANTILES.items()}


def merged(entries: Sequence[dict[str, Any]], asked: Sequence[int]) -> None:
    """In place of what was measured of the same engines before, but for other numbers of chats than ``asked``. What
    another machine measured is dropped."""
    said = {(entry["engine"], entry["settings"]): entry for entry in entries}
    before = [entry for entry in read() if entry.get("machine", {}).get("cpu") == stamp()["machine"]["cpu"]]
    kept = [entry for entry in before if (entry["engine"], entry["settings"]) not in said]
    for entry in before:
        if now := said.get((entry["engine"], entry["settings"])):
            points = {int(n): point for n, point in entry["chats"].items() if int(n) not in asked}
            points |= {int(n): point for n, point in now["chats"].items()}
            now["chats"] = {str(n): points[n] for n in sorted(points)}
    together = sorted([*kept, *entries], key=lambda entry: (place(entry["engine"]), entry["settings"] == OURS))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{NAME}.json").write_text(json.dumps(stamp() | {"engines": together}, indent=1) + "\n")


def read() -> list[dict[str, Any]]:
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["engines"] if path.is_file() else []


def place(engine: str) -> tuple[int, str]:
    return (ORDER.index(engine) if engine in ORDER else len(ORDER), engine)


HEADER = ("engine", "settings", "chats", "tokens/s", "TTFT p50 s", "TTFT p99 s", "ITL p50 ms", "ITL p99 ms", "rounds")
HEADER_2 = ("memory MB", "start s", "second turn: cached", "second turn: TTFT")


def draw(note: str) -> None:
    """Table and chart of all there is. ``note``: how it was measured."""
    entries = read()
    dates = sorted({entry["at"][:10] for entry in entries})
    loads = [load for entry in entries for load in (entry["load_before"], entry["load_after"])]
    more = (
        f"\n\nMeasured {' to '.join(sorted({dates[0], dates[-1]}))}, engine by engine; the machine's load was at most "
    )
    more += f"{max(loads):.1f} when a pair was begun or ended (a measurement itself makes it about 2)."
    if any(entry["eager"] for entry in entries if entry["engine"].startswith("vLLM")):
        more += " vLLM ran without compiling (--eager)."
    rows = [row for entry in entries for row in table(entry)]
    told = stamp() | {"engines": entries}
    write(NAME, (*HEADER, *HEADER_2), rows, told, note.partition("usage:")[0].strip() + more)
    CHART.parent.mkdir(exist_ok=True)
    CHART.write_text(chart(entries, told["machine"]["cores"]))
    print(f"written to {CHART}")


def chart(entries: Sequence[Mapping[str, Any]], cores: int) -> str:
    """With Hubbub's settings above, with each engine's own below, over the same scale."""
    by_settings = {
        settings: [line for entry in entries if entry["settings"] == settings and (line := line_of(entry)).points]
        for settings in (OURS, OWN)
    }
    most = max((y for lines in by_settings.values() for line in lines for _, y in line.points), default=1.0)
    placed = []
    for number, (settings, lines) in enumerate(by_settings.items()):
        drawn = line_chart(
            f"The same model on each engine, with {settings if settings == OURS else 'its own defaults'}",
            f"SmolLM2-135M, {cores} cores, short answers",
            "chats at once",
            "tokens/s, all chats together",
            lines,
            log_x=True,
            y_max=1.6 * most,  # the labels stand on top
        )
        placed.append(f'<svg y="{HEIGHT * number}" width="{WIDTH}" height="{HEIGHT}">{drawn}</svg>')
    size = f'viewBox="0 0 {WIDTH} {2 * HEIGHT}" width="{WIDTH}" height="{2 * HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *placed, "</svg>"]) + "\n"


def line_of(entry: Mapping[str, Any]) -> Line:
    points = [(float(n), point["tokens_per_s"]) for n, point in counted(entry) if point["rounds"]]
    return Line(entry["engine"], points)


def counted(entry: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    return sorted((int(chats), point) for chats, point in entry["chats"].items())


def table(entry: Mapping[str, Any]) -> list[list[str]]:
    names, whole = [entry["engine"], entry["settings"]], [f"{entry['rss_bytes'] / 1e6:,.0f}", f"{entry['start_s']:.1f}"]
    points = counted(entry)
    if not points:
        return [[*names, entry["trouble"] or "no time", *[""] * 10]]
    return [
        [*(names if n == 0 else ["", ""]), str(chats), *row(point), *(whole if n == 0 else ["", ""]), *second(point)]
        for n, (chats, point) in enumerate(points)
    ]


def row(point: Mapping[str, Any]) -> list[str]:
    if not point["rounds"]:
        return [point["trouble"] or "no time", *[""] * 5]
    cut = point["cut_s"]
    ttft = [point["ttft_s"].get(name) for name in QUANTILES]
    itl = [point["itl_s"].get(name) for name in QUANTILES]
    return [
        f"{point['tokens_per_s']:,.1f}{' *' if cut else ''}",
        *(f"> {cut:.0f}" if value is None else f"{value:.2f}" for value in ttft),
        *("" if value is None else f"{value * 1e3:.0f}" for value in itl),
        str(point["rounds"]) + (f" ({point['trouble']})" if point["trouble"] else ""),
    ]


def second(point: Mapping[str, Any]) -> list[str]:
    found = point.get("second_turn")
    if not found:
        return ["", ""]
    ratio = found["ttft_ratio"]
    return [f"{found['cached']:.0%}", "" if ratio is None else f"{ratio:.2f} x the first"]
