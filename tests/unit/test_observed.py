"""What traffic shows of an engine's steps: medians of few classes."""

from __future__ import annotations

import math

import pytest

from hubbub.core.observed import KEPT, MOST_CLASSES, Observed, StepSeen


def test_a_class_answers_with_the_median_of_its_last_samples() -> None:
    seen = Observed()
    for seconds in (0.1, 0.1, 9.0, 0.1, 0.1):
        seen.learn(StepSeen(8, 500, 0, seconds))
    (step,) = seen
    assert (step.seconds, step.samples, step.sequences) == (0.1, 5, 8)
    for _ in range(KEPT):
        seen.learn(StepSeen(8, 500, 0, 0.2))
    (step,) = seen
    assert (step.seconds, step.samples) == (0.2, KEPT)


def test_little_work_and_much_are_kept_apart_and_few_samples_say_nothing() -> None:
    seen = Observed()
    for sequences, read in ((1, 0), (64, 0), (64, 200), (0, 200)):
        for _ in range(3):
            seen.learn(StepSeen(sequences, 100, read, 0.01))
    seen.learn(StepSeen(16, 100, 0, 0.01))
    assert [(s.sequences, s.read) for s in seen] == [(0, 200), (1, 0), (64, 0), (64, 200)]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_step_of_no_time_is_none(seconds: float) -> None:
    seen = Observed()
    for _ in range(5):
        seen.learn(StepSeen(1, 1, 1, seconds))
    assert list(seen) == []


def test_classes_are_bounded() -> None:
    seen = Observed()
    for sequences in range(40):
        for read in range(40):
            for _ in range(3):
                seen.learn(StepSeen(2.0**sequences, 1, 2.0**read, 0.01))
    assert len(list(seen)) == MOST_CLASSES
