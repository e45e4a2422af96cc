"""The adapter: a supervised process that answers, dies, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from hubbub.core.errors import ConfigError, ContextTooLong, EngineLost, EngineUnavailable
from hubbub.core.types import ChatId, Chunk, EngineId, FinishReason, Message, Request, RequestId, Role, Sampling, UserId
from hubbub.engines.models import ModelKind, ModelSource, ResolvedModel
from hubbub.engines.openvino import OpenVINOConfig, OpenVINOEngine, arguments
from support.tiny_models import write_bytes


def resolved(path: Path, kind: ModelKind = ModelKind.GGUF) -> ResolvedModel:
    return ResolvedModel(path, "bytes", ModelSource.FILE, kind, "a test")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    path = tmp_path_factory.mktemp("model") / "bytes.gguf"
    write_bytes(path)
    return resolved(path)


@pytest.fixture(params=["frames", "sse"])
async def engine(request: pytest.FixtureRequest, model: ResolvedModel, tmp_path: Path) -> AsyncIterator[OpenVINOEngine]:
    config = OpenVINOConfig(max_sequences=4, kv_bytes=10_000_000, wire=request.param)
    engine = OpenVINOEngine(EngineId("openvino"), model, config, tmp_path)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


def asked(number: int, tokens: int, text: str = "Привет", partial: str = "") -> Request:
    return Request(
        RequestId(f"r{number}"),
        UserId("u"),
        ChatId("c"),
        "bytes",
        10,
        messages=(Message(Role.USER, text),),
        sampling=Sampling(max_tokens=tokens, temperature=0),
        partial=partial,
    )


class Heard:
    """The chunks of one request, and its end."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.spoke = asyncio.Event()
        self.ended = asyncio.Event()

    def __call__(self, request: RequestId, chunk: Chunk) -> None:
        assert not self.ended.is_set()
        self.chunks.append(chunk)
        self.spoke.set()
        if chunk.last:
            self.ended.set()


async def told(engine: OpenVINOEngine, request: Request) -> Heard:
    heard = Heard()
    engine.submit(request, heard)
    await heard.ended.wait()
    return heard


async def test_state_and_answer(engine: OpenVINOEngine) -> None:
    state = await engine.state()
    assert state.models == ("bytes",)
    assert state.max_sequences == 4
    assert state.context_window == 2048
    last = (await told(engine, asked(1, 7))).chunks[-1]
    assert last.finish in (FinishReason.LENGTH, FinishReason.STOP)
    assert last.usage is not None
    assert last.usage.input_tokens == await engine.count_tokens([Message(Role.USER, "Привет")])
    assert last.usage.output_tokens <= 7


async def test_a_partial_answer_is_part_of_the_prompt(engine: OpenVINOEngine) -> None:
    plain = (await told(engine, asked(1, 3))).chunks[-1].usage
    going_on = (await told(engine, asked(2, 3, partial="12345"))).chunks[-1].usage
    assert plain is not None
    assert going_on is not None
    assert going_on.input_tokens == plain.input_tokens + 5


async def test_what_does_not_fit_is_refused(engine: OpenVINOEngine) -> None:
    error = (await told(engine, asked(1, 5, "x" * 3000))).chunks[-1].error
    assert isinstance(error, ContextTooLong)
    assert "2,048" in error.message
    assert "3,0" in error.message


async def test_killed_while_it_speaks_it_says_so_and_comes_back(engine: OpenVINOEngine) -> None:
    heard = Heard()
    engine.submit(asked(1, 2000), heard)
    await heard.spoke.wait()
    pid = engine.supervisor.status.pid
    assert pid is not None
    stepper = next(child for child in psutil.Process(pid).children() if "stepper" in " ".join(child.cmdline()))
    os.kill(stepper.pid, signal.SIGKILL)
    await heard.ended.wait()
    assert isinstance(heard.chunks[-1].error, EngineLost)
    while True:
        try:
            await engine.state()
        except EngineUnavailable:
            await asyncio.sleep(0.05)
        else:
            if engine.supervisor.status.pid not in (None, pid):
                break
            await asyncio.sleep(0.05)
    assert (await told(engine, asked(2, 3))).chunks[-1].finish is not None
    assert engine.supervisor.status.restarts == 1


async def test_nothing_is_left_after_close(model: ResolvedModel, tmp_path: Path) -> None:
    engine = OpenVINOEngine(EngineId("openvino"), model, OpenVINOConfig(kv_bytes=10_000_000), tmp_path)
    try:
        await engine.start()
        pid = engine.supervisor.status.pid
        assert pid is not None
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        assert len(family) == 2
    finally:
        await engine.close()
    assert not any(process.is_running() for process in family)
    assert "max sequences" in (tmp_path / "openvino.log").read_text()


async def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    engine = OpenVINOEngine(EngineId("openvino"), resolved(broken), OpenVINOConfig(), tmp_path)
    try:
        with pytest.raises(EngineUnavailable, match=r"broken\.gguf"):
            await engine.start()
    finally:
        await engine.close()


def test_safetensors_are_told_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="optimum-cli"):
        OpenVINOEngine(EngineId("openvino"), resolved(tmp_path, ModelKind.HUGGING_FACE), OpenVINOConfig(), tmp_path)


def test_settings_become_flags() -> None:
    flags = arguments(Path("m.gguf"), "m", OpenVINOConfig(max_sequences=3, prefix_cache=False, precision="f32"), 5)
    assert flags[:6] == ["--model", "m.gguf", "--served-name", "m", "--port", "5"]
    assert flags[6:] == ["--max-sequences", "3", "--kv-precision", "u8", "--precision", "f32", "--no-prefix-cache"]


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"wire": "pigeon"}, {"kv_precision": "u4"}])
def test_bad_settings_name_the_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OpenVINOConfig(**wrong)  # type: ignore[arg-type]
