"""Fitted coefficients: how they are looked up for a case, and how sure they are.

A coefficient is its prior, stretched by one effect for each group the case belongs to: engine, engine and
version, card, family of cards, engine on card, quantization, and so on down to engine with model. A group the fit
has not seen adds nothing, so that an unknown card falls back to its family and an unknown engine to the prior.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from hubbub.planner.cases import MEMORY, Case
from hubbub.planner.residuals import Residuals
from hubbub.planner.residuals import bundled as bundled_rows
from hubbub.planner.step_time import COEFFICIENTS, FLOORS, Floats, coefficient, prior

# Which coefficients an effect of each kind of group may move, and its prior standard deviation in logarithms.
_PHYSICAL = ("weights", "kv", "compute", "prefill")
_OVERHEAD = ("layer_us", "step_ms")
_SEQUENCE = ("seq_us",)
_REQUEST = ("request_ms", "serial_ms", "tail")
_LINK = ("comm", "hop_us")
_WAIT = ("ramp", "stall")
_DOOR = ("door_ms",)
KINDS: dict[str, dict[tuple[str, ...], float]] = {
    "all": {_PHYSICAL: 0.3, _OVERHEAD: 1.0, _SEQUENCE: 0.5, _REQUEST: 0.35, _LINK: 0.7, _WAIT: 0.3, _DOOR: 0.5},
    "engine": {_WAIT: 0.2, ("gap",): 0.2, _PHYSICAL: 0.35, _OVERHEAD: 0.9, _SEQUENCE: 0.5, _REQUEST: 0.6, _LINK: 0.5},
    "version": {_PHYSICAL: 0.25, _OVERHEAD: 0.6, _SEQUENCE: 0.3, _REQUEST: 0.4, _WAIT: 0.1, _DOOR: 1.0},
    "cards": {_PHYSICAL: 0.3, _OVERHEAD: 0.3, _LINK: 0.4},
    "card": {_PHYSICAL: 0.2, _OVERHEAD: 0.2, _LINK: 0.4},
    "engine_cards": {_PHYSICAL: 0.2, _OVERHEAD: 0.3},
    "engine_card": {_PHYSICAL: 0.25, _OVERHEAD: 0.4, _SEQUENCE: 0.2, _REQUEST: 0.2, _LINK: 0.5},
    "version_card": {_PHYSICAL: 0.2, _OVERHEAD: 0.3, _SEQUENCE: 0.2, _REQUEST: 0.2},
    "quant": {_PHYSICAL: 0.2, _OVERHEAD: 0.2},
    "quant_engine": {_PHYSICAL: 0.12, _OVERHEAD: 0.4},
    "quant_version": {_PHYSICAL: 0.3, _OVERHEAD: 0.6},
    "quant_cards": {_PHYSICAL: 0.12},
    "quant_version_card": {_PHYSICAL: 0.2, _OVERHEAD: 0.4},
    "moe": {("weights", "compute", "prefill"): 0.3, _OVERHEAD: 0.4},
    "moe_engine": {("weights", "compute", "prefill"): 0.3, _OVERHEAD: 0.8},
    "moe_version_card": {("weights", "compute", "prefill"): 0.25, _OVERHEAD: 0.3},
    "kv8": {("kv",): 0.3},
    "kv8_card": {("kv",): 0.8},
    "gqa": {("kv",): 0.3},
    "gqa_engine": {("kv",): 0.3},
    "mode": {("prefill",): 0.15, ("request_ms", "serial_ms"): 0.2},
    "mode_engine": {("prefill",): 0.15, ("request_ms", "serial_ms"): 0.2, _WAIT: 0.2},
    "tp_engine": {("comm", "hop_us"): 0.3, ("scale",): 0.1},
    "tp_card": {("comm", "hop_us"): 0.3, ("scale",): 0.1},
    "model": {("scale",): 0.06},
    "model_engine": {("scale",): 0.06},
    "model_card": {("scale",): 0.06},
    "model_version_quant": {("scale",): 0.05},
    "family": {("scale",): 0.05},
    "eager": {_OVERHEAD: 0.5},
    "long": {_OVERHEAD: 0.8},
    "long_card": {_OVERHEAD: 0.4},
    "speculative": {("accept",): 0.3, _OVERHEAD: 0.4},
    "speculative_engine": {("accept",): 0.3, _OVERHEAD: 0.3},
    "origin": {("scale",): 0.15, _OVERHEAD: 0.3, ("prefill",): 0.15, _WAIT: 0.3, _DOOR: 1.0},
    "origin_card": {("scale",): 0.12},
    "pipeline": {_PHYSICAL: 0.15},
}


KIN = {"openvino": "llamacpp"}
"""Engines without a published row and the family whose effects they start from, own calibrations aside: Hubbub's
embedded engine reads the same files with the same CPUs as llama.cpp."""
_OWN = ("model_version_quant",)


def related(case: Case, known: frozenset[str] | set[str]) -> dict[str, str]:
    """The groups of a case; those of its kin where no row of its own engine is known."""
    kin = KIN.get(case.engine.family)
    if kin is None or case.engine.family in known:
        return groups(case)
    borrowed = groups(replace(case, engine=replace(case.engine, family=kin)))
    return borrowed | {kind: name for kind, name in groups(case).items() if kind in _OWN}


def _beyond_graphs(case: Case) -> bool:
    old = case.engine.family == "vllm" and case.engine.version in ("v0.4", "v0.6")
    return old and case.work.tokens_in + case.work.tokens_out > 8192


def groups(case: Case) -> dict[str, str]:
    """The groups of a case by kind."""
    engine, card, quant = case.engine, case.machine.card, case.quant
    # what an engine makes of tensor cores says nothing of what it makes of a processor
    name = f"{engine.family} on CPU" if card.cpu else engine.family
    version = f"{name} {engine.version}"
    moe = "moe" if case.shape.moe else ""
    ratio = case.shape.heads // max(case.shape.kv_heads, 1)
    gqa = "mha" if ratio == 1 else "mqa" if case.shape.kv_heads == 1 else "gqa"
    tp = f"tp{case.machine.tp}"
    family = case.shape.name.split("-")[0]
    found = {
        "all": "all",
        "engine": name,
        "version": version,
        "cards": card.family,
        "card": card.name,
        "engine_cards": f"{name}|{card.family}",
        "engine_card": f"{name}|{card.name}",
        "version_card": f"{version}|{card.name}",
        "quant": quant.family,
        "quant_engine": f"{quant.family}|{name}",
        "quant_version": f"{quant.family}|{version}",
        "quant_cards": f"{quant.family}|{card.family}",
        "quant_version_card": f"{quant.family}|{version}|{card.name}",
        "moe": moe,
        "moe_engine": moe and f"{moe}|{name}",
        "moe_version_card": moe and f"{moe}|{version}|{card.name}",
        "kv8": f"kv8|{version}" if quant.kv_bytes < 2 else "",
        "kv8_card": f"kv8|{version}|{card.name}" if quant.kv_bytes < 2 else "",
        "gqa": gqa,
        "gqa_engine": f"{gqa}|{name}",
        "mode": case.work.mode,
        "mode_engine": f"{case.work.mode}|{name}",
        "tp_engine": f"{tp}|{name}" if case.machine.tp > 1 else "",
        "tp_card": f"{tp}|{card.name}" if case.machine.tp > 1 else "",
        "model": case.shape.name,
        "model_engine": f"{case.shape.name}|{name}",
        "model_card": f"{case.shape.name}|{card.name}",
        "model_version_quant": f"{case.shape.name}|{version}|{quant.family}",
        "family": family,
        "eager": "eager" if case.eager else "",
        # until V1, vLLM ran contexts beyond 8192 tokens without CUDA graphs (max_seq_len_to_capture)
        "long": version if _beyond_graphs(case) else "",
        "long_card": f"{version}|{card.name}" if _beyond_graphs(case) else "",
        "speculative": "speculative" if case.drafts else "",
        "speculative_engine": f"speculative|{name}" if case.drafts else "",
        # how one source measures (its clients, warm-up, flags unnamed): known only where a row names its source
        "origin": case.origin and f"{case.origin}|{name}",
        "origin_card": case.origin and f"{case.origin}|{name}|{card.name}",
        "pipeline": f"pipeline|{name}" if case.machine.pipeline > 1 else "",
    }
    return {kind: name for kind, name in found.items() if name}


@dataclass(frozen=True, slots=True)
class Machined:
    """What was measured on this machine: factors by coefficient, for one engine on one card."""

    card: str
    engine: str
    factors: Mapping[str, float]

    def moved(self, cases: Sequence[Case], values: Mapping[str, Floats]) -> dict[str, Floats]:
        """``values`` with the factors on cases of that card and engine. A machine's bandwidth or rate may itself be
        measured wrong, so that their floors are lower here."""
        own = (self.card, self.engine)
        here = np.array([(c.machine.card.name, c.engine.family) == own for c in cases], dtype=bool)
        out = dict(values)
        for name, factor in self.factors.items():
            scaled = np.maximum(values[name] * factor, 0.3 * FLOORS.get(name, 0.0))
            out[name] = np.where(here, scaled, values[name])
        return out


@dataclass(frozen=True, slots=True)
class Coefficients:
    """``effects``: coefficient, kind and group -> effect on the logarithm. ``bands``: class -> half widths.

    ``known``: the groups of kinds engine, engine_card and card the fit has seen, to say how far a case is from data.
    """

    effects: dict[str, dict[str, dict[str, float]]]
    bands: dict[str, tuple[float, float]]
    known: dict[str, frozenset[str]]
    report: dict[str, Any]
    rows: Residuals | None = None
    """What the coefficients leave of the published rows; None: no correction by neighbours."""
    machined: Machined | None = None
    """This machine's own factors, where it was calibrated."""

    def correction(self, cases: Sequence[Case]) -> Floats:
        """Factor on each case's predicted figure, from its nearest measured rows."""
        if self.rows is None:
            return np.ones(len(cases))
        found: Floats = np.exp(-self.rows.at(cases, [alike(case.metric) for case in cases]))
        return found

    def values(self, cases: Iterable[Case]) -> dict[str, Floats]:
        """Each coefficient as an array of one value a case."""
        cases = list(cases)
        memberships = [related(case, self.known["engine"]) for case in cases]
        out: dict[str, Floats] = {}
        for name in COEFFICIENTS:
            table = self.effects.get(name, {})
            logs = [
                sum(table[kind].get(group, 0.0) for kind, group in member.items() if kind in table)
                for member in memberships
            ]
            start = np.array([prior(name, case) for case in cases])
            out[name] = coefficient(name, start, np.array(logs, dtype=float))
        return out if self.machined is None else self.machined.moved(cases, out)

    def nearness(self, case: Case) -> str:
        """How near the case is to the data: 'model', 'card' (engine on card), 'engine' or 'far'."""
        member = groups(case)
        if member["model_card"] in self.known["model_card"] and member["engine_card"] in self.known["engine_card"]:
            return "model"
        if member["engine_card"] in self.known["engine_card"]:
            return "card"
        if member["engine"] in self.known["engine"] or member["card"] in self.known["card"]:
            return "engine"
        return "far"

    def band(self, case: Case) -> tuple[float, float]:
        """Factors below and above the prediction that hold 90 % of measurements, from residuals of held-out rows."""
        return look_up(self.bands, case, self.nearness(case))


