"""A finished answer gives back the very deltas that were published while it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.types import Answer, AnswerId, AnswerKind, AnswerStatus, Delta, ToolDelta, UserId
from hubbub.runtime.run import replayed, with_output

text = st.builds(Delta, st.text(min_size=1))


@st.composite
def tool_call(draw: st.DrawFn, index: int) -> list[Delta]:
    first = ToolDelta(index, f"call_{index}", draw(st.sampled_from(["look", "find"])), draw(st.text()))
    rest = draw(st.lists(st.text(min_size=1)))
    return [Delta(tool=first), *(Delta(tool=ToolDelta(index, arguments=piece)) for piece in rest)]


@st.composite
def streams(draw: st.DrawFn) -> list[Delta]:
    deltas = draw(st.lists(text))
    for index in range(draw(st.integers(0, 3))):
        deltas += draw(tool_call(index))
    return deltas


@given(streams(), st.sampled_from([s for s in AnswerStatus if s.final]))
def test_replay_is_exact(deltas: list[Delta], status: AnswerStatus) -> None:
    answer = Answer(AnswerId("resp_1"), UserId("u"), AnswerKind.RESPONSE, "m", 1.0, status)
    ended, nodes = with_output(answer, None, deltas)
    assert replayed(ended) == tuple(deltas)
    assert [node.item for node in nodes] == list(ended.output_items)
    assert (ended.output is None) == (not nodes)
