"""Calibration against an engine whose speed is known: a server on loopback that answers at a set pace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hubbub.core.errors import BadRequest, EngineUnavailable
from hubbub.planner.calibrate import Point, measure, middle, points
from hubbub.planner.calibration import Sample, apply, calibrated, expected, fit_factors, keep, recall
from hubbub.planner.cases import Work
from hubbub.planner.closed_forms import figure
from hubbub.planner.detect import best_seen
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.step_time import Steps, table_of

CACHED = 30


@asynccontextmanager
async def engine(step_s: float, first_s: float) -> AsyncIterator[str]:
    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(first_s)
        for _ in range(body["max_tokens"]):
            await asyncio.sleep(step_s)
            chunk = json.dumps({"choices": [{"delta": {"content": "a"}}]})
            await response.write(f"data: {chunk}\n\n".encode())
        usage = {
            "prompt_tokens": len(body["messages"][0]["content"].split()) + CACHED,
            "completion_tokens": body["max_tokens"],
            "prompt_tokens_details": {"cached_tokens": CACHED},
        }
        await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
        return response

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=500, text="out of memory")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/broken/chat/completions", broken)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
def setup() -> Setup:
    return make_setup("SmolLM2-135M", "CPU", engine="llama.cpp")


async def test_points_are_measured_as_the_engine_paces_them() -> None:
    told: list[str] = []
    async with engine(0.01, 0.05) as url:
        samples = await measure(f"{url}v1", "m", [Point(1, 16, 10), Point(4, 32, 10)], told.append)
    assert [s.streams for s in samples] == [1, 4]
    assert samples[0].tokens_out == 10
    assert 0 < samples[0].tokens_in < CACHED, "what the prefix cache knew is not read"
    assert samples[0].ttft_s > 0.055
    assert samples[0].itl_s > 0.0095
    assert told[0].startswith("1/2: 1 streams")
    assert len([line for line in told if line.startswith("2/2")]) == 3


def test_of_several_measurements_the_median_counts() -> None:
    """A machine that others share is as often too fast for a moment as it is too slow."""
    rounds = [Sample(4, 30, 10, 0.2, 0.01, 90), Sample(4, 30, 10, 0.3, 0.02, 50), Sample(4, 60, 10, 0.9, 0.03, 40)]
    assert middle(rounds) == Sample(4, 30, 10, 0.3, 0.02, 50)
    assert middle(rounds[:2]) == Sample(4, 30, 10, 0.25, 0.015, 70)


async def test_an_engine_that_refuses_or_is_not_there_is_an_error_with_its_words() -> None:
    async with engine(0.001, 0.001) as url:
        with pytest.raises(EngineUnavailable, match="out of memory"):
            await measure(f"{url}broken", "m", [Point(1, 8, 4)], lambda _: None)
    with pytest.raises(EngineUnavailable, match="no engine answers"):
        await measure("http://127.0.0.1:9", "m", [Point(1, 8, 4)], lambda _: None)


def _samples(setup: Setup, slower: float) -> list[Sample]:
    """What the model itself says, ``slower`` times."""
    made = []
    for point in points(2048, slow=True):
        said = expected(setup, Sample(point.streams, point.tokens_in, point.tokens_out, 1.0, 1.0, 1.0))
        made.append(replace(said, ttft_s=said.ttft_s * slower, itl_s=said.itl_s * slower, rate=said.rate / slower))
    return made


def test_a_machine_the_table_knows_is_left_as_it_is(setup: Setup) -> None:
    logs, before, after = fit_factors(setup, _samples(setup, 1.0))
    assert np.max(np.abs(logs)) < 0.01
    assert np.max(np.abs(after)) <= np.max(np.abs(before)) + 1e-6


@pytest.mark.parametrize("slower", [0.5, 1.7, 4.0])
def test_a_slower_or_faster_machine_is_learnt_and_kept(setup: Setup, slower: float, tmp_path: Path) -> None:
    tuned, record = calibrated(setup, _samples(setup, slower), "abc", 4096)
    assert record.residual_after < 0.05 < record.residual_before
    path = keep(record, tmp_path)
    again = recall(setup, "abc", tmp_path)
    assert again.measured == "abc"
    assert path.name.startswith("abc-")
    work = Work("static", 64, 24, 1.0)
    for metric in ("itl_ms_mean", "output_tok_s_total"):
        values = []
        for one in (setup, tuned, again):
            case = one.case(work, metric)
            table = table_of([case])
            values.append(float(figure(metric, table, Steps(table, one.model.values([case])))[0]))
        ratio = slower if metric.startswith("itl") else 1 / slower
        assert values[1] / values[0] == pytest.approx(ratio, rel=0.1)
        assert values[2] == pytest.approx(values[1], rel=1e-6)
    assert recall(setup, "other", tmp_path).measured == ""
    assert apply(setup, record).model.bands["measured"][0] < 1


def test_one_point_is_too_few(setup: Setup) -> None:
    with pytest.raises(BadRequest, match="too few"):
        fit_factors(setup, _samples(setup, 1.0)[:1])


def test_the_plan_of_points_is_short() -> None:
    assert 6 <= len(points(4096, slow=False)) <= 10
    assert all(p.tokens_in + p.tokens_out <= 256 for p in points(256, slow=True))


def test_the_best_a_cpu_ever_showed_is_kept(tmp_path: Path) -> None:
    first = best_seen(tmp_path, "a processor", seconds=0.01)
    assert min(first) > 0
    (kept,) = tmp_path.glob("cpu-*.json")
    kept.write_text(json.dumps({"bandwidth_gbs": 9000.0, "tflops": 5000.0}), "utf-8")
    assert best_seen(tmp_path, "a processor", seconds=0.01) == (9000.0, 5000.0)
    kept.write_text("{cut short", "utf-8")
    assert 0 < best_seen(tmp_path, "a processor", seconds=0.01)[0] < 9000
