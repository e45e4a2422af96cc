"""How the demo looks while it runs: drawn from the load's board and the server's vitals, a few times a second."""

from __future__ import annotations

import io
import re
import time
from collections import deque

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hubbub.bench.board import Board, Fate, Phase, Talk
from hubbub.bench.histogram import Durations
from hubbub.bench.report import Result
from hubbub.cli.vitals import Vitals

SNIPPETS = 7
SPARKS = "▁▂▃▄▅▆▇█"
RATE_SECONDS = 1.0
RATES_KEPT = 28
PICTURE_WIDTH = 112
FONT = "Menlo, Consolas, DejaVu Sans Mono"
_FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class DemoView:
    """``tick`` before every drawing: it keeps the series of tokens a second."""

    def __init__(self, board: Board, vitals: Vitals, title: str) -> None:
        self.board = board
        self.vitals = vitals
        self.title = title
        self.rates: deque[float] = deque(maxlen=RATES_KEPT)
        self._mark: tuple[float, float] | None = None
        self._shown: list[Talk] = []

    def tick(self) -> None:
        now, tokens = time.perf_counter(), self.board.tokens()
        if self._mark is None:
            self._mark = now, tokens
        elif now - self._mark[0] >= RATE_SECONDS:
            # Fewer than before: the first answer's end told how long a token is, and the open ones were taken anew.
            self.rates.append(max(0.0, tokens - self._mark[1]) / (now - self._mark[0]))
            self._mark = now, tokens

    @property
    def rate(self) -> float:
        """Tokens a second over the last few seconds."""
        last = list(self.rates)[-5:]
        return sum(last) / len(last) if last else 0.0

    @property
    def settled(self) -> int:
        return self.board.fates.total()

    @property
    def seconds(self) -> float:
        """Since the first question."""
        if self.board.began is None:
            return 0.0
        return (self.board.ended or time.perf_counter()) - self.board.began

    def eta(self) -> float | None:
        """Seconds until the last answer, by the tokens still to come; None while nothing is known."""
        if self.rate <= 0 or self.board.began is None:
            return None
        answered = self.board.fates[Fate.OK]
        size = self.board.output_tokens / answered if answered else self.board.plan.max_tokens
        return max(0.0, size * self.board.total - self.board.tokens()) / self.rate

    def line(self) -> str:
        """One line for a log."""
        phases = self.board.phases()
        return (
            f"{self.seconds:5.0f} s  turns {self.settled}/{self.board.total}  running {phases[Phase.RUNNING]}"
            f"  waiting {phases[Phase.WAITING]}  done {phases[Phase.DONE]}  {self.rate:.0f} tokens/s"
            f"  TTFT p50 {span(self.board.ttft.quantile(0.5))} p95 {span(self.board.ttft.quantile(0.95))}"
            f"  queue {self.vitals.queued}  failed {self.board.fates[Fate.FAILED]}  lost {self.board.fates[Fate.LOST]}"
        )

    def __rich__(self) -> RenderableType:
        return Panel(
            Group(self._progress(), Text(), self._numbers(), Text(), self._answers()),
            title=self.title,
            box=ROUNDED,
            border_style="cyan",
            padding=(1, 2),
        )

    def picture(self) -> str:
        """This view as an SVG that fetches nothing."""
        console = Console(
            width=PICTURE_WIDTH, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
        )
        console.print(self)
        svg = console.export_svg(title="hubbub demo")
        return _FONT_FACES.sub("", svg).replace("Fira Code", FONT)

    def _progress(self) -> RenderableType:
        board, grid = self.board, Table.grid(expand=True, padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        eta = self.eta()
        if board.ended is not None:
            rest = "reading every chat back"
        else:
            rest = f"{self.seconds:.0f} s, about {eta:.0f} s to go" if eta is not None else f"{self.seconds:.0f} s"
        bar = ProgressBar(total=board.total, completed=self.settled, complete_style="cyan", finished_style="green")
        grid.add_row(f"[bold]{self.settled}[/] of {board.total} turns", bar, rest)
        return grid

    def _numbers(self) -> RenderableType:
        board, phases = self.board, self.board.phases()
        talking = phases[Phase.RUNNING]
        failed, lost = board.fates[Fate.FAILED], board.fates[Fate.LOST]
        grid = Table.grid(expand=True, padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, min_width=38)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, ratio=1)
        rows: list[tuple[str, RenderableType, str, RenderableType]] = [
            (
                "chats",
                f"[bold green]{talking}[/] running  {phases[Phase.WAITING]} waiting  {phases[Phase.DONE]} done",
                "tokens/s",
                Text.assemble((f"{self.rate:6.0f} ", "bold"), (sparkline(self.rates), "cyan")),
            ),
            ("first token", quantiles(board.ttft), "between tokens", quantiles(board.itl)),
            (
                "server",
                f"{self.vitals.running} running  {self.vitals.queued} queued  {board.refused} refused",
                "failed, lost",
                Text(f"{failed}, {lost}", style="bold red" if failed or lost else "green"),
            ),
            (
                "memory",
                f"server {size(self.vitals.server.now)}  engine {size(self.vitals.engine.now)}",
                "tokens",
                f"{board.tokens():,.0f}",
            ),
        ]
        for name, value, other, more in rows:
            grid.add_row(Text(name, style="dim"), value, Text(other, style="dim"), more)
        return grid

    def _answers(self) -> RenderableType:
        """A few chats as they are told, the same ones until they have ended."""
        running = [talk for talk in self._shown if talk.phase is Phase.RUNNING]
        for talk in self.board.talks:
            if len(running) >= SNIPPETS:
                break
            if talk.phase is Phase.RUNNING and talk not in running:
                running.append(talk)
        self._shown = running
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(no_wrap=True, ratio=2, overflow="ellipsis", style="cyan")
        grid.add_column(no_wrap=True, ratio=3)
        for talk in running:
            turn = next((turn for turn in talk.turns if turn.fate is None), talk.turns[-1])
            said = " ".join("".join(talk.pieces[-40:]).split())
            grid.add_row(f"{talk.number:>4}", Text(turn.question), Text(said[-56:]))
        for _ in range(SNIPPETS - len(running)):
            grid.add_row("", "", "")
        return grid


