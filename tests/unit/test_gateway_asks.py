"""From request bodies to questions."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.core.errors import BadRequest
from hubbub.core.types import Item, ItemId, ItemType, Priority, Role, UserId
from hubbub.gateway.asks import ask_of_completion, ask_of_response
from hubbub.gateway.views import stored_messages
from hubbub.gateway.wire.base import convert
from hubbub.gateway.wire.chat_completions import CompletionCreate
from hubbub.gateway.wire.responses import ResponseCreate
from hubbub.runtime.hub import Ask

ME = UserId("me")
FUNCTION = {"name": "look", "description": "Look.", "parameters": {"type": "object"}, "strict": True}
NESTED = {"type": "function", "function": FUNCTION}


def response(**body: Any) -> Ask:
    return ask_of_response(ME, convert({"input": "Hello", **body}, ResponseCreate, ""))


def completion(*messages: dict[str, Any], **body: Any) -> Ask:
    said = messages or ({"role": "user", "content": "Hello"},)
    return ask_of_completion(ME, convert({"model": "m", "messages": list(said), **body}, CompletionCreate, ""))


def test_both_dialects_of_tools_are_one() -> None:
    flat = response(tools=[{"type": "function", **FUNCTION}], tool_choice={"type": "function", "name": "look"})
    nested = completion(tools=[NESTED], tool_choice={"type": "function", "function": {"name": "look"}})
    assert flat.sampling.tools == nested.sampling.tools == (NESTED,)
    assert flat.sampling.tool_choice == nested.sampling.tool_choice


def test_both_dialects_of_a_schema_are_one() -> None:
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    flat = response(text={"format": {"type": "json_schema", **schema}})
    nested = completion(response_format={"type": "json_schema", "json_schema": schema})
    assert flat.sampling.response_format == nested.sampling.response_format
    assert response(text={"format": {"type": "text"}}).sampling.response_format is None


def test_flex_is_bulk() -> None:
    assert response(service_tier="flex").priority is Priority.BULK
    assert completion(service_tier="flex").priority is Priority.BULK
    assert response(service_tier="auto").priority is Priority.CHAT


def test_store_is_the_default_of_responses_alone() -> None:
    assert response().store
    assert not response(store=False).store
    assert not completion().store
    assert completion(store=True).store


def test_the_newer_name_of_a_limit_wins() -> None:
    assert completion(max_tokens=3).sampling.max_tokens == 3
    assert completion(max_tokens=3, max_completion_tokens=5).sampling.max_tokens == 5


def test_a_tool_choice_names_a_tool_there_is() -> None:
    with pytest.raises(BadRequest, match="tools has look"):
        completion(tools=[NESTED], tool_choice={"type": "function", "function": {"name": "see"}})


def test_messages_become_items_and_come_back() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = completion(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
        {"role": "assistant", "content": "It is blue.", "refusal": None, "annotations": []},
    )
    assert [item.type for item in asked.items] == [
        ItemType.MESSAGE,
        ItemType.MESSAGE,
        ItemType.FUNCTION_CALL,
        ItemType.FUNCTION_CALL_OUTPUT,
        ItemType.MESSAGE,
    ]
    assert asked.items[1].parts == ("a", "b")
    back = stored_messages([Item(ItemId(f"i{n}"), **_fields(item)) for n, item in enumerate(asked.items)])
    assert [message.role for message in back] == ["system", "user", "assistant", "tool", "assistant"]
    assert back[2].content is None
    assert back[3].tool_call_id == "call_1"


def test_an_assistant_may_say_nothing_but_calls() -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": "{}"}}
    items = completion({"role": "assistant", "content": "", "tool_calls": [call]}).items
    assert [item.type for item in items] == [ItemType.FUNCTION_CALL]
    assert completion({"role": "assistant", "content": ""}).items[0].role is Role.ASSISTANT


def _fields(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("type", "parts", "role", "call_id", "name", "complete")}
