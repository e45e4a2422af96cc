"""``plan memory`` and ``plan chats``: how many chats fit, and how they feel when they all talk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.planner.cases import Work
from hubbub.planner.figures import Figure, Provenance, banded, exact
from hubbub.planner.hardware import make_machine
from hubbub.planner.memory import chats_that_fit, require_fit
from hubbub.planner.quant import QUANTS
from hubbub.planner.setup import Setup
from hubbub.planner.simulate import Bulk, Chats, Outcome, Simulation
from hubbub.planner.units import show_bytes

MOST_CHATS = 8192
_UPGRADES = ("RTX-3060", "RTX-4070-Ti", "RTX-3090", "RTX-4090", "RTX-5090", "L40S", "A100-80GB", "H100-SXM", "H200")


def memory_report(setup: Setup, context: int) -> dict[str, Any]:
    """What takes memory on each card and how many chats of ``context`` tokens fit. Raises BadRequest when the weights
    do not fit, saying by how much and what would."""
    if context < 1:
        raise BadRequest(f"context: must be at least 1 token, got {context}", param="context")
    plan, shape, quant = setup.memory, setup.shape, setup.quant
    require_fit(plan, shape, quant, setup.machine)
    low, high = setup.model.bands.get("memory", (0.93, 1.15))
    per_chat = shape.kv_bytes_at(context, quant.kv_bytes)
    resident = chats_that_fit(plan, shape, quant, context)
    kv = Figure(
        plan.kv_bytes,
        plan.kv_bytes * 0.93,
        plan.kv_bytes * 1.07,
        "bytes",
        Provenance.PRINCIPLES,
        "the engine's own start-up line: hubbub plan calibrate",
    )
    weights = Figure(
        plan.weights_bytes,
        plan.weights_bytes * max(low, 0.97),
        plan.weights_bytes * min(high, 1.03),
        "bytes",
        Provenance.PRINCIPLES,
        "the model's own files",
    )
    return {
        "setup": setup.name,
        "model": shape.name,
        "quant": quant.name,
        "parameters": shape.total_params,
        "model_source": shape.source,
        "cards_per_copy": setup.machine.tp * setup.machine.pipeline,
        "copies": plan.replicas,
        "card_memory": exact(plan.card_bytes, "bytes", Provenance.TABLE).as_json(),
        "usable": exact(plan.usable_bytes, "bytes", _share_source(setup)).as_json(),
        "weights": weights.as_json(),
        "engine_overhead": exact(plan.non_torch_bytes + plan.activation_bytes + plan.margin_bytes, "bytes").as_json(),
        "kv_room": kv.as_json(),
        "kv_bytes_per_token": exact(shape.kv_bytes_per_token(quant.kv_bytes), "bytes").as_json(),
        "kv_per_chat": exact(per_chat, "bytes").as_json(),
        "kv_tokens": Figure(
            plan.kv_tokens * plan.replicas,
            plan.kv_tokens * plan.replicas * 0.93,
            plan.kv_tokens * plan.replicas * 1.07,
            "tokens",
            Provenance.PRINCIPLES,
            kv.narrower,
        ).as_json(),
        "context": context,
        "chats_resident": Figure(
            resident, int(resident * 0.93), round(resident * 1.07), "chats", Provenance.PRINCIPLES, kv.narrower
        ).as_json(),
        "chats_in_all": "unlimited: a chat that is not resident is read again from the store when it is next asked",
        "reread_s": _reread(setup, context).as_json(),
    }


def _share_source(setup: Setup) -> Provenance:
    """Where the share of the card an engine may use comes from: the user's flag, or the engine's own default."""
    return Provenance.DEFAULT if setup.load.share is None else Provenance.STATED


def _reread(setup: Setup, context: int) -> Figure:
    from hubbub.planner.setup import step_model

    case = setup.case(Work("static", context, 1.0), "prefill_tok_s")
    return banded(setup, case, step_model(setup, 1).prompt(context), "s")


@dataclass(frozen=True, slots=True)
class Targets:
    """Seconds that 95 % of requests keep: to the first token, between tokens."""

    ttft_s: float = 2.0
    itl_s: float = 0.1

    def missed(self, outcome: Outcome, requests: int) -> bool:
        """Whether too many came too late already, of as many as will be looked at."""
        late = sum(seconds > self.ttft_s for seconds in outcome.ttft)
        return late > 0.05 * requests + 1

    def met(self, outcome: Outcome) -> bool:
        if not outcome.ttft:
            return False
        itl = float(np.percentile(outcome.itl, 95)) if outcome.itl else 0.0
        return float(np.percentile(outcome.ttft, 95)) <= self.ttft_s and itl <= self.itl_s and not outcome.refused


def check_chats(chats: Chats, setup: Setup) -> None:
    """Raises BadRequest or ContextTooLong-like errors that name the option."""
    if chats.count < 1:
        raise BadRequest(f"chats: must be at least 1, got {chats.count}", param="chats")
    if chats.context <= chats.system + chats.question:
        raise BadRequest(
            f"context: {chats.context} tokens leave no room beside a system prompt of {chats.system} and questions of "
            f"{chats.question:.0f}",
            param="context",
        )
    if setup.shape.context and chats.context > setup.shape.context:
        raise BadRequest(
            f"context: {chats.context:,} tokens is beyond the window of {setup.shape.name}, {setup.shape.context:,}",
            param="context",
        )
    require_fit(setup.memory, setup.shape, setup.quant, setup.machine)


def simulate(
    setup: Setup,
    chats: Chats,
    bulk: Bulk | None = None,
    *,
    requests: int = 0,
    seed: int = 1,
    targets: Targets | None = None,
) -> Outcome:
    """A window long enough for everyone to have asked a few times. It opens once everyone has asked twice: their first
    questions come together, and find no prefix kept. With ``targets`` it closes once they are missed."""
    wanted = requests or max(1200, 3 * (chats.count + (bulk.in_flight if bulk else 0)))
    warmup = max(200, wanted // 3, 2 * chats.count)

    def enough(outcome: Outcome) -> bool:
        return targets is not None and targets.missed(outcome, wanted)

    return Simulation(setup, chats, bulk, seed=seed).run(wanted, warmup, enough)


Told = Callable[[str], None]
"""Hears what is being simulated."""


def _unheard(what: str) -> None:
    pass


def largest(setup: Setup, chats: Chats, targets: Targets, most: int = MOST_CHATS, told: Told = _unheard) -> int:
    """The largest number of chats that keeps the targets, to about 3 %; 0 when one chat does not."""

    def keeps(count: int) -> bool:
        told(f"the largest number that keeps the targets: {count:,}?")
        outcome = simulate(setup, replace(chats, count=count), requests=max(300, 2 * count), targets=targets)
        return targets.met(outcome)

    if not keeps(1):
        return 0
    good, bad = 1, most + 1
    probe = min(max(chats.count, 2), most)
    while good < probe < bad:
        if keeps(probe):
            good, probe = probe, min(probe * 2, most)
        else:
            bad, probe = probe, (good + probe) // 2
            break
    while bad - good > max(1, good // 30) and bad <= most:
        middle = (good + bad) // 2
        if keeps(middle):
            good = middle
        else:
            bad = middle
    return good


def chat_report(
    setup: Setup,
    chats: Chats,
    targets: Targets | None = None,
    *,
    search: bool = True,
    variants: bool = True,
    told: Told = _unheard,
) -> dict[str, Any]:
    """How ``chats`` feel on ``setup``, the largest number that keeps the targets, and what would change it."""
    check_chats(chats, setup)
    targets = targets or Targets()
    told(f"{chats.count:,} chats")
    outcome = simulate(setup, chats)
    out = outcome_json(setup, chats, outcome)
    out["memory"] = memory_report(setup, chats.context)
    out["targets"] = {"ttft_p95_s": targets.ttft_s, "itl_p95_s": targets.itl_s, "met": targets.met(outcome)}
    if search:
        count = largest(setup, chats, targets, told=told)
        tail = setup.case(_work(setup, chats), "ttft_ms_mean")
        low, high = setup.model.band(tail)
        out["largest"] = Figure(
            count,
            int(count * min(1 / high, 0.95)),
            round(count * max(1 / low, 1.05)),
            "chats",
            banded(setup, tail, 1.0, "").provenance,
            "hubbub plan calibrate",
        ).as_json()
    if variants:
        out["changes"] = changes(setup, chats, targets, told)
    return out


def _work(setup: Setup, chats: Chats) -> Work:
    context = min(chats.context, chats.system + chats.turns * (chats.question + chats.answer) / 2)
    return Work("closed", context, chats.answer, min(float(chats.count), 256.0), varied=True)


def outcome_json(setup: Setup, chats: Chats, outcome: Outcome) -> dict[str, Any]:
    work = _work(setup, chats)

    def percentiles(values: list[float], metric: str) -> dict[str, Any]:
        case = setup.case(work, metric)
        marks = (50, 95, 99)
        return {f"p{p}": banded(setup, case, float(np.percentile(values, p)), "s").as_json() for p in marks if values}

    rate = banded(setup, setup.case(work), outcome.tokens_s, "tok/s")
    total = outcome.prompt_tokens + outcome.cached_tokens
    return {
        "setup": setup.name,
        "chats": chats.count,
        "ttft": percentiles(outcome.ttft, "ttft_ms_mean"),
        "itl": percentiles(outcome.itl, "itl_ms_mean"),
        "longest_gap": percentiles(outcome.gap, "itl_ms_p99"),
        "answer_time": percentiles(outcome.e2e, "e2e_latency_ms_mean"),
        "tokens_s": rate.as_json(),
        "running_mean": float(np.mean(outcome.running)) if outcome.running else 0.0,
        "queue_mean": float(np.mean(outcome.queue)) if outcome.queue else 0.0,
        "queue_max": max(outcome.queue, default=0),
        "preemptions": outcome.preemptions,
        "refused": outcome.refused,
        "prefix_hit": outcome.cached_tokens / total if total else 0.0,
        "kv_fill": [
            (round(t - outcome.kv_fill[0][0], 2), round(f, 4))
            for t, f in outcome.kv_fill[:: max(1, len(outcome.kv_fill) // 200)]
        ],
        "window_s": outcome.seconds,
        "steady_within": outcome.spread,
        "provenance": rate.provenance.value,
        "narrower": rate.narrower,
    }


def curve(
    setup: Setup, chats: Chats, counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 200, 300, 500)
) -> list[dict[str, Any]]:
    """Throughput and delay against the number of chats, for the chart."""
    rows = []
    for count in counts:
        outcome = simulate(setup, replace(chats, count=count), requests=max(300, 2 * count))
        rows.append(
            {
                "chats": count,
                "tokens_s": outcome.tokens_s,
                "ttft_p95": float(np.percentile(outcome.ttft, 95)),
                "itl_p95": float(np.percentile(outcome.itl, 95)) if outcome.itl else 0.0,
            }
        )
    return rows


def changes(setup: Setup, chats: Chats, targets: Targets, told: Told = _unheard) -> list[dict[str, Any]]:
    """What a bigger card, fewer bits, an 8-bit cache or a smaller model would do to the same chats."""
    tried: list[tuple[str, Setup]] = []
    if setup.quant.kv_bytes > 1:
        tried.append(("KV cache in 8 bit", replace(setup, quant=replace(setup.quant, kv_bytes=1.0))))
    if setup.quant.weight_bits > 8:
        gguf = setup.engine.family == "llamacpp"
        fewer = QUANTS["Q4_K_M"] if gguf else QUANTS["AWQ"]
        tried.append(
            (f"weights in 4 bit ({fewer.name})", replace(setup, quant=replace(fewer, kv_bytes=setup.quant.kv_bytes)))
        )
    tried += _smaller(setup) + _bigger_card(setup)
    rows: list[dict[str, Any]] = []
    for label, variant in tried:
        try:
            require_fit(variant.memory, variant.shape, variant.quant, variant.machine)
        except HubbubError as error:
            rows.append({"change": label, "fits": False, "why": error.message})
            continue
        told(f"what would change it: {label}")
        outcome = simulate(variant, chats, requests=500)
        rows.append(
            {
                "change": label,
                "fits": True,
                "ttft_p95_s": float(np.percentile(outcome.ttft, 95)),
                "itl_p95_s": float(np.percentile(outcome.itl, 95)) if outcome.itl else 0.0,
                "tokens_s": outcome.tokens_s,
                "kv_tokens": variant.memory.kv_tokens * variant.memory.replicas,
                "meets_targets": targets.met(outcome),
            }
        )
    spilled = setup.shape.kv_bytes_at(chats.context, setup.quant.kv_bytes) * chats.count
    rows.append(
        {
            "change": "idle chats' KV offloaded to RAM",
            "fits": True,
            "ram": spilled,
            "why": f"{chats.count} full chats take {show_bytes(spilled)} of RAM; "
            "a chat that returns is copied at about 20 GB/s "
            "instead of being read again",
        }
    )
    return rows


def _smaller(setup: Setup) -> list[tuple[str, Setup]]:
    from hubbub.planner.models import cards

    family = setup.shape.name.split("-")[0] + "-"
    members = [s for s in cards().values() if s.name.startswith(family) and not s.moe]
    smaller = [s for s in members if s.total_params < setup.shape.total_params * 0.7]
    if not smaller:
        return []
    pick = max(smaller, key=lambda s: s.total_params)
    return [(f"smaller model: {pick.name}", replace(setup, shape=pick))]


def _bigger_card(setup: Setup) -> list[tuple[str, Setup]]:
    card = setup.machine.card
    if card.kind != "nvidia":
        return [("GPU: RTX-4090", replace(setup, machine=make_machine("RTX-4090")))] if card.cpu else []
    better = [
        name
        for name in _UPGRADES
        if (other := make_machine(name).card).bandwidth_gbs > card.bandwidth_gbs * 1.15
        and other.memory_gib >= card.memory_gib
    ]
    count, tp = setup.machine.count, setup.machine.tp
    if not better:
        twice = make_machine(card.name, 2 * count, tp=tp)
        return [(f"{2 * count}x {card.name}, twice the copies", replace(setup, machine=twice))]
    label = f"{count}x {better[0]}" if count > 1 else better[0]
    return [(f"bigger card: {label}", replace(setup, machine=make_machine(better[0], count, tp=tp)))]
