"""The behaviours of every engine, on llama.cpp out of xllamacpp. No tools: SmolLM2's template has none, and the server
then leaves them out without a word."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hubbub.core.types import EngineId
from hubbub.engines import llamacpp
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.llamacpp import LlamaCppEngine, LlamaCppOptions
from support.engine_behaviours import (
    Adapters,
    Answers,
    Cancels,
    Capacity,
    Counts,
    Json,
    Overflow,
    OwnPrefixes,
    Restart,
    Subject,
    UnknownModel,
)
from support.lora_adapter import write_peft


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp("llamacpp")
    adapters = {name: str(write_peft(folder / name, seed)) for seed, name in enumerate(("red", "blue"))}
    # One thread: where cores are shared, llama.cpp's threads wait for each other most of the time.
    options = LlamaCppOptions(context_window=2048, threads=1)
    engine = llamacpp.build(
        EngineSpec(EngineId("l"), "llamacpp", folder, "smollm2", chats=6, adapters=adapters, options=options)
    )
    assert isinstance(engine, LlamaCppEngine)

    async def kill() -> None:
        engine.kill()

    try:
        state = await engine.start()
        yield Subject(engine, state.models[0], kill, repeats=False, adapters=tuple(adapters))
    finally:
        await engine.close()


@pytest.mark.asyncio(loop_scope="module")
class TestLlamaCpp(Restart, Adapters, Json, OwnPrefixes, Capacity, UnknownModel, Overflow, Cancels, Counts, Answers):
    """One engine, started once."""
