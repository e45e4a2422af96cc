"""Machines: a table of cards, and a machine as one or more of them.

Rates are dense (no sparsity), memory is what the driver reports as usable. A rate the card lacks falls back to the
one its units run at instead (no FP8 units: weights are widened and multiplied in FP16).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from hubbub.core.errors import BadRequest, NotFound


@dataclass(frozen=True, slots=True)
class Card:
    """One accelerator, or one CPU with its memory. ``bandwidth_gbs`` and ``link_gbs`` in GB/s, rates in TFLOP/s."""

    name: str
    kind: str
    family: str
    memory_gib: float
    bandwidth_gbs: float
    fp16_tflops: float
    fp8_tflops: float | None = None
    int8_tflops: float | None = None
    fp4_tflops: float | None = None
    price_usd: float | None = None
    rent_usd_h: float | None = None
    watts: float | None = None
    link_gbs: float = 0.0
    aliases: tuple[str, ...] = ()
    source: str = ""

    @property
    def cpu(self) -> bool:
        return self.kind == "cpu"

    def tflops(self, math: str) -> float:
        """Dense TFLOP/s when multiplying in ``math`` (fp16, fp8, int8, fp4, fp32)."""
        if math == "fp32":
            return self.fp16_tflops / (2.0 if self.cpu else 4.0)
        best = {"fp8": self.fp8_tflops, "int8": self.int8_tflops, "fp4": self.fp4_tflops or self.fp8_tflops}
        return best.get(math) or self.fp16_tflops


@dataclass(frozen=True, slots=True)
class Machine:
    """``count`` cards of one kind. ``tp`` of them hold one model together; ``replicas`` such groups work side by side.

    ``pipeline`` cards each hold some of the layers (llama.cpp, transformers): memory adds up, speed does not.
    """

    card: Card
    count: int = 1
    tp: int = 1
    pipeline: int = 1
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def replicas(self) -> int:
        return max(1, self.count // (self.tp * self.pipeline))

    @property
    def name(self) -> str:
        return self.card.name if self.count == 1 else f"{self.count}x {self.card.name}"

    @property
    def group_memory_bytes(self) -> float:
        """Memory of one model copy's cards."""
        return self.card.memory_gib * 2**30 * self.tp * self.pipeline


@cache
def cards() -> dict[str, Card]:
    text = resources.files("hubbub.planner").joinpath("data/hardware.json").read_text("utf-8")
    rows = json.loads(text)
    return {row["name"]: Card(**{**row, "aliases": tuple(row["aliases"])}) for row in rows}


def _normal(text: str) -> str:
    text = text.lower().replace("‑", "-").replace("_", " ")
    text = re.sub(r"\b(nvidia|geforce|amd radeon|radeon|tensor core|gpu|apple|tesla)\b", " ", text)
    text = re.sub(r"(?<=[a-z])-(?=\d)|(?<=\d)-(?=[a-z])", " ", text).replace("-", " ")
    return re.sub(r"\s+", " ", text).strip()


def close_to(text: str, known: Mapping[str, str]) -> str:
    """The end of an error about a name that nobody knows: '; did you mean ...?'. ``known``: spelling -> name."""
    found = difflib.get_close_matches(text, known, n=6, cutoff=0.55)
    names = list(dict.fromkeys(known[spelling] for spelling in found))[:3]
    return f"; did you mean {' or '.join(names)}?" if names else ""


@cache
def _alias_table() -> tuple[tuple[str, Card], ...]:
    table = [(_normal(alias), card) for card in cards().values() for alias in (*card.aliases, card.name)]
    return tuple(sorted((row for row in table if row[0]), key=lambda row: -len(row[0])))


def _search(text: str, want_cpu: bool | None) -> Card | None:
    normal = _normal(text)
    for alias, card in _alias_table():
        if want_cpu is not None and card.cpu != want_cpu:
            continue
        if re.search(rf"(?<![a-z0-9]){re.escape(alias)}(?![a-z]{{2}})", normal):
            return card
    return None


def resolve_card(text: str, *, cpu: bool | None = None, option: str = "hardware") -> Card:
    """The card meant by a spelling such as 'RTX 4090 24GB', 'A100-SXM4-40GB', 'Pi 5 (AMD W7700)', 'EPYC 9554 460 GB/s'.

    ``cpu``: whether the model runs on the processor; a GPU in parentheses wins unless it does. A memory size in the
    spelling wins over the table's; a bandwidth in GB/s makes an unknown CPU known. Raises NotFound.
    """
    if text.strip().lower() == "nvidia a100 gpu":
        return cards()["A100-40GB"]  # how the Argonne tables call their 40 GB cards: large batches queue as 40 GB would
    inside = re.findall(r"\(([^)]*)\)", text)
    found: Card | None = None
    if cpu is not True:
        for part in inside:
            found = found or _search(part, False)
        found = found or _search(text, False)
    if found is None and cpu is not False:
        found = _search(text, True)
        stated = re.search(r"([\d.]+)\s*gb/s", text.lower())
        if stated is not None and (found is None or found.name == "CPU" or found.cpu):
            base = found or cards()["CPU"]
            found = replace(base, bandwidth_gbs=float(stated.group(1)))
    if found is None:
        near = close_to(_normal(text), {_normal(name): card.name for name, card in _alias_table()})
        raise NotFound(f"{option}: no card named {text!r}{near} (`hubbub plan cards` lists them)", param=option)
    return _with_memory(found, text)


def _with_memory(card: Card, text: str) -> Card:
    sizes = [float(s) for s in re.findall(r"(\d+(?:\.\d+)?)\s*g(?:i?b)?\b(?!/s)", text.lower())]
    gib = re.search(r"\((\d+\.\d+) gib\)", text.lower())
    if gib:
        return replace(card, memory_gib=float(gib.group(1)))
    if card.kind == "apple" and sizes:
        return replace(card, memory_gib=sizes[0] * 0.75)
    if card.cpu and sizes:
        return replace(card, memory_gib=sizes[0])
    if card.name.startswith("A100") and 40.0 in sizes:
        return cards()["A100-40GB"]
    if card.name.startswith("V100") and 16.0 in sizes:
        return cards()["V100-16GB"]
    return card


def make_machine(
    hardware: str, gpus: int = 1, *, tp: int = 0, layer_split: bool = False, option: str = "hardware"
) -> Machine:
    """A machine from names: '4x RTX 4090' or 'RTX 4090' with ``gpus`` = 4. ``tp`` 0 means all cards hold one copy."""
    count = re.match(r"^\s*(\d+)\s*[x×*]\s*(.+)$", hardware, re.I)
    if count is not None:
        gpus, hardware = int(count.group(1)), count.group(2)
    if gpus < 1:
        raise BadRequest(f"gpus: must be at least 1, got {gpus}", param="gpus")
    card = resolve_card(hardware, option=option)
    if layer_split:
        return Machine(card, gpus, 1, gpus)
    if tp < 0:
        raise BadRequest(f"tp: must be 0 or more, got {tp}", param="tp")
    if tp and gpus % tp:
        raise BadRequest(f"tp: {gpus} cards do not split into groups of {tp}", param="tp")
    return Machine(card, gpus, tp or gpus)
