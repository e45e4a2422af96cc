"""Real kills: server and engine die at random moments under chats of the real model; every stream goes on as one.

``make endurance CHATS=200 KILLS=10`` is the large one.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from support.keeper import Keeper, hubbub, kept

CHATS = int(os.environ.get("ENDURANCE_CHATS", "4"))
KILLS = int(os.environ.get("ENDURANCE_KILLS", "1"))
SEED = int(os.environ.get("ENDURANCE_SEED", "1"))
TOKENS = 60
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
BUSY = re.compile(r"^hubbub_requests_(?:running|queued)\{.*\} [1-9]", re.MULTILINE)


@dataclass
class Stream:
    """What one reader has of one response, over all its connections: the raw events, and how they begin anew."""

    id: str = ""
    events: list[bytes] = field(default_factory=list)
    over: bool = False
    connections: int = 0

    def take(self, raw: bytes) -> None:
        event = msgspec.json.decode(raw.partition(b"data: ")[2])
        assert event["sequence_number"] == len(self.events), (self.id, raw, self.events[-1:])
        self.id = self.id or event["response"]["id"]
        self.events.append(raw)
        self.over = event["type"] in TERMINAL


@dataclass
class Chat:
    id: str = ""
    streams: list[Stream] = field(default_factory=list)


class Crowd:
    """All who chat. ``heard`` counts events, so that a fault comes in the midst of words and not at a time."""

    def __init__(self, keeper: Keeper, http: aiohttp.ClientSession) -> None:
        self.chats = [Chat() for _ in range(CHATS)]
        self.over = False
        self._keeper = keeper
        self._http = http
        self._heard = 0
        self._wanted: list[tuple[int, asyncio.Event]] = []

    async def hear(self, events: int) -> None:
        """Until so many more events have come to anybody."""
        more = asyncio.Event()
        self._wanted.append((self._heard + events, more))
        await more.wait()

    async def talk(self, chat: Chat) -> None:
        number = self.chats.index(chat)
        chat.id = (await self._surely(lambda url: self._http.post(f"{url}/v1/conversations", json={})))["id"]
        while not self.over or not chat.streams:
            text = f"Tell a long story about number {number}, part {len(chat.streams)}."
            body = {"conversation": chat.id, "input": text, "stream": True, "max_output_tokens": TOKENS}
            stream = Stream()
            await self._read(stream, partial(self._ask, body))
            if not stream.events:
                # Nobody knows whether it was accepted: a new chat is the simplest way to be sure.
                chat.id = (await self._surely(lambda url: self._http.post(f"{url}/v1/conversations", json={})))["id"]
                chat.streams.clear()
                continue
            chat.streams.append(stream)
            while not stream.over:
                await self._read(stream, partial(self._resume, stream))

    def _ask(self, body: dict[str, Any], url: str) -> Any:
        return self._http.post(f"{url}/v1/responses", json=body)

    def _resume(self, stream: Stream, url: str) -> Any:
        return self._http.get(f"{url}/v1/responses/{stream.id}?stream=true&starting_after={len(stream.events) - 1}")

    async def _read(self, stream: Stream, ask: Callable[[str], Any]) -> None:
        url = await self._keeper.where()
        stream.connections += 1
        try:
            async with ask(url) as response:
                if response.status == 429:  # a busy machine: come back as told
                    await asyncio.sleep(float(response.headers["Retry-After"]))
                if response.status in (409, 429, 503):
                    return
                assert response.status == 200, await response.text()
                async for raw in events_of(response):
                    stream.take(raw)
                    self._count()
        except aiohttp.ClientError:
            return

    async def _surely(self, ask: Callable[[str], Any]) -> Any:
        while True:
            try:
                async with ask(await self._keeper.where()) as response:
                    if response.status == 200:
                        return await response.json()
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)

    def _count(self) -> None:
        self._heard += 1
        for wanted, event in self._wanted:
            if self._heard >= wanted:
                event.set()


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole events, as they came; comments are left out, and half an event that a cut left behind."""
    rest = b""
    async for data in response.content.iter_any():
        *whole, rest = (rest + data).split(b"\n\n")
        for raw in whole:
            if raw and not raw.startswith(b":"):
                yield raw


async def test_streams_survive_kills_of_server_and_engine(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)  # else a hundred talk, and the others wait for a connection
    async with kept(tmp_path) as keeper, aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        crowd = Crowd(keeper, http)
        talking = asyncio.gather(*map(crowd.talk, crowd.chats))
        strokes = ["server", "engine"] * KILLS + ["stop"] * max(1, KILLS // 3)
        rng.shuffle(strokes)
        for stroke in strokes:
            heard = asyncio.ensure_future(crowd.hear(rng.randrange(5, 15 * CHATS)))
            waits: list[asyncio.Future[Any]] = [heard, talking]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            assert not talking.done(), talking.exception()
            await strike(keeper, http, stroke)
        crowd.over = True
        await talking
        await all_ended(http, keeper.url)
        for chat in crowd.chats:
            await check(http, keeper.url, chat)
        assert any(stream.connections > 1 for chat in crowd.chats for stream in chat.streams)
    said = await asyncio.to_thread(hubbub, "store", "verify", "--data", str(keeper.data))
    assert said.startswith("sound: "), said
    assert said.rstrip().endswith("0 journal"), said


async def all_ended(http: aiohttp.ClientSession, url: str) -> None:
    """Also what nobody reads: the answer to a question that was accepted, and whose asker had heard nothing of it."""
    while True:
        async with http.get(f"{url}/metrics") as response:
            if not BUSY.search(await response.text()):
                return
        await asyncio.sleep(0.2)


async def strike(keeper: Keeper, http: aiohttp.ClientSession, stroke: str) -> None:
    match stroke:
        case "server":
            await keeper.kill()
        case "engine":
            await keeper.kill_engine(http)
        case _:
            await keeper.restart()


async def check(http: aiohttp.ClientSession, url: str, chat: Chat) -> None:
    """What each reader has is what a replay says, and what the store has."""
    texts = []
    for number, stream in enumerate(chat.streams):
        async with http.get(f"{url}/v1/responses/{stream.id}?stream=true") as response:
            assert b"\n\n".join(stream.events) + b"\n\n" == await response.read()
        last = msgspec.json.decode(stream.events[-1].partition(b"data: ")[2])
        async with http.get(f"{url}/v1/responses/{stream.id}") as response:
            assert last["response"] == await response.json()
        assert last["type"] in ("response.completed", "response.incomplete"), last
        assert last["response"]["usage"]["output_tokens"] <= TOKENS
        text = last["response"]["output"][0]["content"][0]["text"]
        deltas = [msgspec.json.decode(raw.partition(b"data: ")[2]) for raw in stream.events]
        assert text == "".join(event["delta"] for event in deltas if event["type"] == "response.output_text.delta")
        texts += [f"part {number}.", text]
    async with http.get(f"{url}/v1/conversations/{chat.id}/items?limit=100&order=asc") as response:
        items = [item["content"][0]["text"] for item in (await response.json())["data"]]
    assert len(items) == len(texts)
    assert all(item.endswith(text) for item, text in zip(items, texts, strict=True))
