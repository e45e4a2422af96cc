"""The SSE parser: whatever the cuts, line ends and habits of a server, the same chunks."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.errors import ContextTooLong, EngineError, EngineLost, EngineUnavailable
from hubbub.core.types import Chunk, FinishReason, ToolDelta, Usage
from hubbub.engines.chat_stream import ChatStream, SseEvents


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({"id": "x", "choices": choices, **more}) + b"\n\n"


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "total_tokens": 11,
    "prompt_tokens_details": {"cached_tokens": 4},
}
STREAM = (
    b": ping\n\n"
    + event({"role": "assistant", "content": ""})
    + event({"content": "Приве"})
    + b"event: message\nid: 3\n"
    + event({"content": "т 🙂\r\n"})
    + event({}, "stop")
    + event(None, usage=USAGE)
    + b"data: [DONE]\n\n"
)
CHUNKS = [Chunk("Приве", 1), Chunk("т 🙂\r\n", 1), Chunk(finish=FinishReason.STOP, usage=Usage(9, 2, 4))]


def heard(*pieces: bytes) -> list[Chunk]:
    stream = ChatStream()
    chunks = [chunk for piece in pieces for chunk in stream.feed(piece)]
    return chunks if stream.done else [*chunks, *stream.end()]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_cuts_and_line_ends_change_nothing(cuts: list[int], line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    edges = [0, *sorted(cuts), len(stream)]
    assert heard(*(stream[a:b] for a, b in itertools.pairwise(edges))) == CHUNKS


def test_one_byte_at_a_time() -> None:
    assert heard(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == CHUNKS


def test_data_without_a_space_and_over_several_lines() -> None:
    events = SseEvents()
    assert events.feed(b"\xef\xbb\xbfdata:1\n\n\ndata: 2\ndata:3\n\nretry: 5\n\n") == [b"1", b"2\n3"]


def test_a_last_event_without_an_empty_line_counts() -> None:
    assert heard(event({"content": "a"}, "length").rstrip()) == [Chunk("a", 1), Chunk(finish=FinishReason.LENGTH)]


@pytest.mark.parametrize("tail", [b"", b": bye\n\n", b"data: [DO"])
def test_an_end_without_a_finish_reason_is_a_loss(tail: bytes) -> None:
    stream = ChatStream()
    assert list(stream.feed(event({"content": "a"}))) == [Chunk("a", 1)]
    with pytest.raises(EngineError):
        [*stream.feed(tail), *stream.end()]


def test_done_without_a_finish_reason_is_a_loss() -> None:
    with pytest.raises(EngineLost):
        heard(event({"content": "a"}) + b"data: [DONE]\n\n")


def test_what_came_before_an_error_is_heard() -> None:
    stream = ChatStream()
    data = event({"content": "a"}) + b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n'
    chunks = stream.feed(data)
    assert next(chunks) == Chunk("a", 1)
    with pytest.raises(EngineError, match="CUDA out of memory"):
        next(chunks)


def test_an_error_in_mid_stream_keeps_its_kind() -> None:
    error = {"message": "This model's maximum context length is 10 tokens.", "code": 400}
    with pytest.raises(ContextTooLong):
        heard(b"data: " + msgspec.json.encode({"error": error}) + b"\n\n")


def test_fastchats_word_for_an_error() -> None:
    with pytest.raises(EngineError, match="CUDA out of memory"):
        heard(b'data: {"text": "CUDA out of memory", "error_code": 50002}\n\ndata: [DONE]\n\n')


def test_an_abort_can_be_tried_again() -> None:
    with pytest.raises(EngineUnavailable):
        heard(event({"content": "a"}) + event({}, "abort"))


def test_garbage_is_quoted() -> None:
    with pytest.raises(EngineError, match="oops"):
        heard(b"data: {oops}\n\n")


def test_tool_calls() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a":1}'}}
    data = event({"tool_calls": [first]}) + event({"tool_calls": [more]}) + event({}, "tool_calls")
    assert heard(data) == [
        Chunk(tokens=1, tool=ToolDelta(0, "c1", "look", "")),
        Chunk(tokens=1, tool=ToolDelta(0, "", "", '{"a":1}')),
        Chunk(finish=FinishReason.TOOL_CALLS),
    ]


def test_tool_calls_without_an_index_are_numbered() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    chunks = heard(event({"tool_calls": calls}, "tool_calls"))
    assert [chunk.tool.index for chunk in chunks if chunk.tool] == [0, 1]


def test_usage_in_the_finish_event_and_nulls() -> None:
    data = event({"content": None, "tool_calls": None}, usage=None) + event({"content": "a"}, "eos_token", usage=USAGE)
    assert heard(data) == [Chunk("a", 1), Chunk(finish=FinishReason.STOP, usage=Usage(9, 2, 4))]


def test_reasoning_counts_and_is_not_said() -> None:
    assert heard(event({"reasoning_content": "hm"}) + event({}, "stop"))[0] == Chunk(tokens=1)
