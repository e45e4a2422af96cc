"""Charts as SVG, readable without the text around them: title, units, a number at every point that matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from hubbub.core.errors import NotFound
from hubbub.planner.units import show_count, show_time

WIDTH, HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 54, 52
_FONT = "DejaVu Sans, Segoe UI, Arial, Helvetica, sans-serif"
COLORS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#0e7490")


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """``low`` and ``high``: ends of the whisker."""

    label: str
    value: float
    low: float
    high: float
    marked: bool = False


def _open(title: str, subtitle: str, height: int = HEIGHT) -> list[str]:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="{_FONT}" font-size="12">'
    )
    return [
        head,
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="16" font-weight="600" fill="#111827">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="40" fill="#6b7280">{escape(subtitle)}</text>',
    ]


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= min((m for m in (1, 2, 5, 10) if span / (step * m) <= count), default=10)
    first = math.ceil(low / step) * step
    return [first + i * step for i in range(int((high - first) / step + 1e-9) + 1)]


def line_chart(
    title: str,
    subtitle: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    *,
    log_x: bool = False,
    y_max: float = 0.0,
) -> str:
    """Lines over a shared axis. Beside the title, each line's label and its last point."""
    xs = [x for line in lines for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in lines for _, y in line.points] or [0.0, 1.0]
    x0, x1 = min(xs), max(xs)
    top = y_max or max(ys) * 1.1 or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        a, b, v = (math.log(max(q, 1e-9)) for q in (x0, x1, x)) if log_x else (x0, x1, x)
        share = (v - a) / (b - a) if b > a else 0.5
        return (
            _LEFT + share * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - min(y / top, 1.0) * (HEIGHT - _TOP - _BOTTOM),
        )

    out = _open(title, subtitle)
    for tick in _ticks(0, top):
        _, y = place(x0, tick)
        out.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{_short(tick)}</text>')
    marks = sorted(set(xs)) if log_x else _ticks(x0, x1, 8)
    taken = -99.0
    for tick in marks:
        x, _ = place(tick, 0)
        if x - taken < 34:
            continue
        taken = x
        out.append(
            f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle" fill="#374151">{_short(tick)}</text>'
        )
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle" fill="#111827">{escape(x_label)}</text>')
    out.append(
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" fill="#111827" '
        f'transform="rotate(-90 16 {HEIGHT / 2})">{escape(y_label)}</text>'
    )
    for i, line in enumerate(lines):
        color = COLORS[i % len(COLORS)]
        spots = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        if len(spots) <= 30:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in spots]
        if spots:
            text = f"{line.label}: {_short(line.points[-1][1])} at {_short(line.points[-1][0])}"
            out.append(
                f'<text x="{WIDTH - _RIGHT}" y="{_TOP - 14 + 16 * i}" text-anchor="end" '
                f'fill="{color}" font-weight="600">{escape(text)}</text>'
            )
    return "\n".join([*out, "</svg>"])


def bar_chart(title: str, subtitle: str, bars: Sequence[Bar], *, time: bool = True) -> str:
    """Horizontal bars on a logarithmic axis, whiskers for the band, the value written beside each. Marked ones stand
    out: they are on the Pareto front."""
    height = _TOP + 30 * max(len(bars), 1) + 40
    out = _open(title, subtitle, height)
    left, right = 210, 150
    positive = [v for b in bars for v in (b.low, b.high, b.value) if v > 0] or [1.0]
    low, high = min(positive) * 0.7, max(positive) * 1.1

    def place(value: float) -> float:
        return left + (math.log(max(value, low)) - math.log(low)) / (math.log(high) - math.log(low)) * (
            WIDTH - left - right
        )

    for i, bar in enumerate(bars):
        y = _TOP + 30 * i
        color = "#2563eb" if bar.marked else "#94a3b8"
        weight = "600" if bar.marked else "400"
        out.append(
            f'<text x="{left - 8}" y="{y + 17}" text-anchor="end" font-weight="{weight}" '
            f'fill="#111827">{escape(bar.label)}</text>'
        )
        out.append(
            f'<rect x="{left}" y="{y + 4}" width="{max(place(bar.value) - left, 1):.1f}" '
            f'height="18" rx="3" fill="{color}"/>'
        )
        a, b = place(bar.low), place(bar.high)
        out.append(f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y + 13}" y2="{y + 13}" stroke="#111827" stroke-width="1.5"/>')
        text = show_time(bar.value) if time else show_count(bar.value)
        out.append(f'<text x="{max(b, place(bar.value)) + 8:.1f}" y="{y + 17}" fill="#111827">{escape(text)}</text>')
    note = "bar: expected; line: 90 % band; blue: no other is both cheaper and faster; log axis"
    out.append(f'<text x="{_LEFT}" y="{height - 12}" fill="#6b7280">{note}</text>')
    return "\n".join([*out, "</svg>"])


def _short(value: float) -> str:
    if value and abs(value) < 1:
        return f"{value:.2g}"
    return show_count(value)


def write_png(svg: str, path: Path) -> None:
    """The chart as PNG. Raises NotFound when no renderer is installed."""
    try:
        import resvg_py
    except ImportError as error:
        raise NotFound(
            "png: PNG needs a renderer: `pip install hubbub[charts]`; SVG is written without", param="png"
        ) from error
    path.write_bytes(
        bytes(resvg_py.svg_to_bytes(svg_string=svg, font_family="DejaVu Sans", sans_serif_family="DejaVu Sans"))
    )
