"""What every engine adapter does, whatever is behind it: classes of tests over a fixture ``subject``.

A test module makes ``subject`` and takes the behaviours that its engine has::

    class TestVLLM(Restart, Death, Json, Prefixes, Overflow, Cancels, Answers): ...

What an engine cannot do is thus seen in the list of its class. Behaviours leave the engine idle, but for those that end
it; pytest runs the bases of a class from the last to the first, so these stand first.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from hubbub.core.errors import ContextTooLong, EngineLost, EngineUnavailable, ModelNotFound
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineState,
    FinishReason,
    Message,
    Priority,
    Request,
    RequestId,
    Role,
    Sampling,
    UserId,
)
from hubbub.ports import Engine

ANSWER_S = 120.0
RESTART_S = 600.0
"""Real engines import for a minute, and test machines are shared."""
TOPICS = (
    *("lighthouse", "violin", "volcano", "bakery", "penguin", "bicycle"),
    *("castle", "tomato", "submarine", "candle", "desert", "clock"),
)
"""So far apart that who is asked of one does not speak of another."""
LONG = Sampling(max_tokens=1500, seed=3, temperature=0.7)


@dataclass(frozen=True)
class Subject:
    """An engine under test. ``kill`` makes it die as its process would. ``repeats``: a text is the same to the last
    letter, beside others as alone; else rounding may move a token. ``story``: words it has much to say to."""

    engine: Engine
    model: str
    kill: Callable[[], Awaitable[None]]
    repeats: bool = True
    story: str = "Tell me a long story about a lighthouse, its keeper and the sea."
    adapters: tuple[str, ...] = ()


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
    subject: Subject,
    name: str,
    words: str,
    sampling: Sampling | None = None,
    *,
    partial: str = "",
    model: str = "",
    adapter: str = "",
    user: str = "u",
    system: str = "You are kind.",
    priority: Priority = Priority.CHAT,
) -> Request:
    return Request(
        RequestId(name),
        UserId(user),
        ChatId("c"),
        model or subject.model,
        prompt_tokens=10,
        priority=priority,
        messages=(Message(Role.SYSTEM, system), Message(Role.USER, words)),
        sampling=sampling or Sampling(max_tokens=24, seed=7, temperature=0.7),
        partial=partial,
        adapter=adapter,
    )


def submit(subject: Subject, request: Request) -> Heard:
    heard = Heard()
    subject.engine.submit(request, heard.sink)
    return heard


async def answer(subject: Subject, request: Request) -> Heard:
    heard = submit(subject, request)
    await ended(heard)
    return heard


async def ended(*heard: Heard) -> None:
    await asyncio.wait_for(asyncio.gather(*(each.ended.wait() for each in heard)), ANSWER_S)


async def spoken(*heard: Heard) -> None:
    await asyncio.wait_for(asyncio.gather(*(each.spoke.wait() for each in heard)), ANSWER_S)


async def until(engine: Engine, holds: Callable[[EngineState], bool]) -> EngineState:
    """The engine's own word, once it holds."""
    async with asyncio.timeout(ANSWER_S):
        while not holds(state := await engine.state()):
            await asyncio.sleep(0.01)
    return state


async def until_idle(engine: Engine) -> EngineState:
    return await until(engine, lambda state: state.running == state.waiting == 0)


async def stop(subject: Subject, *heard: tuple[str, Heard]) -> None:
    for name, _ in heard:
        subject.engine.cancel(RequestId(name))
    await ended(*(each for _, each in heard))
    await until_idle(subject.engine)


