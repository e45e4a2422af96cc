"""The events of a streamed response are a pure function of (answer, deltas)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.types import Answer, AnswerId, AnswerKind, AnswerStatus, Delta, FinishReason, ToolDelta, Usage, UserId
from hubbub.gateway.response_events import ResponseEvents
from hubbub.runtime.run import replayed, with_output
from support.events import response_events

ASKED = Answer(
    AnswerId("resp_0123456789abcdef0123456789abcdef"),
    UserId("local"),
    AnswerKind.RESPONSE,
    "simulated",
    1_700_000_000.25,
    params={"temperature": 0.5, "tools": [{"type": "function", "name": "look"}]},
    metadata={"k": "v"},
)
PLAIN = (Delta("Hello"), Delta(", \u2028“мир”\n"), Delta("!"))
CALLS = (
    Delta(tool=ToolDelta(0, "call_a", "look", "")),
    Delta(tool=ToolDelta(0, arguments='{"x":')),
    Delta(tool=ToolDelta(0, arguments="1}")),
    Delta(tool=ToolDelta(1, "call_b", "see", "{}")),
)


def ended(deltas: Sequence[Delta], status: AnswerStatus = AnswerStatus.COMPLETED, **more: Any) -> Answer:
    finish = {AnswerStatus.COMPLETED: FinishReason.STOP, AnswerStatus.INCOMPLETE: FinishReason.LENGTH}.get(status)
    last = replace(ASKED, status=status, finish=finish, usage=Usage(7, 3, 2), completed_at=1_700_000_002.0, **more)
    return with_output(last, None, deltas)[0]


def streamed(asked: Answer, groups: Sequence[Sequence[Delta]], answer: Answer, after: int = -1) -> bytes:
    """As a client sees it that was there from the start."""
    events = ResponseEvents(asked, after)
    raw = events.opening() + events.feed(asked, ())
    running = replace(asked, status=AnswerStatus.IN_PROGRESS)
    for group in groups:
        raw += events.feed(running, group)
    return raw + events.feed(answer, ()) + events.closing(answer)


def replay(answer: Answer, after: int = -1) -> bytes:
    events = ResponseEvents(answer, after)
    return events.opening() + events.feed(answer, replayed(answer)) + events.closing(answer)


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_plain_text_in_the_order_of_the_contract() -> None:
    events = response_events(streamed(ASKED, [PLAIN], ended(PLAIN)))
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(11))
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["usage"] is None
    text = "Hello, \u2028“мир”\n!"
    assert events[7]["text"] == text
    final = events[-1]["response"]
    assert final["output"][0] == events[9]["item"]
    assert final["output"][0]["content"][0]["text"] == text
    assert final["usage"]["input_tokens_details"] == {"cached_tokens": 2, "cache_write_tokens": 0}


def test_function_calls() -> None:
    events = response_events(streamed(ASKED, [CALLS], ended(CALLS)))
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [e["item"]["name"] for e in events if e["type"] == "response.output_item.done"] == ["look", "see"]
    assert [e["output_index"] for e in events[2:-1]] == [0, 0, 0, 1, 1, 0, 0, 1, 1]
    assert events[-1]["response"]["output"][0]["arguments"] == '{"x":1}'


def test_text_after_a_call_keeps_every_id() -> None:
    deltas = (*CALLS, Delta("late"))
    events = response_events(streamed(ASKED, [deltas], ended(deltas)))
    said = {e["item"]["id"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    assert said == {item["id"]: item for item in events[-1]["response"]["output"]}


@pytest.mark.parametrize(
    ("status", "last", "reason"),
    [
        (AnswerStatus.INCOMPLETE, "response.incomplete", "max_output_tokens"),
        (AnswerStatus.FAILED, "response.failed", None),
        (AnswerStatus.CANCELLED, "response.incomplete", None),
    ],
)
def test_every_end_has_one_terminal_event(status: AnswerStatus, last: str, reason: str | None) -> None:
    error = {"error_code": "engine_lost", "error_message": "gone"} if status is AnswerStatus.FAILED else {}
    events = response_events(streamed(ASKED, [PLAIN], ended(PLAIN, status, **error)))
    final = events[-1]
    assert final["type"] == last
    assert final["response"]["status"] == status.value
    assert final["response"]["output"][0]["status"] == "incomplete"
    assert (final["response"]["incomplete_details"] or {}).get("reason") == reason
    if error:
        assert final["response"]["error"] == {"code": "server_error", "message": "gone", "type": "engine_lost"}


def test_an_answer_that_says_nothing() -> None:
    assert types(response_events(streamed(ASKED, [], ended(())))) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    failed = ended((), AnswerStatus.FAILED, error_code="engine_error", error_message="no")
    assert types(response_events(streamed(ASKED, [], failed))) == ["created", "in_progress", "failed"]


def test_a_background_response_starts_queued() -> None:
    asked = replace(ASKED, background=True)
    events = response_events(streamed(asked, [PLAIN], ended(PLAIN, background=True)))
    assert types(events)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == ["queued", "queued", "in_progress"]


PIECE = st.one_of(
    st.text(min_size=1, max_size=8).map(Delta),
    st.tuples(st.integers(0, 2), st.text(max_size=4)).map(lambda p: Delta(tool=ToolDelta(p[0], arguments=p[1]))),
)


@settings(max_examples=40)
@given(pieces=st.lists(PIECE, max_size=12), data=st.data())
def test_no_grouping_and_no_replay_can_be_told_apart(pieces: list[Delta], data: st.DataObject) -> None:
    seen: set[int] = set()
    deltas = []
    for piece in pieces:
        tool = piece.tool
        if tool is not None and tool.index not in seen:
            seen.add(tool.index)
            tool = replace(tool, call_id=f"call_{tool.index}", name="look")
        deltas.append(Delta(piece.text, tool))
    answer = ended(deltas)
    whole = streamed(ASKED, [deltas], answer)
    cut = data.draw(st.integers(0, len(deltas)))
    assert streamed(ASKED, [deltas[:cut], deltas[cut:]], answer) == whole
    assert replay(answer) == whole
    events = response_events(whole)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    after = data.draw(st.integers(-1, len(events)))
    assert response_events(replay(answer, after)) == events[after + 1 :]
    assert streamed(ASKED, [deltas[:cut], deltas[cut:]], answer, after) == replay(answer, after)
