"""/v1/chats/import and /export over HTTP: bring, go on, take, bring again."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import aiohttp

from hubbub.core.keys import Scope
from hubbub.exchange.nexus_note import read
from hubbub.gateway.app import Rules
from hubbub.gateway.limits import LimitsConfig
from hubbub.gateway.routes.table import ROUTES
from support.exchange_kit import NOTE_1_6, branching, export, packed
from support.serving import MODEL, Served, served


async def brought(house: Served, data: bytes, name: str = "x", **headers: str) -> tuple[int, Any]:
    return await house.call("POST", f"/v1/chats/import?name={name}", data=data, headers=headers)


async def taken(house: Served, path: str) -> tuple[bytes, aiohttp.ClientResponse]:
    async with house.http.get(f"{house.url}/v1/chats{path}") as response:
        assert response.status == 200
        return await response.read(), response


async def test_bring_go_on_and_take() -> None:
    async with served() as house:
        status, report = await brought(
            house, packed({"v/w.md": NOTE_1_6.encode(), "conversations.json": export(branching())})
        )
        assert (status, report["created"], report["items"], report["problems"]) == (200, 2, 6, [])
        note, chat = report["chats"]
        data, response = await taken(house, f"/{note}/export?format=nexus")
        assert data == NOTE_1_6.encode()
        assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''w.md"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        for name in (note, chat):
            answer = await house.client.responses.create(model=MODEL, input="And now?", conversation=name)
            assert answer.output_text
        data, _ = await taken(house, f"/{note}/export?format=nexus")
        assert data.startswith(NOTE_1_6.encode())
        assert read(data.decode()).pieces[-2].text == "And now?"

        archive, response = await taken(house, "/export?format=nexus")
        assert response.content_type == "application/zip"
        with zipfile.ZipFile(BytesIO(archive)) as opened:
            assert opened.read("v/w.md") == data
        status, again = await brought(house, archive)
        assert (status, again["created"], again["items"], again["problems"]) == (200, 0, 0, [])

        archive, _ = await taken(house, "/export")
        with zipfile.ZipFile(BytesIO(archive)) as opened:
            assert len(json.loads(opened.read("conversations.json"))) == 2
        status, again = await brought(house, archive)
        assert (status, again["created"], again["updated"], again["unchanged"]) == (200, 0, 0, 2)
        data, response = await taken(house, f"/{chat}/export?format=markdown")
        assert b"## User (" in data
        assert response.content_type == "text/markdown"


async def test_what_is_wrong_is_told_by_file() -> None:
    async with served(rules=Rules(limits=LimitsConfig(max_import_bytes=5000))) as house:
        status, report = await brought(house, b"hello", "a.txt")
        assert (status, report["created"]) == (200, 0)
        assert report["problems"] == [
            {"file": "a.txt", "chat": "", "message": "neither an export of ChatGPT nor a note of the Nexus importer"}
        ]
        status, error = await brought(house, b"x" * 6000)
        assert (status, error["error"]["code"]) == (413, "body_too_large")
        status, error = await house.call("POST", "/v1/chats/import", data=aiohttp.FormData({"file": BytesIO(b"x")}))
        assert (status, error["error"]["code"]) == (400, "invalid_request_error")
        for path in ("/conv_none/export", "/conv_none/export?format=nexus"):
            assert (await house.call("GET", f"/v1/chats{path}"))[0] == 404
        assert (await house.call("GET", "/v1/chats/export?format=pdf"))[0] == 400


async def test_a_long_upload_comes_piece_by_piece() -> None:
    async with served() as house:

        async def pieces() -> Any:
            data = export(branching())
            for start in range(0, len(data), 100):
                yield data[start : start + 100]

        status, report = await house.call("POST", "/v1/chats/import", data=pieces())
        assert (status, report["created"]) == (200, 1)


def test_scopes_of_the_routes() -> None:
    scopes = {(route.method, route.path): route.scopes for route in ROUTES}
    assert scopes["POST", "/v1/chats/import"] == (Scope.CHAT,)
    assert scopes["GET", "/v1/chats/export"] == (Scope.READ,)
