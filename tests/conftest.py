"""How long the property tests look, by ``HYPOTHESIS_PROFILE``: quick (what is typed by hand), thorough (``make test``),
deep (thousands of random cases, other ones each time). Asserts of the behaviours of engines say what they compared."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

# Containers often set PYTHONDONTWRITEBYTECODE, with which pytest rewrites every module anew in every run: seconds.
sys.dont_write_bytecode = False

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

pytest.register_assert_rewrite("support.engine_behaviours")

QUICK_TIERS = {"unit", "property", "contract"}
MEMORY_DISK = Path("/dev/shm")
ROOM_BYTES = 1 << 30


def are_quick(config: pytest.Config) -> bool:
    """Whether tests of the quick tiers alone were asked for."""
    tests = Path(__file__).parent
    tiers = {
        Path(arg.partition("::")[0]).absolute().relative_to(tests).parts[:1]
        for arg in config.args
        if tests in Path(arg).absolute().parents
    }
    return bool(tiers) and tiers <= {(tier,) for tier in QUICK_TIERS}


def pytest_configure(config: pytest.Config) -> None:
    """The quick tiers keep their files in memory where there is room: half of their time was spent on a disk. And they
    seldom look for garbage: what is imported and collected is none."""
    if not are_quick(config):
        return
    gc.set_threshold(50_000, 50, 50)
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


def pytest_collection_finish(session: pytest.Session) -> None:
    if are_quick(session.config):
        gc.freeze()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The quick tiers are spread over the cores; what starts servers of its own has the machine to itself."""
    return os.cpu_count() or 1 if are_quick(config) else 0


settings.register_profile(
    "quick",
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=30)
settings.register_profile("deep", settings.get_profile("quick"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
