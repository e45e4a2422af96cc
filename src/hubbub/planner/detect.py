"""What machine this is: NVIDIA cards through NVML, AMD through sysfs, Apple silicon, else the CPU, its memory timed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from hubbub.core.errors import NotFound
from hubbub.planner.folder import calibration_folder
from hubbub.planner.hardware import Card, Machine, cards, resolve_card

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Detected:
    """``machine`` as found; ``details`` are lines for people; ``fingerprint`` names machine and cards."""

    machine: Machine
    details: tuple[str, ...]
    fingerprint: str


class Nvml(Protocol):
    """What is asked of NVIDIA's management library: the names are those of the ``pynvml`` module."""

    @property
    def NVMLError(self) -> type[Exception]: ...  # noqa: N802

    def nvmlInit(self) -> object: ...  # noqa: N802 - NVML's own spelling, here and below

    def nvmlShutdown(self) -> object: ...  # noqa: N802

    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: N802

    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...  # noqa: N802

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: N802


def installed_nvml() -> Nvml | None:
    """The ``pynvml`` module, where it is installed."""
    try:
        import pynvml
    except ImportError:
        return None
    module: Nvml = pynvml
    return module


def detect(measure: bool = True, folder: Path | None = None, nvml: Nvml | None = None) -> Detected:
    """The accelerators of this machine, or its CPU. ``measure``: time the CPU's memory and arithmetic (about a
    second); the best ever seen is kept in ``folder``, since whatever else runs only ever slows a measurement. Without,
    what is kept there counts, or the table.
    ``nvml``: None: the one installed."""
    nvml = nvml or installed_nvml()
    found = (nvidia(nvml) if nvml is not None else _nvidia_proc()) or _amd() or _apple()
    details: list[str] = []
    if found is None:
        found, details = _cpu(measure, folder or calibration_folder())
    card = found.card
    details.insert(0, f"{found.name}: {card.memory_gib:.1f} GiB, {card.bandwidth_gbs:.0f} GB/s, {card.source}")
    mark = f"{platform.machine()}|{cpu_name()}|{psutil.cpu_count()}|{card.name}|{found.count}|{card.memory_gib:.0f}"
    return Detected(found, tuple(details), hashlib.sha256(mark.encode()).hexdigest()[:16])


def nvidia(nvml: Nvml) -> Machine | None:
    """The NVIDIA cards of this machine; None where there is no driver or card. Of unlike cards, those of the kind that
    has the most memory in all: one model is spread over like ones."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        seen = [_nvml_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return None  # a card that fell off the bus
    finally:
        nvml.nvmlShutdown()
    if not seen:
        return None
    name, memory = max(seen, key=lambda card: card[1] * seen.count(card))
    return _known(name, memory, seen.count((name, memory)))


def _nvml_card(nvml: Nvml, index: int) -> tuple[str, float]:
    """Name and memory in GiB."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    memory = float(nvml.nvmlDeviceGetMemoryInfo(handle).total) / _GIB
    return name.decode() if isinstance(name, bytes) else str(name), round(memory, 2)


def _nvidia_proc() -> Machine | None:
    """The driver's own list, where the NVML package is not installed."""
    infos = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    for info in infos:
        match = re.search(r"Model:\s*(.+)", info.read_text("utf-8", "replace"))
        if match is not None:
            return _known(match.group(1), 0.0, len(infos))
    return None


def _known(name: str, memory_gib: float, count: int) -> Machine:
    try:
        card = resolve_card(name, cpu=False)
    except NotFound:
        card = replace(
            cards()["RTX-4090"], name=name, source="unknown card, taken for an RTX 4090 until it is calibrated"
        )
    if memory_gib:
        card = replace(card, memory_gib=memory_gib)
    return Machine(card, count, count)


def _amd() -> Machine | None:
    sizes = [int(p.read_text()) / _GIB for p in Path("/sys/class/drm").glob("card*/device/mem_info_vram_total")]
    if not sizes or max(sizes) < 3:
        return None
    memory = max(sizes)
    near = min((c for c in cards().values() if c.kind == "amd"), key=lambda c: abs(c.memory_gib - memory))
    card = replace(near, memory_gib=memory, source=f"taken for a {near.name} by its memory; name the card to be sure")
    return Machine(card, sizes.count(memory), sizes.count(memory))


