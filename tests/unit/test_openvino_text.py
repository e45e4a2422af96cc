"""Text on its way out of the embedded engine: characters, stop strings, tool calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.types import ToolDelta
from hubbub.engines.openvino_server.codec import Detokenizer, cut
from hubbub.engines.openvino_server.stops import StopMatcher
from hubbub.engines.openvino_server.tool_calls import ToolParser

BYTES = [bytes([value]) for value in range(256)]


@given(st.text(min_size=1, max_size=30), st.data())
def test_detokenizer_never_splits_a_character(text: str, data: st.DataObject) -> None:
    tokens = list(text.encode("utf-8"))
    detokenizer, said, at = Detokenizer(BYTES), [], 0
    while at < len(tokens):
        size = data.draw(st.integers(1, 4))
        said.append(detokenizer.feed(tokens[at : at + size]))
        at += size
    assert "".join(said) == text
    assert "�" not in text or "�" in "".join(said)
    assert detokenizer.end() == ""


def test_detokenizer_replaces_what_is_no_utf8() -> None:
    detokenizer = Detokenizer(BYTES)
    assert detokenizer.feed([0xFF, 0x41]) == "\ufffdA"
    assert detokenizer.feed([0xD0]) == ""
    assert detokenizer.end() == "\ufffd"


def test_detokenizer_says_nothing_for_special_and_unknown_tokens() -> None:
    assert Detokenizer([b"a", b""]).feed([0, 1, 7, 0]) == "aa"


@given(st.text("ab<END>", max_size=40), st.lists(st.text("ab<END>", min_size=1, max_size=5), max_size=3), st.data())
def test_stops_say_what_stands_before_the_first_one_however_it_is_cut(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    matcher, said, at = StopMatcher(stops), "", 0
    while at < len(text) and not matcher.hit:
        size = data.draw(st.integers(1, 3))
        said += matcher.feed(text[at : at + size])
        at += size
        assert not any(stop in said for stop in stops)
    seen = text[:at]
    if matcher.hit:
        assert said == seen[: min(seen.find(stop) for stop in stops if stop in seen)]
    else:
        assert said + matcher.end() == text


def test_a_stop_string_across_chunks_is_not_said() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert matcher.feed("Hello\n") == "Hello"
    assert matcher.feed("\nUs") == ""
    assert matcher.feed("er: hi") == ""
    assert matcher.hit
    assert matcher.feed("more") == ""


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Москва"}}\n</tool_call>'


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_tool_calls_are_found_across_chunks(size: int) -> None:
    parser, said = ToolParser(), []
    text = f"Let me look.\n{CALL}\n{CALL}"
    for at in range(0, len(text), size):
        said += parser.feed(text[at : at + size])
    said += parser.end()
    calls = [piece for piece in said if isinstance(piece, ToolDelta)]
    assert "".join(piece for piece in said if isinstance(piece, str)) == "Let me look.\n"
    assert [(call.index, call.name, call.arguments) for call in calls] == [
        (0, "weather", '{"city": "Москва"}'),
        (1, "weather", '{"city": "Москва"}'),
    ]
    assert calls[0].call_id != calls[1].call_id


def test_what_only_looks_like_a_call_stays_text() -> None:
    parser = ToolParser()
    said = parser.feed("a < b <tool_call>not json</tool_call>") + parser.end()
    assert "".join(str(piece) for piece in said) == "a < b <tool_call>not json</tool_call>"
    assert parser.calls == 0


def test_a_call_without_its_closing_mark_counts_at_the_end() -> None:
    parser = ToolParser()
    assert parser.feed('<tool_call>{"name": "f", "arguments": {}}') == []
    (call,) = parser.end()
    assert isinstance(call, ToolDelta)
    assert (call.name, call.arguments) == ("f", "{}")


@given(st.text("ab ,.Я字1\n", max_size=300), st.integers(5, 40))
def test_cut_keeps_every_character(text: str, most: int) -> None:
    pieces = list(cut(text, most))
    assert "".join(pieces) == text
    assert all(len(piece) <= most for piece in pieces)
