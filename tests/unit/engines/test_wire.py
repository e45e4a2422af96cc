"""What goes over the wire: bodies, frames, keys."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest

from hubbub.core.errors import ConfigError, ContextTooLong, EngineUnavailable
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineId,
    FinishReason,
    Message,
    Request,
    RequestId,
    Role,
    Sampling,
    ToolCall,
    ToolDelta,
    Usage,
    UserId,
)
from hubbub.engines.frames import Cancel, Submit, chunk_of, decode_op, decode_pieces, encode_op, encode_pieces, piece_of
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.simulated_server import ServerOptions, serving
from hubbub.engines.wire_body import chat_body


def request(*messages: Message, sampling: Sampling | None = None, partial: str = "") -> Request:
    return Request(
        RequestId("r"),
        UserId("u"),
        ChatId("c"),
        "m",
        1,
        messages=messages,
        sampling=sampling or Sampling(),
        partial=partial,
    )


def test_a_plain_body_says_nothing_that_was_not_asked() -> None:
    assert chat_body(request(Message(Role.DEVELOPER, "be kind"), Message(Role.USER, "hi"))) == {
        "model": "m",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_tool_calls_and_their_results() -> None:
    call = ToolCall("c1", "look", '{"a": 1}')
    body = chat_body(
        request(Message(Role.ASSISTANT, tool_calls=(call,)), Message(Role.TOOL, "seen", tool_call_id="c1"))
    )
    function = {"name": "look", "arguments": '{"a": 1}'}
    assert body["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "seen", "tool_call_id": "c1"},
    ]


def test_sampling_and_a_partial_answer() -> None:
    sampling = Sampling(temperature=0.0, max_tokens=5, stop=("x",), seed=0, tool_choice="none")
    body = chat_body(request(Message(Role.USER, "hi"), sampling=sampling, partial="Once"))
    assert body["messages"][-1] == {"role": "assistant", "content": "Once"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert {name: body[name] for name in ("temperature", "max_tokens", "stop", "seed", "tool_choice")} == {
        "temperature": 0.0,
        "max_tokens": 5,
        "stop": ["x"],
        "seed": 0,
        "tool_choice": "none",
    }
    assert "top_p" not in body


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("Привет 🙂", 2),
        Chunk(finish=FinishReason.LENGTH, usage=Usage(3, 4, 1)),
        Chunk(tokens=1, tool=ToolDelta(1, "c", "look", "{}")),
    ],
)
def test_frames_carry_every_chunk(chunk: Chunk) -> None:
    (piece,) = decode_pieces(encode_pieces([piece_of("7", chunk)]))
    assert piece.id == "7"
    assert chunk_of(piece) == chunk


def test_frames_carry_errors() -> None:
    sent = ContextTooLong("4096 and 5000", param="messages", retry_after=1.5)
    (piece,) = decode_pieces(encode_pieces([piece_of("7", Chunk(error=sent))]))
    got = chunk_of(piece).error
    assert type(got) is ContextTooLong
    assert (got.message, got.param, got.retry_after) == ("4096 and 5000", "messages", 1.5)


def test_trailing_fields_may_be_left_out() -> None:
    (piece,) = decode_pieces(msgspec.msgpack.encode([["7", "a", 1]]))
    assert chunk_of(piece) == Chunk("a", 1)


def test_frame_operations() -> None:
    for op in (Submit("1", {"model": "m"}), Cancel("1")):
        assert decode_op(encode_op(op)) == op
    with pytest.raises(msgspec.DecodeError):
        decode_op(msgspec.msgpack.encode({"op": "explode", "id": "1"}))


def test_the_address_may_end_in_v1() -> None:
    assert WireConfig("http://host:1/v1/").base == "http://host:1"
    with pytest.raises(ConfigError, match="http://"):
        WireConfig("host:1")
    with pytest.raises(ConfigError, match="api_key"):
        WireConfig("http://host:1", api_key="two words")


async def test_the_api_key_goes_in_the_header_and_nowhere_else() -> None:
    async with serving(ServerOptions(api_key="sk-right")) as url:
        right = OpenAIWireEngine(EngineId("e"), WireConfig(url, api_key="sk-right"))
        wrong = OpenAIWireEngine(EngineId("e"), WireConfig(url, api_key="sk-wrong"))
        ends: asyncio.Queue[Chunk] = asyncio.Queue()
        try:
            await right.start()
            for engine in (right, wrong):
                assert "sk-" not in repr(engine) + repr(engine.config)
                one = Request(
                    RequestId("r"),
                    UserId("u"),
                    ChatId("c"),
                    "",
                    1,
                    messages=(Message(Role.USER, "hi"),),
                    sampling=Sampling(max_tokens=1),
                )
                engine.submit(one, lambda _id, chunk: ends.put_nowait(chunk) if chunk.last else None)
                end = await asyncio.wait_for(ends.get(), 10)
                if engine is right:
                    assert end.error is None
                else:
                    # The server repeats the key it was given; the error does not.
                    assert end.error is not None
                    assert "refuses the API key" in end.error.message
                    assert "sk-wrong" not in end.error.message
                    assert re.search(r"\*\*\*", end.error.message)
        finally:
            await right.close()
            await wrong.close()


async def test_nobody_listens() -> None:
    engine = OpenAIWireEngine(EngineId("e"), WireConfig("http://127.0.0.1:9"))
    ends: asyncio.Queue[Chunk] = asyncio.Queue()
    try:
        with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9"):
            await engine.start()
        engine.submit(request(Message(Role.USER, "hi")), lambda _id, chunk: ends.put_nowait(chunk))
        end = await asyncio.wait_for(ends.get(), 10)
        assert type(end.error) is EngineUnavailable
    finally:
        await engine.close()
