"""Chat completions, as the official client sees them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from support.serving import MODEL, Served, served

HELLO: list[Any] = [{"role": "user", "content": "Tell me of whales."}]
LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


async def chunks(house: Served, **more: Any) -> list[ChatCompletionChunk]:
    stream = await house.client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, **more)
    return [chunk async for chunk in stream]


async def test_an_answer() -> None:
    async with served() as house:
        done = await house.client.chat.completions.create(model=MODEL, messages=HELLO, seed=7, temperature=0.5)
        again = await house.client.chat.completions.create(model=MODEL, messages=HELLO, seed=7, temperature=0.5)
        assert done.object == "chat.completion"
        assert done.id.startswith("chatcmpl-")
        assert done.choices[0].finish_reason == "stop"
        assert done.choices[0].message.content
        assert done.choices[0].message.content == again.choices[0].message.content
        assert done.usage is not None
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
        assert (await house.store.counts())["answers"] == 0
        with pytest.raises(openai.NotFoundError):
            await house.client.chat.completions.retrieve(done.id)


async def test_a_stream_says_what_the_answer_says() -> None:
    async with served() as house:
        done = await house.client.chat.completions.create(model=MODEL, messages=HELLO)
        seen = await chunks(house)
        assert seen[0].choices[0].delta.role == "assistant"
        assert "".join(c.choices[0].delta.content or "" for c in seen) == done.choices[0].message.content
        assert [c.choices[0].finish_reason for c in seen][-2:] == [None, "stop"]
        assert {c.id for c in seen} == {seen[0].id}
        assert all(c.usage is None for c in seen)


async def test_the_usage_chunk_comes_last() -> None:
    async with served() as house:
        seen = await chunks(house, stream_options={"include_usage": True})
        assert seen[-1].choices == []
        assert seen[-1].usage is not None
        assert seen[-1].usage.completion_tokens > 0
        assert seen[-1].usage.prompt_tokens_details is not None
        assert all(c.usage is None for c in seen[:-1])


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_length_is_bounded(field: str) -> None:
    async with served() as house:
        done = await house.client.chat.completions.create(model=MODEL, messages=HELLO, **{field: 3})  # type: ignore[call-overload]
        assert done.choices[0].finish_reason == "length"
        assert done.usage.completion_tokens == 3


async def test_stop_cuts_the_text() -> None:
    async with served() as house:
        whole = (await house.client.chat.completions.create(model=MODEL, messages=HELLO)).choices[0].message.content
        assert whole
        stop = whole.split()[2]
        cut = await house.client.chat.completions.create(model=MODEL, messages=HELLO, stop=[stop, "\0never"[1:]])
        assert cut.choices[0].message.content == whole[: whole.index(stop)]
        assert cut.choices[0].finish_reason == "stop"


class Place(BaseModel):
    name: str
    height: int


async def test_a_schema_is_parsed() -> None:
    async with served() as house:
        done = await house.client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Place)
        assert isinstance(done.choices[0].message.parsed, Place)
        free = await house.client.chat.completions.create(
            model=MODEL, messages=HELLO, response_format={"type": "json_object"}
        )
        assert isinstance(json.loads(free.choices[0].message.content or ""), dict)


async def test_a_function_call_and_its_output() -> None:
    async with served() as house:
        create = house.client.chat.completions.create
        first = await create(model=MODEL, messages=HELLO, tools=[LOOK], tool_choice="required")
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        assert message.tool_calls is not None
        call = message.tool_calls[0]
        assert call.type == "function"
        assert call.function.name == "look"
        assert json.loads(call.function.arguments).keys() == {"place"}
        said: Any = message.model_dump(exclude_none=True)
        output: Any = {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "blue"}]}
        second = await create(model=MODEL, messages=[*HELLO, said, output], tools=[LOOK])
        assert second.choices[0].message.content


async def test_a_function_call_streamed() -> None:
    async with served() as house:
        choice = {"type": "function", "function": {"name": "look"}}
        seen = await chunks(house, tools=[LOOK], tool_choice=choice)
        pieces = [piece for c in seen for piece in c.choices[0].delta.tool_calls or ()]
        assert pieces[0].id
        assert pieces[0].function is not None
        assert pieces[0].function.name == "look"
        assert all(piece.id is None for piece in pieces[1:])
        arguments = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
        assert json.loads(arguments).keys() == {"place"}
        assert seen[-1].choices[0].finish_reason == "tool_calls"


async def test_stored_completions() -> None:
    async with served() as house:
        api = house.client.chat.completions
        made = []
        for number in range(5):
            metadata = {"n": str(number), "half": "low" if number < 3 else "high"}
            messages: list[Any] = [{"role": "system", "content": "Short."}, *HELLO]
            done = await api.create(model=MODEL, messages=messages, store=True, metadata=metadata, max_tokens=4)
            made.append(done.id)
        assert [c.id async for c in await api.list(limit=2)] == made
        assert [c.id async for c in await api.list(order="desc", limit=2)] == made[::-1]
        assert [c.id async for c in await api.list(metadata={"half": "high"})] == made[3:]
        assert [c.id async for c in await api.list(model="other")] == []
        assert [c.id for c in (await api.list(after=made[3])).data] == made[4:]

        found = await api.retrieve(made[0])
        assert found.metadata == {"n": "0", "half": "low"}
        assert found.choices[0].finish_reason == "length"
        assert (await api.update(made[0], metadata={"n": "x"})).metadata == {"n": "x"}
        assert (await api.retrieve(made[0])).metadata == {"n": "x"}

        said = [m async for m in await api.messages.list(made[0], limit=1)]
        assert [(str(m.role), m.content) for m in said] == [("system", "Short."), ("user", "Tell me of whales.")]
        assert len({m.id for m in said}) == 2

        gone = await api.delete(made[0])
        assert gone.deleted
        assert gone.object == "chat.completion.deleted"
        with pytest.raises(openai.NotFoundError):
            await api.retrieve(made[0])
        with pytest.raises(openai.NotFoundError) as refused:
            await api.list(after=made[0])
        assert refused.value.param == "after"


async def test_a_streamed_completion_is_stored_as_it_was_said() -> None:
    async with served() as house:
        seen = await chunks(house, store=True)
        stored = await house.client.chat.completions.retrieve(seen[0].id)
        assert stored.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in seen)
