"""Clients that leave, read slowly, or wait in silence."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from hubbub.core.types import AnswerId
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.keyring import LOCAL
from support.events import frames, response_events
from support.serving import ENDLESS, FAST, MODEL, Served, served

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello", "stream": True}
BRIEFLY: dict[str, Any] = {**ASK, "store": False}
SAY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
ONE_PLACE = replace(FAST, max_sequences=1)


async def until_idle(house: Served) -> None:
    """Waits until the engine works on nothing. A test that would wait for ever fails by its time limit."""
    while (state := await house.engine.state()).running or state.waiting:
        await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(house: Served, path: str, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
    async with asyncio.timeout(20), house.http.post(f"{house.url}/v1{path}", json=body) as response:
        yield response


@pytest.mark.parametrize(("path", "body"), [("/responses", BRIEFLY), ("/chat/completions", SAY)])
async def test_who_leaves_amid_a_stream_frees_the_engine(path: str, body: dict[str, Any]) -> None:
    async with served(voice=ENDLESS) as house:
        async with opened(house, path, body) as response:
            while b"delta" not in await response.content.readline():
                pass
            response.close()
        await until_idle(house)


@pytest.mark.parametrize(("path", "body"), [("/responses", BRIEFLY), ("/chat/completions", SAY)])
async def test_who_leaves_while_waiting_for_the_whole_frees_the_engine(path: str, body: dict[str, Any]) -> None:
    async with served(voice=ENDLESS) as house:
        asking = asyncio.create_task(house.post(path, {**body, "stream": False}))
        while not (await house.engine.state()).running:
            await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until_idle(house)


async def test_who_leaves_the_queue_is_forgotten() -> None:
    async with served(voice=ENDLESS, pace=ONE_PLACE) as house:
        first = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        async with opened(house, "/responses", BRIEFLY) as response:
            event = b""
            while b"data: " not in event:
                event = await response.content.readline()
            response_id = response_events(b"event: response.created\n" + event + b"\n")[0]["response"]["id"]
            live = house.hub.live(LOCAL, AnswerId(response_id))
            assert live is not None
            response.close()
        ended = await asyncio.wait_for(live.ended(), 20)
        assert ended.status.value == "cancelled"
        assert (await house.engine.state()).running == 1
        await house.client.responses.cancel(first.id)


@pytest.mark.parametrize("background", [True, False])
async def test_a_stored_response_goes_on_without_its_client(background: bool) -> None:
    async with served(pace=replace(FAST, base=0.005)) as house:
        async with opened(house, "/responses", {**ASK, "background": background}) as response:
            line = b""
            while not line.startswith(b"data: "):
                line = await response.content.readline()
            response_id = response_events(b"event: response.created\n" + line + b"\n")[0]["response"]["id"]
            response.close()
        live = house.hub.live(LOCAL, AnswerId(response_id))
        if live is not None:
            await asyncio.wait_for(live.ended(), 20)
        assert (await house.client.responses.retrieve(response_id)).status == "completed"


async def test_a_stored_completion_goes_on_without_its_client_and_is_resumed_by_number() -> None:
    body = {**SAY, "store": True, "stream_options": {"include_usage": True}}
    async with served(pace=replace(FAST, base=0.005)) as house:
        async with opened(house, "/chat/completions", body) as response:
            begun = [json.loads((await data_line(response))[6:]) for _ in range(4)]
            response.close()
        url = f"{house.url}/v1/chat/completions/{begun[0]['id']}?stream=true"
        readers = [house.http.get(url + after) for after in ("", "&starting_after=3", "&starting_after=100000")]
        whole, rest, nothing = [await (await reader).read() for reader in readers]
        chunks = [json.loads(data) for _, data in frames(whole) if data != "[DONE]"]
        assert [chunk["sequence_number"] for chunk in chunks] == list(range(len(chunks)))
        assert chunks[:4] == begun
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["usage"]["completion_tokens"] == len(chunks) - 3
        assert whole.endswith(rest)
        assert frames(rest)[0][1] == frames(whole)[4][1]
        assert nothing == b"data: [DONE]\n\n"
        async with house.http.get(url) as again:
            assert await again.read() == whole
        kept = await house.client.chat.completions.retrieve(begun[0]["id"])
        assert kept.choices[0].message.content == "".join(
            chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]
        )


async def to_the_end(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The rest, and whether the connection was cut instead of ended."""
    rest = b""
    try:
        while data := await response.content.readany():
            rest += data
    except aiohttp.ClientPayloadError:
        return rest, True
    return rest, False