def look_up(bands: dict[str, tuple[float, float]], case: Case, near: str) -> tuple[float, float]:
    """The band of the narrowest class that has one."""
    kind = metric_class(case.metric)
    for key in (f"{kind}|{case.work.mode}|{near}", f"{kind}|{near}", near, "all"):
        if key in bands:
            return bands[key]
    return 0.5, 2.0


def metric_class(metric: str) -> str:
    if metric in MEMORY:
        return "memory"
    if metric.startswith("ttft"):
        return "ttft"
    if metric.startswith(("tpot", "itl", "e2e", "latency")):
        return "latency"
    if metric.startswith("prefill"):
        return "prefill"
    return "throughput"


def alike(metric: str) -> str:
    """The kind of metric whose rows can be neighbours: a piece is not a token where an engine sends several at once."""
    return "itl" if metric.startswith("itl") else metric_class(metric)


@cache
def bundled() -> Coefficients:
    """The coefficients shipped with the package, and the rows that correct them."""
    text = resources.files("hubbub.planner").joinpath("data/coefficients.json").read_text("utf-8")
    return replace(from_json(json.loads(text)), rows=bundled_rows())


def from_json(data: dict[str, Any]) -> Coefficients:
    return Coefficients(
        effects=data["effects"],
        bands={key: (low, high) for key, (low, high) in data["bands"].items()},
        known={key: frozenset(values) for key, values in data["known"].items()},
        report=data.get("report", {}),
    )
