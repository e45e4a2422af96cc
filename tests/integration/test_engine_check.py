"""``hubbub engine check`` against a server that can do everything, and one that can do almost nothing."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from hubbub.core.errors import BadRequest
from hubbub.engines.check import PROBES, Finding, Verdict, examine
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig
from hubbub.engines.simulated_server import ServerOptions, serving

FAST = Pace(base=0.0005, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.0)
PARROT = "one, two, three, four, five, six"


async def findings(url: str, **more: str) -> dict[str, Finding]:
    return {finding.name: finding async for finding in examine(url, **more)}


async def test_the_simulated_engine_can_do_all_of_it() -> None:
    config = SimulatedConfig(Voice(context_window=4096, output_median=400, output_sigma=0.0), FAST)
    async with serving(ServerOptions(engine=config, api_key="sk-secret")) as url:
        found = await findings(url + "/v1/", api_key="sk-secret")
        assert list(found) == list(PROBES)
        assert [f for f in found.values() if f.verdict is not Verdict.GOOD] == []
        refused = await findings(url, api_key="sk-wrong")
    assert list(refused) == ["health", "models"]
    assert refused["models"].fatal


async def parrot(request: web.Request) -> web.StreamResponse:
    """Says the same to all, ignores every wish, tells no usage."""
    body = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    pieces = PARROT.split(" ")[: body["max_tokens"]]
    for piece in pieces:
        chunk = {"choices": [{"index": 0, "delta": {"content": f"{piece} "}}]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    finish = "stop" if len(pieces) < body["max_tokens"] else "length"
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
    return response


async def listed(_request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "parrot", "max_model_len": 100}]})


async def test_what_a_server_cannot_do_is_told_from_what_it_does_wrong() -> None:
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", parrot), web.get("/v1/models", listed)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = await findings(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    verdicts = {name: finding.verdict for name, finding in found.items()}
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.WRONG} == {"stop", "context overflow"}
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.ABSENT} == {
        *(
            "health",
            "usage",
            "json schema",
            "tools",
            "unknown model",
            "cached tokens",
            "partial answer",
            "count tokens",
        ),
    }
    assert {name for name, finding in found.items() if finding.fatal} == {"stop", "context overflow"}


async def test_nobody_there_and_no_address() -> None:
    found = await findings("http://127.0.0.1:9")
    assert list(found) == ["health", "models"]
    assert all(finding.verdict is Verdict.WRONG for finding in found.values())
    with pytest.raises(BadRequest, match="must begin with http"):
        await findings("localhost:8000")
