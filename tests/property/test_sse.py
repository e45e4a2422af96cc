"""Both readers of server-sent events: wherever the bytes are cut, the same events come out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hubbub.bench.sse import ChatDialect, Lines, ResponsesDialect, Seen
from hubbub.core.errors import HubbubError
from hubbub.core.types import Chunk
from hubbub.engines.chat_stream import ChatStream, SseEvents

lines = st.sampled_from(
    [b"", b"data: x", b"data:y", b"data", b": ping", b"event: e", b"id: 7", b"data: \xf0\x9f\x90\x8b"]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
cuts = st.lists(st.integers(0, 1000), max_size=12)


def pieces(data: bytes, at: Sequence[int]) -> list[bytes]:
    """``data`` cut at these places, in thousandths; empty pieces, too. Without places: byte by byte."""
    if not at:
        return [data[place : place + 1] for place in range(len(data))]
    places = [0, *sorted(place * len(data) // 1000 for place in at), len(data)]
    return [data[first:last] for first, last in pairwise(places)]


def events(data: Sequence[bytes]) -> list[bytes]:
    reader = SseEvents()
    found = [event for piece in data for event in reader.feed(piece)]
    return found + reader.flush()


def by_the_book(text: list[bytes]) -> list[bytes]:
    """The events of these lines as the WHATWG standard has it, without empty ones."""
    found: list[bytes] = []
    data: list[bytes] = []
    for line in [*text, b""]:
        if not line:
            if any(data):
                found.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return found


@given(st.lists(lines, max_size=14), ends, cuts)
def test_the_engines_reader_does_not_care_where_bytes_are_cut(text: list[bytes], end: bytes, at: list[int]) -> None:
    data = b"".join(line + end for line in text)
    assert [event.lstrip(b" ") for event in events(pieces(data, at))] == by_the_book(text)


@given(st.binary(max_size=200), cuts)
def test_nor_with_bytes_that_mean_nothing(data: bytes, at: list[int]) -> None:
    assert events(pieces(data, at)) == events([data])


def spoken(data: Sequence[bytes]) -> tuple[list[Chunk], str]:
    """The chunks, and the error at the end if there was one. Any other exception fails the test."""
    stream, chunks = ChatStream(), list[Chunk]()
    try:
        for piece in data:
            chunks += stream.feed(piece)
        chunks += stream.end()
    except HubbubError as error:
        return chunks, error.code
    return chunks, ""


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "finish_reason", "usage", "error", "tool_calls", "index", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
good = st.text(max_size=9).map(lambda text: {"choices": [{"index": 0, "delta": {"content": text}}]})
stop = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@given(st.lists(good | junk, max_size=8), st.booleans(), cuts)
def test_a_stream_of_any_json_gives_the_same_chunks_or_the_same_error(
    said: list[object], done: bool, at: list[int]
) -> None:
    texts = [json.dumps(event) for event in said] + ([json.dumps(stop), "[DONE]"] if done else [])
    data = "".join(f"data: {text}\n\n" for text in texts).encode()
    assert spoken(pieces(data, at)) == spoken([data])


@given(st.lists(st.text(max_size=20), max_size=8), cuts)
def test_every_text_arrives_whole(said: list[str], at: list[int]) -> None:
    made = [{"choices": [{"delta": {"content": text}}]} for text in said]
    data = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in [*made, stop]) + "data: [DONE]\n\n"
    chunks, error = spoken(pieces(data.encode("utf-8", "surrogatepass"), at))
    assert error == ""
    assert "".join(chunk.text for chunk in chunks) == "".join(said)
    assert [chunk.last for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    assert chunks[-1].last


# The load generator's --------------------------------------------------------------------------------------------


def counted(data: Sequence[bytes]) -> list[Seen | None]:
    reader, dialect = Lines(), ResponsesDialect()
    return [dialect.read(event) for piece in data for event in reader.feed(piece)]


@given(st.lists(st.text(max_size=20), max_size=8), st.sampled_from(["\n", "\r\n"]), cuts)
def test_the_load_generators_reader_does_not_care_either(said: list[str], end: str, at: list[int]) -> None:
    name = "response.output_text.delta"
    blocks = [f"event: {name}{end}data: {json.dumps({'type': name, 'delta': text})}{end}{end}" for text in said]
    data = "".join(blocks).encode()
    assert [seen.text for seen in counted(pieces(data, at)) if seen] == said


@given(st.lists(st.text(max_size=20), max_size=8), cuts)
def test_chat_completions_too(said: list[str], at: list[int]) -> None:
    made = [{"choices": [{"delta": {"content": text}}]} for text in said]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in [*made, stop]) + "data: [DONE]\n\n"
    reader, dialect = Lines(), ChatDialect()
    seen = [dialect.read(event) for piece in pieces(data.encode(), at) for event in reader.feed(piece)]
    assert "".join(one.text for one in seen if one) == "".join(said)
    assert [one.end for one in seen if one and one.end] == ["ok"]
