"""The behaviours of every engine, on the embedded one with its bundled model. No tools: SmolLM2's template has none
(``tests/integration/test_qwen.py``); adapters need an IR (``tests/integration/test_openvino_lora.py``)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hubbub.core.types import EngineId
from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino import OpenVINOConfig, OpenVINOEngine
from support.engine_behaviours import (
    Answers,
    Cancels,
    Capacity,
    Counts,
    Json,
    Overflow,
    Prefixes,
    Restart,
    Subject,
    UnknownModel,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp("openvino")
    config = OpenVINOConfig(max_sequences=6, context_window=2048, kv_bytes=200_000_000)
    engine = OpenVINOEngine(EngineId("o"), resolve_model(BUNDLED), config, folder)

    async def kill() -> None:
        engine.kill()

    try:
        state = await engine.start()
        yield Subject(engine, state.models[0], kill, repeats=False)
    finally:
        await engine.close()


@pytest.mark.asyncio(loop_scope="module")
class TestOpenVINO(Restart, Json, Prefixes, Capacity, UnknownModel, Overflow, Cancels, Counts, Answers):
    """One engine, started once."""
