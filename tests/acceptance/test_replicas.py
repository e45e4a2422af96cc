"""Two replicas of a real model: chats return to the one that has their prefix, and no answer is lost with one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from hubbub.cli.server_process import ServerProcess

CHATS = 6
PATIENCE_S = 300
"""About 40 s of work for two cores; a loaded machine takes its time."""
BLOCK = 32
"""Tokens of a KV block: what is left over at the end of a prompt is not cached."""
SETTINGS = """
[server]
port = 0
data = "{data}"

[engines.small]
model = "smollm2"
replicas = 2
chats = 16

[engines.small.options]
threads = 1
kv_bytes = 268435456
"""


@dataclass(frozen=True, slots=True)
class Pool:
    url: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, self.url + path, json=body) as response:
            told = await response.json()
            assert response.status == 200, told
            return told

    async def chat(self, number: int) -> str:
        prompt = f"You are guide number {number}. " + f"Your house has {number} rooms and a garden. " * 7
        told = await self.call("POST", "/v1/chats", {"style": {"system_prompt": prompt, "temperature": 0}})
        return str(told["id"])

    async def ask(self, chat: str, words: str, tokens: int = 8) -> dict[str, Any]:
        body = {"conversation": chat, "input": words, "max_output_tokens": tokens}
        return dict(await self.call("POST", "/v1/responses", body))

    async def texts(self, chat: str) -> list[str]:
        told = await self.call("GET", f"/v1/chats/{chat}/items?order=asc&limit=100")
        return [item["content"][0]["text"] for item in told["data"]]

    async def engines(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in (await self.call("GET", "/v1/engines"))["data"]}

    async def until(self, engine: str, **wanted: Any) -> dict[str, Any]:
        while True:
            row = (await self.engines())[engine]
            if {name: row[name] for name in wanted} == wanted:
                return row
            await asyncio.sleep(0.05)


@asynccontextmanager
async def pool(folder: Path) -> AsyncIterator[Pool]:
    file = folder / "hubbub.toml"
    file.write_text(SETTINGS.format(data=folder / "data"))
    running = await ServerProcess.launch(["--config", str(file)], folder / "server.log")
    try:
        url = await running.ready(PATIENCE_S)
        async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
            yield Pool(url, http)
    finally:
        await running.stop()


def cached(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["input_tokens_details"]["cached_tokens"])


async def test_chats_return_to_their_replica_and_outlive_it(tmp_path: Path) -> None:
    async with pool(tmp_path) as server:
        assert list(await server.engines()) == ["small", "small-2"]
        chats = [await server.chat(number) for number in range(CHATS)]
        first = await asyncio.gather(*(server.ask(chat, "Who are you?") for chat in chats))
        assert [cached(answer) for answer in first] == [0] * CHATS, "nothing of these was ever said"

        for chat, before in zip(chats, first, strict=True):
            again = await server.ask(chat, "And what is in your garden?")
            assert cached(again) > before["usage"]["input_tokens"] - BLOCK, "it returned to its prefix"

        # A chat whose replica drains is computed anew on the other, and stays there.
        await server.call("POST", "/v1/engines/small/drain")
        moved = [chat for chat in chats if not cached(await server.ask(chat, "How many rooms?"))]
        assert 0 < len(moved) < CHATS, "some were at home on each"
        await server.call("POST", "/v1/engines/small/drain", {"undo": True})
        for chat in moved:
            assert cached(await server.ask(chat, "Is there a dog?"))

        turns = [len(await server.texts(chat)) for chat in chats]
        asked = [asyncio.create_task(server.ask(chat, "Tell me of your day.", tokens=24)) for chat in chats]
        victim = await victim_of(server)
        os.kill(victim["pid"], signal.SIGKILL)
        answers = await asyncio.gather(*asked)
        assert {answer["status"] for answer in answers} <= {"completed", "incomplete"}
        for answer in answers:
            assert answer["status"] == "completed" or answer["usage"]["output_tokens"] == 24
        for chat, answer, items in zip(chats, answers, turns, strict=True):
            texts = await server.texts(chat)
            assert len(texts) == items + 2
            assert texts[-1] == answer["output"][0]["content"][0]["text"] != ""
        await server.until(victim["id"], restarts=1, ready=True, running=0)


async def victim_of(server: Pool) -> dict[str, Any]:
    """A replica while it works."""
    while True:
        for row in (await server.engines()).values():
            if row["running"] > 1:
                return row
        await asyncio.sleep(0.01)
