"""What this machine has for running models, as far as can be known without loading one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
NVIDIA_TIMEOUT_S = 5.0
GIB = 1 << 30

# The instruction sets that CPU kernels of today's engines ask for, x86 then ARM, in the kernel's spelling.
_WANTED_FLAGS = (
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
_MAC_FLAGS = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_bytes: int
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores``: physical ones of the whole machine. ``cpus``: logical ones this process may use, by affinity and
    cgroup quota (a quota may be a fraction). ``memory_bytes``: what it may use, by cgroup; ``free_bytes``: what of
    that is free now."""

    system: str
    cpu: str
    cores: int
    cpus: float
    memory_bytes: int
    free_bytes: int
    instructions: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    engines: Mapping[str, str] = field(default_factory=dict)
    """Installed packages that run models, with their versions."""

    @property
    def apple_silicon(self) -> bool:
        return self.system.startswith("Darwin") and "arm" in self.system

    @property
    def slow_bfloat16(self) -> bool:
        """Whether PyTorch multiplies 16-bit matrices without oneDNN here, which has kernels for them from AVX-512 on:
        on AVX2 alone 8 rows took 3.3 times as long as in float32, 256 rows 6.4 times (torch 2.13)."""
        return "avx2" in self.instructions and "avx512f" not in self.instructions


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """``engine`` is empty where none can run; ``why`` then says what to install."""

    engine: str
    why: str


def inspect_machine(cgroup: Path = CGROUP) -> Machine:
    memory = psutil.virtual_memory()
    limit, used = _cgroup_memory(cgroup)
    total = min(memory.total, limit) if limit else memory.total
    free = min(memory.available, max(0, limit - used)) if limit else memory.available
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        cpus=min(float(_allowed_cpus()), _cgroup_cpus(cgroup) or float("inf")),
        memory_bytes=total,
        free_bytes=free,
        instructions=_instructions(),
        gpus=nvidia_gpus(),
        engines=_engines(),
    )


def choose_engine(machine: Machine) -> EngineChoice:
    """Which engine ``hubbub serve`` would run here by itself."""
    version = machine.engines.get("openvino-genai")
    if version is None:
        return EngineChoice("", "no engine is installed; install the embedded one with: pip install openvino-genai")
    why = f"the embedded engine (OpenVINO GenAI {version}) runs on the {machine.cpus:g} CPUs this process may use"
    if machine.gpus:
        why += (
            f"; {machine.gpus[0].name} is there, too, and faster by far: start vLLM or SGLang on it and give Hubbub "
            "its URL"
        )
    elif "avx2" not in machine.instructions and "asimd" not in machine.instructions:
        why += "; without AVX2 it will be slow"
    return EngineChoice("openvino", why)


def _allowed_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _own_cgroups(root: Path) -> list[Path]:
    """This process's cgroup and all above it: the tightest limit counts."""
    try:
        rows = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return [root]
    place = next((row.partition("::")[2].strip("/") for row in rows if row.startswith("0::")), "")
    here = root / place
    return [here, *(above for above in here.parents if above == root or root in above.parents)] if place else [root]


def _cgroup_cpus(root: Path) -> float | None:
    """CPU quota in CPUs, the tightest of cgroup v2's ``cpu.max`` and v1's ``cpu.cfs_quota_us``; None without one."""
    found: list[float] = []
    for group in _own_cgroups(root):
        words = _words(group / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            found.append(int(words[0]) / int(words[1]))
    quota, period = _words(root / "cpu" / "cpu.cfs_quota_us"), _words(root / "cpu" / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        found.append(int(quota[0]) / int(period[0]))
    return min(found, default=None)


def _cgroup_memory(root: Path) -> tuple[int, int]:
    """Limit and use in bytes of the tightest cgroup; (0, 0) without a limit."""
    found: list[tuple[int, int]] = []
    for group in _own_cgroups(root):
        limit, used = _words(group / "memory.max"), _words(group / "memory.current")
        if limit and used and limit[0] != "max":
            found.append((int(limit[0]), int(used[0])))
    v1 = root / "memory"
    limit, used = _words(v1 / "memory.limit_in_bytes"), _words(v1 / "memory.usage_in_bytes")
    # v1 says "no limit" as a number near 2**63.
    if limit and used and int(limit[0]) < 1 << 60:
        found.append((int(limit[0]), int(used[0])))
    return min(found, default=(0, 0))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _cpu_name() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def _instructions() -> tuple[str, ...]:
    if sys.platform == "darwin":
        arm = ("asimd",) if platform.machine() == "arm64" else ()
        return arm + tuple(name for key, name in _MAC_FLAGS.items() if _output("sysctl", "-n", key) == "1")
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    have = set(match[1].split()) if match else set()
    return tuple(flag for flag in _WANTED_FLAGS if flag in have)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def nvidia_gpus() -> tuple[Gpu, ...]:
    text = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
    return parse_nvidia(text)


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Rows of ``name, memory in MiB, driver``; a row that says otherwise is left out."""
    gpus: list[Gpu] = []
    for row in text.splitlines():
        words = [word.strip() for word in row.split(",")]
        if len(words) == 3 and words[1].isdigit():
            gpus.append(Gpu(words[0], int(words[1]) << 20, words[2]))
    return tuple(gpus)


def _output(program: str, *arguments: str) -> str:
    """What the program prints, empty where it is not there, fails or hangs."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=NVIDIA_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _engines() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("openvino-genai", "vllm", "sglang", "lmdeploy", "xllamacpp", "llama-cpp-python"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
