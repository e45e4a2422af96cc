"""llama.cpp really run, out of xllamacpp: what is its own. The rest is in engines/test_llamacpp_behaviours.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.core.errors import BadRequest
from hubbub.core.types import ChatId, Chunk, EngineId, Message, Request, RequestId, Role, Sampling, UserId
from hubbub.engines import llamacpp
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.llamacpp import LlamaCppEngine, LlamaCppOptions
from support.lora_adapter import write_peft

pytestmark = pytest.mark.asyncio(loop_scope="module")
SEA = "Tell me about the sea."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LlamaCppEngine]:
    folder = tmp_path_factory.mktemp("llamacpp")
    adapters = {name: str(write_peft(folder / name, seed)) for seed, name in enumerate(("warm", "dry"))}
    options = LlamaCppOptions(context_window=512, threads=1)
    engine = llamacpp.build(
        EngineSpec(EngineId("l"), "llamacpp", folder, "smollm2", chats=4, adapters=adapters, options=options)
    )
    assert isinstance(engine, LlamaCppEngine)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


class Heard:
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

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


def asked(chat: str, *texts: str, adapter: str = "", partial: str = "", **sampling: object) -> Request:
    roles = (Role.USER, Role.ASSISTANT)
    messages = tuple(Message(roles[number % 2], text) for number, text in enumerate(texts))
    drawn = Sampling(**{"temperature": 0.0, "max_tokens": 10, **sampling})  # type: ignore[arg-type]
    return Request(
        RequestId(f"r-{chat}"),
        UserId("u"),
        ChatId(chat),
        "smollm2",
        9,
        messages=messages,
        sampling=drawn,
        adapter=adapter,
        partial=partial,
    )


async def told(engine: LlamaCppEngine, request: Request) -> Heard:
    heard = Heard()
    engine.submit(request, heard)
    await heard.ended.wait()
    return heard


async def test_it_says_what_it_can_hold(engine: LlamaCppEngine) -> None:
    state = await engine.state()
    assert (state.models, state.context_window, state.max_sequences) == (("smollm2",), 512, 4)
    assert (state.kv_tokens, state.prefix_cache) == (4 * 512, True)
    assert (state.adapters, state.mixes_adapters) == (("warm", "dry"), False)


async def test_a_second_turn_finds_the_first_in_its_slot(engine: LlamaCppEngine) -> None:
    first = await told(engine, asked("turns", SEA))
    between = await told(engine, asked("other", "And the hills?"))
    assert between.chunks[-1].error is None
    second = (await told(engine, asked("turns", SEA, first.text, "Go on."))).chunks[-1].usage
    assert second is not None
    assert first.chunks[-1].usage is not None
    assert second.cached_tokens >= first.chunks[-1].usage.input_tokens
    assert second.input_tokens == await engine.count_tokens(asked("turns", SEA, first.text, "Go on.").messages)


async def test_a_system_prompt_is_read_once_for_all_chats_of_a_user(engine: LlamaCppEngine) -> None:
    rules = Message(
        Role.SYSTEM, "You look after a harbour. " + "Say what the tide does, and when the ferry leaves. " * 4
    )

    async def cached(chat: str, user: str = "u", **more: str) -> int:
        request = asked(chat, f"{chat}: what now?", **more)
        request = replace(request, user=UserId(user), messages=(rules, *request.messages))
        heard = await told(engine, request)
        assert heard.chunks[-1].usage is not None, heard.chunks[-1].error
        return heard.chunks[-1].usage.cached_tokens

    length = await engine.count_tokens((rules, Message(Role.USER, "")))
    assert length is not None
    first, *later = [await cached(chat) for chat in ("one", "two", "three", "four", "five", "six")]
    assert first < length / 2
    assert all(tokens > length * 0.8 for tokens in later)
    assert await cached("seven", user="stranger") < length / 2
    assert [await cached(chat, adapter="warm") > length / 2 for chat in ("eight", "nine", "ten")] == [False, True, True]


async def test_an_adapter_speaks_in_its_own_chats_only(engine: LlamaCppEngine) -> None:
    names = ("", "warm", "dry", "")
    apart = [(await told(engine, asked("alone", SEA, adapter=name))).text for name in names]
    assert apart[0] == apart[3]
    assert len(set(apart)) == 3
    together = await asyncio.gather(
        *(told(engine, asked(f"t{number}", SEA, adapter=name)) for number, name in enumerate(names))
    )
    assert [heard.text for heard in together] == apart
    unknown = (await told(engine, asked("alone", SEA, adapter="cold"))).chunks[-1].error
    assert isinstance(unknown, BadRequest)


async def test_a_pool_for_all_chats(tmp_path: Path) -> None:
    options = LlamaCppOptions(kv_tokens=1024, kv_layout="unified", kv_type="q8_0", threads=1)
    spec = EngineSpec(EngineId("p"), "llamacpp", tmp_path, "smollm2", served_name="pool", chats=3, options=options)
    engine = llamacpp.build(spec)
    assert isinstance(engine, LlamaCppEngine)
    try:
        state = await engine.start()
        assert (state.models, state.context_window, state.kv_tokens) == (("pool",), 1024, 1024)
        assert (await told(engine, replace(asked("one", "word " * 350, max_tokens=2), model="pool"))).chunks[
            -1
        ].error is None
    finally:
        await engine.close()
