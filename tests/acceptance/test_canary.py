"""Each chat holds a secret of its own and is asked for it, while server and engine are killed: no other ever says it.

``make canary CHATS=200`` is the large one on the real model.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from support.keeper import LONG_LIVES, REAL, Keeper, hubbub, kept

REAL_CHATS = int(os.environ.get("CANARY_CHATS", "16"))
SIMULATED = ("--engine", "simulated")
ECHO = """
[engine]
flags = "--echo --step-ms 20 --prefill-token-ms 0.02 --max-sequences 64"
"""
SECRET = re.compile(rb"canary-[0-9a-f]{12}")
ALIKE = 8
"""Digits of twelve, in their places. Of the secrets here no two share more than five."""
QUESTIONS = (
    "My password is {secret}. Remember it.",
    "What is my password? Say it.",
    "Say my password once more, and nothing else.",
)
TERMINAL = re.compile(rb"event: response\.(completed|incomplete|failed)\n")


class Chat:
    """``heard``: every byte that came for it."""

    def __init__(self, dice: Random) -> None:
        self.secret = b"canary-%012x" % dice.getrandbits(48)
        self.id = ""
        self.heard = b""

    def resembled(self, said: bytes) -> bool:
        """Whether that is this chat's secret, or most of it."""
        return sum(one == other for one, other in zip(said, self.secret, strict=True)) >= len(b"canary-") + ALIKE


class Crowd:
    def __init__(self, keeper: Keeper, http: aiohttp.ClientSession, count: int) -> None:
        dice = Random(7)
        self.chats = [Chat(dice) for _ in range(count)]
        self.answers = 0
        self._answered = asyncio.Condition()
        self._keeper, self._http = keeper, http

    async def talk(self, chat: Chat) -> None:
        chat.id = (await self._surely(chat, "POST", "/v1/conversations", {}))["id"]
        for question in QUESTIONS:
            text = question.format(secret=chat.secret.decode())
            body = {"conversation": chat.id, "input": text, "max_output_tokens": 24, "background": True, "stream": True}
            await self._ask(chat, body)
            async with self._answered:
                self.answers += 1
                self._answered.notify_all()

    async def reached(self, answers: int) -> None:
        async with self._answered:
            await self._answered.wait_for(lambda: self.answers >= answers)

    async def _ask(self, chat: Chat, body: dict[str, Any]) -> None:
        """Until this question has been answered, however often the server goes away under it."""
        before = len(await self.items(chat))
        while True:
            said = await self._heard(chat, body)
            if TERMINAL.search(said):
                return
            # It broke off. The conversation tells whether the question was taken; its answer goes on by itself then.
            while len(items := await self.items(chat)) == before + 1:
                await asyncio.sleep(0.2)
            if len(items) > before:
                return

    async def _heard(self, chat: Chat, body: dict[str, Any]) -> bytes:
        said = b""
        try:
            async with self._http.post(f"{await self._keeper.where()}/v1/responses", json=body) as response:
                async for data in response.content.iter_any():
                    said += data
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)
        chat.heard += said
        return said

    async def items(self, chat: Chat) -> list[Any]:
        listed = await self._surely(chat, "GET", f"/v1/conversations/{chat.id}/items?limit=100&order=asc")
        items: list[Any] = listed["data"]
        return items

    async def _surely(self, chat: Chat, method: str, path: str, body: Any = None) -> Any:
        while True:
            try:
                url = await self._keeper.where()
                async with self._http.request(method, url + path, json=body) as response:
                    if response.status == 200:
                        chat.heard += await response.read()
                        return await response.json()
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


Stroke = Callable[[Keeper, aiohttp.ClientSession], Awaitable[None]]


async def kill_engine(keeper: Keeper, http: aiohttp.ClientSession) -> None:
    await keeper.kill_engine(http)


async def kill(keeper: Keeper, _http: aiohttp.ClientSession) -> None:
    await keeper.kill()


async def restart(keeper: Keeper, _http: aiohttp.ClientSession) -> None:
    await keeper.restart()


@pytest.mark.parametrize(
    ("chats", "engine", "config", "strokes"),
    [
        pytest.param(200, SIMULATED, ECHO, (kill_engine, kill, restart, kill_engine, kill), id="simulated"),
        pytest.param(REAL_CHATS, REAL, "", (kill_engine, kill), id="real"),
    ],
)
async def test_no_chat_says_the_secret_of_another(
    tmp_path: Path, chats: int, engine: tuple[str, ...], config: str, strokes: tuple[Stroke, ...]
) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        kept(tmp_path, engine, LONG_LIVES + config) as keeper,
        aiohttp.ClientSession(timeout=timeout, connector=connector) as http,
    ):
        crowd = Crowd(keeper, http, chats)
        talking = asyncio.gather(*map(crowd.talk, crowd.chats))
        for number, stroke in enumerate(strokes, 1):
            reached = asyncio.ensure_future(crowd.reached(number * chats * len(QUESTIONS) // (len(strokes) + 2)))
            waits: list[asyncio.Future[Any]] = [reached, talking]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await stroke(keeper, http)
        await talking
        told = 0
        for chat in crowd.chats:
            items = await crowd.items(chat)
            assert len(items) == 2 * len(QUESTIONS)
            for whole in (chat.heard, repr(items).encode()):
                found = set(SECRET.findall(whole))
                assert chat.secret in found, chat.id
                # A small model may slip in a digit of its own secret; one that only echoes does not.
                assert not config or found == {chat.secret}, chat.id
                assert all(map(chat.resembled, found)), chat.id
                assert not [other for other in crowd.chats if other is not chat and any(map(other.resembled, found))]
            told += any(chat.secret in repr(item).encode() for item in items if item["role"] == "assistant")
        if config:
            assert told == chats, "a model that never says its own secret proves nothing"
        async with http.get(f"{keeper.url}/metrics") as response:
            assert not SECRET.search(await response.read())
    for log in [keeper.log, *(keeper.data / "logs").iterdir()]:
        assert not SECRET.search(log.read_bytes()), log
    said = await asyncio.to_thread(hubbub, "store", "verify", "--data", str(keeper.data))
    assert said.startswith("sound: "), said