def _apple() -> Machine | None:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return None
    memory = psutil.virtual_memory().total / _GIB
    try:
        card = resolve_card(cpu_name(), cpu=False)
    except NotFound:
        card = cards()["M1"]
    return Machine(replace(card, memory_gib=memory * 0.75))


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text("utf-8", "replace"))
        if match is not None:
            return match.group(1).strip()
    return platform.processor() or platform.machine()


def _cpu(measure: bool, folder: Path) -> tuple[Machine, list[str]]:
    name = cpu_name()
    try:
        card = resolve_card(name, cpu=True)
    except NotFound:
        card = cards()["CPU"]
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    details = [f"{name}, {cores} cores"]
    source = card.source
    bandwidth, flops = best_seen(folder, name) if measure else best_kept(folder, name)
    if bandwidth and flops:
        details.append(f"measured here: {bandwidth:.1f} GB/s of memory, {flops:.2f} TFLOP/s in 32 bit")
        # cards of the table state a CPU's 32 bit rate for 16 bit too, and twice that for 8 bit
        card = replace(card, bandwidth_gbs=bandwidth, fp16_tflops=flops, int8_tflops=2 * flops)
        source = "measured on this machine"
    memory = psutil.virtual_memory().total / _GIB
    named: Card = replace(card, name=f"CPU ({name})", memory_gib=memory, source=source)
    return Machine(named), details


def best_seen(folder: Path, name: str, seconds: float = 0.5) -> tuple[float, float]:
    """GB/s and TFLOP/s: the best of now, ``seconds`` each, and of every earlier time on this CPU with these cores."""
    path, before = _kept_file(folder, name), best_kept(folder, name)
    best = max(memory_bandwidth(seconds=seconds), before[0]), max(multiply_rate(seconds), before[1])
    if best != before:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole = path.with_suffix(f".{os.getpid()}.part")
            whole.write_text(json.dumps({"bandwidth_gbs": best[0], "tflops": best[1]}) + "\n", "utf-8")
            whole.replace(path)
        except OSError:
            return best  # a home that cannot be written costs another measurement next time, nothing else
    return best


def _kept_file(folder: Path, name: str) -> Path:
    mark = hashlib.sha256(f"{platform.machine()}|{name}|{usable_cores()}".encode()).hexdigest()[:16]
    return folder / f"cpu-{mark}.json"


def best_kept(folder: Path, name: str) -> tuple[float, float]:
    """GB/s and TFLOP/s as ``best_seen`` kept them; zeros where it never ran."""
    try:
        kept = json.loads(_kept_file(folder, name).read_text("utf-8"))
        return float(kept["bandwidth_gbs"]), float(kept["tflops"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, 0.0


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bandwidth(megabytes: int = 128, seconds: float = 0.6) -> float:
    """GB/s of a long read by all usable cores, the best of several passes: what decoding on a CPU is bound by.

    One core alone reaches a part of the memory's rate only, on servers a tenth. Each thread's own processor time
    counts, so that other programs' turns do not.
    """
    threads = usable_cores()
    pieces = np.array_split(np.ones(megabytes * 131_072, dtype=np.float64), threads)
    best, until = 0.0, time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while time.perf_counter() < until:
            best = max(best, sum(pool.map(_read_rate, pieces)))
    return best / 1e9


def _read_rate(piece: NDArray[np.float64]) -> float:
    begin = time.thread_time()
    piece.sum()
    return float(piece.nbytes / max(time.thread_time() - begin, 1e-6))


def multiply_rate(seconds: float = 0.4) -> float:
    """TFLOP/s of 32-bit matrix products on all usable cores, timed as ``memory_bandwidth`` is.

    Products of 64 x 64 keep BLAS to the thread that calls it: its own threads wait for each other on a busy machine.
    """
    threads = usable_cores()
    many = [np.ones((128, 64, 64), dtype=np.float32) for _ in range(threads)]
    best, until = 0.0, time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while time.perf_counter() < until:
            best = max(best, sum(pool.map(_multiply, many)))
    return best / 1e12


def _multiply(many: NDArray[np.float32]) -> float:
    begin = time.thread_time()
    many @ many[0]
    seconds = max(time.thread_time() - begin, 1e-6)
    return float(2.0 * many.shape[0] * 64**3 / seconds)
