"""The embedded engine with a real small model, over its own HTTP and frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from hubbub.core.types import ChatId, Chunk, EngineId, FinishReason, Message, Request, RequestId, Role, Sampling, UserId
from hubbub.engines.frames import FramesEngine
from support.openvino_process import Running, bundled_model, openvino_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARIS = "What is the capital of France? Answer in one short sentence."
STORY = "Tell a very long story about the sea."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Running]:
    async with openvino_server(bundled_model(), "--kv-bytes", "300000000", "--max-sequences", "16") as running:
        yield running


async def test_what_it_says_of_itself(engine: Running) -> None:
    state = await engine.get("/capacity")
    assert state["models"] == ["tiny"]
    assert state["context_window"] == 8192
    assert state["max_sequences"] == 16
    assert 20_000 < state["kv_tokens"] < 22_000
    assert "kv cache" in state["details"]
    assert await engine.get("/health") == {"status": "ok"}
    (model,) = (await engine.get("/v1/models"))["data"]
    assert model["id"] == (await engine.get("/v1/models/tiny"))["id"] == "tiny"


async def test_an_answer(engine: Running) -> None:
    answer = await engine.chat(PARIS, temperature=0, max_tokens=40)
    (choice,) = answer["choices"]
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    counted = await engine.post("/tokenize", {"messages": [{"role": "user", "content": PARIS}]})
    assert usage["prompt_tokens"] == counted["count"]


async def test_a_stream_says_the_same(engine: Running) -> None:
    whole = await engine.chat(PARIS, temperature=0, max_tokens=40)
    events = await engine.events(
        messages=[{"role": "user", "content": PARIS}],
        temperature=0,
        max_tokens=40,
        stream_options={"include_usage": True},
    )
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == whole["usage"]
    assert len({event["id"] for event in events}) == 1


@pytest.mark.parametrize("length", [22, 24, 26])
async def test_chats_that_began_alike_do_not_say_each_others_words(engine: Running, length: int) -> None:
    """Their past ends within a block of the KV cache, at one length or another, and all go on from there at once."""
    hello = {"role": "user", "content": "Hello! I would like to talk with you about words today."}
    words = ("apple", "tiger", "violin", "copper", "river", "candle", "rocket", "pepper")

    async def said(messages: list[dict[str, str]], tokens: int) -> str:
        body = {"messages": messages, "temperature": 0, "max_tokens": tokens}
        answer = await engine.post("/v1/chat/completions", body)
        return str(answer["choices"][0]["message"]["content"])

    past = [hello, {"role": "assistant", "content": await said([hello], length)}]
    told = [
        [*past, {"role": "user", "content": f"My word is {word}. Say my word back to me and nothing else."}]
        for word in words
    ]
    for word, answer in zip(words, await asyncio.gather(*(said(chat, 24) for chat in told)), strict=True):
        assert not {other for other in words if other in answer.lower()} - {word}, f"of {word}: {answer}"


async def test_length_and_stop(engine: Running) -> None:
    short = await engine.chat(STORY, temperature=0, max_tokens=5)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 5
    whole = await engine.chat(STORY, temperature=0, max_tokens=60)
    text = whole["choices"][0]["message"]["content"]
    stop = text[40:52]
    stopped = await engine.chat(STORY, temperature=0, max_tokens=60, stop=["nothing of the kind", stop])
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert stopped["choices"][0]["message"]["content"] == text[: text.index(stop)]


async def test_seeds(engine: Running) -> None:
    def text(answer: Any) -> str:
        return str(answer["choices"][0]["message"]["content"])

    one, two = [await engine.chat(STORY, temperature=1, max_tokens=30, seed=11) for _ in range(2)]
    assert text(one) == text(two)
    free = await asyncio.gather(*(engine.chat(STORY, temperature=1, max_tokens=30) for _ in range(4)))
    assert len({text(answer) for answer in free}) > 1


async def test_going_on_with_an_answer(engine: Running) -> None:
    """The prompt is what was asked and said, token by token, and nothing is said twice."""
    asked = [{"role": "user", "content": PARIS}]
    begun = await engine.post("/v1/chat/completions", {"messages": asked, "temperature": 0, "max_tokens": 4})
    partial = begun["choices"][0]["message"]["content"]
    body = {"messages": [*asked, {"role": "assistant", "content": partial}], "temperature": 0, "max_tokens": 20}
    rest = await engine.post(
        "/v1/chat/completions", {**body, "continue_final_message": True, "add_generation_prompt": False}
    )
    assert rest["usage"]["prompt_tokens"] == begun["usage"]["prompt_tokens"] + 4
    assert (partial + rest["choices"][0]["message"]["content"]).startswith("The capital of France is Paris")
    refused = await engine.post("/v1/chat/completions", {"messages": asked, "continue_final_message": True}, 400)
    assert refused["error"]["param"] == "continue_final_message"


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


async def test_json_of_a_schema(engine: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 200}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = await engine.chat(
        "Give me a person as JSON.", response_format=json_schema(schema), temperature=0, max_tokens=200
    )
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"name", "age"}


async def test_a_schema_that_cannot_be_compiled_harms_nobody(engine: Running) -> None:
    """The pipeline by itself is stuck for good after one of these."""
    running = asyncio.create_task(engine.chat(STORY, temperature=0, max_tokens=60))
    for schema in ({"type": "nonsense"}, {"$ref": "#/nope"}, {"type": "string", "pattern": "("}):
        answer = await engine.chat("x", 400, response_format=json_schema(schema))
        assert answer["error"]["param"] == "response_format"
    assert (await running)["usage"]["completion_tokens"] == 60


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


async def test_a_schema_that_takes_long_to_compile_is_refused_and_keeps_nobody_waiting(engine: Running) -> None:
    slow = asyncio.create_task(engine.chat("x", 400, response_format=json_schema(nested(400))))
    assert (await engine.chat("x", max_tokens=1))["usage"]["completion_tokens"] == 1
    assert not slow.done()
    error = (await slow)["error"]
    assert (error["param"], "processor time" in error["message"]) == ("response_format", True)
    answer = await engine.chat("x", response_format=json_schema({"type": "boolean"}), temperature=0)
    assert json.loads(answer["choices"][0]["message"]["content"]) in (True, False)


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "other"}, 404, "model_not_found", "model"),
        ({"max_tokens": -1}, 400, "invalid_request_error", "max_tokens"),
        ({"n": 3}, 400, "unsupported_parameter", "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "unsupported_parameter", "tools"),
        (
            {"messages": [{"role": "user", "content": "word " * 9000}]},
            400,
            "context_length_exceeded",
            "messages",
        ),
    ],
)
async def test_refusals(engine: Running, fields: dict[str, Any], status: int, code: str, param: str) -> None:
    error = (await engine.chat("x", status, **fields))["error"]
    assert (error["code"], error["param"]) == (code, param)
    if code == "context_length_exceeded":
        assert "8,192" in error["message"]
        assert "9,0" in error["message"]


async def test_what_is_no_json_and_what_is_not_there(engine: Running) -> None:
    for data in (b"{", b"\xff\xff", b""):
        async with engine.http.post(engine.url + "/v1/chat/completions", data=data) as response:
            assert response.status == 400
            assert (await response.json())["error"]["code"] == "invalid_request_error"
    async with engine.http.get(engine.url + "/v1/nothing") as response:
        assert response.status == 404


async def test_a_client_that_leaves_frees_its_place(engine: Running) -> None:
    body = {"messages": [{"role": "user", "content": STORY}], "stream": True, "ignore_eos": True}
    for _ in range(3):
        async with aiohttp.ClientSession() as leaver, leaver.post(engine.url + "/v1/chat/completions", json=body) as r:
            await r.content.readline()
    await engine.idle()


async def test_metrics(engine: Running) -> None:
    async with engine.http.get(engine.url + "/metrics") as response:
        text = await response.text()
    assert "hubbub_engine_requests_running 0.0" in text
    assert "hubbub_engine_output_tokens_total" in text


def request(number: int, tokens: int) -> Request:
    return Request(
        RequestId(f"r{number}"),
        UserId("u"),
        ChatId("c"),
        "tiny",
        10,
        messages=(Message(Role.USER, f"Count up from {number}."),),
        sampling=Sampling(max_tokens=tokens, temperature=0.7, seed=number),
    )


async def test_many_over_one_connection_with_cancels(engine: Running) -> None:
    """40 at once on 16 places; every fourth is cancelled at its first word; each ends exactly once."""
    adapter = FramesEngine(EngineId("e"), lambda: engine.url)
    last: dict[str, Chunk] = {}
    tokens: dict[str, int] = {}
    done = asyncio.Event()

    def sink(number: RequestId, chunk: Chunk) -> None:
        assert number not in last
        tokens[number] = tokens.get(number, 0) + chunk.tokens
        if chunk.last:
            last[number] = chunk
        elif int(number[1:]) % 4 == 0:
            adapter.cancel(number)
        if len(last) == 40:
            done.set()

    await adapter.start()
    try:
        for number in range(40):
            adapter.submit(request(number, 20), sink)
        await done.wait()
    finally:
        await adapter.close()
    for number in range(40):
        chunk = last[f"r{number}"]
        assert chunk.error is None
        if number % 4 == 0:
            assert chunk.finish is FinishReason.CANCELLED
        else:
            assert chunk.usage is not None
            assert chunk.usage.output_tokens == tokens[f"r{number}"] <= 20
    await engine.idle()


async def test_a_closed_connection_cancels_what_it_carried(engine: Running) -> None:
    adapter = FramesEngine(EngineId("e"), lambda: engine.url)
    spoke = asyncio.Event()
    await adapter.start()
    adapter.submit(request(1, 5000), lambda number, chunk: spoke.set())
    await spoke.wait()
    await adapter.close()
    await engine.idle()


async def test_a_schema_that_is_being_tried_can_be_cancelled(engine: Running) -> None:
    """Over frames: whoever waits for the compiler is told at once, and may use the same id again."""
    adapter = FramesEngine(EngineId("e"), lambda: engine.url)
    ends: asyncio.Queue[Chunk] = asyncio.Queue()

    def sink(number: RequestId, chunk: Chunk) -> None:
        if chunk.last:
            ends.put_nowait(chunk)

    def ask(schema: dict[str, Any]) -> None:
        sampling = Sampling(max_tokens=20, response_format=json_schema(schema))
        adapter.submit(replace(request(1, 20), sampling=sampling), sink)

    await adapter.start()
    try:
        ask(nested(401))
        await engine.get("/health")
        adapter.cancel(RequestId("r1"))
        assert (await ends.get()).finish is FinishReason.CANCELLED
        ask({"type": "string", "enum": ["yes"]})
        assert (await ends.get()).finish is FinishReason.STOP
        ask({"type": "nonsense"})
        error = (await ends.get()).error
        assert error is not None
        assert error.param == "response_format"
    finally:
        await adapter.close()
    await engine.idle()
