"""The simulated engine as a supervised process: faults through a whole process, a connection and a restart."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hubbub.core.errors import EngineError, EngineLost, EngineUnavailable
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineId,
    EngineState,
    Message,
    Request,
    RequestId,
    Role,
    Sampling,
    UserId,
)
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.simulated import SimulatedProcessEngine

FLAGS = ("--step-ms", "2", "--sequence-ms", "0", "--output-median", "3000", "--output-sigma", "0")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SimulatedProcessEngine]:
    engine = SimulatedProcessEngine(EngineId("simulated"), tmp_path, FLAGS)
    await engine.start()
    yield engine
    await engine.close()


def request(name: str, tokens: int = 20) -> Request:
    messages = (Message(Role.USER, f"Speak, {name}."),)
    sampling = Sampling(max_tokens=tokens)
    return Request(RequestId(name), UserId("u"), ChatId("c"), "", 5, messages=messages, sampling=sampling)


class Ear:
    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.spoke = asyncio.Event()
        self.ended = asyncio.Event()

    def __call__(self, _request: RequestId, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.spoke.set()
        if chunk.last:
            self.ended.set()

    async def end(self) -> Chunk:
        await asyncio.wait_for(self.ended.wait(), 30)
        return self.chunks[-1]


async def back(engine: SimulatedProcessEngine) -> EngineState:
    async with asyncio.timeout(30):
        while True:
            try:
                return await engine.state()
            except EngineUnavailable:
                await asyncio.sleep(0.02)


def url_of(engine: SimulatedProcessEngine) -> str:
    return f"http://127.0.0.1:{engine.supervisor.status.launch['port']}"


async def set_faults(url: str, *rules: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as http, http.post(url + "/faults", json={"rules": rules}) as answer:
        assert answer.status == 200, await answer.text()


async def test_killed_with_9_all_in_flight_is_lost_and_it_comes_back(engine: SimulatedProcessEngine) -> None:
    ears = [Ear() for _ in range(3)]
    for i, ear in enumerate(ears):
        engine.submit(request(f"r{i}", 2000), ear)
    for ear in ears:
        await asyncio.wait_for(ear.spoke.wait(), 30)
    pid = engine.supervisor.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for ear in ears:
        assert isinstance((await ear.end()).error, EngineLost)
    assert (await back(engine)).running == 0
    assert engine.supervisor.restarts == 1
    ear = Ear()
    engine.submit(request("again"), ear)
    assert (await ear.end()).error is None


async def test_a_crash_on_demand_exits_with_137(engine: SimulatedProcessEngine) -> None:
    await set_faults(url_of(engine), {"kind": "crash", "after_tokens": 3})
    ear = Ear()
    engine.submit(request("r"), ear)
    assert isinstance((await ear.end()).error, EngineLost)
    assert sum(chunk.tokens for chunk in ear.chunks) <= 3
    await back(engine)
    assert engine.supervisor.restarts == 1


async def test_a_hang_is_noticed_though_health_is_good(tmp_path: Path) -> None:
    engine = SimulatedProcessEngine(EngineId("simulated"), tmp_path, (*FLAGS, "--fault", "hang:after_tokens=2"))
    engine.frames.silence_s = 0.3
    try:
        await engine.start()
        ear = Ear()
        engine.submit(request("r"), ear)
        error = (await ear.end()).error
        assert isinstance(error, EngineLost)
        assert "said nothing for 0.3 s" in error.message
        await back(engine)
        assert engine.supervisor.restarts == 1  # a hung process is killed
    finally:
        await engine.close()


async def test_garbage_in_a_frame_loses_the_connection_not_the_engine(engine: SimulatedProcessEngine) -> None:
    await set_faults(url_of(engine), {"kind": "garbage", "after_tokens": 2, "times": 1})
    ear = Ear()
    engine.submit(request("r"), ear)
    assert isinstance((await ear.end()).error, EngineLost)
    await back(engine)
    assert engine.supervisor.restarts == 0
    again = Ear()
    engine.submit(request("again"), again)
    assert (await again.end()).error is None


@pytest.mark.parametrize(
    ("rule", "kind", "words"),
    [
        ({"kind": "cut", "after_tokens": 4}, EngineLost, "broke off"),
        ({"kind": "garbage", "after_tokens": 4}, EngineError, "cannot be read"),
        ({"kind": "unavailable", "retry_after": 7}, EngineUnavailable, "takes nothing now"),
    ],
)
async def test_faults_over_sse(
    engine: SimulatedProcessEngine, rule: dict[str, Any], kind: type[EngineError], words: str
) -> None:
    wire = OpenAIWireEngine(EngineId("wire"), WireConfig(url_of(engine)))
    try:
        await wire.start()
        await set_faults(url_of(engine), rule)
        ear = Ear()
        wire.submit(request("r"), ear)
        error = (await ear.end()).error
        assert type(error) is kind
        assert words in error.message
        assert sum(chunk.tokens for chunk in ear.chunks) == rule.get("after_tokens", 0)
        assert error.retry_after == rule.get("retry_after", error.retry_after)
    finally:
        await wire.close()


async def test_silence_of_a_stream_over_sse(engine: SimulatedProcessEngine) -> None:
    wire = OpenAIWireEngine(EngineId("wire"), WireConfig(url_of(engine), silence_s=0.2))
    try:
        await wire.start()
        await set_faults(url_of(engine), {"kind": "hang", "after_tokens": 2})
        ear = Ear()
        wire.submit(request("r"), ear)
        error = (await ear.end()).error
        assert isinstance(error, EngineLost)
        await wire.state()  # health is good all along
    finally:
        await wire.close()


async def test_slow_start_is_waited_for(tmp_path: Path) -> None:
    engine = SimulatedProcessEngine(EngineId("simulated"), tmp_path, ("--slow-start", "0.5"))
    try:
        state = await engine.start()
        assert state.models == ("simulated",)
    finally:
        await engine.close()
    assert engine.supervisor.status.pid is None


async def test_a_wrong_flag_is_told(tmp_path: Path) -> None:
    engine = SimulatedProcessEngine(EngineId("simulated"), tmp_path, ("--fault", "explode"))
    try:
        with pytest.raises(EngineUnavailable, match="kinds are hang, crash"):
            await engine.start()
    finally:
        await engine.close()
