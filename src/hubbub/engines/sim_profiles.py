"""Real setups that the simulated engine can be as fast and as large as, by name.

``sim_profiles.json`` is made by ``scripts/sim_profiles.py`` from the planner's step times, so that what is tried out
against a profile is what ``hubbub plan`` predicts for it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import msgspec

from hubbub.core.errors import BadRequest
from hubbub.engines.sim_batch import Pace

FILE = Path(__file__).parent / "data" / "sim_profiles.json"
EXAMPLE = "Qwen2.5-7B AWQ on RTX 4090"
JITTER = 0.05


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``steps``: seconds of a step that decodes so many sequences with nothing to read; ``per_context_token`` and
    ``per_prefill_token``: what each token read adds, in seconds. ``batch_tokens``: tokens of a step at most."""

    name: str
    engine: str
    context_window: int
    max_sequences: int
    kv_tokens: int
    batch_tokens: int
    steps: tuple[tuple[int, float], ...]
    per_context_token: float
    per_prefill_token: float

    @property
    def pace(self) -> Pace:
        return Pace(
            base=self.steps[0][1],
            per_sequence=0.0,
            per_context_token=self.per_context_token,
            per_prefill_token=self.per_prefill_token,
            jitter=JITTER,
            max_sequences=self.max_sequences,
            kv_tokens=self.kv_tokens,
            batch_tokens=self.batch_tokens,
            steps=self.steps,
        )


@cache
def profiles() -> tuple[Profile, ...]:
    return msgspec.json.decode(FILE.read_bytes(), type=tuple[Profile, ...])


def profile_of(name: str) -> Profile:
    """Spaces, dashes, case and articles do not matter. Raises BadRequest that lists those there are."""
    wanted = _plain(name)
    for profile in profiles():
        if _plain(profile.name) == wanted:
            return profile
    there = "; ".join(profile.name for profile in profiles())
    raise BadRequest(f"profile {name!r} is not known; there is: {there}", param="profile")


def _plain(name: str) -> str:
    words = re.findall(r"[a-z0-9.]+", name.casefold())
    return "".join(word for word in words if word not in ("a", "an", "the"))
