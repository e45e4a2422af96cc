"""The chunks of a streamed chat completion."""

from __future__ import annotations

from dataclasses import replace

from openai.types.chat import ChatCompletionChunk

from hubbub.core.types import Answer, AnswerId, AnswerKind, AnswerStatus, Delta, FinishReason, ToolDelta, Usage, UserId
from hubbub.gateway.completion_chunks import CompletionChunks
from support.events import frames

ASKED = Answer(AnswerId("chatcmpl-1"), UserId("me"), AnswerKind.COMPLETION, "m", 1_700_000_000.5, store=False)
ENDED = replace(ASKED, status=AnswerStatus.COMPLETED, finish=FinishReason.STOP, usage=Usage(7, 3, 2))


def chunks(deltas: list[Delta], ended: Answer = ENDED, *, usage: bool = False) -> list[ChatCompletionChunk]:
    encoder = CompletionChunks(ASKED, usage)
    raw = encoder.opening() + encoder.feed(ASKED, deltas) + encoder.closing(ended)
    datas = [data for _, data in frames(raw)]
    assert datas.pop() == "[DONE]"
    return [ChatCompletionChunk.model_validate_json(data, strict=True) for data in datas]


def test_text() -> None:
    said = chunks([Delta('quo"te\n'), Delta("мир\u2028")])
    assert [c.choices[0].delta.content for c in said] == ["", 'quo"te\n', "мир\u2028", None]
    assert [c.choices[0].finish_reason for c in said] == [None, None, None, "stop"]
    assert {c.created for c in said} == {1_700_000_000}


def test_calls_are_numbered_from_zero_in_the_order_they_begin() -> None:
    deltas = [
        Delta(tool=ToolDelta(3, "call_a", "look", "{")),
        Delta(tool=ToolDelta(3, arguments="}")),
        Delta(tool=ToolDelta(5, "call_b", "see", "{}")),
    ]
    pieces = [c.choices[0].delta.tool_calls for c in chunks(deltas)][1:-1]
    assert [[(p.index, p.id, p.function and p.function.arguments) for p in piece or ()] for piece in pieces] == [
        [(0, "call_a", "{")],
        [(0, None, "}")],
        [(1, "call_b", "{}")],
    ]


def test_usage_comes_only_when_asked_for() -> None:
    assert all(c.usage is None for c in chunks([Delta("x")]))
    last = chunks([Delta("x")], usage=True)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (7, 3, 10)


def test_a_failure_is_the_last_word() -> None:
    failed = replace(ASKED, status=AnswerStatus.FAILED, error_code="engine_lost", error_message="gone")
    encoder = CompletionChunks(ASKED, False)
    [(_, data)] = frames(encoder.closing(failed))
    assert data == '{"error":{"message":"gone","type":"server_error","param":null,"code":"engine_lost"}}'
