"""A figure as it is printed: value, band, unit, where it comes from, what would narrow it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hubbub.planner.cases import Case
from hubbub.planner.setup import Setup
from hubbub.planner.units import show_bytes, show_count, show_time


class Provenance(StrEnum):
    MEASURED = "measured here"
    FITTED = "fitted from published rows"
    PRINCIPLES = "first principles"
    TABLE = "measured tables"
    STATED = "as you stated it"
    DEFAULT = "the engine's default"


@dataclass(frozen=True, slots=True)
class Figure:
    """``low`` and ``high`` bound 90 % of what a measurement would give. ``unit``: bytes, s, tok/s, tokens, USD, ..."""

    value: float
    low: float
    high: float
    unit: str
    provenance: Provenance
    narrower: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "provenance": self.provenance.value,
            "narrower": self.narrower,
        }

    def scaled(self, factor: float, unit: str) -> Figure:
        return Figure(self.value * factor, self.low * factor, self.high * factor, unit, self.provenance, self.narrower)

    def into(self, amount: Figure, unit: str) -> Figure:
        """``amount`` divided by this rate, the bands of both joined: fast and little, slow and much."""
        value = amount.value / self.value
        low, high = amount.low / amount.value, amount.high / amount.value
        fast, slow = self.value / self.high, self.value / self.low
        return Figure(
            value,
            value * (1 - ((1 - low) ** 2 + (1 - fast) ** 2) ** 0.5),
            value * (1 + ((high - 1) ** 2 + (slow - 1) ** 2) ** 0.5),
            unit,
            self.provenance,
            self.narrower or amount.narrower,
        )

    def parts(self) -> tuple[str, str]:
        """The value, and the band; empty where there is none."""
        exact = self.low == self.high
        band = "" if exact else f"{_written(self.low, self.unit)} to {_written(self.high, self.unit)}"
        return _written(self.value, self.unit), band

    def show(self, *, band: bool = True) -> str:
        text, bounds = self.parts()
        return f"{text} ({bounds})" if band and bounds else text


def _written(value: float, unit: str) -> str:
    if unit == "bytes":
        return show_bytes(value)
    if unit == "s":
        return show_time(value)
    if unit == "USD":
        return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"
    if unit in ("share", "accept rate"):
        return f"{value:.0%}"
    return f"{show_count(value)} {unit}".strip()


def provenance_of(setup: Setup, case: Case) -> tuple[Provenance, str]:
    """Where the speed of a setup comes from, and what would narrow its band."""
    if setup.measured:
        return Provenance.MEASURED, ""
    near = setup.model.nearness(case)
    if near == "far":
        return Provenance.PRINCIPLES, "no row of this engine or card is known: run `hubbub plan calibrate`"
    if near == "engine":
        return Provenance.FITTED, "this engine was not measured on this card: run `hubbub plan calibrate`"
    return Provenance.FITTED, "a run of `hubbub plan calibrate` on this machine"


def banded(setup: Setup, case: Case, value: float, unit: str) -> Figure:
    """A speed or time with the band of held-out errors of its kind."""
    where, narrower = provenance_of(setup, case)
    low, high = setup.model.band(case) if not setup.measured else setup.model.bands.get("measured", (0.93, 1.07))
    return Figure(value, value * low, value * high, unit, where, narrower)


def exact(value: float, unit: str, provenance: Provenance = Provenance.PRINCIPLES) -> Figure:
    return Figure(value, value, value, unit, provenance)
