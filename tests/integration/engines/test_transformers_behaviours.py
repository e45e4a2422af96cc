"""The behaviours of every engine, on transformers, from the environment that `make engines` makes.

No JSON schemas and no tools: its continuous batching has none. No prefixes: with adapters none are shared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.core.types import EngineId
from hubbub.engines import hf_transformers
from hubbub.engines.hf_transformers import TransformersOptions
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.launched import LaunchedEngine
from support.engine_behaviours import Adapters, Answers, Cancels, Counts, Overflow, Restart, Subject, UnknownModel
from support.lora_adapter import write_peft

ENVIRONMENTS = Path(__file__).parents[3] / ".make" / "engines"
"""Where `make engines` puts them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp("transformers")
    adapters = {name: str(write_peft(folder / name, seed)) for seed, name in enumerate(("red", "blue"))}
    options = TransformersOptions(context_window=2048, kv_tokens=12_000, dtype="float32", threads=1)
    engine = hf_transformers.build(
        EngineSpec(
            EngineId("t"),
            "transformers",
            folder,
            "smollm2",
            chats=6,
            adapters=adapters,
            options=options,
            environments=ENVIRONMENTS,
        )
    )
    assert isinstance(engine, LaunchedEngine)

    async def kill() -> None:
        engine.kill()

    try:
        state = await engine.start()
        yield Subject(engine, state.models[0], kill, repeats=False, adapters=tuple(adapters))
    finally:
        await engine.close()


@pytest.mark.asyncio(loop_scope="module")
class TestTransformers(Restart, Adapters, UnknownModel, Overflow, Cancels, Counts, Answers):
    """One engine, started once."""
