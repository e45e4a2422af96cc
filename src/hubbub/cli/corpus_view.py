"""What a corpus run shows while it goes: a live view on a terminal, else a JSON line every few seconds."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hubbub.corpus.board import Live

LINE_S = 5.0
_BUCKET = re.compile(r'^hubbub_ttft_seconds_bucket\{(?=[^}]*class="chat")[^}]*le="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


def chat_p95(metrics: str) -> float | None:
    """Seconds to the first token that 95 of 100 chats' answers stayed below, from a Hubbub server's /metrics; None
    where it says nothing of chats."""
    buckets = sorted((float(bound), float(count)) for bound, count in _BUCKET.findall(metrics))
    if not buckets or not buckets[-1][1]:
        return None
    return next(bound for bound, count in buckets if count >= 0.95 * buckets[-1][1])


def bytes_of(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} TB"


def amount_of(number: float, unit: str) -> str:
    return bytes_of(number) if unit == "bytes" else f"{number:,.0f} {unit}"


def span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def eta(live: Live) -> str:
    if live.eta_s is None:
        return "?"
    return f"{span(live.eta_s)} ({span(live.eta_low_s)} to {span(live.eta_high_s)})"


def shares(counts: Mapping[str, int]) -> str:
    """The five most frequent, with how often."""
    most = sorted(counts.items(), key=lambda entry: -entry[1])[:5]
    return ", ".join(f"{name} {count:,}" for name, count in most) or "none"


class View:
    """``told`` takes each new state of the run. ``p95``: of the chats beside it, where a server says so."""

    def __init__(self, title: str, *, json_lines: bool) -> None:
        self.title = title
        self.p95: float | None = None
        self._console = Console()
        self._rich: RichLive | None = None
        self._next = 0.0
        self._state = ""
        if self._console.is_terminal and not json_lines:
            self._rich = RichLive(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def told(self, live: Live) -> None:
        if self._rich is not None:
            self._rich.update(self.picture(live), refresh=True)
        elif time.monotonic() >= self._next or live.state != self._state:
            self._next, self._state = time.monotonic() + LINE_S, live.state
            self.line(live)

    def line(self, live: Live) -> None:
        """One JSON line."""
        facts = msgspec.to_builtins(live)
        if self.p95 is not None:
            facts["chat_ttft_p95_s"] = self.p95
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        sys.stdout.flush()

    def picture(self, live: Live) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        done = f"{amount_of(live.amount, live.unit)} of {amount_of(live.target, live.unit)}"
        rows = [
            ("accepted", f"{done}, {live.records:,} records"),
            ("speed", f"{live.tokens_s:,.0f} tokens/s, {live.records_s:,.1f} records/s, {bytes_of(live.bytes_s)}/s"),
            ("in flight", f"{live.in_flight} of {live.limit}, {live.window} wait for their turn"),
            ("kept", f"{live.accept_rate:.1%} of the texts; rejected: {shares(live.rejected)}"),
            ("near-duplicates", f"{live.near_duplicates:.1%}"),
            ("diversity", ", ".join(f"{k} {v:.3g}" for k, v in live.diversity.items() if v is not None) or "?"),
            ("left", eta(live)),
        ]
        if live.faults:
            rows.append(("faults", shares(live.faults)))
        if self.p95 is not None:
            rows.append(("chats beside", f"first token within {self.p95:g} s for 95 %"))
        for name, text in rows:
            table.add_row(name, text)
        state = Text(f"{self.title}: {live.state}", style="bold cyan")
        return Group(state, ProgressBar(total=max(1, live.target), completed=min(live.amount, live.target)), table)
