"""GET /v1/live: one stream that tells all of one user's chats, true to what each stream by itself says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from hubbub.core.types import Delta, ToolDelta
from hubbub.gateway.app import Rules
from hubbub.gateway.limits import LimitsConfig
from hubbub.gateway.live_frames import EventNumbers
from hubbub.gateway.response_events import ResponseEvents
from support.exchange_kit import branching, export
from support.keys import a_key, bearer, locked
from support.serving import ENDLESS, MODEL, Served, served
from support.store_kit import an_answer


class Watcher:
    """What a page keeps of the stream: the text of each answer, chats as they last were."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.frames: list[dict[str, Any]] = []
        self.snapshot: dict[str, Any] | None = None
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.states: dict[str, list[str]] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.chats: dict[str, dict[str, Any]] = {}
        self.gone: list[str] = []

    async def next(self) -> dict[str, Any]:
        """The next event; the first is the snapshot."""
        name = ""
        async for raw in self._response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data: dict[str, Any] = json.loads(line[6:])
                self._take(name, data)
                return data
        raise ConnectionError("the stream ended")

    async def until(self, *ended: str) -> None:
        while not set(ended) <= set(self.ended):
            await self.next()

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name == "snapshot":
            self.snapshot = data
            for row in data["running"]:
                self.texts[row["response"]], self.numbers[row["response"]] = row["text"], row["sequence_number"]
            return
        self.frames.append(data)
        for row in data.get("started", ()):
            self.states.setdefault(row["response"], []).append(row["state"])
        for response, number, text in data.get("deltas", ()):
            assert number > self.numbers.get(response, -1)
            self.texts[response], self.numbers[response] = self.texts.get(response, "") + text, number
        for row in data.get("ended", ()):
            self.ended[row["response"]] = row
        self.chats.update({row["id"]: row for row in data.get("chats", ())})
        self.gone += data.get("gone", ())


@asynccontextmanager
async def watching(house: Served, **more: Any) -> AsyncIterator[Watcher]:
    async with house.http.get(f"{house.url}/v1/live", **more) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        watcher = Watcher(response)
        await watcher.next()
        yield watcher


async def asked(house: Served, chat: str, **more: Any) -> str:
    body = {"model": MODEL, "input": "Hi", "background": True, "conversation": chat, **more}
    status, said = await house.post("/responses", body)
    assert status == 200, said
    return str(said["id"])


async def a_chat(house: Served) -> str:
    return str((await house.post("/chats", {}))[1]["id"])


async def test_many_answers_come_over_one_stream_as_over_their_own() -> None:
    async with served() as house, watching(house) as seen:
        assert seen.snapshot == {"running": []}
        chats = [await a_chat(house) for _ in range(20)]
        answers = await asyncio.gather(*(asked(house, chat, input=f"Question {chat}") for chat in chats))
        await seen.until(*answers)
        while any(seen.chats.get(chat, {}).get("items") != 2 for chat in chats):
            await seen.next()
        for chat, answer in zip(chats, answers, strict=True):
            _, stored = await house.call("GET", f"/v1/responses/{answer}")
            assert seen.texts[answer] == stored["output"][0]["content"][0]["text"]
            assert seen.ended[answer] == {
                "chat": chat, "response": answer, "status": "completed", "error": None, "usage": stored["usage"],
            }  # fmt: skip
            assert seen.states[answer][-1] == "running"
            assert seen.chats[chat]["title"] == f"Question {chat}"
            # The number is that of the same piece in the response's own stream: it goes on there.
            url = f"{house.url}/v1/responses/{answer}?stream=true&starting_after={seen.numbers[answer]}"
            async with house.http.get(url) as response:
                assert b"output_text.delta" not in await response.read()


