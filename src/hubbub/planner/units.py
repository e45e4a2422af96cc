"""What people write for sizes and counts, and how sizes are written back. GB is 10^9 bytes, GiB is 2^30."""

from __future__ import annotations

import math
import re

from hubbub.core.errors import BadRequest

GB = 1e9
GIB = float(2**30)

_SIZE_UNITS = {
    "": 1.0,
    "b": 1.0,
    "k": 1e3,
    "kb": 1e3,
    "m": 1e6,
    "mb": 1e6,
    "g": 1e9,
    "gb": 1e9,
    "t": 1e12,
    "tb": 1e12,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "tib": 2.0**40,
    "ki": 2.0**10,
    "mi": 2.0**20,
    "gi": 2.0**30,
    "ti": 2.0**40,
    # Russian, as the user writes it
    "б": 1.0,
    "кб": 1e3,
    "мб": 1e6,
    "гб": 1e9,
    "тб": 1e12,
}
_COUNT_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_NUMBER = re.compile(r"^\s*([-+]?\d[\d_]*(?:[.,]\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+)\s*([^\W\d_]*)\s*$")


def _split(text: str, option: str, example: str) -> tuple[float, str]:
    match = _NUMBER.match(text)
    if match is None:
        raise BadRequest(f"{option}: cannot read {text!r}; write for example {example}", param=option)
    return float(match.group(1).replace("_", "").replace(",", ".")), match.group(2).lower()


def parse_bytes(text: str | float, option: str = "bytes") -> int:
    """Bytes of '1GB' (10^9), '1GiB' (2^30), '1.5e9', '500 MB', 1e9. Raises BadRequest naming ``option``."""
    if isinstance(text, (int, float)):
        value, unit = float(text), ""
    else:
        value, unit = _split(text, option, "1GB, 1GiB or 1e9")
    if unit not in _SIZE_UNITS:
        raise BadRequest(f"{option}: unknown unit {unit!r}; use B, KB, MB, GB, TB or KiB, MiB, GiB, TiB", param=option)
    size = value * _SIZE_UNITS[unit]
    if not math.isfinite(size) or size <= 0:
        raise BadRequest(f"{option}: must be more than 0 bytes, got {text}", param=option)
    if size < 1:
        raise BadRequest(f"{option}: {text} is less than one byte", param=option)
    return round(size)


def parse_count(text: str | float, option: str, *, least: int = 1, most: int = 1_000_000_000) -> int:
    """A whole number such as '200', '8k' or 2e3, from ``least`` to ``most``. Raises BadRequest naming ``option``."""
    if isinstance(text, (int, float)):
        value, unit = float(text), ""
    else:
        value, unit = _split(text, option, "200")
    if unit not in _COUNT_UNITS:
        raise BadRequest(f"{option}: unknown unit {unit!r} in {text!r}; write a plain number such as 200", param=option)
    value *= _COUNT_UNITS[unit]
    if not math.isfinite(value) or value != int(value):
        raise BadRequest(f"{option}: must be a whole number, got {text}", param=option)
    if not least <= value <= most:
        raise BadRequest(f"{option}: must be between {least:,} and {most:,}, got {text}", param=option)
    return int(value)


def parse_positive(value: float, option: str, *, zero: bool = False) -> float:
    """A finite number above 0 (or from 0 on, with ``zero``). Raises BadRequest naming ``option``."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        bound = "0 or more" if zero else "more than 0"
        raise BadRequest(f"{option}: must be {bound}, got {value:g}", param=option)
    return float(value)


def show_bytes(size: float) -> str:
    """Memory, in binary units: '43.8 GiB'."""
    sign = "-" if size < 0 else ""
    size = abs(size)
    for unit, scale in (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if size >= scale:
            return f"{sign}{size / scale:.3g} {unit}" if size < 1000 * scale else f"{sign}{size / scale:.0f} {unit}"
    return f"{sign}{size:.0f} B"


def show_time(seconds: float) -> str:
    """A duration a person can compare: '740 ms', '3.7 h', '2.2 days', '3.2 years'."""
    if not math.isfinite(seconds):
        return "never"
    for unit, scale, limit in (
        ("years", 365.25 * 86400, 365.25 * 86400),
        ("days", 86400.0, 2 * 86400.0),
        ("h", 3600.0, 2 * 3600.0),
        ("min", 60.0, 120.0),
        ("s", 1.0, 1.0),
    ):
        if seconds >= limit:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def show_count(value: float) -> str:
    """'212 M', '1.05 M', '840 k', '37'."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= scale:
            return f"{value / (1e3 if unit == 'k' else scale):.3g} {unit}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
