"""Adapters of engines that need a GPU, against twins of their wire. What they were never seen to do is not claimed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hubbub.core.errors import BadRequest
from hubbub.core.types import EngineId, Priority
from hubbub.engines.dialect import Dialect, Limits
from hubbub.engines.fastchat import FastChatDialect
from hubbub.engines.lmdeploy import LMDeployDialect
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.sglang import SGLangDialect
from support.engine_behaviours import (
    Answers,
    Cancels,
    Capacity,
    Counts,
    Death,
    Json,
    Overflow,
    Subject,
    Tools,
    UnknownModel,
    answer,
    ask,
)
from support.twins.fastchat import FastChatTwin
from support.twins.lmdeploy import LMDeployTwin
from support.twins.sglang import KV_TOKENS, SGLangTwin
from support.twins.twin import MODEL, SEQUENCES, WINDOW, Twin


async def spoken_to(twin: Twin, dialect: Dialect, limits: Limits) -> AsyncIterator[Subject]:
    async with twin.serving() as url:
        engine = OpenAIWireEngine(EngineId("twin"), WireConfig(url, limits=limits), dialect)

        async def kill() -> None:
            twin.engine.lose()

        try:
            await engine.start()
            yield Subject(engine, MODEL, kill, adapters=twin.adapters)
        finally:
            await engine.close()


class TestSGLang(Death, Tools, Json, Capacity, Overflow, Counts, Cancels, Answers):
    @pytest.fixture
    def twin(self) -> SGLangTwin:
        return SGLangTwin()

    @pytest.fixture
    async def subject(self, twin: SGLangTwin) -> AsyncIterator[Subject]:
        async for subject in spoken_to(twin, SGLangDialect(), Limits()):
            yield subject

    async def test_capacity_is_its_own_word(self, subject: Subject) -> None:
        state = await subject.engine.state()
        assert (state.kv_tokens, state.max_sequences, state.context_window) == (KV_TOKENS, SEQUENCES, WINDOW)
        assert state.prefix_cache
        assert state.adapters == ("red",)
        assert state.models == (MODEL,)

    async def test_the_higher_number_is_the_chat(self, subject: Subject, twin: SGLangTwin) -> None:
        await answer(subject, ask(subject, "a", "Hello."))
        await answer(subject, ask(subject, "b", "Hello.", priority=Priority.BULK))
        chat, bulk = (body["priority"] for body in twin.bodies)
        assert chat > bulk

    async def test_an_adapter_stands_behind_the_model(self, subject: Subject, twin: SGLangTwin) -> None:
        assert (await answer(subject, ask(subject, "a", "Hello.", adapter="red"))).last.error is None
        unknown = await answer(subject, ask(subject, "b", "Hello.", adapter="green"))
        assert twin.loras == ["red", "green"]
        assert isinstance(unknown.last.error, BadRequest)

    async def test_users_share_no_prefixes(self, subject: Subject, twin: SGLangTwin) -> None:
        for user in ("anna", "boris", "anna"):
            await answer(subject, ask(subject, user, "Hello.", user=user))
        anna, boris, again = (body["cache_salt"] for body in twin.bodies)
        assert anna == again != boris
        assert "anna" not in anna


async def test_sglang_without_metrics_is_asked_for_its_model() -> None:
    async for subject in spoken_to(SGLangTwin(metrics=False), SGLangDialect(), Limits()):
        assert (await subject.engine.state()).kv_tokens == KV_TOKENS


class TestLMDeploy(Death, Capacity, Overflow, UnknownModel, Cancels, Answers):
    @pytest.fixture
    def twin(self) -> LMDeployTwin:
        return LMDeployTwin()

    @pytest.fixture
    async def subject(self, twin: LMDeployTwin) -> AsyncIterator[Subject]:
        limits = Limits(context_window=WINDOW, max_sequences=SEQUENCES, adapters=("red",))
        async for subject in spoken_to(twin, LMDeployDialect(), limits):
            yield subject

    async def test_what_it_does_not_say_is_what_it_was_started_with(self, subject: Subject) -> None:
        state = await subject.engine.state()
        assert (state.context_window, state.kv_tokens) == (WINDOW, WINDOW * SEQUENCES)
        assert state.models == (MODEL,)

    async def test_it_counts_no_tokens_of_chats(self, subject: Subject) -> None:
        assert await subject.engine.count_tokens(ask(subject, "a", "Hello.").messages) is None

    async def test_fields_that_it_does_not_have_are_not_sent(self, subject: Subject, twin: LMDeployTwin) -> None:
        request = ask(subject, "a", subject.story, partial="Once", priority=Priority.BULK)
        assert (await answer(subject, replace(request, prompt_tokens=1))).last.error is None
        assert not set(twin.bodies[0]) & {"priority", "cache_salt", "continue_final_message", "add_generation_prompt"}
        assert twin.bodies[0]["messages"][-1] == {"role": "assistant", "content": "Once"}


class TestFastChat(Death, Overflow, UnknownModel, Cancels):
    """No ``Answers``: it tells no usage in a stream, knows no seeds, and cannot go on with an answer."""

    @pytest.fixture
    def twin(self) -> FastChatTwin:
        return FastChatTwin()

    @pytest.fixture
    async def subject(self, twin: FastChatTwin) -> AsyncIterator[Subject]:
        async for subject in spoken_to(twin, FastChatDialect((MODEL,)), Limits((MODEL,), max_sequences=SEQUENCES)):
            yield subject

    async def test_it_says_its_window_and_no_more(self, subject: Subject) -> None:
        state = await subject.engine.state()
        assert (state.context_window, state.max_sequences, state.models) == (WINDOW, SEQUENCES, (MODEL,))

    async def test_an_answer_streams_in_pieces_without_a_usage(self, subject: Subject, twin: FastChatTwin) -> None:
        heard = await answer(subject, ask(subject, "a", "Tell me of the sea."))
        assert len(heard.chunks) > 3
        assert heard.text.strip()
        assert heard.last.error is None
        assert heard.last.usage is None
        assert not set(twin.bodies[0]) & {"seed", "stream_options"}