async def test_a_reader_that_comes_late_is_told_what_was_said_and_misses_nothing() -> None:
    async with served(voice=ENDLESS) as house:
        chat = await a_chat(house)
        answer = await asked(house, chat)
        async with watching(house) as first:
            while len(first.texts.get(answer, "")) < 200:
                await first.next()
        async with watching(house) as second:
            assert second.snapshot is not None
            (row,) = second.snapshot["running"]
            assert (row["chat"], row["response"], row["state"]) == (chat, answer, "running")
            assert row["text"].startswith(first.texts[answer])
            await house.call("POST", f"/v1/responses/{answer}/cancel")
            await second.until(answer)
            _, stored = await house.call("GET", f"/v1/responses/{answer}")
            assert second.texts[answer] == stored["output"][0]["content"][0]["text"]
            assert second.ended[answer]["status"] == "cancelled"


async def test_chats_that_change_or_go_are_told() -> None:
    async with served() as house, watching(house) as seen:
        chat = await a_chat(house)
        await house.call("PATCH", f"/v1/chats/{chat}", json={"title": "Whales"})
        while seen.chats.get(chat, {}).get("title") != "Whales":
            await seen.next()
        await house.call("DELETE", f"/v1/chats/{chat}")
        while seen.gone != [chat]:
            await seen.next()


async def test_chats_that_are_brought_are_told() -> None:
    async with served() as house, watching(house) as watcher:
        status, report = await house.call("POST", "/v1/chats/import", data=export(branching()))
        assert (status, report["created"]) == (200, 1)
        while not watcher.chats:
            await watcher.next()
        assert list(watcher.chats) == report["chats"]


async def test_what_is_not_stored_or_in_no_chat_is_not_shown() -> None:
    async with served() as house, watching(house) as seen:
        chat = await a_chat(house)
        await house.client.responses.create(model=MODEL, input="alone")
        await house.client.responses.create(model=MODEL, input="unstored", conversation=chat, store=False)
        last = await asked(house, chat)
        await seen.until(last)
        assert set(seen.texts) == {last}


async def test_another_users_chats_are_not_there() -> None:
    async with locked(a_key("ann"), a_key("bob"), voice=ENDLESS) as door:
        _, chat, _ = await door.call("ann", "POST", "/v1/chats", {"title": "secret"})
        body = {"model": MODEL, "input": "secret", "background": True, "conversation": chat["id"]}
        _, running, _ = await door.call("ann", "POST", "/v1/responses", body)
        async with watching(door.house, headers=bearer("bob")) as seen:
            assert seen.snapshot == {"running": []}
            await door.call("ann", "POST", f"/v1/responses/{running['id']}/cancel")
            await door.call("ann", "DELETE", f"/v1/chats/{chat['id']}")
            _, mine, _ = await door.call("bob", "POST", "/v1/chats", {"title": "mine"})
            while mine["id"] not in seen.chats:
                await seen.next()
            assert chat["id"] not in json.dumps(seen.frames)


async def test_a_reader_that_stops_reading_is_dropped() -> None:
    rules = Rules(limits=LimitsConfig(stalled_seconds=0.2))
    async with served(voice=ENDLESS, send_buffer=4096, rules=rules) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]), limit=1)
        writer.write(b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.read(100)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        answers = [await asked(house, await a_chat(house)) for _ in range(40)]
        while not house.streams.dropped:
            await asyncio.sleep(0.01)
        writer.close()
        for answer in answers:
            await house.call("POST", f"/v1/responses/{answer}/cancel")
        assert len(house.hub.feeds) == 0


def test_events_are_numbered_as_in_the_stream_of_the_response() -> None:
    for background in (True, False):
        answer = replace(an_answer("resp_1"), background=background)
        deltas = [
            Delta("a"), Delta("b"), Delta(tool=ToolDelta(0, "c", "f", "{")), Delta(tool=ToolDelta(0, arguments="}")),
            Delta("c"), Delta(tool=ToolDelta(1, "d", "g")), Delta("d"),
        ]  # fmt: skip
        numbers, events = EventNumbers(background), ResponseEvents(answer)
        said = events.opening()
        for delta in deltas:
            numbers.feed([delta])
            said = events.feed(answer, [delta])
            assert f'"sequence_number":{numbers.last},'.encode() in said.rpartition(b"event:")[2]
