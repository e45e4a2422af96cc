"""Profiles of the simulated engine: what the planner says, and told well."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError
from hubbub.core.types import EngineId, RequestId
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.sim_batch import Batch, Pace
from hubbub.engines.sim_profiles import EXAMPLE, FILE, profile_of, profiles
from hubbub.engines.sim_prompt import Voice, parse_body, speech_of
from hubbub.engines.simulated import SimulatedOptions, build
from hubbub.engines.simulated_server import parse_options
from hubbub.planner.setup import make_setup, step_model

SCRIPT = Path(__file__).parents[3] / "scripts" / "sim_profiles.py"


def test_the_file_is_what_the_planner_says_now() -> None:
    assert FILE.read_bytes() == runpy.run_path(str(SCRIPT))["made"](), "run: python scripts/sim_profiles.py"


@pytest.mark.parametrize("batch", [1, 24, 100, 256])
def test_a_step_takes_as_long_as_the_planner_says(batch: int) -> None:
    model = step_model(make_setup("Qwen2.5-7B", "RTX 4090", quant="AWQ", engine="vllm"), 256)
    assert profile_of(EXAMPLE).pace.decode(batch) == pytest.approx(model.decode(batch, 0.0), rel=0.03)


def test_a_prompt_alone_takes_its_own_time() -> None:
    profile = profile_of(EXAMPLE)
    batch = Batch(Pace(steps=profile.steps, per_prefill_token=profile.per_prefill_token, jitter=0.0), 0)
    body = parse_body({"messages": [{"role": "user", "content": "word " * 999}]})
    batch.add(RequestId("r"), speech_of(body, Voice()), 0.0)
    assert batch.begin() == pytest.approx(1000 * profile.per_prefill_token, rel=0.05)


def test_beyond_its_points_a_step_grows_as_between_the_last_two() -> None:
    pace = Pace(steps=((1, 0.01), (2, 0.02), (4, 0.06)))
    assert [round(pace.decode(batch), 9) for batch in (0, 1, 2, 3, 4, 6)] == [0.01, 0.01, 0.02, 0.04, 0.06, 0.1]


@pytest.mark.parametrize("name", ["qwen2.5-7b awq on an RTX-4090", "Qwen2.5 7B AWQ on RTX4090"])
def test_names_as_people_write_them(name: str) -> None:
    assert profile_of(name).name == EXAMPLE


def test_flags_change_a_profile() -> None:
    engine = parse_options(["--profile", EXAMPLE, "--max-sequences", "8"]).engine
    assert engine.pace.steps == profile_of(EXAMPLE).steps
    assert (engine.pace.max_sequences, engine.voice.context_window) == (8, 32_768)
    assert parse_options([f"--profile={EXAMPLE}", "--step-ms", "3"]).engine.pace.decode(1) == pytest.approx(0.003)
    assert parse_options([]).engine.pace == Pace()


def test_one_that_is_not_there_lists_those_that_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--profile", "Qwen9"])
    told = capsys.readouterr().err
    assert all(profile.name in told for profile in profiles())
    spec = EngineSpec(EngineId("sim"), "simulated", tmp_path, options=SimulatedOptions(profile="Qwen9"))
    with pytest.raises(ConfigError, match=f"profile 'Qwen9' is not known; there is: {EXAMPLE}"):
        build(spec)
