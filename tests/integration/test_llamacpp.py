"""llama.cpp really run, out of xllamacpp: chats, adapters, slots, cancelling, death."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.core.errors import BadRequest, ContextTooLong, EngineLost, EngineUnavailable
from hubbub.core.types import ChatId, Chunk, EngineId, FinishReason, Message, Request, RequestId, Role, Sampling, UserId
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


async def test_a_partial_answer_goes_on(engine: LlamaCppEngine) -> None:
    whole = (await told(engine, asked("whole", SEA, max_tokens=8))).text
    cut = whole.index(" ", len(whole) // 2)
    rest = await told(engine, asked("rest", SEA, partial=whole[:cut], max_tokens=4))
    assert whole.startswith(whole[:cut] + rest.text) or (whole[:cut] + rest.text).startswith(whole)


async def test_json_by_schema_and_stops(engine: LlamaCppEngine) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    heard = await told(engine, asked("json", "One or two?", response_format=form, max_tokens=20))
    assert json.loads(heard.text)["n"] in (1, 2)
    stopped = await told(engine, asked("stop", SEA, stop=(" sea",)))
    assert " sea" not in stopped.text
    assert stopped.chunks[-1].finish is FinishReason.STOP


async def test_what_does_not_fit_is_refused(engine: LlamaCppEngine) -> None:
    error = (await told(engine, asked("long", "word " * 600))).chunks[-1].error
    assert isinstance(error, ContextTooLong)


async def test_cancelled_it_gives_its_slot_back(engine: LlamaCppEngine) -> None:
    heard = [Heard() for _ in range(4)]
    for number, each in enumerate(heard):
        engine.submit(asked(f"c{number}", "Count to a thousand.", max_tokens=400), each)
    await asyncio.gather(*(each.spoke.wait() for each in heard))
    assert (await engine.state()).running == 4
    for number in range(4):
        engine.cancel(RequestId(f"r-c{number}"))
    await asyncio.gather(*(each.ended.wait() for each in heard))
    assert {each.chunks[-1].finish for each in heard} == {FinishReason.CANCELLED}
    while (await engine.state()).running:
        await asyncio.sleep(0.05)


async def test_killed_it_comes_back(engine: LlamaCppEngine) -> None:
    heard = Heard()
    engine.submit(asked("k", "Count to a thousand.", max_tokens=400), heard)
    await heard.spoke.wait()
    engine.kill()
    await heard.ended.wait()
    assert isinstance(heard.chunks[-1].error, EngineLost)
    while True:
        try:
            await engine.state()
        except EngineUnavailable:
            await asyncio.sleep(0.05)
        else:
            break
    assert (await told(engine, asked("k", SEA))).chunks[-1].finish is not None


async def test_a_pool_for_all_chats(tmp_path: Path) -> None:
    options = LlamaCppOptions(kv_tokens=1024, kv_layout="unified", kv_type="q8_0", threads=1)
    spec = EngineSpec(EngineId("p"), "llamacpp", tmp_path, "smollm2", served_name="pool", chats=3, options=options)
    engine = llamacpp.build(spec)
    assert isinstance(engine, LlamaCppEngine)
    try:
        state = await engine.start()
        assert (state.models, state.context_window, state.kv_tokens) == (("pool",), 1024, 1024)
        assert (await told(engine, asked("one", "word " * 350, max_tokens=2))).chunks[-1].error is None
    finally:
        await engine.close()
