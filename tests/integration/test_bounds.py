"""Everything a client can send or hold has a bound, and each bound is a setting."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from hubbub.core.types import AnswerId
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.gateway.app import Rules
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.keyring import LOCAL
from hubbub.gateway.limits import CONTRACT, LimitsConfig
from support.serving import ENDLESS, MODEL, Served, served

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello"}
SAY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def message(text: str = "x") -> dict[str, Any]:
    return {"role": "user", "content": text}


def tool(size: int = 1) -> dict[str, Any]:
    return {"type": "function", "name": "f", "description": "x" * size}


SMALL = LimitsConfig(
    max_items=3,
    max_text=1000,
    max_title=10,
    max_metadata_pairs=2,
    max_metadata_key=5,
    max_metadata_value=8,
    max_tools=2,
    max_tool_bytes=200,
    max_stop=2,
)


@pytest.mark.parametrize(
    ("path", "good", "bad", "param"),
    [
        ("/responses", {**ASK, "input": [message()] * 3}, {**ASK, "input": [message()] * 4}, "input"),
        ("/chat/completions", {**SAY, "messages": [message()] * 3}, {**SAY, "messages": [message()] * 4}, "messages"),
        ("/conversations", {"items": [message()] * 3}, {"items": [message()] * 4}, "items"),
        ("/responses", {**ASK, "input": "x" * 1000}, {**ASK, "input": "x" * 1001}, "input"),
        (
            "/responses",
            {**ASK, "input": [message("é" * 1000)]},
            {**ASK, "input": [message("x" * 1001)]},
            "input[0].content",
        ),
        ("/responses", {**ASK, "instructions": "x" * 1000}, {**ASK, "instructions": "x" * 1001}, "instructions"),
        ("/chats", {"title": "x" * 10}, {"title": "x" * 11}, "title"),
        ("/chats", {"metadata": {"a": "", "b": ""}}, {"metadata": {"a": "", "b": "", "c": ""}}, "metadata"),
        ("/chats", {"metadata": {"x" * 5: ""}}, {"metadata": {"x" * 6: ""}}, "metadata"),
        ("/chats", {"metadata": {"a": "x" * 8}}, {"metadata": {"a": "x" * 9}}, "metadata.a"),
        ("/responses", {**ASK, "tools": [tool()] * 2}, {**ASK, "tools": [tool()] * 3}, "tools"),
        ("/responses", {**ASK, "tools": [tool(100)]}, {**ASK, "tools": [tool(), tool(200)]}, "tools[1]"),
        ("/chat/completions", {**SAY, "stop": ["a", "b"]}, {**SAY, "stop": ["a", "b", "c"]}, "stop"),
    ],
)
async def test_what_passes_a_bound_is_refused_by_name(path: str, good: Any, bad: Any, param: str) -> None:
    async with served(rules=Rules(limits=SMALL)) as house:
        status, said = await house.post(path, good)
        assert status == 200, said
        status, said = await house.post(path, bad)
        assert (status, said["error"]["param"]) == (400, param), said
        assert "this server takes" in said["error"]["message"]


async def test_the_bounds_of_the_contract_hold_by_themselves() -> None:
    async with served() as house:
        for path, body, param in (
            ("/chat/completions", {**SAY, "stop": ["a"] * 5}, "stop"),
            ("/chats", {"title": "x" * 201}, "title"),
            ("/chats", {"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ):
            status, said = await house.post(path, body)
            assert (status, said["error"]["param"]) == (400, param)


async def test_head_of_a_request() -> None:
    limits = LimitsConfig(max_url_bytes=200, max_header_bytes=1000, max_headers=20)
    async with served(rules=Rules(limits=limits)) as house:
        for path, headers, status, code in (
            (f"/v1/models?{'x' * 100}", {}, 400, "invalid_request_error"),
            (f"/v1/models?{'x' * 200}", {}, 414, "url_too_long"),
            ("/v1/models", {"x-more": "y" * 500}, 200, ""),
            ("/v1/models", {"x-more": "y" * 1000}, 431, "head_too_large"),
            ("/v1/models", {f"x-{number}": "y" for number in range(21)}, 431, "head_too_large"),
        ):
            got, said = await house.call("GET", path, headers=headers)
            assert got == status, said
            if status != 200:
                assert said["error"]["code"] == code


async def test_a_head_far_beyond_the_bounds_ends_the_connection() -> None:
    async with served(rules=Rules(limits=LimitsConfig(max_header_bytes=1000))) as house:
        said = await raw(house, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 5000 + b"\r\n\r\n")
        assert b" 431 " in said.partition(b"\r\n")[0]
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "head_too_large"


async def raw(house: Served, data: bytes, pause: float = 0.0) -> bytes:
    """Everything that is answered until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_connection_too_many_is_told_so_and_closed() -> None:
    ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with served(rules=Rules(limits=LimitsConfig(max_connections=2))) as house:
        address = "127.0.0.1", int(house.url.rsplit(":", 1)[1])
        held = [await asyncio.open_connection(*address) for _ in range(2)]
        head, _, body = (await raw(house, ask)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 5" in head
        assert json.loads(body)["error"]["code"] == "queue_full"
        held.pop()[1].close()
        while not (await raw(house, ask)).startswith(b"HTTP/1.1 200 "):
            await asyncio.sleep(0.01)
        held.pop()[1].close()


async def test_a_body_that_trickles_is_cut() -> None:
    head = (
        b"POST /v1/chats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    async with served(rules=Rules(limits=LimitsConfig(body_seconds=0.1))) as house:
        said = await raw(house, head)
        assert said.startswith(b"HTTP/1.1 408")
        error = json.loads(said.partition(b"\r\n\r\n")[2])["error"]
        assert (error["code"], error["type"]) == ("request_timeout", "invalid_request_error")


@pytest.mark.parametrize("data", [b"", b"GET /v1/mo", b"GET /v1/models HTTP/1.1\r\nHost: loc"])
async def test_an_idle_connection_and_a_head_that_trickles_are_cut(data: bytes) -> None:
    async with served(rules=Rules(limits=LimitsConfig(keep_alive_seconds=0.2))) as house:
        assert await raw(house, data) == b""
        done = await raw(house, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" + data)
        assert done.startswith(b"HTTP/1.1 200")
        assert done.count(b"HTTP/1.1") == 1


# Readers that stop reading ---------------------------------------------------------------------------------------


async def deaf(house: Served, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream whose reader takes the head of the answer and nothing more."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", int(house.url.rsplit(":", 1)[1])))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    sent = json.dumps(body).encode()
    writer.write(
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize(
    "limits",
    [
        LimitsConfig(max_backlog=5_000, stalled_seconds=60.0),
        LimitsConfig(max_backlog=2**40, stalled_seconds=0.2),
    ],
)
async def test_a_reader_that_stops_is_dropped_and_can_come_back(limits: LimitsConfig) -> None:
    """The answer goes on, and is there from its beginning."""
    fast = Pace(base=0.0001, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.0)
    voice = Voice(output_median=200_000, output_sigma=0.0, context_window=400_000)
    async with served(
        rules=Rules(limits=limits), gateway=GatewayConfig(ping_seconds=0.2), voice=voice, pace=fast, send_buffer=4096
    ) as house:
        _, writer = await deaf(house, {**ASK, "background": True, "stream": True})
        async with asyncio.timeout(40):
            while not house.streams.dropped:
                await asyncio.sleep(0.05)
            while len(house.streams) or house.seats.taken:
                await asyncio.sleep(0.01)
        writer.close()
        made = house.store
        answer = (await made.unfinished())[0]
        live = house.hub.live(LOCAL, AnswerId(answer.id))
        assert live is not None
        assert not live.done
        status, said = await house.call("POST", f"/v1/responses/{answer.id}/cancel")
        assert (status, said["status"]) == (200, "cancelled")
        async with house.http.get(f"{house.url}/v1/responses/{answer.id}?stream=true") as again:
            events = (await again.read()).split(b"\n\n")
        assert b'"sequence_number":0,' in events[0]
        numbers = [json.loads(event.partition(b"data: ")[2])["sequence_number"] for event in events if event]
        assert numbers == list(range(len(numbers)))
        text = said["output"][0]["content"][0]["text"]
        assert json.loads(events[-2].partition(b"data: ")[2])["response"]["output"][0]["content"][0]["text"] == text


async def test_a_slow_reader_that_goes_on_reading_is_kept() -> None:
    limits = LimitsConfig(stalled_seconds=1.0)
    async with served(rules=Rules(limits=limits), voice=ENDLESS, send_buffer=4096) as house:
        reader, writer = await deaf(house, {**ASK, "stream": True, "max_output_tokens": 3000})
        got = b""
        while b"response.incomplete" not in got[-4000:]:
            piece = await reader.read(4096)
            assert piece
            got += piece
        writer.close()
        assert house.streams.dropped == 0


@pytest.mark.parametrize("name", LimitsConfig.__slots__)
def test_a_bound_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        LimitsConfig(**{name: 0})
    if name in CONTRACT:
        with pytest.raises(ValueError, match=f"at most {CONTRACT[name]}"):
            LimitsConfig(**{name: CONTRACT[name] + 1})
