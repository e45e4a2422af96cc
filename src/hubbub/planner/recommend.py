"""``plan recommend``: for this machine and this job, the model, quantization, engine and flags to take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.planner.chats import Targets, check_chats, simulate
from hubbub.planner.corpus import Job, corpus_report
from hubbub.planner.engines import parse_engine
from hubbub.planner.figures import banded
from hubbub.planner.hardware import Machine, close_to
from hubbub.planner.memory import plan_memory
from hubbub.planner.models import cards
from hubbub.planner.quant import QUANTS
from hubbub.planner.setup import Setup, embedded_kv_bytes, embedded_runs
from hubbub.planner.simulate import Chats

_CANDIDATES = (
    "Qwen3-32B",
    "Qwen3-30B-A3B",
    "Qwen3-14B",
    "Qwen3-8B",
    "Qwen2.5-7B",
    "Qwen3-4B",
    "Qwen2.5-3B",
    "Qwen3-1.7B",
    "Qwen3-0.6B",
    "SmolLM2-135M",
)
_QUALITY_LOSS = {"16bit": 0.0, "gguf16": 0.0, "fp8": 0.01, "gguf8": 0.01, "w4a16": 0.06, "gguf4": 0.07}
"""Share of a model's worth lost to fewer bits: about what published perplexities and task scores lose, rounded up."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The job. ``deadline_s`` for a corpus, ``targets`` for chats; ``models``: names to choose among."""

    chats: Chats | None = None
    job: Job | None = None
    targets: Targets = field(default_factory=Targets)
    deadline_s: float = 7 * 86400.0
    models: tuple[str, ...] = _CANDIDATES


def quality(setup: Setup) -> float:
    """A rank by size and bits: the geometric mean of total and active parameters (a mixture is worth more than its
    active part), in 10^9, less what the bits cost. Only for ordering one family's members."""
    shape = setup.shape
    size = (shape.total_params * shape.active_params) ** 0.5 / 1e9
    return float(size**0.5 * (1 - _QUALITY_LOSS.get(setup.quant.family, 0.05)))


def recommend(machine: Machine, wish: Wish) -> dict[str, Any]:
    """The best setup that keeps the targets, the runner-up, and why; the nearest miss when none does.

    Raises BadRequest when nothing among the candidates fits the machine at all.
    """
    tried = [row for setup in _setups(machine, wish) if (row := _try(setup, wish)) is not None]
    if not tried:
        raise BadRequest(
            f"hardware: none of {', '.join(wish.models)} fits {machine.name} with {machine.card.memory_gib:.0f} GiB; "
            "name a smaller model with --models",
            param="hardware",
        )
    good = sorted((r for r in tried if r["meets"]), key=lambda r: (-r["quality"], r["late"]))
    missed = sorted((r for r in tried if not r["meets"]), key=lambda r: (r["late"], -r["quality"]))
    ranked = good + missed
    best = ranked[0]
    second = next((r for r in ranked[1:] if r["model"] != best["model"] or r["engine"] != best["engine"]), None)
    return {
        "machine": machine.name,
        "best": best,
        "runner_up": second,
        "why": _why(best, second, bool(good)),
        "tried": [
            {k: r[k] for k in ("model", "quant", "engine", "meets", "late", "quality", "summary")} for r in ranked
        ],
        "framework": "Take an engine with continuous batching (vLLM on a GPU, Hubbub's own on a CPU, llama.cpp on "
        "a Mac). Transformers with PEFT serves one request at a time: use it to train a LoRA, then load that LoRA "
        "into vLLM (--enable-lora).",
    }


def _setups(machine: Machine, wish: Wish) -> list[Setup]:
    card = machine.card
    small = card.cpu or card.kind == "apple"
    pairs = (
        [(engine, bits) for bits in ("Q8_0", "Q4_K_M") for engine in (("openvino", "llama.cpp")[not card.cpu :])]
        if small
        else [
            ("vllm", "BF16"),
            *([("vllm", "FP8")] if card.fp8_tflops else []),
            ("vllm", "AWQ"),
            ("llama.cpp", "Q4_K_M"),
        ]
    )
    found: list[Setup] = []
    known = cards()
    for name in wish.models:
        if name not in known:
            near = close_to(name.lower(), {known_as.lower(): known_as for known_as in known})
            raise BadRequest(f"models: {name!r} is not a bundled model{near}", param="models")
        for engine, quant in pairs:
            kind = parse_engine(engine)
            shaped = Machine(card, machine.count, 1, machine.count) if kind.layer_split else machine
            bits = QUANTS[quant]
            if kind.family == "openvino":
                if not embedded_runs(known[name], bits):
                    continue
                bits = replace(bits, kv_bytes=embedded_kv_bytes(known[name]))
            setup = Setup(known[name], bits, kind, shaped)
            if plan_memory(setup.shape, setup.quant, shaped, kind).fits:
                found.append(setup)
    return found


