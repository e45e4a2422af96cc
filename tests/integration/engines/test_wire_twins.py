"""TGI and Ollama, which no test machine runs, against servers written after their source. What they were never seen to
do is not claimed: TGI takes any name for its model, Ollama cuts what is too long and tells nothing of what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, EngineUnavailable, ModelNotFound, Overloaded
from hubbub.core.types import EngineId, Sampling
from hubbub.engines import ollama, tgi
from hubbub.engines.catalog import kind_of
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.ollama import OllamaOptions
from hubbub.engines.tgi import TGIOptions
from support.engine_behaviours import (
    Answers,
    Cancels,
    Capacity,
    Death,
    Json,
    Overflow,
    Subject,
    UnknownModel,
    answer,
    ask,
    fill,
    stop,
)
from support.twins.ollama import OllamaTwin
from support.twins.tgi import TGITwin
from support.twins.twin import SEQUENCES, WINDOW


@dataclass(frozen=True)
class Stood:
    twin: TGITwin | OllamaTwin
    subject: Subject


TWINS: dict[str, tuple[Callable[[], TGITwin | OllamaTwin], str, dict[str, str], object]] = {
    "tgi": (TGITwin, "", {"warm": "org/warm"}, TGIOptions()),
    "ollama": (OllamaTwin, "qwen3:0.6b", {"warm": "qwen3-warm"}, OllamaOptions(context_window=WINDOW)),
}


@asynccontextmanager
async def standing(kind: str, logs: Path) -> AsyncIterator[Stood]:
    make, model, adapters, options = TWINS[kind]
    twin = make()
    async with twin.serving() as url:
        spec = EngineSpec(
            EngineId(kind), kind, logs, model=model, url=url, chats=SEQUENCES, adapters=adapters, options=options
        )
        engine = kind_of(kind).build(spec)

        async def kill() -> None:
            twin.engine.lose()

        try:
            state = await engine.start()
            yield Stood(twin, Subject(engine, state.models[0], kill, adapters=tuple(adapters)))
        finally:
            await engine.close()


@pytest.fixture
async def stood(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stood]:
    async with standing(request.cls.kind, tmp_path) as stood:
        yield stood


@pytest.fixture
def subject(stood: Stood) -> Subject:
    return stood.subject


class Both:
    """What is asked of both alike."""

    async def test_an_adapter_goes_by_its_name_there(self, stood: Stood) -> None:
        await answer(stood.subject, ask(stood.subject, "a", "Hello."))
        await answer(stood.subject, ask(stood.subject, "b", "Hello.", adapter="warm"))
        named = [body["model"] for body in stood.twin.bodies]
        assert named == (["tgi", "warm"] if isinstance(stood.twin, TGITwin) else ["qwen3:0.6b", "qwen3-warm"])

    async def test_no_field_asks_it_to_go_on_with_an_answer(self, stood: Stood) -> None:
        await answer(stood.subject, ask(stood.subject, "a", "Hello.", Sampling(temperature=0.0), partial="The sea"))
        body = stood.twin.bodies[-1]
        assert body["messages"][-1] == {"role": "assistant", "content": "The sea"}
        assert "continue_final_message" not in body

    async def test_what_is_beyond_its_seats_is_refused_and_let_go_there(self, stood: Stood) -> None:
        stood.twin.seats = SEQUENCES
        heard = await fill(stood.subject, SEQUENCES)
        more = await answer(stood.subject, ask(stood.subject, "more", "Hello."))
        assert isinstance(more.last.error, Overloaded if isinstance(stood.twin, TGITwin) else EngineUnavailable)
        assert more.last.error.retryable
        await stop(stood.subject, *heard)
        while (await stood.twin.engine.state()).running:
            await asyncio.sleep(0.01)


class TestTGI(Death, Json, Both, Capacity, Overflow, Cancels, Answers):
    kind = "tgi"

    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ({"type": "text"}, None),
            ({"type": "json_object"}, {"type": "json_object", "value": {"type": "object"}}),
        ],
    )
    async def test_a_format_is_said_its_way(self, stood: Stood, asked: dict[str, str], sent: object) -> None:
        sampling = Sampling(max_tokens=4, response_format=asked)
        assert (await answer(stood.subject, ask(stood.subject, "a", "Hello.", sampling))).last.error is None
        assert stood.twin.bodies[-1].get("response_format") == sent

    async def test_it_says_what_it_holds(self, stood: Stood) -> None:
        state = await stood.subject.engine.state()
        assert stood.subject.model == "Qwen/Qwen3-8B"
        assert (state.max_sequences, state.context_window, state.adapters) == (SEQUENCES, WINDOW, ("warm",))
        assert state.kv_tokens == SEQUENCES * WINDOW


class TestOllama(Death, Both, UnknownModel, Cancels, Answers):
    kind = "ollama"

    async def test_it_serves_only_what_it_was_given(self, stood: Stood) -> None:
        error = (await answer(stood.subject, ask(stood.subject, "a", "Hello.", model="llama3"))).last.error
        assert isinstance(error, ModelNotFound)
        assert stood.twin.bodies == []


async def test_a_model_that_ollama_has_not_pulled_is_told(tmp_path: Path) -> None:
    async with OllamaTwin().serving() as url:
        engine = ollama.build(EngineSpec(EngineId("o"), "ollama", tmp_path, model="mistral", url=url))
        try:
            with pytest.raises(EngineUnavailable, match="ollama pull mistral"):
                await engine.start()
        finally:
            await engine.close()


def test_their_servers_are_told_of_many_chats(tmp_path: Path) -> None:
    spec = EngineSpec(EngineId("t"), "tgi", tmp_path, model="Qwen/Qwen3-8B", chats=200, adapters={"warm": "org/warm"})
    flags = tgi.arguments(spec, TGIOptions(context_window=8192, kv_tokens=400_000, flags="--quantize awq"), 5)
    said = dict(zip(flags[::2], flags[1::2], strict=True))
    assert said["--max-concurrent-requests"] == "201"
    assert (said["--max-total-tokens"], said["--max-input-tokens"]) == ("8192", "8191")
    assert (said["--lora-adapters"], said["--quantize"]) == ("warm=org/warm", "awq")
    told = ollama.environment(OllamaOptions(context_window=4096, kv_type="q8_0"), 200, 5)
    assert (told["OLLAMA_NUM_PARALLEL"], told["OLLAMA_KEEP_ALIVE"]) == ("200", "-1")
    assert (told["OLLAMA_CONTEXT_LENGTH"], told["OLLAMA_FLASH_ATTENTION"]) == ("4096", "1")


@pytest.mark.parametrize("kind", ["tgi", "ollama"])
def test_a_program_that_is_not_there_is_told(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no package registry"):
        kind_of(kind).build(EngineSpec(EngineId("e"), kind, tmp_path, model="m"))
