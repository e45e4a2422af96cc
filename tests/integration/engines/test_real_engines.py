"""The behaviours of every engine, on real ones: each is started once, and dies at the end.

What an engine is not shown to do is seen in the list of its class. `make engines` makes their environments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.core.types import EngineId
from hubbub.engines.catalog import kind_of
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.launched import LaunchedEngine
from hubbub.engines.vllm import VLLMOptions
from support.engine_behaviours import (
    Adapters,
    Answers,
    Cancels,
    Capacity,
    Counts,
    Json,
    Overflow,
    OwnPrefixes,
    Priorities,
    Restart,
    Subject,
    Tools,
    UnknownModel,
)
from support.lora_adapter import write_peft

ENVIRONMENTS = Path(__file__).parents[3] / ".make" / "engines"
"""Where `make engines` puts them."""
CHATS = 12


def vllm(logs: Path, adapters: dict[str, str]) -> EngineSpec:
    # In float32, so that the same words come beside others as alone; uncompiled, since compiling takes minutes;
    # one thread, since several wait for each other on a machine that has other work.
    options = VLLMOptions(context_window=2048, dtype="float32", kv_gib=1.5, eager=True, threads=1, tool_parser="hermes")
    return EngineSpec(
        EngineId("vllm"),
        "vllm",
        logs,
        model="smollm2",
        chats=CHATS,
        adapters=adapters,
        options=options,
        environments=ENVIRONMENTS,
    )


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: str(write_peft(folder / name, seed)) for seed, name in enumerate(("red", "blue"))}


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, adapters: dict[str, str]
) -> AsyncIterator[Subject]:
    """The engine that the class of the test asks for."""
    spec = request.cls.spec(tmp_path_factory.mktemp("logs"), adapters)
    engine = kind_of(spec.kind).build(spec)
    assert isinstance(engine, LaunchedEngine)

    async def kill() -> None:
        engine.kill()

    try:
        state = await engine.start()
        yield Subject(engine, state.models[0], kill, adapters=tuple(adapters))
    finally:
        await engine.close()


# Behaviours run from the last of the list to the first.


@pytest.mark.asyncio(loop_scope="class")
class TestVLLM(
    Restart,
    Adapters,
    Tools,
    Json,
    OwnPrefixes,
    Priorities,
    Capacity,
    Overflow,
    UnknownModel,
    Cancels,
    Counts,
    Answers,
):
    spec = staticmethod(vllm)