class Answers:
    """State, streaming, usage, seeds, stops, continuing, never mixing."""

    async def test_state_says_what_it_can_hold(self, subject: Subject) -> None:
        state = await subject.engine.state()
        assert subject.model in state.models
        assert state.context_window > 0
        assert state.max_sequences > 0
        assert state.kv_tokens > 0
        assert (state.running, state.waiting) == (0, 0)

    async def test_an_answer_streams_in_pieces_and_ends_once(self, subject: Subject) -> None:
        heard = await answer(subject, ask(subject, "a", "Tell me of the sea."))
        assert len(heard.chunks) > 3
        assert [chunk.last for chunk in heard.chunks].count(True) == 1
        assert heard.last.last
        assert heard.text.strip()

    async def test_usage_counts_what_was_said(self, subject: Subject) -> None:
        heard = await answer(subject, ask(subject, "a", "Count."))
        usage = heard.last.usage
        assert usage is not None
        assert usage.input_tokens > 0
        assert 0 < usage.output_tokens <= 24
        assert heard.tokens == pytest.approx(usage.output_tokens, abs=1)

    async def test_max_tokens_ends_with_length(self, subject: Subject) -> None:
        heard = await answer(subject, ask(subject, "a", "A long story, please.", Sampling(max_tokens=5, seed=1)))
        assert heard.last.finish is FinishReason.LENGTH
        assert heard.last.usage is not None
        assert heard.last.usage.output_tokens == 5

    async def test_the_same_seed_says_the_same(self, subject: Subject) -> None:
        request = ask(subject, "a", "Once upon a time")
        first = await answer(subject, request)
        second = await answer(subject, request)
        assert first.text == second.text

    async def test_a_stop_text_ends_the_answer_and_is_not_said(self, subject: Subject) -> None:
        whole = (await answer(subject, ask(subject, "a", "Speak of trees."))).text
        stop = whole[len(whole) // 2 :][:3]
        sampling = Sampling(max_tokens=24, seed=7, temperature=0.7, stop=(stop,))
        heard = await answer(subject, ask(subject, "b", "Speak of trees.", sampling))
        assert heard.last.finish is FinishReason.STOP
        assert heard.text == whole[: whole.index(stop)]

    @pytest.mark.large
    async def test_many_chats_are_never_mixed(self, subject: Subject) -> None:
        asked = [ask(subject, f"of-{topic}", f"Tell me one thing about a {topic}.") for topic in TOPICS]
        together = [submit(subject, request) for request in asked]
        await ended(*together)
        if subject.repeats:
            alone = [(await answer(subject, request)).text for request in asked]
            assert [heard.text for heard in together] == alone
            assert len(set(alone)) == len(alone)
            return
        named = [{topic for topic in TOPICS if topic in heard.text.lower()} for heard in together]
        assert all(names <= {own} for names, own in zip(named, TOPICS, strict=True))
        assert sum(map(len, named)) > len(TOPICS) / 2

    async def test_a_partial_answer_is_continued(self, subject: Subject) -> None:
        whole = await answer(
            subject, ask(subject, "a", subject.story, Sampling(max_tokens=24, seed=7, temperature=0.0))
        )
        begun = whole.chunks[:8]
        said = "".join(chunk.text for chunk in begun)
        left = Sampling(max_tokens=24 - 8, seed=7, temperature=0.0)
        rest = await answer(subject, ask(subject, "b", subject.story, left, partial=said))
        assert rest.text
        if subject.repeats:
            assert said + rest.text == whole.text
            return
        # Token for token: it is read as the tokens that were said, and goes on with the next one.
        assert whole.last.usage is not None
        assert rest.last.usage is not None
        assert rest.last.usage.input_tokens == whole.last.usage.input_tokens + sum(chunk.tokens for chunk in begun)
        assert whole.text.startswith(said + rest.chunks[0].text)


class Counts:
    async def test_count_tokens_agrees_with_usage(self, subject: Subject) -> None:
        request = ask(subject, "a", "How long is this?")
        counted = await subject.engine.count_tokens(request.messages)
        usage = (await answer(subject, request)).last.usage
        assert usage is not None
        assert counted == usage.input_tokens


class Cancels:
    async def test_cancel_is_the_last_word_and_frees_the_slot(self, subject: Subject) -> None:
        heard = submit(subject, ask(subject, "a", subject.story, LONG))
        await spoken(heard)
        subject.engine.cancel(RequestId("a"))
        await ended(heard)
        assert heard.last.finish is FinishReason.CANCELLED
        said = len(heard.chunks)
        state = await until_idle(subject.engine)
        assert state.kv_used == 0
        assert len(heard.chunks) == said

    async def test_cancel_before_the_first_word(self, subject: Subject) -> None:
        heard = submit(subject, ask(subject, "a", "Never mind."))
        subject.engine.cancel(RequestId("a"))
        subject.engine.cancel(RequestId("a"))
        await ended(heard)
        assert [chunk.finish for chunk in heard.chunks] == [FinishReason.CANCELLED]
        await until_idle(subject.engine)
        assert len(heard.chunks) == 1

    async def test_cancel_from_within_the_sink(self, subject: Subject) -> None:
        heard = Heard()

        def sink(request: RequestId, chunk: Chunk) -> None:
            heard.sink(request, chunk)
            if len(heard.chunks) == 1:
                subject.engine.cancel(request)

        subject.engine.submit(ask(subject, "a", "Stop me."), sink)
        await ended(heard)
        await until_idle(subject.engine)
        assert [chunk.finish for chunk in heard.chunks] == [None, FinishReason.CANCELLED]

    async def test_cancel_of_the_unknown_is_ignored(self, subject: Subject) -> None:
        subject.engine.cancel(RequestId("nobody"))
        assert (await answer(subject, ask(subject, "a", "Hello."))).last.error is None

    async def test_a_second_attempt_replaces_the_first(self, subject: Subject) -> None:
        first = submit(subject, ask(subject, "a", subject.story, LONG))
        await spoken(first)
        second = await answer(subject, ask(subject, "a", subject.story))
        assert first.last.finish is FinishReason.CANCELLED
        usage = second.last.usage
        assert (second.tokens if usage is None else usage.output_tokens) == 24
        await until_idle(subject.engine)


class Overflow:
    async def test_a_prompt_beyond_the_window_is_refused_with_both_lengths(self, subject: Subject) -> None:
        window = (await subject.engine.state()).context_window
        heard = await answer(subject, ask(subject, "a", "word " * (window + 10)))
        assert len(heard.chunks) == 1
        assert isinstance(heard.last.error, ContextTooLong)
        numbers = [int(digits) for digits in re.findall(r"\d+", heard.last.error.message.replace(",", ""))]
        assert window in numbers
        assert any(number > window for number in numbers)


class UnknownModel:
    async def test_an_unknown_model_is_named(self, subject: Subject) -> None:
        heard = await answer(subject, ask(subject, "a", "Hello.", model="no-such-model"))
        assert len(heard.chunks) == 1
        assert isinstance(heard.last.error, ModelNotFound)
        assert "no-such-model" in heard.last.error.message


class Capacity:
    """The numbers of ``state`` are true: so many at once, and no more."""

    async def test_it_decodes_together_as_many_as_it_says(self, subject: Subject) -> None:
        state = await until_idle(subject.engine)
        heard = await fill(subject, state.max_sequences)
        full = await until(subject.engine, lambda now: now.running == state.max_sequences)
        assert full.waiting == 0
        assert 0 < full.kv_used <= 1
        one_more = submit(subject, ask(subject, "more", subject.story, LONG))
        await until(subject.engine, lambda now: now.waiting == 1 and now.running == state.max_sequences)
        assert not one_more.spoke.is_set()
        await stop(subject, *heard, ("more", one_more))
        after = await subject.engine.state()
        assert after.details.get("preemptions") == state.details.get("preemptions")


class Priorities:
    async def test_a_chat_that_waits_goes_before_bulk_that_waited_longer(self, subject: Subject) -> None:
        state = await until_idle(subject.engine)
        heard = await fill(subject, state.max_sequences, Priority.BULK)
        bulk = submit(subject, ask(subject, "bulk", "Hello.", LONG, priority=Priority.BULK))
        await until(subject.engine, lambda now: now.waiting == 1)
        chat = submit(subject, ask(subject, "chat", "Hello.", LONG))
        await until(subject.engine, lambda now: now.waiting == 2)
        subject.engine.cancel(RequestId(heard[0][0]))
        await spoken(chat)
        assert not bulk.chunks
        await stop(subject, *heard[1:], ("bulk", bulk), ("chat", chat))


async def fill(subject: Subject, count: int, priority: Priority = Priority.CHAT) -> list[tuple[str, Heard]]:
    """So many long answers, all begun."""
    names = [f"fill-{i}" for i in range(count)]
    heard = [submit(subject, ask(subject, name, f"{subject.story} {name}", LONG, priority=priority)) for name in names]
    await spoken(*heard)
    assert not any(each.ended.is_set() for each in heard)
    return list(zip(names, heard, strict=True))


class Prefixes:
    """Keys and values of a prompt are kept for the next turn."""

    async def test_the_second_turn_finds_its_prefix(self, subject: Subject) -> None:
        rules = " ".join(f"Rule {i}: be kind to number {i}." for i in range(60))
        first = await answer(subject, ask(subject, "a", "Hello.", system=rules, user="anna"))
        second = await answer(subject, ask(subject, "b", "Good evening.", system=rules, user="anna"))
        assert cached(first) == 0
        assert second.last.usage is not None
        assert cached(second) > second.last.usage.input_tokens // 2
        assert (await subject.engine.state()).prefix_cache


class OwnPrefixes(Prefixes):
    """And for nobody but the same user."""

    async def test_another_user_finds_nothing(self, subject: Subject) -> None:
        rules = " ".join(f"Rule {i}: be just to number {i}." for i in range(60))
        first = await answer(subject, ask(subject, "a", "Hello.", system=rules, user="clara"))
        other = await answer(subject, ask(subject, "b", "Hello.", system=rules, user="denis"))
        assert (cached(first), cached(other)) == (0, 0)


def cached(heard: Heard) -> int:
    assert heard.last.usage is not None
    return heard.last.usage.cached_tokens


class Json:
    SCHEMA = {  # noqa: RUF012 -- never changed
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 120}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }

    async def test_an_answer_keeps_to_a_json_schema(self, subject: Subject) -> None:
        response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": self.SCHEMA}}
        sampling = Sampling(max_tokens=120, temperature=0.0, seed=1, response_format=response_format)
        heard = await answer(subject, ask(subject, "a", "Invent a person.", sampling))
        assert heard.last.finish is FinishReason.STOP
        person = json.loads(heard.text)
        assert set(person) == {"name", "age"}
        assert isinstance(person["age"], int)


