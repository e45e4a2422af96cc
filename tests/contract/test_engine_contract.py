"""What every engine adapter does, over engines in this process. The real ones: tests/integration/engines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hubbub.core.types import EngineId
from hubbub.engines import remote
from hubbub.engines.frames import FramesEngine
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.engines.simulated_server import ServerOptions, serving
from hubbub.engines.throttled import ThrottledEngine
from support.engine_behaviours import (
    Answers,
    Cancels,
    Capacity,
    Closing,
    Counts,
    Death,
    Json,
    Overflow,
    Prefixes,
    Subject,
    Tools,
    UnknownModel,
)
from support.relay import relayed

CONFIG = SimulatedConfig(
    Voice(models=("small",), context_window=2000, output_median=400, output_sigma=0.1),
    Pace(base=0.0005, per_sequence=0.0, max_sequences=8),
)
STORY = "Продолжай рассказ, 请继续。"


@contextlib.asynccontextmanager
async def in_process() -> AsyncIterator[Subject]:
    engine = SimulatedEngine(EngineId("sim"), CONFIG)

    async def kill() -> None:
        engine.lose()

    try:
        yield Subject(engine, "small", kill, story=STORY)
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def over(make: Callable[[str], OpenAIWireEngine | FramesEngine | ThrottledEngine]) -> AsyncIterator[Subject]:
    async with serving(ServerOptions(engine=CONFIG)) as url, relayed(url) as relay:
        engine = make(relay.url)
        try:
            yield Subject(engine, "small", relay.cut, story=STORY)
        finally:
            await engine.close()


def over_api() -> AbstractAsyncContextManager[Subject]:
    """As any OpenAI-compatible server, with the throttle that finds no limit here."""
    return over(lambda url: remote.build(EngineSpec(EngineId("api"), "openai", Path(), url=url, chats=8)))


def over_wire() -> AbstractAsyncContextManager[Subject]:
    return over(lambda url: OpenAIWireEngine(EngineId("wire"), WireConfig(url)))


def over_frames() -> AbstractAsyncContextManager[Subject]:
    return over(lambda url: FramesEngine(EngineId("frames"), lambda: url))


ENGINES: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "simulated": in_process,
    "wire": over_wire,
    "frames": over_frames,
}


@pytest.fixture(params=list(ENGINES))
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with ENGINES[request.param]() as subject:
        await subject.engine.start()
        yield subject


class TestEveryEngine(
    Closing, Death, Tools, Json, Prefixes, Capacity, Overflow, UnknownModel, Cancels, Counts, Answers
):
    pass


class TestAnyServerByItsUrl(Closing, Death, Tools, Json, Prefixes, Overflow, UnknownModel, Cancels, Counts, Answers):
    """Kind ``openai``. No ``Capacity``: what it holds back itself, it tells as ``held_back``
    (``tests/unit/engines/test_throttle.py``)."""

    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        async with over_api() as subject:
            await subject.engine.start()
            yield subject
