"""Which beginnings are read alone, which are copied, and what happens when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hubbub.core.types import ChatId, EngineId, Message, Request, RequestId, Role, UserId
from hubbub.engines.dialect import Limits, Site
from hubbub.engines.llamacpp_beginnings import Beginnings

RULES = "Answer as the keeper of a lighthouse would: briefly, and with the weather in mind."


class Server:
    """As much of llama-server as is asked. ``did``: each thing it did to a slot. ``hold``: set lets it read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.did: list[str] = []
        self.broken = ""
        self.hold = asyncio.Event()
        self.hold.set()

    async def template(self, request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        return web.json_response({"prompt": "".join(f"<{one['role']}>{one['content']}" for one in messages)})

    async def completion(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self.hold.wait()
        assert body["n_predict"] == 0
        self.did.append(f"read {body['id_slot']}: {body['prompt']}")
        return web.json_response({})

    async def slot(self, request: web.Request) -> web.Response:
        action, number = request.query["action"], request.match_info["slot"]
        file = self.folder / (await request.json())["filename"]
        if action == self.broken:
            return web.json_response({}, status=500)
        if action == "save":
            file.write_bytes(b"k" * 100)
        elif not file.exists():
            return web.json_response({}, status=400)
        self.did.append(f"{action} {number}")
        return web.json_response({"n_written": 100, "n_restored": 9})


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Server, Site]]:
    server, app = Server(folder), web.Application()
    app.router.add_post("/apply-template", server.template)
    app.router.add_post("/completion", server.completion)
    app.router.add_post("/slots/{slot}", server.slot)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        place = web.TCPSite(runner, "127.0.0.1", 0)
        await place.start()
        async with aiohttp.ClientSession() as session:
            host, port = runner.addresses[0][:2]
            yield server, Site(EngineId("l"), f"http://{host}:{port}", session, Limits())
    finally:
        await runner.cleanup()


def asked(system: str = RULES, user: str = "u", adapter: str = "") -> Request:
    messages = (Message(Role.SYSTEM, system), Message(Role.USER, "Well?"))
    return Request(RequestId("r"), UserId(user), ChatId("c"), "m", 9, messages=messages, adapter=adapter)


@pytest.mark.asyncio
async def test_the_second_has_it_read_and_all_later_ones_get_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, site):
        beginnings = Beginnings(tmp_path)
        laid = [await beginnings.lay(site, asked(), slot) for slot in (0, 1, 2, 0, 1)]
        # 0 read it by itself at first; 1 has it when it is asked again.
        assert laid == [False, True, True, False, False]
        assert server.did == [f"read 1: <system>{RULES}<user>", "save 1", "restore 2"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("other", "why"),
    [
        (asked(user="v"), "another user"),
        (asked(adapter="warm"), "another adapter"),
        (asked(RULES + " Be kind."), "another prompt"),
        (asked("Be brief."), "too short"),
    ],
)
async def test_nothing_is_laid_before_what_is_not_the_same(tmp_path: Path, other: Request, why: str) -> None:
    async with serving(tmp_path) as (server, site):
        beginnings = Beginnings(tmp_path)
        for slot in (0, 1):
            await beginnings.lay(site, asked(), slot)
        assert not await beginnings.lay(site, other, 2), why
        assert not [one for one in server.did if one.startswith("restore")]


@pytest.mark.asyncio
async def test_one_reads_while_the_others_wait_and_takes_over_where_it_leaves(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, site):
        beginnings = Beginnings(tmp_path)
        await beginnings.lay(site, asked(), 0)
        server.hold.clear()
        reads = asyncio.create_task(beginnings.lay(site, asked(), 1))
        await asyncio.sleep(0)
        waits = [asyncio.create_task(beginnings.lay(site, asked(), slot)) for slot in (2, 3)]
        await asyncio.sleep(0.01)
        reads.cancel()
        # Those who waited for it read it by themselves; the next one tries again.
        assert await asyncio.gather(*waits) == [False, False]
        server.hold.set()
        assert await beginnings.lay(site, asked(), 4)
        assert server.did[-1] == "save 4"


@pytest.mark.asyncio
@pytest.mark.parametrize("broken", ["save", "restore"])
async def test_a_server_that_cannot_is_asked_as_before(tmp_path: Path, broken: str) -> None:
    async with serving(tmp_path) as (server, site):
        server.broken = broken
        beginnings = Beginnings(tmp_path)
        assert [await beginnings.lay(site, asked(), slot) for slot in (0, 1, 2)] == [False, broken == "restore", False]


@pytest.mark.asyncio
async def test_files_have_their_bounds(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, site):
        beginnings = Beginnings(tmp_path, most_bytes=250)
        for number in range(4):
            for slot in (0, 1):
                await beginnings.lay(site, asked(f"{RULES} {number}"), slot)
        assert len(list(tmp_path.iterdir())) == 2
        assert await beginnings.lay(site, asked(f"{RULES} 3"), 2)
        assert server.did[-1] == "restore 2"
        assert not await beginnings.lay(site, asked(f"{RULES} 0"), 3)
