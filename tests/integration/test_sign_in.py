"""Signing in with a password, users, and keys over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hubbub.core.keys import SESSIONS_KEPT, Scope
from hubbub.gateway.doors import COOKIE
from support.corpus_kit import RECIPE
from support.keys import Locked, a_key, bearer, locked
from support.serving import MODEL, served

ADMIN, PASSWORD = "root", "correct horse battery"
ASK = {"model": MODEL, "input": "Hello", "max_output_tokens": 3}


@dataclass
class Browser:
    """Keeps cookies, and says where its page is from, as browsers do."""

    door: Locked
    http: aiohttp.ClientSession
    origin: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        url = self.door.house.url
        sent = {"Origin": self.origin or url, "Sec-Fetch-Site": "same-origin", **self.headers, **headers}
        async with self.http.request(method, url + path, json=body, headers=sent) as response:
            return response.status, await response.json()

    async def sign_in(self, user: str, password: str = PASSWORD, **headers: str) -> tuple[int, Any]:
        return await self.call("POST", "/v1/session", {"user": user, "password": password}, **headers)

    @property
    def token(self) -> str:
        cookies = {cookie.key: cookie.value for cookie in self.http.cookie_jar}
        return cookies.get(COOKIE, "")


@asynccontextmanager
async def browser(door: Locked, **headers: str) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Browser(door, http, headers=headers)


@asynccontextmanager
async def begun(**more: Any) -> AsyncIterator[tuple[Locked, Browser]]:
    """A server whose admin has just been made."""
    async with locked(**more) as door, browser(door) as root:
        body = {"user": ADMIN, "password": PASSWORD, "setup_code": door.members.setup_code}
        assert (await root.call("POST", "/v1/session/first", body))[0] == 200
        yield door, root


async def with_user(root: Browser, name: str, **more: Any) -> None:
    status, said = await root.call("POST", "/v1/users", {"name": name, "password": PASSWORD, **more})
    assert status == 200, said


# The first start -----------------------------------------------------------------------------------------------------


async def test_a_server_on_loopback_is_open() -> None:
    async with served() as house:
        _, said = await house.call("GET", "/v1/session")
        assert (said["mode"], said["signed_in"], said["user"], said["admin"]) == ("open", True, "local", True)
        assert (await house.post("/session", {"user": "a", "password": "b"}))[0] == 409
        for path in ("/v1/users", "/v1/keys"):
            assert (await house.call("GET", path))[0] == 404


async def test_the_first_start_makes_an_admin_with_the_code() -> None:
    async with locked() as door, browser(door) as root:
        code = door.members.setup_code
        assert (await root.call("GET", "/v1/session"))[1]["mode"] == "first_start"
        body = {"user": ADMIN, "password": PASSWORD, "setup_code": "AAAA-AAAA-AAAA-AAAA"}
        assert (await root.call("POST", "/v1/session/first", body))[0] == 401
        assert (await root.call("POST", "/v1/session/first", {**body, "password": "short"}))[0] == 400
        status, said = await root.call("POST", "/v1/session/first", {**body, "setup_code": code.lower()})
        assert (status, said["mode"], said["user"], said["admin"]) == (200, "password", ADMIN, True)
        assert (await root.call("GET", "/v1/session"))[1]["signed_in"]
        assert (await root.call("POST", "/v1/session/first", {**body, "setup_code": code}))[0] == 409


async def test_one_code_makes_one_admin() -> None:
    async with locked() as door, browser(door) as one:
        bodies = [
            {"user": f"root{number}", "password": PASSWORD, "setup_code": door.members.setup_code}
            for number in range(4)
        ]
        said = await asyncio.gather(*(one.call("POST", "/v1/session/first", body) for body in bodies))
        assert sorted(status for status, _ in said) == [200, 409, 409, 409]


# Sessions ------------------------------------------------------------------------------------------------------------


async def test_sign_in_use_and_out() -> None:
    async with begun() as (door, root), browser(door) as ann:
        await with_user(root, "ann")
        assert (await ann.call("GET", "/v1/chats"))[0] == 401
        assert (await ann.sign_in("ann"))[1]["user"] == "ann"
        assert (await ann.call("POST", "/v1/responses", ASK))[0] == 200
        assert (await ann.call("POST", "/v1/responses", {**ASK, "service_tier": "flex"}))[0] == 200
        assert (await ann.call("GET", "/v1/users"))[0] == 403
        assert (await root.call("GET", "/v1/users"))[0] == 200
        _, chat = await ann.call("POST", "/v1/chats", {"title": "ann's"})
        assert (await root.call("GET", f"/v1/chats/{chat['id']}"))[0] == 404
        token = ann.token
        status, said = await ann.call("DELETE", "/v1/session")
        assert (status, said["signed_in"], ann.token) == (200, False, "")
        async with door.house.http.get(
            f"{door.house.url}/v1/chats", headers={"Cookie": f"{COOKIE}={token}"}
        ) as response:
            assert response.status == 401
        assert (await ann.call("GET", "/v1/session"))[1]["mode"] == "password"
        assert token not in str(await door.store.sessions())


async def test_the_cookie_is_the_pages_alone() -> None:
    proxy = frozenset({"127.0.0.1"})
    async with begun(proxies=proxy) as (door, _):
        for headers, secure in (({}, False), ({"X-Forwarded-Proto": "https"}, True)):
            body = {"user": ADMIN, "password": PASSWORD}
            async with door.house.http.post(f"{door.house.url}/v1/session", json=body, headers=headers) as response:
                cookie = response.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
            assert ("Secure" in cookie.split("; ")) is secure
    async with begun() as (door, _):  # nobody said that this proxy may be believed
        headers = {"X-Forwarded-Proto": "https"}
        async with door.house.http.post(f"{door.house.url}/v1/session", json=body, headers=headers) as response:
            assert "Secure" not in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://app.example"}, 403),  # which may ask with a key
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_another_page_changes_nothing_in_a_session(headers: dict[str, str], status: int) -> None:
    async with begun(origins=frozenset({"https://app.example"})) as (_, root):
        assert (await root.call("POST", "/v1/chats", {}, **headers))[0] == status
        assert (await root.call("GET", "/v1/chats", **headers))[0] == 200


async def test_a_page_and_no_host_to_compare_it_with() -> None:
    async with begun() as (door, root):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(door.house.url.rpartition(":")[2]))
        cookie = f"Cookie: {COOKIE}={root.token}\r\nOrigin: {door.house.url}\r\n"
        writer.write(f"POST /v1/chats HTTP/1.0\r\n{cookie}\r\n".encode())
        assert b" 403 " in await reader.readline()
        writer.close()


async def test_a_wrong_password_and_no_user_are_one_and_attempts_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with begun(proxies=frozenset({"127.0.0.1"})) as (door, root), browser(door) as eve:
        await with_user(root, "ann")
        there = {"X-Forwarded-For": "203.0.113.7"}
        wrong = await eve.sign_in("ann", "canary-password", **there)
        assert wrong == await eve.sign_in("nobody", "canary-password", **there)
        assert wrong[0] == 401
        said = [await eve.sign_in("ann", "canary-password", **there) for _ in range(20)]
        assert {status for status, _ in said} == {401, 429}
        assert said[-1][1]["error"]["code"] == "rate_limit_exceeded"
        assert (await eve.sign_in("ann", **there))[0] == 429
        assert (await eve.sign_in("ann", **{"X-Forwarded-For": "203.0.113.8"}))[0] == 200  # from elsewhere
        assert "canary-password" not in caplog.text
        assert PASSWORD not in caplog.text


async def test_a_new_password_ends_other_sessions() -> None:
    async with begun() as (door, root), browser(door) as one, browser(door) as other:
        await with_user(root, "ann")
        for at in (one, other):
            await at.sign_in("ann")
        body = {"old": PASSWORD, "new": "another good password"}
        assert (await one.call("POST", "/v1/session/password", {**body, "old": "no"}))[0] == 400
        assert (await one.call("POST", "/v1/session/password", {**body, "new": "aaaaaaaaaaaa"}))[0] == 400
        assert (await one.call("POST", "/v1/session/password", body))[0] == 200
        assert (await one.call("GET", "/v1/chats"))[0] == 200
        assert (await other.call("GET", "/v1/chats"))[0] == 401
        assert (await other.sign_in("ann"))[0] == 401
        assert (await other.sign_in("ann", body["new"]))[0] == 200
        status, _ = await root.call("PATCH", "/v1/users/ann", {"password": PASSWORD})
        assert status == 200
        assert (await one.call("GET", "/v1/chats"))[0] == 401


async def test_old_sessions_go_and_those_that_are_over() -> None:
    async with begun() as (door, root), browser(door) as ann:
        await with_user(root, "ann")
        await ann.sign_in("ann")
        first = ann.token
        user = door.ring.members[a_key("ann").user]
        for _ in range(SESSIONS_KEPT):
            await door.members.begin(user)
        assert door.ring.signed_in(first) is None
        door.members.session_s = -1.0
        assert door.ring.signed_in(await door.members.begin(user)) is None


# Users and keys ------------------------------------------------------------------------------------------------------


async def test_users_are_made_changed_and_deleted() -> None:
    async with begun() as (door, root), browser(door) as ann:
        await with_user(root, "ann", weight=2)
        assert (await root.call("POST", "/v1/users", {"name": "ann"}))[0] == 409
        assert (await root.call("POST", "/v1/users", {"name": "a b"}))[0] == 400
        assert (await root.call("PATCH", "/v1/users/none", {}))[0] == 404
        await ann.sign_in("ann")
        _, key = await ann.call("POST", "/v1/keys", {"label": "laptop"})
        assert (await root.call("PATCH", "/v1/users/ann", {"admin": True}))[1]["admin"]
        assert (await ann.call("GET", "/v1/engines"))[0] == 200
        _, listed = await root.call("GET", "/v1/users")
        assert [(user["name"], user["admin"], user["keys"], user["weight"]) for user in listed["data"]] == [
            ("ann", True, 1, 2.0),
            (ADMIN, True, 0, 1.0),
        ]
        assert "argon2" not in json.dumps(listed)
        assert (await root.call("DELETE", "/v1/users/ann"))[0] == 200
        assert (await ann.call("GET", "/v1/chats"))[0] == 401
        headers = {"Authorization": f"Bearer {key['secret']}"}
        async with door.house.http.get(f"{door.house.url}/v1/models", headers=headers) as response:
            assert response.status == 401
        assert (await root.call("DELETE", f"/v1/users/{ADMIN}"))[0] == 409
        assert (await root.call("PATCH", f"/v1/users/{ADMIN}", {"admin": False}))[0] == 409


async def test_keys_are_each_their_own_and_told_once() -> None:
    async with begun() as (door, root), browser(door) as ann, browser(door) as bob:
        for name, at in (("ann", ann), ("bob", bob)):
            await with_user(root, name)
            await at.sign_in(name)
        body = {"label": "laptop", "scopes": ["read"], "expires_in": 3600, "limits": {"tokens_per_day": 500}}
        status, made = await ann.call("POST", "/v1/keys", body)
        assert (status, made["user"], made["scopes"], made["limits"]["tokens_per_day"]) == (200, "ann", ["read"], 500)
        headers = {"Authorization": f"Bearer {made['secret']}"}
        async with door.house.http.get(f"{door.house.url}/v1/chats", headers=headers) as response:
            assert response.status == 200
        assert (await ann.call("POST", "/v1/keys", {"scopes": ["admin"]}))[0] == 403
        assert (await ann.call("POST", "/v1/keys", {"user": "bob"}))[0] == 403
        assert (await root.call("POST", "/v1/keys", {"user": "bob"}))[1]["user"] == "bob"
        _, mine = await ann.call("GET", "/v1/keys")
        assert [key["id"] for key in mine["data"]] == [made["id"]]
        assert made["secret"] not in json.dumps(mine)
        assert len((await root.call("GET", "/v1/keys"))[1]["data"]) == 2
        assert (await bob.call("DELETE", f"/v1/keys/{made['id']}"))[0] == 404
        assert (await ann.call("DELETE", f"/v1/keys/{made['id']}"))[1]["state"] == "was revoked"
        async with door.house.http.get(f"{door.house.url}/v1/chats", headers=headers) as response:
            assert response.status == 401
        for _ in range(5):
            assert (await ann.call("POST", "/v1/keys", {}))[0] == 200
        assert (await ann.call("POST", "/v1/keys", {}))[0] == 429


async def test_a_key_makes_no_keys_unless_an_admins() -> None:
    async with locked(a_key("ann"), a_key("boss", frozenset({Scope.ADMIN}))) as door:
        assert (await door.call("ann", "POST", "/v1/keys", {}))[0] == 403
        assert (await door.call("ann", "DELETE", "/v1/keys/key_ann"))[0] == 403
        assert (await door.call("boss", "DELETE", "/v1/keys/key_boss"))[0] == 409
        assert (await door.call("boss", "DELETE", "/v1/users/boss"))[0] == 409
        assert (await door.call("ann", "POST", "/v1/session/password", {"old": "x", "new": PASSWORD}))[0] == 403
        assert (await door.call("boss", "POST", "/v1/keys", {"user": "ann"}))[1]["user"] == "ann"
        assert (await door.call("boss", "POST", "/v1/users", {"name": "eve", "password": PASSWORD}))[0] == 200
        assert bearer("ann")["Authorization"][7:] not in str((await door.call("boss", "GET", "/v1/keys"))[1])


async def test_what_was_ordered_in_a_session_goes_on_without_it_until_the_user_is_gone(tmp_path: Path) -> None:
    async with begun(files=tmp_path / "files") as (door, root), browser(door) as ann:
        await with_user(root, "ann")
        await ann.sign_in("ann")
        recipe = RECIPE.format(target="900KB", least=1, every=100, more="")
        assert (await ann.call("POST", "/v1/corpora", {"name": "c", "recipe": recipe}))[0] == 200
        await ann.call("DELETE", "/v1/session")
        press = door.house.press
        assert press is not None
        user = a_key("ann").user
        while (await press.records(user, "c", None, 1)).total < 3:
            await asyncio.sleep(0.01)
        await root.call("DELETE", "/v1/users/ann")
        await press.ended(user, "c")
        lost = await press.corpus(user, "c")
        assert (lost.state, lost.reason) == ("failed", "this run may not ask any more: there is no user 'ann' any more")