class Tools:
    WEATHER = {  # noqa: RUF012 -- never changed
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }

    async def test_a_tool_that_must_be_called_is_called_with_its_arguments(self, subject: Subject) -> None:
        choice = {"type": "function", "function": {"name": "weather"}}
        sampling = Sampling(max_tokens=80, temperature=0.0, seed=1, tools=(self.WEATHER,), tool_choice=choice)
        heard = await answer(subject, ask(subject, "a", "What is the weather in Paris?", sampling))
        pieces = [chunk.tool for chunk in heard.chunks if chunk.tool is not None]
        assert "".join(piece.name for piece in pieces) == "weather"
        assert "".join(piece.call_id for piece in pieces)
        assert set(json.loads("".join(piece.arguments for piece in pieces))) == {"city"}
        assert heard.last.error is None

    async def test_tools_that_may_be_called_leave_an_answer_possible(self, subject: Subject) -> None:
        sampling = Sampling(max_tokens=24, temperature=0.0, seed=1, tools=(self.WEATHER,))
        heard = await answer(subject, ask(subject, "a", "Say hello.", sampling))
        assert heard.last.error is None
        assert heard.tokens


class Adapters:
    """LoRA adapters change the text of who has one, and of nobody else, also in one batch."""

    WORDS = "Describe the colour of the sky."
    GREEDY = Sampling(max_tokens=16, temperature=0.0, seed=1)

    async def test_adapters_are_listed_beside_the_model(self, subject: Subject) -> None:
        state = await subject.engine.state()
        assert set(state.adapters) == set(subject.adapters)
        assert not set(state.adapters) & set(state.models)

    async def test_an_adapter_changes_the_text_of_its_chat_alone(self, subject: Subject) -> None:
        def asked(name: str, adapter: str) -> Request:
            return ask(subject, f"{name}-{adapter}", self.WORDS, self.GREEDY, adapter=adapter)

        styles: Sequence[str] = ("", *subject.adapters)
        alone = [(await answer(subject, asked("alone", adapter))).text for adapter in styles]
        assert len(set(alone)) == len(styles)
        together = [submit(subject, asked("together", adapter)) for adapter in styles]
        await ended(*together)
        assert [heard.text for heard in together] == alone
        assert all(heard.last.error is None for heard in together)


