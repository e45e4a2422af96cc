from __future__ import annotations

import itertools
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.bench.board import Fate, Turn
from hubbub.bench.histogram import PRECISION, Durations
from hubbub.bench.prompts import questions
from hubbub.bench.report import Plan
from hubbub.bench.sse import ChatDialect, Lines, ResponsesDialect
from hubbub.bench.verify import missing


@given(st.lists(st.floats(min_value=2e-6, max_value=9e4), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_the_precision_of_a_sample(values: list[float], share: float) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    quantile = durations.quantile(share)
    assert quantile is not None
    nearest = min(values, key=lambda value: abs(value - quantile))
    assert abs(nearest - quantile) <= PRECISION * nearest
    assert sum(value <= quantile * (1 + PRECISION) for value in values) >= share * len(values)


def test_no_samples_no_quantile_and_any_sample_fits() -> None:
    durations, other = Durations(), Durations()
    assert durations.summary() == {"p50": None, "p95": None, "p99": None}
    for value in (0.0, 1e9):
        other.add(value)
    durations.merge(other)
    assert durations.count == 2
    assert durations.quantile(0.99) is not None


@given(st.lists(st.text(alphabet='ab ж"\\', min_size=1), max_size=8), st.integers(1, 9), st.booleans())
def test_events_come_out_however_the_bytes_are_cut(texts: list[str], step: int, crlf: bool) -> None:
    wire = "".join(
        f"event: response.output_text.delta\ndata: {json.dumps({'delta': text}, ensure_ascii=False)}\n\n"
        for text in texts
    ).encode()
    lines, dialect = Lines(), ResponsesDialect()
    pieces = [wire[i : i + step] for i in range(0, len(wire), step)]
    if crlf:
        pieces = [wire.replace(b"\n", b"\r\n")]
    seen = [dialect.read(event) for piece in pieces for event in lines.feed(piece)]
    assert [one.text for one in seen if one] == texts


@pytest.mark.parametrize(
    ("response", "end"),
    [
        ({"status": "completed", "usage": {"output_tokens": 3}}, "ok"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "ok"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "incomplete_content_filter"),
        ({"status": "failed", "error": {"code": "engine_lost", "message": "gone"}}, "engine_lost"),
    ],
)
def test_ends_of_responses(response: dict[str, object], end: str) -> None:
    event = {"type": f"response.{response['status']}", "response": response}
    seen = ResponsesDialect().read(f"event: {event['type']}\ndata: {json.dumps(event)}".encode())
    assert seen is not None
    assert seen.end == end


def test_chat_completions_end_only_after_a_finish_reason() -> None:
    cut, whole = ChatDialect(), ChatDialect()
    first = b'data: {"choices":[{"delta":{"content":"hi"}}]}'
    finish = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'
    done = b"data: [DONE]"
    assert [seen and seen.end for seen in map(cut.read, (first, done))] == ["", None]
    seen = [whole.read(event) for event in (first, finish, usage, done)]
    assert (seen[0] and seen[0].text, seen[1]) == ("hi", None)
    assert seen[2] is not None
    assert seen[2].tokens is not None
    assert (seen[2].tokens.input, seen[2].tokens.output) == (5, 2)
    assert seen[3] is not None
    assert seen[3].end == "ok"


def test_prompts_are_the_same_for_a_seed_and_varied_over_chats() -> None:
    many = [tuple(questions(7, chat, 2)) for chat in range(200)]
    assert many == [tuple(questions(7, chat, 2)) for chat in range(200)]
    assert len(set(many)) > 100
    russian = sum(any("а" <= letter <= "я" for letter in opening) for opening, _ in many)
    assert 30 < russian < 90


def test_missing_names_what_is_not_there_in_order() -> None:
    turns = [
        Turn("q1", "a1", accepted=True, fate=Fate.OK),
        Turn("q2", "a2", accepted=True, fate=Fate.FAILED),
        Turn("q3", "", accepted=False, fate=Fate.FAILED),
    ]
    whole = [("user", "q1"), ("assistant", "a1"), ("user", "q2")]
    assert missing(turns, whole) == []
    for cut in itertools.combinations(whole, 2):
        assert len(missing(turns, cut)) == 1
    assert len(missing(turns, whole[::-1])) == 2


@pytest.mark.parametrize("field", ["chats", "turns", "max_tokens"])
def test_a_plan_names_the_field_at_fault(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0"):
        Plan("http://localhost", **cast("dict[str, Any]", {field: 0}))
    with pytest.raises(ValueError, match="url"):
        Plan("localhost:8000")
