"""What the embedded engine takes and refuses, by field."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.core.errors import BadRequest, Unsupported
from hubbub.engines.openvino_server.body import (
    forced_tools,
    offered_tools,
    parse_body,
    plain_messages,
    sampler_of,
    schema_of,
)
from hubbub.engines.openvino_server.model_info import SamplingDefaults

HELLO = [{"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"stop": [""]}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"modalities": ["audio"]}, "modalities"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_body({"messages": HELLO, **fields})
    assert caught.value.param == param
    assert param.split("[", maxsplit=1)[0] in caught.value.message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b'{"messages": [{"role": "user", "content": "\xff"}]}']
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_body(body)


def test_fields_that_do_not_change_the_answer_are_ignored() -> None:
    parse_body({"messages": HELLO, "user": "u", "metadata": {}, "store": True, "service_tier": "auto", "made_up": 1})


def test_parts_are_joined_and_only_text_is_taken() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain_messages(parse_body({"messages": [{"role": "user", "content": parts}]}).messages) == [
        {"role": "user", "content": "ab"}
    ]
    image = parse_body({"messages": [*HELLO, {"role": "user", "content": [{"type": "image_url"}]}]})
    with pytest.raises(Unsupported) as caught:
        plain_messages(image.messages)
    assert caught.value.param == "messages[1].content"


def test_tool_choice() -> None:
    def forced(choice: Any) -> list[str]:
        body = parse_body({"messages": HELLO, "tools": TOOLS, "tool_choice": choice})
        return [tool["function"]["name"] for tool in forced_tools(body, offered_tools(body))]

    assert forced(None) == forced("auto") == forced("none") == []
    assert forced("required") == ["f", "g"]
    assert forced({"type": "function", "function": {"name": "g"}}) == ["g"]
    with pytest.raises(BadRequest, match="nope"):
        forced({"type": "function", "function": {"name": "nope"}})
    assert offered_tools(parse_body({"messages": HELLO, "tools": TOOLS, "tool_choice": "none"})) == []
    with pytest.raises(BadRequest, match=r"tools\[0\]"):
        offered_tools(parse_body({"messages": HELLO, "tools": [{"type": "function"}]}))


def test_response_format() -> None:
    def schema(form: Any) -> Any:
        return schema_of(parse_body({"messages": HELLO, "response_format": form}))

    assert schema(None) is None
    assert schema({"type": "text"}) is None
    assert schema({"type": "json_object"}) == {"type": "object"}
    assert schema({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}}) == {
        "type": "string"
    }
    for wrong in ({"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": "x"}}):
        with pytest.raises(BadRequest) as caught:
            schema(wrong)
        assert (caught.value.param or "").startswith("response_format")


def test_sampler_takes_the_callers_values_then_the_models() -> None:
    defaults = SamplingDefaults(temperature=0.6, top_p=0.95, top_k=20)
    told = sampler_of(parse_body({"messages": HELLO, "temperature": 0, "top_p": 0.5, "seed": 7}), defaults, 100, "")
    assert (told.temperature, told.top_p, told.seed, told.max_tokens) == (0, 0.5, 7, 100)
    free = sampler_of(parse_body({"messages": HELLO, "max_tokens": 1000}), defaults, 100, "")
    assert (free.temperature, free.top_p, free.top_k, free.max_tokens) == (0.6, 0.95, 20, 100)


def test_each_request_without_a_seed_draws_its_own() -> None:
    body = parse_body({"messages": HELLO})
    assert len({sampler_of(body, SamplingDefaults(), 10, "").seed for _ in range(20)}) > 1


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, 2**32, 0])
def test_any_integer_is_a_seed(seed: int) -> None:
    sampler = sampler_of(parse_body({"messages": HELLO, "seed": seed}), SamplingDefaults(), 10, "")
    assert 0 <= sampler.seed < 2**32
