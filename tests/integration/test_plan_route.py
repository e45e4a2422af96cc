"""``POST /v1/plan``: the planner behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hubbub.app import running
from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.requests import plan_request
from hubbub.planner.service import PlanService
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
