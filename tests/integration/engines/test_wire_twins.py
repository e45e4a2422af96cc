"""Engines that no test machine runs, against servers written after their source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, ContextTooLong, EngineUnavailable, ModelNotFound, Overloaded
from hubbub.core.types import ChatId, Chunk, EngineId, FinishReason, Message, Request, RequestId, Role, Sampling, UserId
from hubbub.engines import ollama, tgi
from hubbub.engines.catalog import kind_of
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.ollama import OllamaOptions
from hubbub.engines.tgi import TGIOptions
from hubbub.ports import Engine
from support.twins.base import WORDS, Twin
from support.twins.ollama import OllamaTwin
from support.twins.tgi import TGITwin

TWINS: dict[str, tuple[Callable[[], Twin], str, dict[str, str]]] = {
    "tgi": (TGITwin, "", {"warm": "org/warm"}),
    "ollama": (OllamaTwin, "qwen3:0.6b", {"warm": "qwen3-warm"}),
}


@asynccontextmanager
async def standing(kind: str, logs: Path) -> AsyncIterator[tuple[Twin, Engine, str]]:
    """The twin, the engine connected to it, and the name of its model."""
    make, model, adapters = TWINS[kind]
    twin = make()
    async with twin.serving() as url:
        spec = EngineSpec(EngineId(kind), kind, logs, model=model, url=url, chats=3, adapters=adapters)
        engine = kind_of(kind).build(spec)
        try:
            yield twin, engine, (await engine.start()).models[0]
        finally:
            await engine.close()


def asked(model: str, name: str = "r", **fields: object) -> Request:
    message = Message(Role.USER, "Tell me of the sea.")
    request = Request(RequestId(name), UserId("u"), ChatId("c"), model, 9, messages=(message,))
    return replace(request, **fields)  # type: ignore[arg-type]


class Heard:
    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.spoke, self.ended = asyncio.Event(), asyncio.Event()

    def __call__(self, _request: RequestId, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.spoke.set()
        if chunk.last:
            self.ended.set()


async def told(engine: Engine, request: Request) -> list[Chunk]:
    heard = Heard()
    engine.submit(request, heard)
    await heard.ended.wait()
    return heard.chunks


@pytest.mark.parametrize("kind", TWINS)
async def test_an_answer_is_heard_and_counted(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as (twin, engine, model):
        state = await engine.state()
        assert (state.max_sequences, state.adapters) == (3, ("warm",))
        assert state.kv_tokens == 3 * state.context_window
        chunks = await told(engine, asked(model, sampling=Sampling(temperature=0.0)))
        assert "".join(chunk.text for chunk in chunks) == "".join(WORDS)
        assert chunks[-1].finish is FinishReason.STOP
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.output_tokens == len(WORDS)
        cut = await told(engine, asked(model, sampling=Sampling(max_tokens=2)))
        assert cut[-1].finish is FinishReason.LENGTH
        await told(engine, asked(model, partial="The sea"))
        assert twin.asked[-1]["messages"][-1] == {"role": "assistant", "content": "The sea"}
        assert "continue_final_message" not in twin.asked[-1]


@pytest.mark.parametrize("kind", TWINS)
async def test_an_adapter_goes_by_its_name_there(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as (twin, engine, model):
        await told(engine, asked(model))
        await told(engine, asked(model, adapter="warm"))
        names = [body["model"] for body in twin.asked]
        assert names == (["tgi", "warm"] if kind == "tgi" else ["qwen3:0.6b", "qwen3-warm"])


@pytest.mark.parametrize("kind", TWINS)
async def test_cancelled_it_is_let_go_there(kind: str, tmp_path: Path) -> None:
    async with standing(kind, tmp_path) as (twin, engine, model):
        twin.endless = True
        heard = [Heard() for _ in range(4)]
        for number, each in enumerate(heard):
            engine.submit(asked(model, str(number)), each)
        await asyncio.gather(*(each.spoke.wait() for each in heard))
        refused = (await told(engine, asked(model, "more")))[-1].error
        assert isinstance(refused, Overloaded if kind == "tgi" else EngineUnavailable)
        assert refused.retryable
        for number in range(4):
            engine.cancel(RequestId(str(number)))
        await asyncio.gather(*(each.ended.wait() for each in heard))
        while twin.running:
            await asyncio.sleep(0.01)


async def test_tgi_says_what_it_holds_and_what_does_not_fit(tmp_path: Path) -> None:
    async with standing("tgi", tmp_path) as (twin, engine, model):
        assert model == "Qwen/Qwen3-8B"
        assert isinstance(twin, TGITwin)
        twin.endless = True
        heard = Heard()
        engine.submit(asked(model), heard)
        await heard.spoke.wait()
        state = await engine.state()
        assert state.running == 1
        assert 0 < state.kv_used < 1
        twin.tokens = 5000
        error = (await told(engine, asked(model, "long", sampling=Sampling(max_tokens=20))))[-1].error
        assert isinstance(error, ContextTooLong)
        assert "5000" in error.message


async def test_ollama_serves_only_what_it_was_given(tmp_path: Path) -> None:
    async with standing("ollama", tmp_path) as (twin, engine, _):
        error = (await told(engine, asked("llama3")))[-1].error
        assert isinstance(error, ModelNotFound)
        assert twin.asked == []
    twin = OllamaTwin()
    async with twin.serving() as url:
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
