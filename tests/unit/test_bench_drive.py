"""Streams straight at the twin of the Engine port, and engines side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from hubbub.bench.drive import Driven, Work, drive
from hubbub.bench.stand import Stand
from hubbub.core.errors import EngineError, EngineUnavailable
from hubbub.core.types import EngineId
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultKind, FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.ports import Engine

QUICK = Pace(base=1e-4, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, max_sequences=4)
BRIEF = Voice(output_median=6, output_sigma=0.0)


async def started(*faults: FaultRule, pace: Pace = QUICK) -> SimulatedEngine:
    engine = SimulatedEngine(EngineId("e"), SimulatedConfig(BRIEF, pace, faults))
    await engine.start()
    return engine


async def test_every_chat_asks_every_turn_and_the_second_is_cached() -> None:
    engine = await started()
    seen = await drive(engine, Work(streams=6, tokens=8, seed=1, turns=2))
    await engine.close()
    assert engine.requests == 12
    assert [turn.ttft.count for turn in seen.turns] == [6, 6]
    assert seen.ttft.count == 12
    assert seen.output_tokens == engine.output_tokens > 12
    assert seen.itl.count == seen.output_tokens - 12
    assert seen.turns[1].cached_tokens > seen.turns[1].input_tokens / 2
    assert seen.tokens_per_s > 0


async def test_broken_off_it_tells_what_came_until_then() -> None:
    engine = await started(FaultRule(FaultKind.HANG, after_tokens=3))
    seen = Driven()
    driving = asyncio.create_task(drive(engine, Work(streams=6, tokens=8, seed=1, turns=2), seen))
    while not (seen.turns and seen.turns[0].ttft.count):
        await asyncio.sleep(0)
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    assert [turn.wanted for turn in seen.turns] == [6, 0]
    assert 0 < seen.turns[0].ttft.count <= QUICK.max_sequences
    assert seen.output_tokens >= seen.turns[0].ttft.count
    assert seen.wall_s > 0
    state = await engine.state()
    assert (state.running, state.waiting) == (0, 0)
    await engine.close()


async def test_never_more_in_flight_than_it_decodes_together() -> None:
    engine = await started()
    most = 0

    class Watched(SimulatedEngine):
        def submit(self, request: Any, sink: Any) -> None:
            nonlocal most
            super().submit(request, sink)
            most = max(most, len(self._open))

    watched = Watched(EngineId("w"), engine.config)
    await watched.start()
    await drive(watched, Work(streams=20, tokens=4, seed=1))
    await watched.close()
    await engine.close()
    assert most == QUICK.max_sequences


async def test_an_error_ends_it_with_nothing_in_flight() -> None:
    engine = await started(FaultRule(FaultKind.GARBAGE, after_tokens=2))
    with pytest.raises(EngineError):
        await drive(engine, Work(streams=4, tokens=8, seed=1))
    state = await engine.state()
    assert (state.running, state.waiting) == (0, 0)
    await engine.close()


async def test_the_engine_asked_longest_ago_makes_room() -> None:
    made: list[SimulatedEngine] = []

    async def make(setting: Mapping[str, Any], name: str) -> Engine:
        made.append(SimulatedEngine(EngineId(name), SimulatedConfig(BRIEF, QUICK)))
        return made[-1]

    async def alive() -> list[str]:
        names = []
        for engine in made:
            try:
                await engine.state()
            except EngineUnavailable:
                continue
            names.append(str(engine.id))
        return names

    stand = Stand(make, 60.0)
    await stand.measure({}, 0, 1, 1)
    await stand.measure({"a": 1}, 0, 1, 1)
    await stand.measure({}, 0, 1, 2)
    assert await alive() == ["tune-1", "tune-2"]
    speed = await stand.measure({"a": 2}, 0, 2, 2)
    assert await alive() == ["tune-1", "tune-3"]
    assert speed.tokens_per_s > 0
    await stand.close()
    assert await alive() == []

    alone = Stand(make, 60.0, fits=lambda _engine: False)
    await alone.measure({}, 0, 1, 1)
    await alone.measure({"a": 1}, 0, 1, 1)
    assert await alive() == ["tune-2"]
    await alone.close()


async def test_a_measurement_without_end_is_broken_off() -> None:
    async def make(setting: Mapping[str, Any], name: str) -> Engine:
        # The warm-up's two requests are answered, then it hangs.
        hang = FaultRule(FaultKind.HANG, after_tokens=4)
        return SimulatedEngine(EngineId(name), SimulatedConfig(BRIEF, QUICK, (hang,)))

    stand = Stand(make, 0.05)
    with pytest.raises(EngineUnavailable, match=r"1 streams take more than 0.05 s: give more time"):
        await stand.measure({}, 0, 1, 1)
    await stand.close()
