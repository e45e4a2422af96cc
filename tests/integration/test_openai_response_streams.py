"""Streams of responses: every event, reattaching, background, cancel; by the official client."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import openai
import pytest

from hubbub.core.scheduler import SchedulerConfig
from hubbub.engines.sim_faults import FaultKind, FaultRule
from support.events import response_events
from support.serving import ENDLESS, FAST, MODEL, served

ASK = "Tell me of whales."
STEADY = replace(FAST, base=0.01)
LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": True,
}


async def test_what_is_streamed_is_what_is_kept() -> None:
    async with served() as house:
        async with house.client.responses.stream(model=MODEL, input=ASK) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        assert [event.sequence_number for event in events] == list(range(len(events)))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == final.output_text
        assert (await house.client.responses.retrieve(final.id)).output_text == text


async def test_a_replay_after_the_end_is_the_same_bytes() -> None:
    async with served() as house:
        for more in ({}, {"tools": [LOOK], "tool_choice": "required"}, {"max_output_tokens": 2}):
            raw = await house.stream({"model": MODEL, "input": ASK, **more})
            events = response_events(raw)
            url = f"{house.url}/v1/responses/{events[0]['response']['id']}"
            async with house.http.get(url, params={"stream": "true"}) as response:
                assert response.headers["X-Accel-Buffering"] == "no"
                assert await response.read() == raw
            async with house.http.get(url, params={"stream": "true", "starting_after": "3"}) as response:
                assert response_events(await response.read()) == events[4:]


async def test_a_function_call_streamed() -> None:
    async with served() as house:
        async with house.client.responses.stream(
            model=MODEL, input=ASK, tools=[LOOK], tool_choice={"type": "function", "name": "look"}
        ) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        call = final.output[0]
        assert call.type == "function_call"
        pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
        assert "".join(pieces) == call.arguments
        assert len(pieces) > 1


async def test_leave_and_come_back() -> None:
    async with served(pace=STEADY) as house:
        stream = await house.client.responses.create(
            model=MODEL, input=ASK, background=True, stream=True, max_output_tokens=40
        )
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        response_id = seen[0].response.id
        assert [event.type for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]

        after = seen[-1].sequence_number
        async with house.client.responses.stream(response_id=response_id, starting_after=after) as resumed:
            rest = [event async for event in resumed]
        assert [event.sequence_number for event in rest] == list(range(after + 1, after + 1 + len(rest)))
        assert rest[-1].type in ("response.completed", "response.incomplete")

        async with house.http.get(f"{house.url}/v1/responses/{response_id}?stream=true") as response:
            whole = response_events(await response.read())
        assert [e["type"] for e in whole] == [e.type for e in (*seen, *rest)]


async def test_two_readers_see_the_same() -> None:
    async with served(pace=STEADY) as house:
        made = await house.client.responses.create(model=MODEL, input=ASK, background=True, max_output_tokens=20)
        assert made.status in ("queued", "in_progress")

        async def read(after: int) -> list[dict[str, Any]]:
            params = {"stream": "true", "starting_after": str(after)}
            async with house.http.get(f"{house.url}/v1/responses/{made.id}", params=params) as response:
                return response_events(await response.read())

        first, second = await asyncio.gather(read(0), read(2))
        assert second == first[2:]


async def test_background_and_poll() -> None:
    async with served() as house:
        made = await house.client.responses.create(model=MODEL, input=ASK, background=True)
        assert made.background
        while made.status in ("queued", "in_progress"):
            made = await house.client.responses.retrieve(made.id)
        assert made.status == "completed"
        assert made.output_text
        assert made.completed_at is not None


async def test_cancel() -> None:
    async with served(voice=ENDLESS) as house:
        stream = await house.client.responses.create(model=MODEL, input=ASK, background=True, stream=True)
        events: list[Any] = []
        async for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta" and len(events) < 8:
                ended = await house.client.responses.cancel(events[0].response.id)
                assert ended.status == "cancelled"
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.status == "cancelled"
        again = await house.client.responses.cancel(events[0].response.id)
        assert again.status == "cancelled"
        assert again.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")


async def test_a_response_is_deleted_while_it_is_written() -> None:
    async with served(voice=ENDLESS) as house:
        made = await house.client.responses.create(model=MODEL, input=ASK, background=True)
        await house.client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await house.client.responses.retrieve(made.id)


async def test_a_full_conversation_is_busy() -> None:
    async with served(voice=ENDLESS) as house:
        chat = await house.client.conversations.create()
        made = await house.client.responses.create(model=MODEL, input=ASK, background=True, conversation=chat.id)
        with pytest.raises(openai.ConflictError) as refused:
            await house.client.responses.create(model=MODEL, input=ASK, conversation=chat.id)
        assert refused.value.code == "conversation_locked"
        assert refused.value.response.headers["x-should-retry"] == "true"
        await house.client.responses.cancel(made.id)


async def test_a_failure_after_the_beginning_is_an_event() -> None:
    async with served(faults=(FaultRule(FaultKind.GARBAGE, after_tokens=3),)) as house:
        events = response_events(await house.stream({"model": MODEL, "input": ASK}))
        assert events[-1]["type"] == "response.failed"
        error = events[-1]["response"]["error"]
        assert error["code"] == "server_error"
        assert error["message"]
        stored = await house.client.responses.retrieve(events[0]["response"]["id"])
        assert stored.status == "failed"
        assert stored.error is not None

        hello: Any = [{"role": "user", "content": ASK}]
        stream = await house.client.chat.completions.create(model=MODEL, messages=hello, stream=True)
        with pytest.raises(openai.APIError) as failed:
            await anext(chunk async for chunk in stream if chunk.choices[0].finish_reason)
        assert failed.value.code

        status, body = await house.post("/responses", {"model": MODEL, "input": ASK})
        assert status == 502
        assert body["error"]["type"] == "server_error"


async def test_a_full_queue_refuses_early() -> None:
    limits = SchedulerConfig(max_queued=1)
    pace = replace(FAST, max_sequences=1)
    async with served(voice=ENDLESS, pace=pace, scheduler=limits) as house:
        made = [await house.client.responses.create(model=MODEL, input=ASK, background=True) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as refused:
            await house.client.responses.create(model=MODEL, input=ASK, background=True)
        headers = refused.value.response.headers
        assert 1 <= int(headers["retry-after"]) <= 120
        assert headers["x-should-retry"] == "true"
        assert refused.value.code == "queue_full"
        assert refused.value.type == "rate_limit_error"
        for response in made:
            await house.client.responses.cancel(response.id)