def _try(setup: Setup, wish: Wish) -> dict[str, Any] | None:
    """One candidate judged; None where its weights fit but the job cannot even be asked of it."""
    late, meets, parts = 0.0, True, []
    speed = None
    try:
        if wish.chats is not None:
            check_chats(wish.chats, setup)
            outcome = simulate(setup, wish.chats, requests=max(300, wish.chats.count))
            ttft = sorted(outcome.ttft)[int(0.95 * (len(outcome.ttft) - 1))]
            itl = sorted(outcome.itl)[int(0.95 * (len(outcome.itl) - 1))] if outcome.itl else 0.0
            late = max(ttft / wish.targets.ttft_s, itl / wish.targets.itl_s)
            meets = wish.targets.met(outcome)
            parts.append(f"first token within {ttft:.2g} s, {itl * 1e3:.0f} ms a token (p95)")
            speed = outcome.tokens_s
        if wish.job is not None:
            report = corpus_report(setup, wish.job)
            seconds = report["time"]["value"]
            late = max(late, seconds / wish.deadline_s)
            meets = meets and seconds <= wish.deadline_s
            parts.append(f"the corpus in {seconds / 3600:.3g} h at {report['speed']['value']:,.0f} tok/s")
            speed = report["speed"]["value"]
    except HubbubError:
        return None
    case = setup.case(_probe())
    return {
        "model": setup.shape.name,
        "quant": setup.quant.name,
        "engine": setup.engine.family,
        "meets": meets,
        "late": late,
        "quality": quality(setup),
        "summary": "; ".join(parts),
        "flags": flags(setup, wish),
        "chats": sequences(setup, wish),
        "context": _context(wish),
        "speed": banded(setup, case, speed or 1.0, "tok/s").as_json(),
        "gpus": setup.machine.count,
    }


def _probe() -> Any:
    from hubbub.planner.cases import Work

    return Work("closed", 1000, 250, 64.0, varied=True)


def _context(wish: Wish) -> int:
    return wish.chats.context if wish.chats else 4096


def sequences(setup: Setup, wish: Wish) -> int:
    """Requests to decode together."""
    wanted = (wish.chats.count if wish.chats else 0) + (256 if wish.job else 0)
    most = setup.max_sequences
    if setup.engine.family == "llamacpp":
        most = min(setup.memory.kv_tokens // max(_context(wish), 1), 64)
    return max(1, min(wanted, most))


def flags(setup: Setup, wish: Wish) -> list[str]:
    """The engine's own flags for the job."""
    context, slots = _context(wish), sequences(setup, wish)
    if setup.engine.family == "llamacpp":
        return ["--parallel", str(slots), "--ctx-size", str(slots * context), "--cont-batching", "--flash-attn", "on"]
    if setup.engine.family == "openvino":
        return ["--max-sequences", str(slots), "--context-window", str(context)]
    found = [
        "--max-model-len",
        str(context),
        "--max-num-seqs",
        str(slots),
        "--gpu-memory-utilization",
        "0.90",
        "--enable-prefix-caching",
    ]
    if setup.machine.tp > 1:
        found += ["--tensor-parallel-size", str(setup.machine.tp)]
    if setup.quant.kv_bytes < 2:
        found += ["--kv-cache-dtype", "fp8"]
    if setup.quant.name in ("FP8", "AWQ"):
        found += ["--quantization", "fp8" if setup.quant.name == "FP8" else "awq_marlin"]
    return found


def _why(best: dict[str, Any], second: dict[str, Any] | None, met: bool) -> str:
    head = f"{best['model']} in {best['quant']} on {best['engine']}: {best['summary']}."
    if not met:
        head += f" Nothing keeps the targets here; this misses them least ({best['late']:.1f} times the limit)."
    if second is None:
        return head
    named = f"The runner-up, {second['model']} in {second['quant']} on {second['engine']}"
    if second["meets"] and met:
        reason = "is smaller or has fewer bits" if second["quality"] < best["quality"] else "is slower"
        return f"{head} {named}, keeps them too but {reason}."
    return f"{head} {named}, comes to {second['late']:.1f} times the limit."
