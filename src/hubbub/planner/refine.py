"""One model for a running server: its traffic refines this machine's record, the record begins its queue estimates.

``refine`` and ``beginning`` are asked in the planner's process (``worker``), so that no fit stands in a chat's way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubbub.core.observed import StepSeen
from hubbub.planner.api import published_here, setup_here
from hubbub.planner.calibration import keep, kept_record, refined
from hubbub.planner.detect import best_kept, cpu_name
from hubbub.planner.setup import Setup, step_model

TOKENS, BULK = (16, 64, 256, 1024), (0, 4, 16)
MOST = 80
"""Sequences that the engine decodes together, where the record is asked."""
CONTEXT = 512
"""Tokens behind one who speaks, where the record is asked how fast that goes."""
STEPS_WAITED = 1.5
"""As ``core.pace`` has it: half of the step under way, and the one that reads."""

Points = list[tuple[tuple[float, float], float]]


def refine(model: str, engine: str, steps: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """Keep what a server's traffic showed. Raises NotFound (no such model) or BadRequest (too few steps)."""
    timed = best_kept(folder, cpu_name()) != (0.0, 0.0)
    published, found = published_here(model, engine=engine, measure=not timed, folder=folder)
    kept = kept_record(published, found.fingerprint, folder)
    record = refined(published, [StepSeen(**step) for step in steps], found.fingerprint, kept)
    keep(record, folder)
    return {"setup": record.setup, "before": record.residual_before, "after": record.residual_after}


def beginning(model: str, engine: str, folder: Path) -> Points:
    """Points that ``core.pace`` begins with: seconds to the first token by (tokens to read, bulk beside). None where
    nothing was measured here: nobody is refused on a guess. Raises NotFound."""
    setup = setup_here(model, engine=engine, measure=False, folder=folder)
    return points_of(setup) if setup.measured else []


def points_of(setup: Setup) -> Points:
    model = step_model(setup, MOST)

    def step(sequences: int) -> float:
        return model.decode(sequences, sequences * CONTEXT) if sequences else 0.0

    def first(tokens: int) -> float:
        return model.mixed(1, tokens, model.prompt(tokens), 1) + model.request_s

    return [((float(t), float(b)), first(t) + STEPS_WAITED * step(b)) for t in TOKENS for b in BULK]
