"""Several engines behind one server: models, adapters, the engine room."""

from __future__ import annotations

import asyncio
from typing import Any

from hubbub.core.types import EngineId
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from support.serving import ENDLESS, FAST, Served, served

BRIEF = Voice(output_median=12, output_sigma=0.0)
LONG = Voice(output_median=1000, output_sigma=0.0)
"""Half a second of words: what is asked about it comes in time."""


def engine(name: str, **voice: Any) -> SimulatedEngine:
    return SimulatedEngine(EngineId(name), SimulatedConfig(voice=Voice(output_median=12, **voice), pace=FAST))


def tuned(name: str) -> SimulatedEngine:
    return engine(name, models=("big",), adapters=("pirate", "bard"), mixes_adapters=False)


async def said(server: Served, **body: Any) -> str:
    status, answer = await server.post("/responses", {"input": "Hello.", "temperature": 0, **body})
    assert status == 200, answer
    return str(answer["output"][0]["content"][0]["text"])


async def until(server: Served, path: str, **wanted: Any) -> dict[str, Any]:
    """The state of one engine once it is as wanted; the server's patience is the limit."""
    while True:
        _, told = await server.call("GET", path)
        if {name: told[name] for name in wanted} == wanted:
            return dict(told)
        await asyncio.sleep(0.01)


async def test_model_picks_the_pool_and_a_missing_one_is_a_404_with_those_there_are() -> None:
    async with served(voice=BRIEF, others=[tuned("big")]) as server:
        _, listed = await server.call("GET", "/v1/models")
        rows = {row["id"]: row for row in listed["data"]}
        assert list(rows) == ["simulated", "big", "pirate", "bard"]
        assert rows["pirate"]["parent"] == "big"
        assert "parent" not in rows["big"]
        assert rows["big"]["max_model_len"] == 32_768
        assert (await server.call("GET", "/v1/models/bard"))[1] == rows["bard"]
        status, error = await server.post(
            "/chat/completions", {"model": "x", "messages": [{"role": "user", "content": "?"}]}
        )
        assert status == 404
        assert error["error"]["message"].endswith("there is simulated, big, and the adapters pirate, bard")
        assert error["error"]["param"] == "model"


async def test_an_adapter_changes_what_is_said_and_is_named_in_three_ways() -> None:
    async with served(voice=BRIEF, others=[tuned("big")]) as server:
        plain, pirate, bard = [await said(server, model=m) for m in ("big", "pirate", "bard")]
        assert len({plain, pirate, bard}) == 3
        assert await said(server, model="big", adapter="pirate") == pirate
        status, chat = await server.post("/chats", {"style": {"adapter": "pirate"}})
        assert (status, chat["style"]["adapter"]) == (200, "pirate")
        assert await said(server, conversation=chat["id"]) == pirate
        _, fork = await server.post(f"/chats/{chat['id']}/fork", {})
        assert fork["style"]["adapter"] == "pirate"


async def test_the_answer_tells_its_adapter() -> None:
    async with served(voice=BRIEF, others=[tuned("big")]) as server:
        _, response = await server.post("/responses", {"input": "Hello.", "model": "pirate"})
        assert (response["model"], response["adapter"]) == ("big", "pirate")
        _, response = await server.post("/responses", {"input": "Hello.", "model": "big"})
        assert "adapter" not in response
        body = {"model": "big", "adapter": "bard", "messages": [{"role": "user", "content": "Hello."}]}
        _, completion = await server.post("/chat/completions", body)
        assert (completion["model"], completion["adapter"]) == ("big", "bard")
        async with server.http.post(f"{server.url}/v1/chat/completions", json={**body, "stream": True}) as stream:
            assert '"adapter":"bard"' in (await stream.text()).splitlines()[0]


