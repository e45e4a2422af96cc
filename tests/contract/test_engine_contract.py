"""What every engine adapter does, whatever is behind it. A new adapter joins by one entry in ``ENGINES``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest

from hubbub.core.errors import ContextTooLong, EngineLost, ModelNotFound
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineId,
    EngineState,
    FinishReason,
    Message,
    Request,
    RequestId,
    Role,
    Sampling,
    UserId,
)
from hubbub.engines.frames import FramesEngine
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.engines.simulated_server import ServerOptions, serving
from hubbub.ports import Engine
from support.relay import relayed

CONFIG = SimulatedConfig(
    Voice(models=("small",), context_window=2000, output_median=400, output_sigma=0.1),
    Pace(base=0.002, per_sequence=0.0, max_sequences=8),
)


@dataclass(frozen=True)
class Subject:
    """An engine under test. ``kill`` makes it die as its process would. ``repeats``: the same seed, the same text."""

    engine: Engine
    model: str
    kill: Callable[[], Awaitable[None]]
    repeats: bool = True


@contextlib.asynccontextmanager
async def in_process() -> AsyncIterator[Subject]:
    engine = SimulatedEngine(EngineId("sim"), CONFIG)

    async def kill() -> None:
        engine.lose()

    try:
        yield Subject(engine, "small", kill)
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def over(make: Callable[[str], OpenAIWireEngine | FramesEngine]) -> AsyncIterator[Subject]:
    async with serving(ServerOptions(engine=CONFIG)) as url, relayed(url) as relay:
        engine = make(relay.url)
        try:
            yield Subject(engine, "small", relay.cut)
        finally:
            await engine.close()


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
        await ready(subject.engine)
        yield subject


async def ready(engine: Engine) -> EngineState:
    return await engine.start()


@dataclass
class Heard:
    """What one sink was told."""

    chunks: list[Chunk] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)

    def sink(self, _request: RequestId, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if chunk.tokens:
            self.spoke.set()
        if chunk.last:
            self.ended.set()

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def tokens(self) -> int:
        return sum(chunk.tokens for chunk in self.chunks)

    @property
    def last(self) -> Chunk:
        return self.chunks[-1]


def ask(
    subject: Subject, name: str, words: str, sampling: Sampling | None = None, partial: str = "", model: str = ""
) -> Request:
    return Request(
        RequestId(name),
        UserId("u"),
        ChatId("c"),
        model or subject.model,
        prompt_tokens=10,
        messages=(Message(Role.SYSTEM, "You are kind."), Message(Role.USER, words)),
        sampling=sampling or Sampling(max_tokens=24, seed=7, temperature=0.7),
        partial=partial,
    )


def submit(subject: Subject, request: Request) -> Heard:
    heard = Heard()
    subject.engine.submit(request, heard.sink)
    return heard


async def answer(subject: Subject, request: Request) -> Heard:
    heard = submit(subject, request)
    await asyncio.wait_for(heard.ended.wait(), 60)
    return heard


async def until_idle(engine: Engine) -> EngineState:
    async with asyncio.timeout(30):
        while True:
            state = await engine.state()
            if state.running == state.waiting == 0:
                return state
            await asyncio.sleep(0.01)


async def test_state_says_what_it_can_hold(subject: Subject) -> None:
    state = await subject.engine.state()
    assert subject.model in state.models
    assert state.context_window > 0
    assert state.max_sequences > 0
    assert state.kv_tokens > 0
    assert (state.running, state.waiting) == (0, 0)


async def test_an_answer_streams_in_pieces_and_ends_once(subject: Subject) -> None:
    heard = await answer(subject, ask(subject, "a", "Tell me of the sea."))
    assert len(heard.chunks) > 3
    assert [chunk.last for chunk in heard.chunks].count(True) == 1
    assert heard.last.last
    assert heard.text.strip()


async def test_usage_counts_what_was_said(subject: Subject) -> None:
    heard = await answer(subject, ask(subject, "a", "Count."))
    usage = heard.last.usage
    assert usage is not None
    assert usage.input_tokens > 0
    assert 0 < usage.output_tokens <= 24
    assert heard.tokens == pytest.approx(usage.output_tokens, abs=1)


async def test_max_tokens_ends_with_length(subject: Subject) -> None:
    heard = await answer(subject, ask(subject, "a", "A long story, please.", Sampling(max_tokens=5, seed=1)))
    assert heard.last.finish is FinishReason.LENGTH
    assert heard.last.usage is not None
    assert heard.last.usage.output_tokens == 5


async def test_the_same_seed_says_the_same(subject: Subject) -> None:
    request = ask(subject, "a", "Once upon a time")
    first = await answer(subject, request)
    second = await answer(subject, request)
    assert first.text == second.text


async def test_a_stop_text_ends_the_answer_and_is_not_said(subject: Subject) -> None:
    whole = (await answer(subject, ask(subject, "a", "Speak of trees."))).text
    stop = whole[len(whole) // 2 :][:3]
    sampling = Sampling(max_tokens=24, seed=7, temperature=0.7, stop=(stop,))
    heard = await answer(subject, ask(subject, "b", "Speak of trees.", sampling))
    assert heard.last.finish is FinishReason.STOP
    assert heard.text == whole[: whole.index(stop)]


async def test_cancel_is_the_last_word_and_frees_the_slot(subject: Subject) -> None:
    sampling = Sampling(max_tokens=1500, seed=3)
    heard = submit(subject, ask(subject, "a", "Talk on and on.", sampling))
    await asyncio.wait_for(heard.spoke.wait(), 30)
    subject.engine.cancel(RequestId("a"))
    await asyncio.wait_for(heard.ended.wait(), 30)
    assert heard.last.finish is FinishReason.CANCELLED
    said = len(heard.chunks)
    state = await until_idle(subject.engine)
    assert state.kv_used == 0
    assert len(heard.chunks) == said


async def test_cancel_before_the_first_word(subject: Subject) -> None:
    heard = submit(subject, ask(subject, "a", "Never mind."))
    subject.engine.cancel(RequestId("a"))
    subject.engine.cancel(RequestId("a"))
    await asyncio.wait_for(heard.ended.wait(), 30)
    assert [chunk.finish for chunk in heard.chunks] == [FinishReason.CANCELLED]
    await until_idle(subject.engine)
    assert len(heard.chunks) == 1


async def test_cancel_from_within_the_sink(subject: Subject) -> None:
    heard = Heard()

    def sink(request: RequestId, chunk: Chunk) -> None:
        heard.sink(request, chunk)
        if len(heard.chunks) == 1:
            subject.engine.cancel(request)

    subject.engine.submit(ask(subject, "a", "Stop me."), sink)
    await asyncio.wait_for(heard.ended.wait(), 30)
    await until_idle(subject.engine)
    assert [chunk.finish for chunk in heard.chunks] == [None, FinishReason.CANCELLED]


async def test_cancel_of_the_unknown_is_ignored(subject: Subject) -> None:
    subject.engine.cancel(RequestId("nobody"))
    assert (await answer(subject, ask(subject, "a", "Hello."))).last.error is None


async def test_a_second_attempt_replaces_the_first(subject: Subject) -> None:
    first = submit(subject, ask(subject, "a", "Speak.", Sampling(max_tokens=1500, seed=3)))
    await asyncio.wait_for(first.spoke.wait(), 30)
    second = await answer(subject, ask(subject, "a", "Speak."))
    assert first.last.finish is FinishReason.CANCELLED
    assert second.last.usage is not None
    assert second.last.usage.output_tokens == 24
    await until_idle(subject.engine)


async def test_a_prompt_beyond_the_window_is_refused_with_both_lengths(subject: Subject) -> None:
    window = (await subject.engine.state()).context_window
    heard = await answer(subject, ask(subject, "a", "word " * (window + 10)))
    assert len(heard.chunks) == 1
    assert isinstance(heard.last.error, ContextTooLong)
    numbers = [int(word) for word in heard.last.error.message.replace(",", " ").split() if word.isdigit()]
    assert window in numbers
    assert any(number > window for number in numbers)


async def test_an_unknown_model_is_named(subject: Subject) -> None:
    heard = await answer(subject, ask(subject, "a", "Hello.", model="no-such-model"))
    assert len(heard.chunks) == 1
    assert isinstance(heard.last.error, ModelNotFound)
    assert "no-such-model" in heard.last.error.message


async def test_many_chats_are_never_mixed(subject: Subject) -> None:
    topics = [f"Say something of number {i}." for i in range(12)]
    few = Sampling(max_tokens=12, seed=7, temperature=0.7)
    alone = [(await answer(subject, ask(subject, f"alone-{i}", words, few))).text for i, words in enumerate(topics)]
    together = [submit(subject, ask(subject, f"together-{i}", words, few)) for i, words in enumerate(topics)]
    await asyncio.wait_for(asyncio.gather(*(heard.ended.wait() for heard in together)), 60)
    if subject.repeats:
        assert [heard.text for heard in together] == alone
    assert len(set(alone)) == len(alone)


async def test_a_partial_answer_is_continued(subject: Subject) -> None:
    sampling = Sampling(max_tokens=24, seed=7, temperature=0.0)
    whole = await answer(subject, ask(subject, "a", "Продолжай рассказ, 请继续。", sampling))
    said = "".join(chunk.text for chunk in whole.chunks[:8])
    left = Sampling(max_tokens=24 - 8, seed=7, temperature=0.0)
    rest = await answer(subject, ask(subject, "b", "Продолжай рассказ, 请继续。", left, partial=said))
    assert rest.text
    assert not rest.text.startswith(said)
    if subject.repeats:
        assert said + rest.text == whole.text


async def test_count_tokens_agrees_with_usage(subject: Subject) -> None:
    request = ask(subject, "a", "How long is this?")
    counted = await subject.engine.count_tokens(request.messages)
    usage = (await answer(subject, request)).last.usage
    assert usage is not None
    assert counted == usage.input_tokens


async def test_death_in_mid_answer_is_told_to_each(subject: Subject) -> None:
    sampling = Sampling(max_tokens=1500, seed=3)
    heard = [submit(subject, ask(subject, f"r{i}", f"Talk {i}.", sampling)) for i in range(3)]
    await asyncio.wait_for(asyncio.gather(*(each.spoke.wait() for each in heard)), 30)
    await subject.kill()
    await asyncio.wait_for(asyncio.gather(*(each.ended.wait() for each in heard)), 30)
    for each in heard:
        assert isinstance(each.last.error, EngineLost)
        assert [chunk.last for chunk in each.chunks].count(True) == 1


async def test_close_ends_what_is_in_flight(subject: Subject) -> None:
    heard = submit(subject, ask(subject, "a", "Talk.", Sampling(max_tokens=1500, seed=3)))
    await asyncio.wait_for(heard.spoke.wait(), 30)
    await subject.engine.close()
    await asyncio.wait_for(heard.ended.wait(), 30)
    assert isinstance(heard.last.error, EngineLost)
