"""This machine's record: refined by what a server's traffic showed, bounded, and the same model that begins its queue
estimates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hubbub.core.errors import BadRequest
from hubbub.core.observed import StepSeen
from hubbub.core.pace import Pace
from hubbub.core.types import EngineId
from hubbub.planner.calibration import TUNED, Calibration, Sample, apply, keep, kept_record, recall, refined
from hubbub.planner.refine import points_of
from hubbub.planner.setup import Setup, StepModel, make_setup, step_model
from hubbub.planner.simulate import Chats, Simulation


@pytest.fixture(scope="module")
def setup() -> Setup:
    return make_setup("SmolLM2-135M", "CPU", engine="openvino")


def seen_by(model: StepModel, slower: float = 1.0) -> list[StepSeen]:
    """What traffic would show of an engine of this model, ``slower`` times."""
    steps = [
        StepSeen(n, context, 0.0, slower * model.decode(n, n * context), 32)
        for n in (1, 4, 16, 64)
        for context in (200, 800)
    ]
    steps += [StepSeen(n, 300, 40, slower * (model.decode(n, n * 300) + model.prompt(40)), 32) for n in (4, 16)]
    return steps


def decode_of(setup: Setup, sequences: int) -> float:
    return step_model(setup, 64).decode(sequences, sequences * 400)


def test_an_engine_of_another_speed_is_learnt(setup: Setup) -> None:
    record = refined(setup, seen_by(step_model(setup, 64), slower=1.6), "f")
    assert record.residual_before > 0.3
    assert record.residual_after < 0.06
    for sequences in (1, 8, 64):
        ratio = decode_of(apply(setup, record), sequences) / decode_of(setup, sequences)
        assert ratio == pytest.approx(1.6, rel=0.12)


def test_one_wild_class_moves_little(setup: Setup) -> None:
    steps = seen_by(step_model(setup, 64), slower=1.3)
    steps[0] = replace(steps[0], seconds=steps[0].seconds * 50)
    ratio = decode_of(apply(setup, refined(setup, steps, "f")), 16) / decode_of(setup, 16)
    assert ratio == pytest.approx(1.3, rel=0.15)


def test_no_factor_goes_further_than_four_times_from_what_was_measured(setup: Setup) -> None:
    sample = Sample(1, 16.0, 24.0, 0.1, 0.02, 40.0)
    kept = Calibration("f", setup.name, (1.2,) * 6, 0, 0, 0, (sample,), engine="openvino", measured=(1.2,) * 6)
    for slower in (1e-4, 1e4):
        record = refined(setup, seen_by(step_model(setup, 64), slower), "f", kept)
        assert all(1.2 / 4.001 <= factor <= 1.2 * 4.001 for factor in record.factors)
        assert record.measured == pytest.approx(kept.measured)


def test_too_few_kinds_of_steps_are_an_error(setup: Setup) -> None:
    with pytest.raises(BadRequest, match="too few"):
        refined(setup, seen_by(step_model(setup, 64))[:2], "f")


def test_a_simulated_server_shows_the_planner_its_engine(setup: Setup) -> None:
    """The core's scheduler on virtual time before an engine 1.5 times as slow as published: its traffic tells."""
    slow = apply(setup, Calibration("f", setup.name, (1.5,) * len(TUNED), 0, 0, 0, engine="openvino"))
    talk = Simulation(slow, Chats(count=24, think_s=3.0, answer=120, context=2048), seed=3)
    talk.run(requests=300, warmup=50)
    pace = talk.scheduler.pace_of(EngineId("e0"))
    assert pace is not None
    record = refined(setup, list(pace.observer.seen), "f")
    assert record.residual_after < record.residual_before / 2
    for sequences in (4, 12):
        ratio = decode_of(apply(setup, record), sequences) / decode_of(slow, sequences)
        assert ratio == pytest.approx(1.0, rel=0.15)


def test_queue_estimates_begin_with_the_record(setup: Setup) -> None:
    points, pace = points_of(setup), Pace()
    pace.begin_at(points)
    model = step_model(setup, 80)
    alone = model.mixed(1, 256, model.prompt(256), 1) + model.request_s
    assert pace.ttft.at((256.0, 0.0)) == pytest.approx(alone, rel=0.35)
    before = pace.ttft.at((256.0, 0.0))
    pace.begin_at([((1.0, 1.0), 99.0)])
    assert pace.ttft.at((256.0, 0.0)) == before


def test_records_are_kept_whole_and_a_broken_one_is_none(setup: Setup, tmp_path: Path) -> None:
    record = refined(setup, seen_by(step_model(setup, 64), slower=2.0), "mine")
    path = keep(record, tmp_path)
    assert kept_record(setup, "mine", tmp_path) == record
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert recall(setup, "other", tmp_path).measured == ""
    data = json.loads(path.read_text("utf-8"))
    for broken in ("{", "[]", json.dumps(data | {"factors": [1.0]}), json.dumps(data | {"samples": [1]})):
        path.write_text(broken, "utf-8")
        assert kept_record(setup, "mine", tmp_path) is None
        assert recall(setup, "mine", tmp_path).measured == ""


def test_another_model_borrows_the_machines_record_with_wider_bands(setup: Setup, tmp_path: Path) -> None:
    keep(refined(setup, seen_by(step_model(setup, 64), slower=2.0), "mine"), tmp_path)
    bigger = make_setup("SmolLM2-360M", "CPU", engine="openvino")
    found = recall(bigger, "mine", tmp_path)
    assert found.measured == "mine"
    assert decode_of(found, 8) / decode_of(bigger, 8) == pytest.approx(2.0, rel=0.25)
    own, other = recall(setup, "mine", tmp_path), found
    assert np.ptp(other.model.bands["measured"]) > np.ptp(own.model.bands["measured"])
    llama = make_setup("SmolLM2-135M", "CPU", engine="llama.cpp")
    assert recall(llama, "mine", tmp_path).measured == ""
