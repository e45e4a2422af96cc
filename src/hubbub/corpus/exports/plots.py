"""Bar charts as SVG, for the dataset card."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_ROW, _LEFT, _WIDE = 24, 200, 640
_INK, _BAR, _PAPER = "#1a1a1a", "#2f6f9f", "#ffffff"


def bars(title: str, counts: Sequence[tuple[str, int]]) -> str:
    """One horizontal bar for each (label, count), in their order."""
    height = _ROW * len(counts) + 48
    most = max((count for _, count in counts), default=1) or 1
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDE}" height="{height}" viewBox="0 0 {_WIDE} {height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="{_PAPER}"/>'
        f'<text x="8" y="22" font-size="15" fill="{_INK}">{escape(title)}</text>'
    )
    pieces = [head]
    for place, (label, count) in enumerate(counts):
        top = 36 + place * _ROW
        wide = max(1, round((_WIDE - _LEFT - 90) * count / most))
        shown = label if len(label) <= 26 else label[:25] + "…"
        pieces.append(
            f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end" fill="{_INK}">{escape(shown)}</text>'
            f'<rect x="{_LEFT}" y="{top + 3}" width="{wide}" height="16" fill="{_BAR}"/>'
            f'<text x="{_LEFT + wide + 6}" y="{top + 15}" fill="{_INK}">{count:,}</text>'
        )
    return "".join(pieces) + "</svg>\n"
