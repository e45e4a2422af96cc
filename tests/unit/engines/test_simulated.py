"""The simulated model: what it says is a function of seed and body; how fast, of what is in its batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.errors import BadRequest, ContextTooLong, Unsupported
from hubbub.core.types import FinishReason, RequestId
from hubbub.engines.sim_batch import BLOCK, Batch, Pace
from hubbub.engines.sim_faults import FaultKind, FaultRule, Faults, parse_rule
from hubbub.engines.sim_json import smallest
from hubbub.engines.sim_prompt import Speech, Voice, parse_body, speech_of
from hubbub.engines.sim_words import tokenize

VOICE = Voice(output_median=60, output_sigma=0.3)
HI = [{"role": "user", "content": "Привет 你好"}]


def speak(voice: Voice = VOICE, **body: Any) -> Speech:
    return speech_of(parse_body({"messages": HI, **body}), voice)


def text(speech: Speech) -> str:
    return "".join(speech.pieces)


@given(st.text())
def test_tokens_are_the_text(words: str) -> None:
    assert "".join(tokenize(words)) == words


def test_text_depends_on_seed_and_body_alone() -> None:
    assert speak(seed=1) == speak(seed=1)
    assert text(speak(seed=1)) != text(speak(seed=2))
    assert text(speak()) != text(speak(Voice(output_median=60, seed=9)))
    assert text(speak(max_tokens=10)) == "".join(speak().pieces[:10])


def test_lengths_and_finish() -> None:
    whole = speak()
    assert whole.finish is FinishReason.STOP
    assert speak(max_tokens=5).finish is FinishReason.LENGTH
    assert len(speak(max_tokens=500, ignore_eos=True).pieces) == 500
    lengths = {len(speak(seed=i).pieces) for i in range(50)}
    assert len(lengths) > 20
    assert len(speak(Voice(output_median=60, output_sigma=0)).pieces) == 60


def test_the_text_is_in_several_scripts() -> None:
    said = text(speak(max_tokens=400, ignore_eos=True))
    assert any("а" <= letter <= "я" for letter in said)
    assert any("a" <= letter <= "z" for letter in said)
    assert any("一" <= letter <= "鿿" for letter in said)


@given(st.integers(1, 60), st.integers(0, 300))
def test_it_goes_on_where_it_was_cut_anywhere(limit: int, cut: int) -> None:
    said = text(speak())[:cut]
    messages = [*HI, {"role": "assistant", "content": said}]
    rest = speak(messages=messages, continue_final_message=True, add_generation_prompt=False, max_tokens=limit)
    assert text(speak()).startswith(said + text(rest))


@given(st.integers(0, 200), st.integers(1, 8))
def test_a_stop_text_is_never_said(place: int, length: int) -> None:
    whole = text(speak())
    stop = whole[place : place + length]
    if not stop:
        return
    speech = speak(stop=[stop])
    assert text(speech) == whole[: whole.index(stop)]
    assert speech.finish is FinishReason.STOP


def test_structured_output() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "age": {"type": "integer", "minimum": 18},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
            "next": {"$ref": "#/$defs/next"},
            "more": {"type": "string"},
        },
        "required": ["name", "age", "tags", "next"],
        "$defs": {"next": {"anyOf": [{"type": "null"}, {"type": "object"}]}},
    }
    speech = speak(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert json.loads(text(speech)) == {"name": "aaa", "age": 18, "tags": ["a", "a"], "next": None}
    with pytest.raises(BadRequest, match="levels"):
        smallest({"$ref": "#"})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**12},
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]},
        {"enum": []},
        {"type": []},
        {"type": "array", "minItems": "x"},
        {"type": "integer", "minimum": "x"},
        {"type": "number", "multipleOf": 0, "minimum": 1, "exclusiveMaximum": None},
        {"$ref": 3},
        {"anyOf": 3},
        {"type": "object", "required": 3},
        {"type": "string", "minLength": [], "format": {}},
    ],
)
def test_a_schema_that_is_none_or_asks_for_too_much_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        smallest(schema)


def test_a_forced_tool_is_called() -> None:
    function = {
        "name": "look",
        "parameters": {"type": "object", "properties": {"q": {"const": "это"}}, "required": ["q"]},
    }
    tools = [{"type": "function", "function": function}]
    speech = speak(tools=tools, tool_choice={"type": "function", "function": {"name": "look"}})
    assert speech.finish is FinishReason.TOOL_CALLS
    assert speech.tool is not None
    assert speech.tool[1] == "look"
    assert json.loads(text(speech)) == {"q": "это"}
    assert speak(tools=tools, tool_choice="auto").tool is None
    with pytest.raises(BadRequest, match="not in 'tools'"):
        speak(tools=tools, tool_choice={"type": "function", "function": {"name": "other"}})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_bad_fields_are_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        speak(**body)
    assert caught.value.param == param


def test_limits() -> None:
    with pytest.raises(Unsupported):
        speak(n=2)
    with pytest.raises(ContextTooLong, match="maximum context length is 20 tokens"):
        speak(Voice(context_window=20), max_tokens=15)
    batch = Batch(Pace(kv_tokens=10), 0)
    with pytest.raises(ContextTooLong, match="KV cache"):
        batch.add(RequestId("a"), speak(), 0.0)


# The batch ------------------------------------------------------------------------------------------------------------


def speech(prompt: int, output: int, name: str = "p") -> Speech:
    return Speech(tuple(f"{name}{i}" for i in range(prompt)), ("x",) * output, FinishReason.STOP)


def run(batch: Batch) -> list[str]:
    """Step until idle; the names of what ended, in order."""
    ended: list[str] = []
    now = 0.0
    while not batch.idle:
        now += batch.begin()
        ended += [flight.key for flight, chunk in batch.end(now) if chunk.last]
    return ended


EXACT = Pace(base=1.0, per_sequence=0.1, per_context_token=0.01, per_prefill_token=0.001, jitter=0.0, batch_tokens=100)


def test_a_step_takes_as_long_as_what_it_holds() -> None:
    batch = Batch(EXACT, 0)
    batch.add(RequestId("a"), speech(50, 3), 0.0)
    assert batch.begin() == pytest.approx(1.0 + 50 * 0.01 + 50 * 0.001)
    assert [chunk.text for _, chunk in batch.end(0.0)] == ["x"]
    assert batch.begin() == pytest.approx(1.0 + 0.1 + 51 * 0.01)


def test_long_prompts_are_prefilled_in_pieces_beside_decoding() -> None:
    batch = Batch(EXACT, 0)
    batch.add(RequestId("short"), speech(10, 9, "a"), 0.0)
    batch.add(RequestId("long"), speech(250, 1, "b"), 0.0)
    first_words: dict[str, int] = {}
    for step in range(5):
        batch.begin()
        for flight, _ in batch.end(0.0):
            first_words.setdefault(flight.key, step)
    assert first_words == {"short": 0, "long": 2}  # 90 + 99 + 61 tokens


def test_places_and_kv_room_are_waited_for_in_order() -> None:
    batch = Batch(Pace(max_sequences=2, kv_tokens=100), 0)
    for name, size in (("a", 30), ("b", 60), ("c", 5), ("d", 5)):
        batch.add(RequestId(name), speech(size, 5, name), 0.0)
    batch.begin()
    assert list(batch.running) == ["a", "b"]
    assert batch.kv_held == 100
    assert len(batch.waiting) == 2
    batch.remove(RequestId("b"))
    batch.begin()
    assert list(batch.running) == ["a", "c"]
    assert sorted(run(batch)) == ["a", "c", "d"]
    assert batch.kv_held == 0


def test_the_longest_shared_beginning_comes_from_the_prefix_cache() -> None:
    batch = Batch(Pace(), 0)
    first = speech(100, 2)
    batch.add(RequestId("a"), first, 0.0)
    run(batch)
    batch.add(RequestId("b"), Speech((*first.prompt[:40], *("other",) * 60), ("x",), FinishReason.STOP), 0.0)
    batch.begin()
    assert batch.running[RequestId("b")].cached == 40 // BLOCK * BLOCK
    batch.add(RequestId("c"), first, 0.0)
    batch.begin()
    assert batch.running[RequestId("c")].cached == 96


def test_constant_rate() -> None:
    batch = Batch(Pace(itl=0.05, ttft=0.1), 0)
    batch.add(RequestId("a"), speech(1000, 3), 0.0)
    assert [batch.begin() for _ in range(3)] == [0.05] * 3
    assert batch.end(0.05) == []
    assert len(batch.end(0.10)) == 1


@given(st.lists(st.tuples(st.integers(1, 80), st.integers(1, 20)), max_size=12), st.data())
def test_everything_ends_and_gives_back_its_room(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    batch = Batch(Pace(max_sequences=3, kv_tokens=120, batch_tokens=32), 0)
    for i, (prompt, output) in enumerate(sizes):
        batch.add(RequestId(str(i)), speech(prompt, output), 0.0)
    cancelled = {str(i) for i in range(len(sizes)) if data.draw(st.booleans())}
    batch.begin()
    for name in cancelled:
        assert batch.remove(RequestId(name))
    assert sorted(run(batch)) == sorted({str(i) for i in range(len(sizes))} - cancelled)
    assert batch.kv_held == 0
    assert batch._context == 0


# Faults ---------------------------------------------------------------------------------------------------------------


def test_fault_rules_strike_by_rate_and_times() -> None:
    faults = Faults([FaultRule(FaultKind.CUT, times=2), FaultRule(FaultKind.HANG, rate=0.5)], seed=1)
    drawn = [faults.draw() for _ in range(200)]
    assert [rule.kind for rule in drawn[:2] if rule] == [FaultKind.CUT] * 2
    assert 60 < sum(rule is not None for rule in drawn[2:]) < 140


def test_fault_rules_as_flags() -> None:
    assert parse_rule("cut:after_tokens=5,rate=0.1") == FaultRule(FaultKind.CUT, rate=0.1, after_tokens=5)
    for wrong in ("explode", "cut:after=5", "cut:rate=often"):
        with pytest.raises(BadRequest, match="kinds are"):
            parse_rule(wrong)
