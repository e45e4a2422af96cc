"""``POST /v1/plan``: the planner behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hubbub.app import running
from hubbub.core.config import SchedulerConfig
from hubbub.core.errors import BadRequest, NotFound
from hubbub.core.events import EngineUp
from hubbub.core.observed import StepSeen
from hubbub.core.pace import Pace
from hubbub.core.scheduler import Scheduler
from hubbub.core.types import EngineId, EngineState
from hubbub.planner.live import PlannerConfig, Refiner, Runs
from hubbub.planner.requests import plan_request
from hubbub.planner.service import PlanService
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.telemetry import Telemetry
from hubbub.settings import load


@pytest.fixture
async def planner() -> AsyncIterator[PlanService]:
    service = PlanService()
    yield service
    await service.close()


async def test_the_route_answers_what_the_planner_says(tmp_path: Path) -> None:
    flags = {"server.port": 0, "server.data": str(tmp_path), "engine.kind": "simulated"}
    body = {"kind": "memory", "model": "Qwen3-0.6B", "hardware": "RTX 4090", "context": 8192}
    async with running(load(flags, environ={}).settings) as (_, url), aiohttp.ClientSession() as http:
        async with http.post(f"{url}/v1/plan", json=body) as response:
            assert (response.status, await response.json()) == (200, plan_request(body))
        for wrong, field in (
            ({"kind": "memory", "model": "/etc/passwd"}, "model"),
            ({"kind": "memory", "model": "No-Such-Model"}, "model"),
            ({"kind": "memory", "hardware": "RTX 9999"}, "hardware"),
            ({"kind": "corpus", "bytes": "-1", "hardware": "H100"}, "bytes"),
            ({"kind": "chats", "chats": -1}, "chats"),
            ({"kind": "fortune"}, "kind"),
            ({"colour": "red"}, "colour"),
        ):
            async with http.post(f"{url}/v1/plan", json=wrong) as response:
                error = (await response.json())["error"]
                assert response.status in (400, 404), error
                assert error["param"] == field, error


def test_what_can_be_chosen_can_be_planned_with() -> None:
    offered = plan_request({"kind": "choices"})
    model, card = offered["models"][0], offered["hardware"][0]
    asked = {"model": model["name"], "hardware": card["name"], "quant": offered["quants"][-1], "context": 512}
    plan = plan_request(asked)
    assert plan["model"] == model["name"]
    assert plan["card_memory"]["value"] == card["memory"]
    assert "ru" in offered["languages"]
    assert offered["here"]


async def test_one_wrong_plan_does_not_harm_the_next(planner: PlanService) -> None:
    with pytest.raises(NotFound):
        await planner.answer({"model": "No-Such-Model"})
    with pytest.raises(BadRequest):
        await planner.answer({"kind": "chats", "hardware": "H100", "think": "long"})
    body = {"model": "Qwen3-0.6B", "hardware": "H100"}
    assert await planner.answer(body) == plan_request(body)


async def test_a_plan_without_end_costs_the_process_and_not_the_planner() -> None:
    hasty = PlanService(patience_s=0.001)
    try:
        with pytest.raises(BadRequest, match="takes longer"):
            await hasty.answer({"kind": "compare"})
    finally:
        await hasty.close()


def _dispatcher() -> tuple[Dispatcher, Pace]:
    """One whose scheduler has met an engine."""
    dispatcher = Dispatcher((), Scheduler(SchedulerConfig()), SystemClock(), Telemetry())
    state = EngineState(("smollm2",), 4096, 64, 100_000, prefix_cache=True)
    dispatcher.states[EngineId("e")] = state
    dispatcher.scheduler.handle(EngineUp(EngineId("e"), state), 0.0)
    pace = dispatcher.scheduler.pace_of(EngineId("e"))
    assert pace is not None
    return dispatcher, pace


async def test_a_server_tells_its_planner_and_begins_with_what_it_told(tmp_path: Path) -> None:
    planner = PlanService(calibrations=tmp_path)
    runs, config = {EngineId("e"): Runs("", "openvino")}, PlannerConfig(refine_seconds=1e9)
    try:
        dispatcher, pace = _dispatcher()
        first = Refiner(planner, dispatcher, runs, SystemClock(), config)
        await first.start()
        assert (pace.ttft.samples, planner.has_records()) == (0, False)
        await first.refine()
        assert not planner.has_records()  # nothing was seen yet
        for sequences in (1, 4, 16, 64):
            for _ in range(5):
                pace.observer.seen.learn(StepSeen(sequences, 300, 0, 0.02 + 0.002 * sequences))
        await first.refine()
        await first.close()
        assert planner.has_records()

        dispatcher, pace = _dispatcher()
        second = Refiner(planner, dispatcher, runs, SystemClock(), config)
        await second.start()
        assert pace.first_token(256) > pace.first_token(16) > 0
        await second.close()
        plan = await planner.answer({"kind": "chats", "model": "SmolLM2-135M", "chats": 4, "search": False})
        assert plan["tokens_s"]["provenance"] == "measured here"
    finally:
        await planner.close()


async def test_an_engine_the_planner_does_not_know_is_left_alone(tmp_path: Path) -> None:
    planner = PlanService(calibrations=tmp_path)
    dispatcher, pace = _dispatcher()
    refiner = Refiner(planner, dispatcher, {EngineId("e"): Runs("mystery", "openvino")}, SystemClock(), PlannerConfig())
    try:
        for sequences in (1, 4, 16, 64):
            for _ in range(5):
                pace.observer.seen.learn(StepSeen(sequences, 300, 0, 0.02))
        await refiner.refine()
        await refiner.refine()
        assert not planner.has_records()
    finally:
        await planner.close()
