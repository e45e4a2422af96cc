"""Who may come in, and that one user's things are not there for another."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from hubbub.core.keys import KeyId, Scope
from hubbub.corpus.hosted.worked import worked
from hubbub.gateway.app import Rules
from hubbub.gateway.config import GatewayConfig
from hubbub.gateway.doors import Doors, host_name
from hubbub.gateway.routes.table import ROUTES, Route
from support.keys import Locked, a_key, bearer, locked, text_of
from support.serving import ENDLESS, MODEL, served

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello"}
READ, ADMIN = frozenset({Scope.READ}), frozenset({Scope.ADMIN})
BULK = frozenset({Scope.BULK})


async def test_without_a_key_nothing_but_health_and_the_interface_is_open() -> None:
    opened = set()
    async with locked(a_key("ann")) as door:
        for route in ROUTES:
            path = re.sub(r"\{\w+(:[^}]*)?\}", "x", route.path)
            status, said, headers = await door.call("", route.method, path, {} if route.body else None)
            if not route.scopes:
                opened.add((route.method, path))
                assert status != 401 or path.startswith("/v1/session"), path
                continue
            assert status == 401, path
            assert said["error"]["code"] == "invalid_api_key"
            assert said["error"]["type"] == "authentication_error"
            assert headers["www-authenticate"] == "Bearer"
            assert headers["x-should-retry"] == "false"
    assert opened == {
        *(("GET", path) for path in ("/health", "/openapi.json", "/auth/oidc/start", "/auth/oidc/callback")),
        *((method, "/v1/session") for method in ("GET", "POST", "DELETE")),
        ("POST", "/v1/session/first"),
    }


async def test_health_tells_strangers_no_more_than_that() -> None:
    async with locked(a_key("ann"), a_key("root", ADMIN)) as door:
        for name, more in (("", False), ("ann", False), ("root", True)):
            status, said, _ = await door.call(name, "GET", "/health")
            assert status == 200
            assert ("engines" in said) is more
        assert (await door.call("eve", "GET", "/health"))[0] == 401
        assert (await door.call("ann", "GET", "/metrics"))[0] == 403
        assert (await door.call("root", "GET", "/metrics"))[0] == 200


async def test_the_official_client_comes_in_with_its_key() -> None:
    async with locked(a_key("ann"), api_key=bearer("ann")["Authorization"][7:]) as door:
        said = await door.house.client.responses.create(model=MODEL, input="Hi")
        assert said.output_text


async def test_a_scope_that_is_missing_is_403() -> None:
    flex = {**ASK, "service_tier": "flex"}
    async with locked(a_key("eye", READ), a_key("mill", BULK), a_key("ann", frozenset({Scope.CHAT}))) as door:
        for name, body, status in (
            ("eye", ASK, 403),
            ("eye", flex, 403),
            ("mill", ASK, 403),
            ("mill", flex, 200),
            ("ann", ASK, 200),
            ("ann", flex, 403),
        ):
            got, said, _ = await door.call(name, "POST", "/v1/responses", body)
            assert got == status, (name, said)
            if got == 403:
                assert said["error"]["code"] == "insufficient_permissions"
                assert said["error"]["type"] == "permission_error"
        assert (await door.call("eye", "POST", "/v1/chats", {}))[0] == 403
        assert (await door.call("eye", "GET", "/v1/chats"))[0] == 200
        assert (await door.call("mill", "GET", "/v1/chats"))[0] == 200


async def test_a_key_that_is_made_or_revoked_is_known_within_a_second() -> None:
    async with locked(a_key("ann")) as door:
        assert (await door.call("bob", "GET", "/v1/models"))[0] == 401
        await door.store.add(a_key("bob"))
        await door.store.revoke(KeyId("key_ann"), 1.0)
        async with asyncio.timeout(1.0):
            while (await door.call("bob", "GET", "/v1/models"))[0] != 200:
                await asyncio.sleep(0.01)
            while (await door.call("ann", "GET", "/v1/models"))[0] != 401:
                await asyncio.sleep(0.01)


# One user's things ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owned:
    """What ann has: ids by the name of the path variable, and cursors."""

    ids: dict[str, str]
    live: str
    chat_items: list[str]

    def path(self, route: Route, **other: str) -> str:
        ids = {**self.ids, **other}
        return re.sub(r"\{(\w+)(:[^}]*)?\}", lambda found: ids[found[1]], route.path)


ENGINES = {route.path for route in ROUTES if route.path.startswith("/v1/engines")}
OPEN = {"/health", "/openapi.json"}
ADMINS = {"/v1/users/{user_name}"}
SHARED = {"/v1/models", "/v1/models/{model:.+}", "/v1/recipes", "/v1/room", "/metrics"} | OPEN | ENGINES | ADMINS
"""Routes that have nothing of any user."""
BODIES: dict[str, Any] = {
    "CompletionUpdate": {"metadata": {"a": "b"}},
    "ConversationUpdate": {"metadata": {"a": "b"}},
    "ItemsCreate": {"items": [{"role": "user", "content": "x"}]},
    "ChatUpdate": {"title": "mine now"},
    "ForkCreate": {},
    "BranchTurn": {"item": "msg_none"},
    "StyleIn": {},
}
UNKNOWN = {
    "response_id": "resp_none",
    "completion_id": "chatcmpl-none",
    "conversation_id": "conv_none",
    "item_id": "msg_none",
    "style": "style_none",
    "file_id": "file-none",
    "batch_id": "batch_none",
    "name": "corpus_none",
    "key_id": "key_none",
}


async def owned(door: Locked) -> Owned:
    _, chat, _ = await door.call(
        "ann", "POST", "/v1/chats", {"title": "ann's", "items": [{"role": "user", "content": "secret"}]}
    )
    _, items, _ = await door.call("ann", "GET", f"/v1/chats/{chat['id']}/items")
    live = {**ASK, "background": True, "conversation": chat["id"]}
    _, running, _ = await door.call("ann", "POST", "/v1/responses", live)
    ended = {**ASK, "max_output_tokens": 3}
    _, response, _ = await door.call("ann", "POST", "/v1/responses", ended)
    said = [{"role": "user", "content": "secret"}]
    stored = {"model": MODEL, "messages": said, "store": True, "max_tokens": 3}
    _, completion, _ = await door.call("ann", "POST", "/v1/chat/completions", stored)
    form = FormData({"purpose": "batch"}, default_to_multipart=True)
    form.add_field("file", b"secret", filename="in.jsonl")
    async with door.house.http.post(f"{door.house.url}/v1/files", data=form, headers=bearer("ann")) as uploaded:
        file = await uploaded.json()
    order = {"input_file_id": file["id"], "endpoint": "/v1/responses", "completion_window": "24h"}
    _, batch, _ = await door.call("ann", "POST", "/v1/batches", order)
    await door.call("ann", "POST", "/v1/corpora", {"name": "corpus_anns", "recipe": worked()[0].text})
    ids = {
        "name": "corpus_anns",
        "path": "index.html",
        "key_id": "key_ann",
        "file_id": file["id"],
        "batch_id": batch["id"],
        "conversation_id": chat["id"],
        "item_id": items["data"][0]["id"],
        "style": "anns",
        "response_id": response["id"],
        "completion_id": completion["id"],
    }
    await door.call("ann", "PUT", "/v1/styles/anns", {"system_prompt": "secret"})
    return Owned(ids, running["id"], [item["id"] for item in items["data"]])


async def test_every_route_hides_what_is_another_users(tmp_path: Path) -> None:
    """A stranger is told exactly what is told of an id that never was."""
    async with locked(a_key("ann"), a_key("bob"), voice=ENDLESS, files=tmp_path) as door:
        anns = await owned(door)
        walked = set()
        for route in ROUTES:
            if "{" not in route.path or route.path in SHARED:
                continue
            walked.add((route.method, route.path))
            if route.method == "PUT":
                continue  # makes what is not there, in the caller's own name: the next test
            body = BODIES[route.body.__name__] if route.body else None
            theirs = anns.path(route)
            none = anns.path(route, **UNKNOWN)
            paths = [(theirs, none)]
            if "{response_id}" in route.path:
                paths.append((anns.path(route, response_id=anns.live), none))
            for path, unknown in paths:
                for query in ("", "?stream=true") if route.streams else ("",):
                    status, said, _ = await door.call("bob", route.method, path + query, body)
                    other, told, _ = await door.call("bob", route.method, unknown + query, body)
                    assert (status, other) == (404, 404), (route.method, path, said)
                    assert neutral(said) == neutral(told)
        assert len(walked) == sum("{" in route.path and route.path not in SHARED for route in ROUTES)
        # All of it is there for ann, as it was.
        assert (await door.call("ann", "GET", f"/v1/chats/{anns.ids['conversation_id']}"))[1]["title"] == "ann's"
        for name in ("/v1/responses/" + anns.ids["response_id"], "/v1/chat/completions/" + anns.ids["completion_id"]):
            assert (await door.call("ann", "GET", name))[0] == 200
        status, said, _ = await door.call("ann", "POST", f"/v1/responses/{anns.live}/cancel")
        assert (status, said["status"]) == (200, "cancelled")


def neutral(said: Any) -> str:
    """What was said, without the ids that were asked for."""
    return re.sub(r"(resp_|chatcmpl-|conv_|msg_|file-|batch_|corpus_|key_|style_|anns)\w*", "ID", json.dumps(said))


async def test_every_list_is_empty_and_takes_no_cursor_of_another_user(tmp_path: Path) -> None:
    async with locked(a_key("ann"), a_key("bob"), voice=ENDLESS, files=tmp_path) as door:
        anns = await owned(door)
        _, mine, _ = await door.call("bob", "POST", "/v1/chats", {"items": [{"role": "user", "content": "mine"}]})
        own = Owned({**anns.ids, "conversation_id": mine["id"]}, "", [])
        cursors = (*anns.ids.values(), anns.live, *anns.chat_items)
        lists = [
            route for route in ROUTES if route.method == "GET" and route.answer is not None and "after" in fields(route)
        ]
        assert len(lists) == 9
        for route in lists:
            if any(name in route.path for name in ("{completion_id}", "{response_id}", "{name}")):
                continue  # of one thing that is not bob's: the walk above
            path = own.path(route)
            for cursor in cursors:
                status, said, _ = await door.call("bob", "GET", f"{path}?after={cursor}")
                assert (status, said["error"]["param"]) == (404, "after"), path
            _, page, _ = await door.call("bob", "GET", path)
            assert "secret" not in json.dumps(page)
        assert (await door.call("bob", "GET", "/v1/chats?search=secret"))[1]["data"] == []
        assert (await door.call("bob", "GET", "/v1/chat/completions"))[1]["data"] == []
        await door.call("ann", "POST", f"/v1/responses/{anns.live}/cancel")


def fields(route: Route) -> tuple[str, ...]:
    names: tuple[str, ...] = route.query.__struct_fields__
    return names


async def test_another_users_ids_in_a_body_are_not_there_either(tmp_path: Path) -> None:
    async with locked(a_key("ann"), a_key("bob"), voice=ENDLESS, files=tmp_path) as door:
        anns = await owned(door)
        _, mine, _ = await door.call("bob", "POST", "/v1/chats", {})
        order = {
            "input_file_id": anns.ids["file_id"],
            "endpoint": "/v1/responses",
            "completion_window": "24h",
        }
        for path, body, param in (
            ("/v1/responses", {**ASK, "previous_response_id": anns.ids["response_id"]}, "previous_response_id"),
            ("/v1/responses", {**ASK, "previous_response_id": anns.live}, "previous_response_id"),
            ("/v1/responses", {**ASK, "conversation": anns.ids["conversation_id"]}, "conversation"),  # busy, too
            ("/v1/responses/input_tokens", {"conversation": anns.ids["conversation_id"]}, "conversation"),
            (f"/v1/chats/{mine['id']}/fork", {"at": anns.ids["item_id"]}, "at"),
            (f"/v1/chats/{mine['id']}/branch", {"item": anns.ids["item_id"]}, "item"),
            ("/v1/responses", {**ASK, "conversation": mine["id"], "after": anns.ids["item_id"]}, "after"),
            ("/v1/batches", order, "input_file_id"),
        ):
            status, said, _ = await door.call("bob", "POST", path, body)
            assert (status, said["error"]["param"]) == (404, param), said
        await door.call("ann", "POST", f"/v1/responses/{anns.live}/cancel")


async def test_styles_of_the_same_name_are_each_users_own() -> None:
    async with locked(a_key("ann"), a_key("bob")) as door:
        for name in ("ann", "bob"):
            await door.call(name, "PUT", "/v1/styles/brief", {"system_prompt": f"of {name}"})
        assert (await door.call("bob", "DELETE", "/v1/styles/brief"))[0] == 200
        _, said, _ = await door.call("ann", "GET", "/v1/styles")
        assert [row["style"]["system_prompt"] for row in said["data"]] == ["of ann"]
        assert (await door.call("bob", "GET", "/v1/styles"))[1]["data"] == []


async def test_a_broadcast_does_not_reach_another_users_chat() -> None:
    async with locked(a_key("ann"), a_key("bob")) as door:
        _, chat, _ = await door.call("ann", "POST", "/v1/chats", {})
        for wanted in (chat["id"], "conv_none"):
            body = {"template": "x", "chats": [wanted]}
            status, said, _ = await door.call("bob", "POST", "/v1/chats/broadcast", body)
            assert (status, said["accepted"]) == (200, [])
            assert said["refused"][0]["error"]["code"] == "not_found"


async def test_two_keys_of_one_user_see_the_same() -> None:
    async with locked(a_key("ann"), a_key("phone", user="ann")) as door:
        _, chat, _ = await door.call("ann", "POST", "/v1/chats", {"title": "t"})
        assert (await door.call("phone", "GET", f"/v1/chats/{chat['id']}"))[0] == 200


# Hosts and pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("hub.localhost:8000", 200),
        ("127.8.9.1", 200),
        ("[::1]:8000", 200),
        ("localhost.", 200),
        ("my.box:8000", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403),
        ("192.168.0.7", 403),
        ("a@localhost", 403),
        ("localhost/evil", 403),
        ("localhost:port", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_a_host_that_is_not_this_one_is_refused(host: str, status: int) -> None:
    async with served(rules=Rules(doors=Doors(hosts=frozenset({"my.box"})))) as house:
        got, said = await house.call("GET", "/v1/models", headers={"Host": host})
        assert got == status, said
        if status == 403:
            assert said["error"]["code"] == "host_not_allowed"


async def test_hosts_of_a_server_on_the_network() -> None:
    """With keys any name will do; without them a name must be known, an address not."""
    without = Doors(open_network=True, hosts=frozenset({"my.box"}))
    async with served(rules=Rules(doors=without)) as house:
        for host, status in (("192.168.0.7:8000", 200), ("my.box", 200), ("evil.example", 403)):
            async with house.http.get(f"{house.url}/v1/models", headers={"Host": host}) as response:
                assert response.status == status
    assert host_name("[fe80::1]:80") == "fe80::1"


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", None, 200),
        ("POST", "https://app.example", 200),
        ("POST", "HTTPS://APP.EXAMPLE", 200),
        ("POST", "https://evil.example", 403),
        ("POST", "null", 403),
        ("POST", "http://localhost:5173", 403),
        ("POST", "file://", 403),
        ("GET", "https://evil.example", 200),
    ],
)
async def test_a_page_of_another_site_may_not_change_anything(method: str, origin: str | None, status: int) -> None:
    async with served(
        gateway=GatewayConfig(), rules=Rules(doors=Doors(origins=frozenset({"https://app.example"})))
    ) as house:
        headers = {} if origin is None else {"Origin": origin}
        async with house.http.request(method, f"{house.url}/v1/chats", headers=headers) as response:
            said = await response.json()
            assert response.status == status, said
            if status == 403:
                assert said["error"]["code"] == "origin_not_allowed"
                assert "cors_origins" in said["error"]["message"]
        _, page = await house.call("GET", "/v1/chats")
        assert len(page["data"]) == (1 if method == "POST" and status == 200 else 0)


async def test_a_page_of_this_server_may() -> None:
    async with served() as house, house.http.post(f"{house.url}/v1/chats", headers={"Origin": house.url}) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_cors_is_off_unless_it_is_set() -> None:
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with served() as house, house.http.options(f"{house.url}/v1/responses", headers=asks) as response:
        assert response.status == 405
        assert "Access-Control-Allow-Origin" not in response.headers
    async with served(rules=Rules(doors=Doors(origins=frozenset({"https://app.example"})))) as house:
        more = {"Access-Control-Request-Headers": "authorization,x-stainless-lang"}
        async with house.http.options(f"{house.url}/v1/responses", headers={**asks, **more}) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert response.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-lang"
            assert response.headers["Vary"] == "Origin"
        body = {**ASK, "stream": True}
        async with house.http.post(f"{house.url}/v1/responses", json=body, headers=asks) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "x-request-id" in response.headers["Access-Control-Expose-Headers"]
            await response.read()
        asks["Origin"] = "https://evil.example"
        async with house.http.options(f"{house.url}/v1/responses", headers=asks) as response:
            assert response.status == 405
            assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/", "ftp://x", "https://a b"])
def test_origins_that_are_none_are_refused(origins: str) -> None:
    with pytest.raises(ValueError, match="cors_origins"):
        GatewayConfig(cors_origins=origins)


# What cannot be read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"Authorization: Bearer %s\0\r\n", b"Authorization: Bearer %s\x7f\r\n", b"%s\r\n"])
async def test_bytes_that_are_no_request_are_neither_quoted_nor_logged(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    canary = text_of("canary").encode()
    caplog.set_level("DEBUG")
    async with locked(a_key("canary")) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(door.house.url.rpartition(":")[2]))
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + data % canary + b"\r\n")
        said = await reader.read()
        writer.close()
    assert b" 400 " in said.partition(b"\r\n")[0]
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request_error"
    assert canary not in said
    assert canary.decode() not in caplog.text
    assert "is no request" in caplog.text
