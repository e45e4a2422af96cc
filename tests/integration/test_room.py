"""The engine room over HTTP: gauges, who is named to whom, the engine's log."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hubbub.core.keys import Scope
from hubbub.core.types import EngineId, Priority
from hubbub.runtime.engine_room import tail
from support.keys import a_key, locked
from support.serving import ENDLESS, MODEL, served

ASK = {"model": MODEL, "input": "Hello"}


async def test_what_is_going_on_is_seen_and_users_are_named_to_admins_and_themselves() -> None:
    root = a_key("root", frozenset({Scope.ADMIN}))
    async with locked(a_key("ann"), a_key("bob"), root, voice=ENDLESS) as door:
        for user, body in (("ann", ASK), ("ann", ASK), ("bob", {**ASK, "service_tier": "flex"})):
            assert (await door.call(user, "POST", "/v1/responses", {**body, "background": True}))[0] == 200
        while (await door.call("root", "GET", "/v1/room"))[1]["users"] == []:
            await asyncio.sleep(0.01)
        seen = (await door.call("root", "GET", "/v1/room"))[1]
        assert {(row["user"], row["tier"], row["running"] + row["waiting"]) for row in seen["users"]} == {
            ("ann", "chat", 2),
            ("bob", "bulk", 1),
        }
        for user, other in (("ann", "bulk"), ("bob", "chat")):
            mine = (await door.call(user, "GET", "/v1/room"))[1]["users"]
            assert {row["user"] for row in mine} == {user, None}
            assert next(row["tier"] for row in mine if row["user"] is None) == other
        assert seen["engines"][0]["id"] == "sim"
        columns = [*seen["history"].values(), *seen["engines"][0]["history"].values()]
        assert {len(column) for column in columns} == {len(seen["times"])}


async def test_samples_tell_rates_and_latencies() -> None:
    async with served() as house:
        for _ in range(3):
            assert (await house.post("/responses", {**ASK, "max_output_tokens": 8}))[0] == 200
        gauges = house.gauges
        gauges.take()
        _, said = await house.call("GET", "/v1/room")
        now = said["now"]
        assert now["output_tokens_s"] > 0
        assert now["input_tokens_s"] > 0
        assert now["running_chat"] == now["waiting_chat"] == 0
        assert 0 < now["ttft_p50_s"] <= now["ttft_p95_s"]
        assert 0 < now["itl_p50_s"] <= now["itl_p95_s"]
        assert 0 <= now["kv_fill"] <= 1
        assert 0 <= now["cache_hits"] <= 1
        engine = said["engines"][0]["now"]
        assert engine["ttft_p50_s"] == now["ttft_p50_s"]
        assert said["history"]["output_tokens_s"][-1] == now["output_tokens_s"]
        assert gauges.engines == [EngineId("sim")]
        assert [load.priority for load in gauges.users()] in ([], [Priority.CHAT])


async def test_the_log_of_an_engine(tmp_path: Path) -> None:
    async with locked(a_key("ann"), a_key("root", frozenset({Scope.ADMIN}))) as door:
        status, said, _ = await door.call("root", "GET", "/v1/engines/sim/log?lines=5")
        assert (status, said["lines"]) == (200, [])
        assert (await door.call("root", "GET", "/v1/engines/none/log"))[0] == 404
        assert (await door.call("ann", "GET", "/v1/engines/sim/log"))[0] == 403
    path = tmp_path / "engine.log"
    assert tail(path, 3) == []
    path.write_text("".join(f"line {number}\n" for number in range(200_000)))
    assert tail(path, 2) == ["line 199998", "line 199999"]
    assert len(tail(path, 10**6)) < 200_000