async def data_line(response: aiohttp.ClientResponse) -> bytes:
    line = b""
    while not line.startswith(b"data: "):
        line = await response.content.readline()
    return line


async def test_a_completion_being_written_is_followed_not_fetched() -> None:
    async with served(voice=ENDLESS) as house:
        async with opened(house, "/chat/completions", {**SAY, "store": True}) as response:
            made = json.loads((await data_line(response))[6:])["id"]
            response.close()
        status, body = await house.call("GET", f"/v1/chat/completions/{made}")
        assert (status, body["error"]["code"]) == (409, "conversation_locked")
        await house.hub.cancel(LOCAL, AnswerId(made))


async def test_a_background_stream_tells_at_once_that_it_runs() -> None:
    """Before its first word, which takes a minute."""
    slow = replace(FAST, base=60.0)
    async with served(pace=slow) as house:
        async with opened(house, "/responses", {**ASK, "background": True}) as response:
            seen = [json.loads((await data_line(response))[6:]) for _ in range(3)]
            assert [event["type"] for event in seen] == [
                "response.created",
                "response.queued",
                "response.in_progress",
            ]
            response.close()
        await house.hub.cancel(LOCAL, AnswerId(seen[0]["response"]["id"]))


async def test_a_stop_cuts_stored_streams_in_the_middle_and_ends_the_others() -> None:
    async with served(voice=ENDLESS) as house:
        async with opened(house, "/responses", ASK) as stored, opened(house, "/chat/completions", SAY) as passing:
            begun = [await data_line(stored) for _ in range(5)]
            whole = asyncio.create_task(house.post("/responses", {**ASK, "stream": False}))
            await data_line(passing)
            while (await house.engine.state()).running < 3:
                await asyncio.sleep(0.005)
            await house.hub.close()
            rest, cut = await to_the_end(stored)
            assert cut
            assert b"the server is stopping" in rest.splitlines()[-2]
            assert b"response.completed" not in rest + b"".join(begun)
            assert b'"code":"cancelled"' in await passing.read()
            status, body = await whole
            assert (status, body["error"]["code"]) == (503, "server_restarted")
            assert (await house.post("/responses", ASK))[0] == 503
        assert len(await house.store.unfinished()) == 2


async def test_a_reader_that_only_looks_does_not_end_the_answer_by_leaving() -> None:
    async with served(pace=replace(FAST, base=0.005)) as house:
        made = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        async with house.http.get(f"{house.url}/v1/responses/{made.id}?stream=true") as response:
            await response.content.readline()
            response.close()
        live = house.hub.live(LOCAL, AnswerId(made.id))
        if live is not None:
            await asyncio.wait_for(live.ended(), 20)
        assert (await house.client.responses.retrieve(made.id)).status == "completed"


async def test_a_reader_who_does_not_read_holds_nobody_up() -> None:
    """Its answer ends all the same, and when it reads at last it gets every event."""
    long = replace(ENDLESS, output_median=1_500)
    async with served(voice=long, send_buffer=4096) as house:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", int(house.url.rsplit(":", 1)[1])))
        reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
        body = json.dumps({**ASK, "background": True}).encode()
        head = f"POST /v1/responses HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        other = await house.client.responses.create(model=MODEL, input="Hi", max_output_tokens=5)
        assert other.status == "incomplete"
        await until_idle(house)
        assert len(house.streams) == 1
        events = response_events(await reader.read())
        assert events[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        writer.close()
        await writer.wait_closed()


async def test_silence_is_filled_with_comments_that_tell_the_place() -> None:
    quick = GatewayConfig(ping_seconds=0.02)
    async with served(voice=ENDLESS, pace=ONE_PLACE, gateway=quick) as house:
        first = await house.client.responses.create(model=MODEL, input="Hello", background=True)
        async with opened(house, "/responses", BRIEFLY) as response:
            seen = b""
            while seen.count(b": queued position=1") < 2:
                seen += await response.content.readline()
            await house.client.responses.cancel(first.id)
            while b"output_text.delta" not in seen:
                seen += await response.content.readline()
            response.close()
        await until_idle(house)
        events = response_events(seen[: seen.rindex(b"\n\n") + 2])
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
