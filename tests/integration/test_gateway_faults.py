"""When the engine fails: what a client is told, and whether it should try again."""

from __future__ import annotations

import asyncio
from typing import Any

from hubbub.engines.sim_faults import FaultKind, FaultRule
from support.events import response_events
from support.serving import MODEL, Served, served

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello"}


async def until_health(house: Served, wanted: int) -> dict[str, Any]:
    while True:
        status, said = await house.call("GET", "/health")
        if status == wanted:
            found: dict[str, Any] = said
            return found
        await asyncio.sleep(0.005)


async def test_health_says_503_while_no_engine_is_ready() -> None:
    async with served(faults=(FaultRule(FaultKind.CRASH, times=1, after_tokens=1),), restart_s=0.3) as house:
        made = await house.client.responses.create(**ASK, background=True)
        down = await until_health(house, 503)
        assert down["ready"] is False
        await until_health(house, 200)
        async with house.http.get(f"{house.url}/v1/responses/{made.id}?stream=true") as response:
            events = response_events(await response.read())
        assert events[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_an_engine_that_cuts_every_stream_is_told_with_the_way_out() -> None:
    async with served(faults=(FaultRule(FaultKind.CUT, after_tokens=1),)) as house:
        async with house.http.post(f"{house.url}/v1/responses", json=ASK) as response:
            alone, headers = await response.json(), response.headers
            assert response.status == 503
        assert alone["error"]["code"] == "engine_lost"
        assert headers["x-should-retry"] == "true"
        assert 1 <= int(headers["Retry-After"]) <= 120

        chat = await house.client.conversations.create()
        async with house.http.post(f"{house.url}/v1/responses", json={**ASK, "conversation": chat.id}) as response:
            assert response.status == 503
            assert response.headers["x-should-retry"] == "false"  # the question is in the conversation already
        items = [item async for item in await house.client.conversations.items.list(chat.id)]
        assert len(items) == 1


async def test_what_an_engine_refuses_names_the_field() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "deep", "schema": schema}}
    messages = [{"role": "user", "content": "Hello"}]
    async with served() as house:
        asked = {"model": MODEL, "messages": messages, "response_format": form}
        status, alone = await house.post("/chat/completions", asked)
        assert status == 400
        assert alone["error"]["param"] == "response_format"
        async with house.http.post(f"{house.url}/v1/chat/completions", json={**asked, "stream": True}) as response:
            assert b'"param":"response_format"' in await response.read()
