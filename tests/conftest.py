<<<<<<< HEAD
"""How long the property tests look, by ``HYPOTHESIS_PROFILE``: quick (what is typed by hand), thorough (``make test``),
deep (thousands of random cases, other ones each time)."""
=======
"""Profiles of the property tests: ``HYPOTHESIS_PROFILE=deep`` looks longer than every run can afford. Asserts of the
behaviours of engines say what they compared."""
>>>>>>> vllm

from __future__ import annotations

import os
import sys

<<<<<<< HEAD
# Containers often set PYTHONDONTWRITEBYTECODE, with which pytest rewrites every module anew in every run: seconds.
sys.dont_write_bytecode = False

from hypothesis import HealthCheck, settings  # noqa: E402
=======
import pytest
from hypothesis import HealthCheck, settings
>>>>>>> vllm

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