async def test_an_unknown_adapter_is_a_400_that_lists_those_there_are() -> None:
    async with served(voice=BRIEF, others=[tuned("big")]) as server:
        for path, body, param in (
            ("/responses", {"input": "Hello.", "adapter": "cook"}, "adapter"),
            ("/chats", {"style": {"adapter": "cook"}}, "style.adapter"),
        ):
            status, error = await server.post(path, body)
            assert (status, error["error"]["param"]) == (400, param)
            assert "there is pirate, bard" in error["error"]["message"]


async def test_turns_with_different_adapters_are_never_decoded_together() -> None:
    """Through the hub on one engine that cannot mix: all are answered, each in its own voice."""
    async with served(voice=Voice(output_median=12, adapters=("x", "y"), mixes_adapters=False)) as server:
        alone = {adapter: await said(server, adapter=adapter) for adapter in ("", "x", "y")}
        voices = ["", "x", "y"] * 8
        together = await asyncio.gather(*(said(server, adapter=adapter) for adapter in voices))
        assert together == [alone[adapter] for adapter in voices]


async def test_a_draining_engine_gets_nothing_until_that_is_undone() -> None:
    twin = engine("twin")
    async with served(voice=BRIEF, others=[twin]) as server:
        status, told = await server.post("/engines/sim/drain", {})
        assert (status, told["id"], told["draining"], told["ready"]) == (200, "sim", True, True)
        before = server.engine.requests
        await asyncio.gather(*(said(server, input=f"Question {i}") for i in range(12)))
        assert (server.engine.requests, twin.requests) == (before, 12)
        _, told = await server.post("/engines/sim/drain", {"undo": True})
        assert told["draining"] is False
        await asyncio.gather(*(said(server, input=f"Question {i}") for i in range(12)))
        assert server.engine.requests > before


async def test_an_engine_that_drains_ends_what_it_runs() -> None:
    async with served(voice=LONG) as server:
        asked = asyncio.create_task(said(server))
        await until(server, "/v1/engines/sim", running=1)
        await server.post("/engines/sim/drain")
        assert await asked
        await until(server, "/v1/engines/sim", running=0, draining=True)


async def test_a_restart_waits_for_what_runs_and_brings_the_engine_back() -> None:
    async with served(voice=LONG, restart_s=0.1) as server:
        asked = asyncio.create_task(said(server))
        await until(server, "/v1/engines/sim", running=1)
        status, told = await server.post("/engines/sim/restart")
        assert (status, told["restarting"], told["can_restart"]) == (200, True, True)
        assert (await server.post("/engines/sim/restart"))[0] == 200, "once is enough"
        status, error = await server.post("/engines/sim/drain")
        assert (status, error["error"]["code"]) == (409, "conflict")
        assert await asked
        await until(server, "/v1/engines/sim", restarting=False, draining=False, ready=True)
        assert await said(server)


async def test_a_forced_restart_moves_what_runs_to_another() -> None:
    twin = engine("twin")
    async with served(voice=ENDLESS, others=[twin], restart_s=0.1) as server:
        body = {"input": "Speak.", "max_output_tokens": 400}
        asked = asyncio.create_task(server.post("/responses", body))
        while not (running := [e for e in (server.engine, twin) if e.requests]):
            await asyncio.sleep(0.01)
        await server.post(f"/engines/{running[0].id}/restart", {"force": True})
        status, answer = await asked
        assert (status, answer["status"], answer["usage"]["output_tokens"]) == (200, "incomplete", 400)
        assert server.engine.requests + twin.requests == 2


async def test_an_engine_that_is_not_there() -> None:
    async with served(voice=BRIEF, others=[engine("twin")]) as server:
        for method, path in (("GET", ""), ("POST", "/drain"), ("POST", "/restart")):
            status, error = await server.call(method, f"/v1/engines/none{path}")
            assert (status, error["error"]["message"]) == (404, "there is no engine 'none'; there is sim, twin")
        status, listed = await server.call("GET", "/v1/engines")
        assert [row["id"] for row in listed["data"]] == ["sim", "twin"]
