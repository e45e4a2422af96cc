"""This machine: setups on it, and the calibration of an engine that runs on it.

All raise errors of ``core.errors`` (BadRequest, NotFound, ContextTooLong) with the option's name in ``param``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp

from hubbub.core.errors import EngineUnavailable
from hubbub.planner import calibrate
from hubbub.planner.calibration import Calibration, Sample, calibrated, keep, recall
from hubbub.planner.detect import Detected, detect
from hubbub.planner.folder import calibration_folder
from hubbub.planner.hardware import make_machine
from hubbub.planner.memory import Load
from hubbub.planner.setup import Setup, make_setup


def setup_here(
    model: str,
    *,
    quant: str = "",
    kv: str = "",
    engine: str = "",
    engine_version: str = "",
    context: int = 0,
    max_sequences: int = 0,
    measure: bool = True,
    folder: Path | None = None,
) -> Setup:
    """A setup on this very machine, with its kept calibration where there is one. ``measure``: time its CPU first; a
    busy server does not, and takes the best that was ever seen. ``folder``: of the calibrations."""
    published, found = published_here(
        model,
        quant=quant,
        kv=kv,
        engine=engine,
        engine_version=engine_version,
        context=context,
        max_sequences=max_sequences,
        measure=measure,
        folder=folder,
    )
    return recall(published, found.fingerprint, folder or calibration_folder())


def published_here(
    model: str,
    *,
    quant: str = "",
    kv: str = "",
    engine: str = "",
    engine_version: str = "",
    context: int = 0,
    max_sequences: int = 0,
    measure: bool = True,
    folder: Path | None = None,
) -> tuple[Setup, Detected]:
    """A setup on this machine as the published rows have it, and the machine."""
    found = detect(measure, folder)
    name = "CPU" if found.machine.card.cpu else found.machine.card.name
    base = make_setup(model, name, quant=quant, kv=kv, engine=engine, engine_version=engine_version, context=context)
    split = base.engine.layer_split and found.machine.count > 1
    machine = make_machine(name, found.machine.count, layer_split=True) if split else found.machine
    return Setup(base.shape, base.quant, base.engine, machine, Load(max_sequences=max_sequences)), found


def calibrate_here(
    setup: Setup, url: str, served: str, context: int, folder: Path, tell: Callable[[str], None]
) -> tuple[Calibration, Path]:
    """Measure the engine at ``url`` and keep what was learnt. Raises EngineUnavailable with the way out."""
    found = detect()
    base = url.rstrip("/")

    async def run() -> tuple[list[Sample], int]:
        name = served or await _first_model(base)
        plan = calibrate.points(context, found.machine.card.cpu)
        return await calibrate.measure(base, name, plan, tell), await _kv_tokens(base)

    samples, kv_tokens = asyncio.run(run())
    published = replace(setup, coefficients=None, measured="")  # an older record of this machine is no starting point
    _, record = calibrated(published, samples, found.fingerprint, kv_tokens)
    return record, keep(record, folder)


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
