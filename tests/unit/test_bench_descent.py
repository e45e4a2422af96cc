"""What is tuned, and when the defaults stay: on a machine that is made up, with a clock of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hubbub.bench.descent import Choice, Descent, Noise, Speed, Tuned
from hubbub.core.errors import EngineUnavailable

CHOICES = [Choice("threads", (1,)), Choice("batch", (512, 1024))]
STREAMS = (1, 8, 50)


@dataclass
class Machine:
    """``speed``: from a setting and a number of streams to how many times as fast as the defaults it is. A token takes
    a hundredth of a second; ``start_s`` an engine that was not asked just before."""

    speed: Callable[[Mapping[str, Any], int], float] = lambda _setting, _streams: 1.0
    ttft: Callable[[Mapping[str, Any]], float] = lambda _setting: 1.0
    spread: float = 0.01
    start_s: float = 0.5
    now: float = 100.0
    asked: list[tuple[dict[str, Any], int, int]] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(4))

    async def measure(self, setting: Mapping[str, Any], copy: int, streams: int, number: int) -> Speed:
        first = (setting, copy) not in [(before, same) for before, same, _ in self.asked]
        self.asked.append((dict(setting), copy, number))
        times = self.speed(setting, streams) * self.dice.gauss(1.0, self.spread)
        seconds = 0.05 * streams**0.5 / times
        self.now += seconds + self.start_s * first
        return Speed(streams * 20 / seconds, 0.1 * self.ttft(setting), seconds)

    async def tuned(self, seconds: float = 300.0, present: dict[str, Any] | None = None) -> Tuned:
        return await Descent(CHOICES, STREAMS, seconds, self.measure, lambda: self.now).run(present)


async def test_nothing_faster_keeps_the_defaults() -> None:
    tuned = await Machine().tuned()
    assert tuned.setting == {}
    assert not tuned.untried


async def test_what_is_faster_is_found_and_proved_apart() -> None:
    machine = Machine(lambda setting, _: 1.3 if setting.get("batch") == 1024 else 0.9 if "threads" in setting else 1.0)
    tuned = await machine.tuned()
    assert tuned.setting == {"batch": 1024}
    assert tuned.proof is not None
    assert tuned.proof.gain == pytest.approx(1.3, rel=0.05)
    assert not any(tuned.proof is trial for trial in tuned.trials)


async def test_settings_that_only_help_together_with_the_first_are_found_by_going_round_again() -> None:
    def speed(setting: Mapping[str, Any], _streams: int) -> float:
        batch = setting.get("batch") == 512
        return (1.2 if batch else 1.0) * (
            1.25 if batch and "threads" in setting else 0.8 if "threads" in setting else 1
        )

    tuned = await Machine(speed).tuned()
    assert tuned.setting == {"batch": 512, "threads": 1}


async def test_a_gain_within_the_noise_is_none() -> None:
    assert (await Machine(lambda setting, _: 1.05 if setting else 1.0, spread=0.1).tuned()).setting == {}


async def test_faster_for_many_and_slower_for_one_is_not_taken() -> None:
    tuned = await Machine(lambda setting, streams: (2.0 if streams > 1 else 0.7) if setting else 1.0).tuned()
    assert tuned.setting == {}


async def test_later_first_tokens_are_not_taken() -> None:
    tuned = await Machine(lambda setting, _: 1.5 if setting else 1.0, lambda setting: 2.0 if setting else 1.0).tuned()
    assert tuned.setting == {}


async def test_each_measurement_has_its_pair_of_the_same_round() -> None:
    machine = Machine(lambda setting, _: 1.3 if "batch" in setting else 1.0)
    await machine.tuned()
    after = machine.asked[len(STREAMS) :]
    assert len(after) % 2 == 0
    for one, other in zip(after[::2], after[1::2], strict=True):
        assert one[2] == other[2]
        assert ({}, 0) in [one[:2], other[:2]]
    assert {pair[0][:2] == ({}, 0) for pair in zip(after[::2], after[1::2], strict=True)} == {True, False}


async def test_a_lucky_trial_is_not_believed() -> None:
    """Fast in its trial, not when it is measured again."""
    rounds: list[int] = []
    machine = Machine()

    def speed(setting: Mapping[str, Any], _streams: int) -> float:
        if setting.get("batch") != 512:
            return 1.0
        number = machine.asked[-1][2]
        if number not in rounds:
            rounds.append(number)
        return 1.5 if len(rounds) <= 2 else 1.0

    machine.speed = speed
    tuned = await machine.tuned()
    assert tuned.setting == {}
    assert tuned.proof is not None
    assert tuned.proof.setting == {"batch": 512}


async def test_the_time_is_kept_and_what_was_not_tried_is_told() -> None:
    machine = Machine(lambda setting, _: 1.3 if "batch" in setting else 1.0, start_s=2.0)
    began = machine.now
    tuned = await machine.tuned(seconds=16.0)
    assert tuned.untried
    assert machine.now - began <= 16.0


async def test_numbers_of_streams_that_take_too_long_are_left_out() -> None:
    machine = Machine(lambda _setting, streams: 1.0 if streams < 50 else 0.005)
    tuned = await machine.tuned(seconds=60.0)
    assert tuned.left_out == (50,)
    assert set(tuned.noise.speed) == {1, 8}


async def test_a_setting_that_does_not_run_is_passed_over() -> None:
    def speed(setting: Mapping[str, Any], _streams: int) -> float:
        if setting.get("batch") == 1024:
            raise EngineUnavailable("out of memory")
        return 1.3 if setting.get("batch") == 512 else 1.0

    tuned = await Machine(speed).tuned()
    assert tuned.setting == {"batch": 512}
    assert [trial.trouble for trial in tuned.trials if trial.setting == {"batch": 1024}] == ["out of memory"]


async def test_defaults_that_do_not_run_are_an_error() -> None:
    def speed(setting: Mapping[str, Any], _streams: int) -> float:
        raise EngineUnavailable("no such model")

    with pytest.raises(EngineUnavailable, match="no such model"):
        await Machine(speed).tuned()


async def test_what_is_set_now_is_tried_first_and_built_upon() -> None:
    machine = Machine(lambda setting, _: 1.3 if "threads" in setting else 1.0)
    tuned = await machine.tuned(present={"threads": 1})
    assert tuned.trials[0].setting == {"threads": 1}
    assert tuned.setting == {"threads": 1}
    assert tuned.present is tuned.trials[0]


async def test_the_noise_of_a_machine_that_others_use_is_its_own() -> None:
    tuned = await Machine(spread=0.2).tuned()
    assert isinstance(tuned.noise, Noise)
    assert tuned.noise.overall > 0.03
    assert tuned.setting == {}
