"""What clients see who have to wait, and who are sent away because they would wait too long."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import aiohttp
import openai
import pytest

from hubbub.core.scheduler import SchedulerConfig
from hubbub.engines.sim_prompt import Voice
from support.serving import ENDLESS, FAST, MODEL, Served, served

ONE_PLACE = replace(FAST, max_sequences=1)
ASK: dict[str, Any] = {"model": MODEL, "input": "Hello", "store": False, "stream": True}
SAY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
QUEUED = re.compile(rb"^: queued position=(\d+)(?: estimate_s=(\d+\.\d))?$")


async def queued(response: aiohttp.ClientResponse) -> tuple[int, float | None]:
    """What the next such comment says."""
    while True:
        line = await response.content.readline()
        assert line, "the stream has ended"
        found = QUEUED.match(line.rstrip())
        if found:
            return int(found[1]), None if found[2] is None else float(found[2])


@pytest.mark.parametrize(("path", "body"), [("/responses", ASK), ("/chat/completions", SAY)])
async def test_who_waits_hears_the_place_and_the_time(path: str, body: dict[str, Any]) -> None:
    async with served(voice=ENDLESS, pace=ONE_PLACE) as house:
        await house.client.responses.create(model=MODEL, input="Hello", max_output_tokens=20)
        first = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        second = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        async with house.http.post(f"{house.url}/v1{path}", json=body) as response:
            assert response.status == 200
            position, seconds = await queued(response)
            assert position == 2
            assert seconds is not None
            assert seconds > 0
            await house.client.responses.cancel(second.id)
            while (await queued(response))[0] != 1:
                pass
            await house.client.responses.cancel(first.id)
            while b"delta" not in await response.content.readline():
                pass
            response.close()
        await idle(house)


async def test_the_official_client_does_not_mind_the_comments() -> None:
    async with served(voice=ENDLESS, pace=ONE_PLACE) as house:
        first = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        stream = await house.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello"}], stream=True, max_tokens=10
        )
        async with house.http.post(f"{house.url}/v1/chat/completions", json=SAY) as other:
            await queued(other)  # by now both have been told
            await house.client.responses.cancel(first.id)
            said = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
            assert len("".join(text or "" for text in said)) >= 10
            other.close()
        await idle(house)


async def test_who_would_wait_too_long_is_told_when_to_come_back() -> None:
    """One place, answers of about half a second each; a second of waiting is allowed."""
    voice = Voice(output_median=100, output_sigma=0.0)
    slow = replace(ONE_PLACE, base=0.005)
    async with served(voice=voice, pace=slow, scheduler=SchedulerConfig(max_predicted_ttft_s=1.0)) as house:
        await house.client.responses.create(model=MODEL, input="Hello")
        asked = [
            asyncio.create_task(house.client.responses.create(model=MODEL, input=f"Hello {n}", store=False))
            for n in range(8)
        ]
        done = await asyncio.gather(*asked, return_exceptions=True)
        refused = [error for error in done if isinstance(error, openai.RateLimitError)]
        assert len(refused) + sum(isinstance(answer, openai.types.responses.Response) for answer in done) == 8
        assert 3 <= len(refused) <= 7
        for error in refused:
            assert error.code == "queue_full"
            assert error.response.headers["x-should-retry"] == "true"
            assert 1 <= int(error.response.headers["Retry-After"]) <= 120
            assert "the first word would take about" in error.message
        patient = house.client.with_options(max_retries=3)
        again = await asyncio.gather(
            *(patient.responses.create(model=MODEL, input=f"Again {n}", store=False) for n in range(4))
        )
        assert all(answer.status == "completed" for answer in again)


async def idle(house: Served) -> None:
    while (state := await house.engine.state()).running or state.waiting:
        await asyncio.sleep(0.005)
