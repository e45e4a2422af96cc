"""``hubbub keys`` beside a running server, what ``serve`` refuses, and that no secret is seen where it must not be."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from support.command import COMMAND, alone, asked, environ, good

ENGINE_SECRET = "canary-of-the-engine-0123456789"  # noqa: S105 - what is looked for
FAST = ("--engine", "simulated", "--port", "0")


@asynccontextmanager
async def serving(cwd: Path, *arguments: str, **more: str) -> AsyncIterator[tuple[str, int]]:
    """Address and process id of ``hubbub serve``; its output goes to ``server.log``."""
    log = cwd / "server.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", *FAST, *arguments, cwd=cwd, env=environ(**more), stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(60):
            while "Hubbub is ready on " not in log.read_text():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        line = next(line for line in log.read_text().splitlines() if line.startswith("Hubbub is ready on "))
        yield line.rpartition(" ")[2], process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def status(http: aiohttp.ClientSession, url: str, secret: str) -> int:
    async with http.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {secret}"}) as response:
        await response.read()
        return response.status


async def test_keys_are_made_and_revoked_beside_a_running_server(tmp_path: Path) -> None:
    async with serving(tmp_path, "--keys", "required") as (url, _), aiohttp.ClientSession() as http:
        assert "nobody can come in yet" in (tmp_path / "server.log").read_text()
        made = json.loads(await good("keys", "create", "--user", "ann", "--label", "laptop", "--json", cwd=tmp_path))
        assert set(made) >= {"secret", "id", "user", "scopes"}
        async with asyncio.timeout(1.0):
            while await status(http, url, made["secret"]) != 200:
                await asyncio.sleep(0.02)
        await good("keys", "revoke", "laptop", cwd=tmp_path)
        async with asyncio.timeout(1.0):
            while await status(http, url, made["secret"]) != 401:
                await asyncio.sleep(0.02)
    shown = json.loads(await good("keys", "show", made["id"], "--json", cwd=tmp_path))
    assert (shown["state"], shown["user"], shown["tokens_today"]) == ("was revoked", "ann", 0)
    assert shown["used"] is not None


async def test_list_show_users_and_weights(tmp_path: Path) -> None:
    key = (await good("keys", "create", "--user", "ann", "--label", "a", "--scopes", "read", cwd=tmp_path)).strip()
    await good("keys", "create", "--user", "bob", "--expires", "30d", "--tokens-per-day", "500", cwd=tmp_path)
    await good("keys", "weight", "bob", "2.5", cwd=tmp_path)
    assert key.startswith("hb-")
    assert len(key) == 46
    rows = json.loads(await good("keys", "list", "--json", cwd=tmp_path))
    assert [(row["user"], row["scopes"], row["state"]) for row in rows] == [
        ("ann", "read", "good"),
        ("bob", "bulk,chat", "good"),
    ]
    assert (rows[0]["expires"], rows[0]["used"], rows[1]["tokens_per_day"]) == (None, None, 500)
    assert rows[1]["expires"] is not None
    table = await good("keys", "list", "--user", "ann", cwd=tmp_path)
    assert "ann" in table
    assert "bob" not in table
    assert "tokens_per_day       500" in await good("keys", "show", rows[1]["id"], cwd=tmp_path)
    users = json.loads(await good("keys", "users", "--json", cwd=tmp_path))
    assert users == [{"user": "ann", "weight": 1.0}, {"user": "bob", "weight": 2.5}]
    for shown in (table, json.dumps(rows)):
        assert key not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "--user", "a b"), "'a b' is no user name"),
        (("create", "--scopes", "king"), "'king' is no scope; there are read, chat, bulk, admin"),
        (("create", "--expires", "soon"), "as in 30d"),
        (("create", "--expires", "99999999999999w"), "at most 3660d"),
        (("weight", "ann", "0"), "weight is 0.0"),
        (("weight", "ann", "1e300"), "at most 1000000"),
        (("list",), "there are no keys in hubbub-data yet"),
        (("revoke", "x"), "there are no keys in hubbub-data yet"),
    ],
)
async def test_a_fault_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = await asked("keys", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hubbub: ")


async def test_a_limit_that_no_reader_of_json_can_tell(tmp_path: Path) -> None:
    done = await asked("keys", "create", "--tokens-per-day", str(10**400), cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


async def test_a_name_that_is_none_or_two(tmp_path: Path) -> None:
    for _ in range(2):
        await good("keys", "create", "--label", "twin", cwd=tmp_path)
    for name, says in (("nobody", "there is no key 'nobody'"), ("twin", "2 keys have the label 'twin'")):
        done = await asked("keys", "revoke", name, cwd=tmp_path)
        assert done.returncode == 2
        assert says in done.stderr


# Beyond loopback ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "there is no key yet"),
        (("--host", "0.0.0.0", "--keys", "required"), "there is no key yet"),
        (("--host", "::"), "there is no key yet"),
        (("--host", "0.0.0.0", "--keys", "off"), "server.keys is off"),
    ],
)
async def test_serve_does_not_listen_to_the_network_without_a_key(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    if arguments[1] == "::" and not socket.has_ipv6:
        arguments = ("--host", "0.0.0.0")
    done = await asyncio.to_thread(alone, "serve", *FAST, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "hubbub keys create" in done.stderr
    assert "--open-to-everyone" in done.stderr


async def test_the_first_start_on_the_network_prints_the_code_that_makes_an_admin(tmp_path: Path) -> None:
    host = "::" if socket.has_ipv6 else "0.0.0.0"
    log, body = tmp_path / "server.log", {"user": "ann", "password": "correct horse battery"}
    async with serving(tmp_path, "--host", host, "--first-admin") as (url, _), aiohttp.ClientSession() as http:
        near = f"http://127.0.0.1:{url.rpartition(':')[2]}"
        while not (said := re.search(r"setup code (\S+)", log.read_text())):
            await asyncio.sleep(0.02)
        assert await status(http, near, "any") == 401
        async with http.post(f"{near}/v1/session/first", json={**body, "setup_code": said[1]}) as response:
            assert response.status == 200
        async with http.post(f"{near}/v1/session", json=body) as response:
            assert (await response.json())["admin"] is True
    async with serving(tmp_path, "--host", host) as (_, _):
        assert "setup code" not in log.read_text()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert body["password"].encode() not in written


async def test_serve_listens_to_the_network_with_a_key_or_when_told(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, "--host", "0.0.0.0", "--open-to-everyone") as (url, _),
        aiohttp.ClientSession() as http,
    ):
        assert await status(http, url.replace("0.0.0.0", "127.0.0.1"), "any") == 200
    key = (await good("keys", "create", cwd=tmp_path)).strip()
    async with serving(tmp_path, "--host", "0.0.0.0") as (url, _), aiohttp.ClientSession() as http:
        near = url.replace("0.0.0.0", "127.0.0.1")
        assert await status(http, near, "any") == 401
        assert await status(http, near, key) == 200


async def test_pages_of_every_site_need_keys(tmp_path: Path) -> None:
    done = await asyncio.to_thread(alone, "serve", *FAST, cwd=tmp_path, HUBBUB_GATEWAY_CORS_ORIGINS="*")
    assert done.returncode == 2
    assert "any web page could read your chats" in done.stderr


# Secrets -----------------------------------------------------------------------------------------------------------


async def test_no_secret_is_written_or_shown_anywhere(tmp_path: Path) -> None:
    """A run with good, wrong and revoked keys, errors and a stop: then everything it wrote is searched."""
    keys = [
        (await good("keys", "create", "--label", f"l{n}", "--scopes", "admin", cwd=tmp_path)).strip() for n in (0, 1)
    ]
    await good("keys", "revoke", "l1", cwd=tmp_path)
    (tmp_path / "hubbub.toml").write_text(f'[engine]\napi_key = "{ENGINE_SECRET}"\n[server]\nlog_level = "debug"\n')
    wrong = "hb-wrong-canary-0123456789"
    seen: list[str] = []
    async with serving(tmp_path, "--keys", "required") as (url, pid), aiohttp.ClientSession() as http:
        for secret in (*keys, wrong):
            for method, path, body in (
                ("POST", "/v1/responses", {"model": "none", "input": "x"}),
                ("POST", "/v1/responses", {"input": 7}),
                ("GET", "/v1/nothing", None),
                ("GET", "/metrics", None),
                ("GET", "/health", None),
                ("GET", "/openapi.json", None),
            ):
                await answered(http, method, url + path, secret, body, seen)
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        seen += [" ".join(process.cmdline()) for process in family]
        for name in ("list", "users"):
            seen.append(await good("keys", name, cwd=tmp_path))
        seen.append(await good("keys", "show", "l0", cwd=tmp_path))
    seen.append(await good("config", "show", cwd=tmp_path))
    seen.append(await good("config", "show", "--json", cwd=tmp_path))
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".toml"}
    assert len(written) >= 3
    for secret in (*keys, wrong, ENGINE_SECRET):
        for canary in (secret, secret[7:]):
            assert [str(path) for path, data in written.items() if canary.encode() in data] == []
            assert [text[:80] for text in seen if canary in text] == []


async def answered(http: aiohttp.ClientSession, method: str, url: str, secret: str, body: Any, seen: list[str]) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    async with http.request(method, url, json=body, headers=headers) as response:
        seen.append(await response.text() + str(response.headers))


async def test_a_secret_of_the_wrong_type_is_not_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text(f'[engine]\napi_key = ["{ENGINE_SECRET}"]\n')
    done = await asked("config", "show", cwd=tmp_path)
    assert done.returncode == 2
    assert "engine.api_key" in done.stderr
    assert ENGINE_SECRET not in done.stdout + done.stderr
