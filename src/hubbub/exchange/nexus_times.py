"""Times in notes of the Nexus importer: by the clock on the wall of whoever imported, in their language's form.

Moment.js writes ``L`` and ``LTS`` (up to 1.2: ``LT``) joined by `` at ``, or one of five fixed forms. No zone is told,
and ``03/04/2025`` may be March or April. From 1.3 on the frontmatter has the time of creation in UTC as well, and its
difference to the one in the body tells both the zone and the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_STAMP = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})\.?( at |T|,? )(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\.\d+)?"
    r"(?:\s?([ap])\.?m\.?)?(Z)?\s*",
    re.IGNORECASE,
)
_ORDERS = {"YMD": (0, 1, 2), "DMY": (2, 1, 0), "MDY": (2, 0, 1)}
"""Where year, month and day stand."""
FARTHEST_S = 14 * 3600 + 60
QUARTER_S, SLACK_S = 900, 60
"""Zones are apart by quarters of an hour; times are written to the minute, or to the second."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time as it is written. ``hour`` is of 24."""

    numbers: tuple[int, int, int]
    clock: tuple[int, int, int]
    widths: tuple[int, int, int, int]
    """Digits of the three numbers and of the hour."""
    mark: str
    joint: str
    twelve: bool
    seconds: bool
    utc: bool

    def wall(self, order: str) -> float | None:
        """Unix seconds, as if the wall were in Greenwich; None for what is no date in this order."""
        year, month, day = (self.numbers[place] for place in _ORDERS[order])
        try:
            return datetime(year, month, day, *self.clock, tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            return None


def stamp(text: str) -> Stamp | None:
    found = _STAMP.fullmatch(text.strip())
    if found is None:
        return None
    first, mark, second, third, joint, hour, minute, second_s, half, utc = found.groups()
    read = int(hour)
    if half:
        read = read % 12 + (12 if half in "pP" else 0)
    return Stamp(
        (int(first), int(second), int(third)),
        (read, int(minute), int(second_s or 0)),
        (len(first), len(second), len(third), len(hour)),
        mark,
        joint,
        bool(half),
        second_s is not None,
        bool(utc),
    )


def iso(text: str) -> float | None:
    """A time of the frontmatter in UTC; None for one that does not say so."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo else None


@dataclass(frozen=True, slots=True)
class Clock:
    """How a note tells time. ``offset``: seconds its wall is ahead of UTC. ``sure``: whether it says so itself."""

    orders: tuple[tuple[str, str], ...]
    offset: float
    sure: bool

    def order(self, written: Stamp) -> str:
        return dict(self.orders).get(written.mark, "DMY")

    def read(self, text: str) -> float | None:
        """Unix seconds."""
        written = stamp(text)
        if written is None:
            return iso(text.strip())
        wall = written.wall("YMD" if written.numbers[0] > 31 else self.order(written))
        return None if wall is None else wall - (0.0 if written.utc else self.offset)

    def write(self, at: float, like: str) -> str:
        """``at`` in the form of ``like``; in the plugin's universal form where that is none."""
        form = stamp(like) or _UNIVERSAL
        order = "YMD" if form.numbers[0] > 31 else self.order(form)
        wall = datetime.fromtimestamp(at + (0.0 if form.utc else self.offset), UTC)
        numbers = [0, 0, 0]
        for place, value in zip(_ORDERS[order], (wall.year, wall.month, wall.day), strict=True):
            numbers[place] = value
        # A number that was written with one digit stands for those without a leading zero.
        bare = 1 in form.widths[:3]
        date = form.mark.join(f"{number:0{1 if bare else 2}d}" for number in numbers)
        hour = (wall.hour % 12 or 12) if form.twelve else wall.hour
        clock = f"{hour:0{1 if form.twelve or form.widths[3] == 1 else 2}d}:{wall.minute:02d}"
        clock += f":{wall.second:02d}" if form.seconds else ""
        half = (" PM" if wall.hour >= 12 else " AM") if form.twelve else ""
        return f"{date}{form.joint}{clock}{half}{'Z' if form.utc else ''}"


_UNIVERSAL = Stamp((2000, 1, 1), (0, 0, 0), (4, 2, 2, 2), "-", " ", twelve=False, seconds=True, utc=False)
UTC_CLOCK = Clock((("-", "YMD"),), 0.0, sure=True)


def clock_of(created: tuple[str, str], others: Iterable[str]) -> Clock:
    """``created``: the time of creation in the frontmatter and in the body. ``others``: every other time there is."""
    known = iso(created[0])
    written = [found for text in (created[1], *others) if (found := stamp(text)) is not None and not found.utc]
    orders = {mark: _likely([s for s in written if s.mark == mark]) for mark in {s.mark for s in written}}
    body = stamp(created[1])
    if known is not None and body is not None:
        for order in ("YMD",) if body.numbers[0] > 31 else ("DMY", "MDY", "YMD"):
            wall = body.wall(order)
            if wall is not None and (offset := _zone(wall - known)) is not None:
                return Clock(tuple({**orders, body.mark: order}.items()), offset, sure=True)
    return Clock(tuple(orders.items()), 0.0, sure=False)


def _zone(difference: float) -> float | None:
    """The zone that a difference comes to; None where it is no zone's."""
    nearest = round(difference / QUARTER_S) * QUARTER_S
    good = abs(difference) <= FARTHEST_S and abs(difference - nearest) <= SLACK_S
    return float(nearest) if good else None


def _likely(written: list[Stamp]) -> str:
    """The order of dates with one mark, from those that leave no choice, else from what usually goes with the form."""
    if any(s.numbers[0] > 31 for s in written):
        return "YMD"
    if any(s.numbers[0] > 12 for s in written):
        return "DMY"
    if any(s.numbers[1] > 12 for s in written):
        return "MDY"
    if written[0].mark == ".":
        return "DMY"
    return "MDY" if any(s.twelve for s in written) else "DMY"