def summary(result: Result, server_bytes: int, engine_bytes: int | None) -> Table:
    """The whole run as a table."""
    table = Table(title="What happened", box=ROUNDED, show_header=False, title_justify="left")
    good = "green" if result.sound else "bold red"
    table.add_row("chats, turns each", f"{result.chats}, {result.turns}")
    table.add_row("turns ok, failed, lost", Text(f"{result.ok}, {result.failed}, {result.lost}", style=good))
    table.add_row("output tokens", f"{result.output_tokens:,}")
    table.add_row("tokens/s", f"{result.tokens_per_s:,.1f}")
    for name, durations in (("time to first token", result.ttft), ("between tokens", result.itl)):
        table.add_row(f"{name} p50, p95, p99", ", ".join(span(durations.quantile(q)) for q in (0.5, 0.95, 0.99)))
    table.add_row("prompt tokens (from cache)", f"{result.input_tokens:,} ({result.cached_tokens:,})")
    table.add_row("refused, tried again", str(result.refused))
    table.add_row("peak memory: server, engine", f"{size(server_bytes)}, {size(engine_bytes)}")
    table.add_row("wall time", f"{result.wall_s:.1f} s")
    for code, number in sorted(result.failures.items()):
        table.add_row(Text(f"{number} x {code}", style="red"), Text(result.examples.get(code, "")[:100]))
    return table


def quantiles(durations: Durations) -> str:
    return f"p50 [bold]{span(durations.quantile(0.5))}[/]  p95 [bold]{span(durations.quantile(0.95))}[/]"


def span(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def size(number: int | None) -> str:
    """Bytes for people."""
    if not number:
        return "-"
    return f"{number / 2**30:.2f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def sparkline(values: deque[float]) -> str:
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(SPARKS[min(len(SPARKS) - 1, int(max(0.0, value) / top * len(SPARKS)))] for value in values)
