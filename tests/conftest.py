"""How long the property tests look, by ``HYPOTHESIS_PROFILE``: quick (what is typed by hand), thorough (``make test``),
deep (thousands of random cases, other ones each time). Asserts of the behaviours of engines say what they compared."""

from __future__ import annotations

import os
import sys

# Containers often set PYTHONDONTWRITEBYTECODE, with which pytest rewrites every module anew in every run: seconds.
sys.dont_write_bytecode = False

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

pytest.register_assert_rewrite("support.engine_behaviours")

settings.register_profile(
    "quick",
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=60)
settings.register_profile("deep", settings.get_profile("quick"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