class Death:
    async def test_death_in_mid_answer_is_told_to_each(self, subject: Subject) -> None:
        await die(subject)


class Restart:
    """Instead of ``Death``: engines that are processes of ours. A start of a real one takes a minute."""

    async def test_it_dies_in_mid_answer_and_comes_back_to_say_the_same(self, subject: Subject) -> None:
        greedy = ask(subject, "a", "Once upon a time", Sampling(max_tokens=12, temperature=0.0, seed=7))
        before = await answer(subject, greedy)
        await die(subject)
        await restarted(subject.engine)
        after = await answer(subject, greedy)
        assert before.text
        assert after.text == before.text


async def die(subject: Subject) -> None:
    heard = [submit(subject, ask(subject, f"r{i}", f"{subject.story} {i}", LONG)) for i in range(3)]
    await spoken(*heard)
    await subject.kill()
    await ended(*heard)
    for each in heard:
        assert isinstance(each.last.error, EngineLost)
        assert [chunk.last for chunk in each.chunks].count(True) == 1


async def restarted(engine: Engine) -> EngineState:
    async with asyncio.timeout(RESTART_S):
        while True:
            try:
                return await engine.start()
            except EngineUnavailable:
                await asyncio.sleep(0.1)


class Closing:
    async def test_close_ends_what_is_in_flight(self, subject: Subject) -> None:
        heard = submit(subject, ask(subject, "a", subject.story, LONG))
        await spoken(heard)
        await subject.engine.close()
        await ended(heard)
        assert isinstance(heard.last.error, EngineLost)
