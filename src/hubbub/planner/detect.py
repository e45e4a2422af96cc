"""What machine this is: NVIDIA cards through NVML, AMD through sysfs, Apple silicon, else the CPU, its memory timed."""

from __future__ import annotations

import hashlib
import platform
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from hubbub.core.errors import NotFound
from hubbub.planner.hardware import Card, Machine, cards, resolve_card

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Detected:
    """``machine`` as found; ``details`` are lines for people; ``fingerprint`` names machine and cards."""

    machine: Machine
    details: tuple[str, ...]
    fingerprint: str


def detect(measure: bool = True) -> Detected:
    """The accelerators of this machine, or its CPU. ``measure``: time the CPU's memory (about half a second)."""
    found = _nvidia() or _amd() or _apple()
    details: list[str] = []
    if found is None:
        found, details = _cpu(measure)
    card = found.card
    details.insert(0, f"{found.name}: {card.memory_gib:.1f} GiB, {card.bandwidth_gbs:.0f} GB/s, {card.source}")
    mark = f"{platform.machine()}|{cpu_name()}|{psutil.cpu_count()}|{card.name}|{found.count}|{card.memory_gib:.0f}"
    return Detected(found, tuple(details), hashlib.sha256(mark.encode()).hexdigest()[:16])


def _nvidia() -> Machine | None:
    try:
        import pynvml
    except ImportError:
        return _nvidia_proc()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    count = pynvml.nvmlDeviceGetCount()
    if not count:
        return None
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    name = pynvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else str(name)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / _GIB
    pynvml.nvmlShutdown()
    return _known(name, memory, count)


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


def _cpu(measure: bool) -> tuple[Machine, list[str]]:
    name = cpu_name()
    try:
        card = resolve_card(name, cpu=True)
    except NotFound:
        card = cards()["CPU"]
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    details = [f"{name}, {cores} cores"]
    source = card.source
    if measure:
        bandwidth, flops = memory_bandwidth(), multiply_rate()
        details.append(f"measured here: {bandwidth:.1f} GB/s of memory, {flops:.2f} TFLOP/s in 32 bit")
        card = replace(card, bandwidth_gbs=bandwidth, fp16_tflops=2 * flops, int8_tflops=4 * flops)
        source = "measured on this machine"
    memory = psutil.virtual_memory().total / _GIB
    named: Card = replace(card, name=f"CPU ({name})", memory_gib=memory, source=source)
    return Machine(named), details


def memory_bandwidth(megabytes: int = 256, seconds: float = 0.3) -> float:
    """GB/s of a long read, the best of several passes: what decoding on a CPU is bound by."""
    block = np.ones(megabytes * 131_072, dtype=np.float64)
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        block.sum()
        best = max(best, block.nbytes / (time.perf_counter() - begin))
    return best / 1e9


def multiply_rate(size: int = 768, seconds: float = 0.2) -> float:
    """TFLOP/s of a 32-bit matrix product, the best of several."""
    a = np.ones((size, size), dtype=np.float32)
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        a @ a
        best = max(best, 2.0 * size**3 / (time.perf_counter() - begin))
    return best / 1e12
