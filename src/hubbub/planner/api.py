"""The planner as functions that give JSON-ready dicts: what the command line prints and ``/v1/plan`` answers.

``plan_request`` takes the body of a plan request and looks at its ``kind``. All raise errors of ``core.errors``
(BadRequest, NotFound, ContextTooLong) with the option's name in ``param``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from hubbub.core.errors import BadRequest, EngineUnavailable
from hubbub.planner import calibrate, compare, corpus, recommend
from hubbub.planner.chats import Targets, chat_report, curve, memory_report
from hubbub.planner.choices import choices
from hubbub.planner.detect import calibration_folder, detect
from hubbub.planner.hardware import make_machine
from hubbub.planner.memory import Load
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.simulate import Chats
from hubbub.planner.units import parse_bytes, parse_count, parse_positive

KINDS = ("memory", "chats", "corpus", "scenarios", "compare", "recommend", "choices")


def setup_here(
    model: str,
    *,
    quant: str = "",
    kv: str = "",
    engine: str = "",
    version: str = "",
    context: int = 0,
    max_sequences: int = 0,
) -> Setup:
    """A setup on this very machine, with its kept calibration where there is one."""
    found = detect()
    name = "CPU" if found.machine.card.cpu else found.machine.card.name
    base = make_setup(model, name, quant=quant, kv=kv, engine=engine, engine_version=version, context=context)
    split = base.engine.layer_split and found.machine.count > 1
    machine = make_machine(name, found.machine.count, layer_split=True) if split else found.machine
    here = Setup(base.shape, base.quant, base.engine, machine, Load(max_sequences=max_sequences))
    return calibrate.recall(here, found.fingerprint, calibration_folder())


def calibrate_here(
    setup: Setup, url: str, served: str, context: int, folder: Path, tell: Callable[[str], None]
) -> tuple[calibrate.Calibration, Path]:
    """Measure the engine at ``url`` and keep what was learnt. Raises EngineUnavailable with the way out."""
    found = detect()
    base = url.rstrip("/")

    async def run() -> tuple[list[calibrate.Sample], int]:
        name = served or await _first_model(base)
        plan = calibrate.points(context, found.machine.card.cpu)
        return await calibrate.measure(base, name, plan, tell), await _kv_tokens(base)

    samples, kv_tokens = asyncio.run(run())
    published = replace(setup, coefficients=None, measured="")  # an older record of this machine is no starting point
    _, record = calibrate.calibrated(published, samples, found.fingerprint, kv_tokens)
    return record, calibrate.keep(record, folder)


async def _first_model(url: str) -> str:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(f"{url}/models") as answer,
        ):
            listed = (await answer.json())["data"]
            return str(listed[0]["id"])
    except (aiohttp.ClientError, TimeoutError, KeyError, IndexError, ValueError) as error:
        raise EngineUnavailable(f"url: {url}/models does not list a model: {error}", param="url") from error


async def _kv_tokens(url: str) -> int:
    """KV room as the engine reports it on its metrics page (vLLM: blocks x block size; Hubbub: tokens of its engine);
    0 where it does not say."""
    root = re.sub(r"/v1/?$", "", url)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(f"{root}/metrics") as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return 0
    own = re.search(r"^hubbub_engine_kv_tokens_max(?:\{[^}]*\})? ([\d.eE+]+)$", text, re.M) or re.search(
        r"^hubbub_engine_kv_tokens ([\d.eE+]+)$", text, re.M
    )
    if own is not None:
        return int(float(own.group(1)))
    line = re.search(r"cache_config_info\{([^}]*)\}", text)
    if line is None:
        return 0
    blocks, size = (re.search(rf'{key}="(\d+)"', line.group(1)) for key in ("num_gpu_blocks", "block_size"))
    return int(blocks.group(1)) * int(size.group(1)) if blocks and size else 0


def plan_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """A plan from JSON: ``kind`` and the options of the command of that name, spelt as its long flags with ``_``."""
    known = {
        "kind",
        "model",
        "hardware",
        "quant",
        "kv",
        "engine",
        "engine_version",
        "gpus",
        "tp",
        "max_num_seqs",
        "context",
        "chats",
        "think",
        "question",
        "answer",
        "turns",
        "ttft",
        "itl",
        "bytes",
        "lang",
        "record",
        "prompt",
        "shared",
        "pack",
        "accept",
        "beside",
        "machines",
        "models",
        "engines",
        "quants",
        "days",
        "curve",
        "search",
    }
    unknown = sorted(set(body) - known)
    if unknown:
        raise BadRequest(f"{unknown[0]}: not an option of a plan", param=unknown[0])
    kind = body.get("kind", "memory")
    if kind == "memory":
        return memory_report(_setup(body), _context(body))
    if kind == "chats":
        setup, people = _setup(body), _chats(body)
        plan = chat_report(setup, people, _targets(body), search=bool(body.get("search", True)))
        return plan | ({"curve": curve(setup, people)} if body.get("curve") else {})
    if kind == "corpus":
        beside = parse_count(body.get("beside", 0), "beside", least=0)
        return corpus.corpus_report(_setup(body), _job(body), beside=Chats(beside) if beside else None)
    if kind == "scenarios":
        return corpus.scenarios(parse_bytes(body.get("bytes", "1GB")), str(body.get("lang", "ru")))
    if kind == "choices":
        return choices()
    if kind == "compare":
        ask = compare.Ask(_job(body), _chats(body) if body.get("chats") else None, _targets(body))
        lists = {key: body[key] for key in ("engines", "quants") if body.get(key)}
        return compare.compare(
            ask, body.get("machines") or compare.DEFAULT_MACHINES, body.get("models") or compare.DEFAULT_MODELS, **lists
        )
    if kind == "recommend":
        machine = (
            make_machine(str(body["hardware"]), parse_count(body.get("gpus", 1), "gpus"))
            if body.get("hardware")
            else detect().machine
        )
        wish = recommend.Wish(
            _chats(body) if body.get("chats") or not body.get("bytes") else None,
            _job(body) if body.get("bytes") else None,
            _targets(body),
            parse_positive(float(body.get("days", 7)), "days") * 86400,
        )
        return recommend.recommend(machine, wish)
    raise BadRequest(f"kind: unknown plan {kind!r}; known are {', '.join(KINDS)}", param="kind")


def _setup(body: Mapping[str, Any]) -> Setup:
    def text(key: str) -> str:
        return str(body.get(key) or "")

    most = parse_count(body.get("max_num_seqs", 0), "max_num_seqs", least=0, most=4096)
    context = _context(body) if body.get("context") else 0
    model = text("model") or "Qwen2.5-7B"
    if not body.get("hardware"):
        return setup_here(
            model,
            quant=text("quant"),
            kv=text("kv"),
            engine=text("engine"),
            version=text("engine_version"),
            context=context,
            max_sequences=most,
        )
    return make_setup(
        model,
        text("hardware"),
        quant=text("quant"),
        kv=text("kv"),
        engine=text("engine"),
        engine_version=text("engine_version"),
        gpus=parse_count(body.get("gpus", 1), "gpus", most=4096),
        tp=parse_count(body.get("tp", 0), "tp", least=0),
        max_sequences=most,
        context=context,
    )


def _context(body: Mapping[str, Any]) -> int:
    return parse_count(body.get("context", 4096), "context")


def _chats(body: Mapping[str, Any]) -> Chats:
    def number(key: str, default: float, *, zero: bool = False) -> float:
        return parse_positive(float(body.get(key, default)), key, zero=zero)

    return Chats(
        parse_count(body.get("chats", 200), "chats", most=100_000),
        number("think", 20, zero=True),
        number("question", 60),
        number("answer", 250),
        turns=number("turns", 12),
        context=_context(body),
    )


def _targets(body: Mapping[str, Any]) -> Targets:
    return Targets(
        parse_positive(float(body.get("ttft", 2)), "ttft"), parse_positive(float(body.get("itl", 0.1)), "itl")
    )


def _job(body: Mapping[str, Any]) -> corpus.Job:
    base = corpus.Job(parse_bytes(body.get("bytes", "1GB")), str(body.get("lang", "ru")))
    return corpus.Job(
        base.size,
        base.lang,
        float(body.get("record", base.record)),
        float(body.get("prompt", base.prompt)),
        float(body.get("shared", base.shared)),
        int(body.get("pack", base.pack)),
        float(body.get("accept", base.accept)),
    )
