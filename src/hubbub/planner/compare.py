"""``plan compare``: machines, models and engines side by side for one job, the ones worth a look marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.planner.chats import Targets, simulate
from hubbub.planner.corpus import Job, corpus_report
from hubbub.planner.memory import chats_that_fit
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.simulate import Chats

DEFAULT_MACHINES = (
    "RTX 3060",
    "RTX 3090",
    "RTX 4090",
    "RTX 5090",
    "RTX PRO 6000",
    "L40S",
    "A100 80GB",
    "H100",
    "H200",
    "M2 Ultra",
)
DEFAULT_MODELS = ("Qwen2.5-7B", "Qwen3-8B", "Qwen3-14B")
FEW_CHATS = 4
"""A machine with room for fewer beside the weights as they are published is compared with weights of 4 bits."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to compare for: a corpus, live chats, or both."""

    job: Job | None = None
    chats: Chats | None = None
    targets: Targets = field(default_factory=Targets)


def compare(
    ask: Ask,
    machines: Sequence[str] = DEFAULT_MACHINES,
    models: Sequence[str] = DEFAULT_MODELS,
    *,
    engines: Sequence[str] = ("",),
    quants: Sequence[str] = ("",),
) -> dict[str, Any]:
    """A row for every combination, those that do not fit with the reason; ``pareto`` marks rows that no other beats in
    cost and time (or cost and chat delay) at the same model. Raises BadRequest for an empty list."""
    for name, values in (("machines", machines), ("models", models)):
        if not values:
            raise BadRequest(f"{name}: name at least one", param=name)
    rows: list[dict[str, Any]] = []
    for model, machine, engine, quant in product(models, machines, engines, quants):
        try:
            setup = _setup(model, machine, engine, quant, ask)
            rows.append(_row(setup, ask))
        except HubbubError as error:
            rows.append({"model": model, "machine": machine, "engine": engine, "fits": False, "why": error.message})
    _mark(rows)
    rows.sort(key=lambda row: (row["model"], not row["fits"], row.get("order", 0.0)))
    return {"rows": rows, "for": _described(ask)}


def _setup(model: str, machine: str, engine: str, quant: str, ask: Ask) -> Setup:
    setup = make_setup(model, machine, engine=engine, quant=quant)
    if quant or (setup.memory.fits and _resident(setup, ask) >= FEW_CHATS):
        return setup
    fewer = "Q4_K_M" if setup.engine.family in ("llamacpp", "openvino") else "AWQ"
    return make_setup(model, machine, engine=engine, quant=fewer)


def _described(ask: Ask) -> dict[str, Any]:
    return {
        "bytes": ask.job.size if ask.job else None,
        "lang": ask.job.lang if ask.job else None,
        "chats": ask.chats.count if ask.chats else None,
    }


def _resident(setup: Setup, ask: Ask) -> int:
    return chats_that_fit(setup.memory, setup.shape, setup.quant, ask.chats.context if ask.chats else 4096)


def _row(setup: Setup, ask: Ask) -> dict[str, Any]:
    card = setup.machine.card
    row: dict[str, Any] = {
        "model": setup.shape.name,
        "machine": setup.machine.name,
        "engine": setup.engine.family,
        "quant": setup.quant.name,
        "fits": True,
        "price_usd": (card.price_usd or 0.0) * setup.machine.count,
        "chats_resident": _resident(setup, ask),
    }
    if ask.job is not None:
        report = corpus_report(setup, ask.job)
        cost = report.get("rent") or report["own"]
        row |= {"speed": report["speed"], "time": report["time"], "cost": cost, "own": report["own"]}
        row["order"] = report["time"]["value"]
    if ask.chats is not None:
        outcome = simulate(setup, ask.chats, requests=max(400, 2 * ask.chats.count))
        ordered = sorted(outcome.ttft)
        itl = sorted(outcome.itl)
        row["ttft_p95_s"] = ordered[int(0.95 * (len(ordered) - 1))] if ordered else None
        row["itl_p95_s"] = itl[int(0.95 * (len(itl) - 1))] if itl else None
        row["meets_targets"] = ask.targets.met(outcome)
        row["chat_tokens_s"] = outcome.tokens_s
        row.setdefault("order", row["ttft_p95_s"] or 0.0)
    if not setup.memory.fits:
        raise BadRequest(f"{setup.shape.name} does not fit {setup.machine.name}", param="machines")
    return row


def _mark(rows: list[dict[str, Any]]) -> None:
    """Two measures, the less the better: what it costs, and how long it takes (or how late the first token is)."""

    def measures(row: dict[str, Any]) -> tuple[float, float]:
        cost = row["cost"]["value"] if "cost" in row else row["price_usd"] or 1e9
        return cost, row.get("order", 0.0)

    for row in rows:
        row["pareto"] = False
        if not row["fits"]:
            continue
        cost, late = measures(row)
        rivals = [measures(r) for r in rows if r["fits"] and r["model"] == row["model"] and r is not row]
        row["pareto"] = not any(c <= cost and t <= late and (c < cost or t < late) for c, t in rivals)
