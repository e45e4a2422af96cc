"""A whole server before a hosted API: its bill, its limits, and its key, which is in nothing that anybody can read."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextlib import redirect_stdout
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web

from hubbub.app import running
from hubbub.cli.config import show
from hubbub.settings import load
from support.throttled_api import KEY, PROMPT_TOKENS, WORDS, Api, Limiter, Says, hosted

COST = (PROMPT_TOKENS * 2.0 + len(WORDS) * 6.0) / 1e6


def config(folder: Path, url: str) -> Path:
    file, key = folder / "hubbub.toml", folder / "key"
    key.write_text(f"{KEY}\n")
    file.write_text(
        f'[server]\nport = 0\ndata = "{folder}/data"\n[engines.far]\nurl = "{url}"\napi_key_file = "{key}"\n'
        "[engines.far.options]\nprice_in = 2.0\nprice_out = 6.0\n"
    )
    return file


async def ask(http: aiohttp.ClientSession, url: str, number: int) -> tuple[int, str]:
    async with http.post(f"{url}/v1/responses", json={"input": f"Hello {number}.", "user": f"u{number}"}) as answer:
        return answer.status, await answer.text()


async def counted(http: aiohttp.ClientSession, url: str, what: str, labels: str = "") -> float:
    async with http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    found = (float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"hubbub_{what}_total{labels} "))
    return next(found, 0.0)


async def test_fifty_chats_at_the_limit_of_an_api_all_get_their_answer_and_the_bill_is_right(tmp_path: Path) -> None:
    """60 requests a minute, thirty times as fast; the bucket is nearly empty at first."""
    api = Api(Limiter(60, 2.0, Says.OPENAI))
    api.limiter.level, api.limiter.at = 5.0, asyncio.get_running_loop().time()
    async with hosted(api) as far:
        settings = load({}, file=config(tmp_path, far), environ={}).settings
        async with running(settings) as (app, url), aiohttp.ClientSession() as http:
            answers = await asyncio.gather(*(ask(http, url, number) for number in range(50)))
            assert {status for status, _ in answers} == {200}
            assert all("".join(WORDS) in text for _, text in answers)
            assert api.limiter.taken == 50
            assert api.limiter.refused <= 4
            async with http.get(f"{url}/v1/engines/far") as answer:
                told = await answer.json()
            assert told["cost_usd"] == pytest.approx(50 * COST)
            assert float(told["details"]["requests_per_minute"]) == pytest.approx(0.99 * 1800, rel=0.05)
            assert await counted(http, url, "engine_cost_usd", '{engine="far"}') == pytest.approx(50 * COST)
            said = await counted(http, url, "output_tokens")
            assert said == await counted(http, url, "generated_tokens", '{engine="far"}') == 50 * len(WORDS)
            app.dispatcher.scheduler.validate()


async def test_the_key_is_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    api = Api(Limiter(1000, 1.0, Says.NOTHING))
    leak = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    said = []
    async with hosted(api) as far:
        file = config(tmp_path, far)
        settings = load({}, file=file, environ={}).settings
        async with running(settings) as (app, url), aiohttp.ClientSession() as http:
            status, text = await ask(http, url, 1)
            assert status == 200
            api.before = lambda: web.json_response(leak, status=401)
            status, refusal = await ask(http, url, 2)
            assert "refuses the API key" in refusal
            said += [text, refusal, repr(settings), repr(app), repr(app.specs), repr(app.engines)]
            for path in ("/v1/engines", "/v1/engines/far", "/health", "/metrics", "/v1/models", "/openapi.json"):
                async with http.get(url + path) as answer:
                    said.append(await answer.text())
        for as_json in (False, True):
            with redirect_stdout(io.StringIO()) as out:
                show(file, as_json)
            said.append(out.getvalue())
    assert json.loads(said[-1])["engines.far.api_key"]["value"] == "(hidden)"
    said += [caplog.text, " ".join(psutil.Process().cmdline())]
    said += [path.read_bytes().decode("latin-1") for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [words for words in said if KEY in words]


async def test_an_answer_that_was_cut_off_and_cannot_go_on_says_so_and_keeps_what_was_said(tmp_path: Path) -> None:
    api = Api(Limiter(1000, 1.0, Says.NOTHING))
    api.cut_after = 2
    async with hosted(api) as far:
        file = config(tmp_path, far)
        file.write_text(file.read_text() + 'continues = "no"\n')
        async with running(load({}, file=file, environ={}).settings) as (_, url), aiohttp.ClientSession() as http:
            async with http.post(f"{url}/v1/responses", json={"input": "Hello.", "stream": True}) as answer:
                text = await answer.text()
            assert "".join(WORDS[:2]) in text
            assert "response.failed" in text
            assert "cannot go on" in text
            assert len(api.bodies) == 1


async def test_tokens_are_counted_while_an_answer_is_being_written(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text(
        f'[server]\nport = 0\ndata = "{tmp_path}/data"\n[engines.sim]\nkind = "simulated"\n'
        "[engines.sim.options]\nstep_ms = 100\n"
    )
    settings = load({}, file=file, environ={}).settings
    async with running(settings) as (_, url), aiohttp.ClientSession() as http:
        async with http.post(f"{url}/v1/responses", json={"input": "Hello.", "background": True}) as answer:
            assert answer.status == 200
            name = (await answer.json())["id"]
        async with asyncio.timeout(30), http.get(f"{url}/v1/responses/{name}?stream=true") as stream:
            async for line in stream.content:
                if b"output_text.delta" in line:
                    break
            written = 0.0
            while written < 2:
                await asyncio.sleep(0.05)
                written = await counted(http, url, "generated_tokens", '{engine="sim"}')
            assert await counted(http, url, "output_tokens") == 0
