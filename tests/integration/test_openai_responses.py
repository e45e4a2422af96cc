"""Responses, as the official client sees them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from support.serving import MODEL, served

ASK = "Tell me of whales."


async def test_a_text_gets_a_response() -> None:
    async with served() as house:
        made = await house.client.responses.create(
            model=MODEL, input=ASK, instructions="Be brief.", metadata={"k": "v"}, temperature=0.5, top_p=0.9, user="me"
        )
        assert made.object == "response"
        assert made.status == "completed"
        assert made.output_text
        assert made.error is None
        assert made.usage is not None
        assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
        assert made.usage.input_tokens_details.cached_tokens == 0
        assert (made.instructions, made.metadata, made.temperature, made.top_p) == ("Be brief.", {"k": "v"}, 0.5, 0.9)
        assert (made.tools, made.tool_choice, made.parallel_tool_calls) == ([], "auto", True)
        assert await house.client.responses.retrieve(made.id) == made


async def test_every_answer_is_valid_for_the_clients_types() -> None:
    async with served() as house:
        _, body = await house.post("/responses", {"model": MODEL, "input": ASK})
        Response.model_validate(body, strict=True)


async def test_items_of_every_kind_go_in_and_come_back() -> None:
    given: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One"}]},
        {
            "type": "message",
            "id": "msg_foreign",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Two", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "blue"}]},
        {"role": "user", "content": "Three"},
    ]
    async with served() as house:
        api = house.client.responses
        made = await api.create(model=MODEL, input=given)
        items = [item async for item in await api.input_items.list(made.id, order="asc", limit=2)]
        assert [item.type for item in items] == [
            "message", "message", "message", "function_call", "function_call_output", "message",
        ]  # fmt: skip
        texts = [item.content[0].text for item in items if item.type == "message"]  # type: ignore[union-attr]
        assert texts == ["Be brief.", "One", "Two", "Three"]
        back = [item.id async for item in await api.input_items.list(made.id, limit=4)]
        assert back == [item.id for item in reversed(items)]


async def test_a_conversation_by_previous_response() -> None:
    async with served() as house:
        api = house.client.responses
        first = await api.create(model=MODEL, input=ASK)
        second = await api.create(model=MODEL, input="And of ravens?", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        items = [item async for item in await api.input_items.list(second.id, order="asc")]
        said = [item.content[0].text for item in items if item.type == "message"]  # type: ignore[union-attr]
        assert said == [ASK, first.output_text, "And of ravens?"]
        assert items[1].id == first.output[0].id
        assert second.usage is not None
        assert first.usage is not None
        assert second.usage.input_tokens > first.usage.total_tokens


async def test_a_conversation_by_its_id() -> None:
    async with served() as house:
        chat = await house.client.conversations.create()
        first = await house.client.responses.create(model=MODEL, input=ASK, conversation=chat.id)
        second = await house.client.responses.create(model=MODEL, input="More.", conversation={"id": chat.id})
        assert second.conversation is not None
        assert second.conversation.id == chat.id
        items = [item async for item in await house.client.conversations.items.list(chat.id, order="asc")]
        said = [item.content[0].text for item in items if item.type == "message"]  # type: ignore[union-attr]
        assert said == [ASK, first.output_text, "More.", second.output_text]


async def test_the_length_is_bounded() -> None:
    async with served() as house:
        made = await house.client.responses.create(model=MODEL, input=ASK, max_output_tokens=3)
        assert made.status == "incomplete"
        assert made.incomplete_details is not None
        assert made.incomplete_details.reason == "max_output_tokens"
        assert made.output[0].status == "incomplete"  # type: ignore[union-attr]
        assert made.max_output_tokens == 3


class Place(BaseModel):
    name: str
    height: int


async def test_a_schema_is_parsed() -> None:
    async with served() as house:
        made = await house.client.responses.parse(model=MODEL, input=ASK, text_format=Place)
        assert isinstance(made.output_parsed, Place)
        stored = await house.client.responses.retrieve(made.id)
        assert stored.text is not None
        assert stored.text.format is not None
        assert stored.text.format.type == "json_schema"
        free = await house.client.responses.create(
            model=MODEL, input=ASK, text={"format": {"type": "json_object"}, "verbosity": "medium"}
        )
        assert free.output_text == "{}"


LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Look at a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": True,
}


@pytest.mark.parametrize("way", ["previous_response_id", "conversation", "items"])
async def test_a_function_call_and_its_output(way: str) -> None:
    async with served() as house:
        api = house.client.responses
        chat = await house.client.conversations.create() if way == "conversation" else None
        place: Any = {"conversation": chat.id} if chat else {}
        first = await api.create(model=MODEL, input=ASK, tools=[LOOK], tool_choice="required", **place)
        call = first.output[0]
        assert call.type == "function_call"
        assert call.status == "completed"
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "blue"}
        given: Any = [output]
        if way == "previous_response_id":
            place = {"previous_response_id": first.id}
        if way == "items":
            given = [{"role": "user", "content": ASK}, call.model_dump(exclude_none=True), output]
        second = await api.create(model=MODEL, input=given, tools=[LOOK], **place)
        assert second.output_text
        items = [item async for item in await api.input_items.list(second.id, order="asc")]
        assert [item.type for item in items] == ["message", "function_call", "function_call_output"]
        assert second.tools[0].type == "function"


async def test_without_store_nothing_stays() -> None:
    async with served() as house:
        made = await house.client.responses.create(model=MODEL, input=ASK, store=False)
        assert made.output_text
        assert made.store is False  # type: ignore[attr-defined]
        with pytest.raises(openai.NotFoundError):
            await house.client.responses.retrieve(made.id)
        raw = await house.stream({"model": MODEL, "input": ASK, "store": False})
        assert b"response.completed" in raw
        assert set((await house.store.counts()).values()) == {0}


async def test_a_deleted_response_is_gone() -> None:
    async with served() as house:
        made = await house.client.responses.create(model=MODEL, input=ASK)
        await house.client.responses.delete(made.id)
        for method in ("retrieve", "delete", "cancel"):
            with pytest.raises(openai.NotFoundError) as refused:
                await getattr(house.client.responses, method)(made.id)
            assert refused.value.param == "response_id"
        with pytest.raises(openai.NotFoundError):
            await house.client.responses.input_items.list(made.id)
        assert (await house.store.counts())["nodes"] == 0


async def test_a_completion_is_no_response() -> None:
    async with served() as house:
        hello: Any = [{"role": "user", "content": ASK}]
        done = await house.client.chat.completions.create(model=MODEL, messages=hello, store=True)
        with pytest.raises(openai.NotFoundError):
            await house.client.responses.retrieve(done.id)
        made = await house.client.responses.create(model=MODEL, input=ASK)
        with pytest.raises(openai.NotFoundError):
            await house.client.chat.completions.retrieve(made.id)


async def test_the_tokens_of_a_prompt() -> None:
    async with served() as house:
        api = house.client.responses
        made = await api.create(model=MODEL, input=ASK, instructions="Be brief.")
        counted = await api.input_tokens.count(model=MODEL, input=ASK, instructions="Be brief.")
        assert made.usage is not None
        assert counted.input_tokens == made.usage.input_tokens
        longer = await api.input_tokens.count(model=MODEL, input="More.", previous_response_id=made.id)
        assert longer.input_tokens > counted.input_tokens
