"""The load generator against a server that keeps conversations in a dict and misbehaves on demand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hubbub.bench.load import Load, Unreachable
from hubbub.bench.report import Plan

Fault = Callable[[str, int], str]


class Server:
    """``fault`` is asked per turn (conversation, number of the turn) what to do: nothing, or one of the names below."""

    def __init__(self) -> None:
        self.said: dict[str, list[tuple[str, str]]] = {}
        self.tries: dict[str, int] = {}
        self.fault: Fault = lambda _chat, _turn: ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/conversations", self.create)
        app.router.add_get("/v1/conversations/{id}/items", self.items)
        app.router.add_post("/v1/responses", self.respond)
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "parrot"}]})

    async def create(self, _: web.Request) -> web.Response:
        name = f"conv_{len(self.said)}"
        self.said[name] = []
        return web.json_response({"id": name})

    async def items(self, request: web.Request) -> web.Response:
        rows = self.said[request.match_info["id"]]
        start = int(request.query.get("after", "-1")) + 1
        page = rows[start : start + 2]
        data = [
            {"id": str(start + n), "type": "message", "role": role, "content": [{"type": "text", "text": text}]}
            for n, (role, text) in enumerate(page)
        ]
        return web.json_response(
            {"data": data, "has_more": start + 2 < len(rows), "last_id": data[-1]["id"] if data else None}
        )

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        chat = body["conversation"]
        self.tries[chat] = self.tries.get(chat, 0) + 1
        fault = self.fault(chat, self.tries[chat])
        if fault == "refuse":
            error = {"error": {"code": "queue_full", "message": "later"}}
            return web.json_response(error, status=429, headers={"Retry-After": "0.05"})
        if fault == "reject":
            return web.json_response({"error": {"code": "bad", "message": "no"}}, status=400)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        answer = f"You said {body['input']}"
        for word in answer.partition(" said "):
            await stream.write(_event("response.output_text.delta", {"delta": word}))
        if fault == "cut":
            return stream
        self.said[chat] += (
            [("user", body["input"])] if fault == "forget" else [("user", body["input"]), ("assistant", answer)]
        )
        status = "failed" if fault == "fail" else "completed"
        fault_told = {"code": "engine_lost", "message": "gone"} if fault == "fail" else None
        response = {"status": status, "usage": {"input_tokens": 7, "output_tokens": 3}, "error": fault_told}
        await stream.write(_event(f"response.{status}", {"response": response}))
        return stream

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(_data({"choices": [{"delta": {"content": str(len(body["messages"]))}}]}))
        await stream.write(_data({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        await stream.write(_data({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}))
        await stream.write(b"data: [DONE]\n\n")
        return stream


def _event(name: str, body: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n".encode()


def _data(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


@pytest.fixture
async def served() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    async with TestServer(server.app()) as test_server:
        yield server, str(test_server.make_url("/")).rstrip("/")


Served = tuple[Server, str]


async def test_every_turn_is_counted_once(served: Served) -> None:
    _, url = served
    result = await Load(Plan(url, chats=20, turns=3)).run()
    assert (result.ok, result.failed, result.lost) == (60, 0, 0)
    assert (result.output_tokens, result.input_tokens, result.model) == (180, 420, "parrot")
    assert result.ttft.count == 60
    assert result.sound
    told = result.as_json()
    assert told["ttft_s"]["p50"] > 0


@pytest.mark.parametrize(
    ("fault", "failures", "counts"),
    [
        ("reject", {"bad": 1}, (5, 1, 0)),
        ("fail", {"engine_lost": 1}, (5, 1, 0)),
        ("cut", {"no_terminal_event": 1}, (5, 0, 1)),
        ("forget", {"not_in_store": 1}, (5, 0, 1)),
        ("refuse", {}, (6, 0, 0)),
    ],
)
async def test_faults_are_told_apart(
    served: Served, fault: str, failures: dict[str, int], counts: tuple[int, int, int]
) -> None:
    server, url = served
    server.fault = lambda chat, turn: fault if (chat, turn) == ("conv_1", 1) else ""
    result = await Load(Plan(url, chats=3, turns=2)).run()
    assert (result.ok, result.failed, result.lost) == counts
    assert result.failures == failures
    assert result.refused == (1 if fault == "refuse" else 0)


async def test_patience_ends(served: Served) -> None:
    server, url = served
    server.fault = lambda _chat, _turn: "refuse"
    result = await Load(Plan(url, chats=1, turns=1, patience_seconds=0.01)).run()
    assert (result.failed, result.failures) == (1, {"queue_full": 1})


async def test_chat_completions_carry_their_history(served: Served) -> None:
    _, url = served
    load = Load(Plan(url, api="chat", chats=4, turns=2))
    result = await load.run()
    assert (result.ok, result.output_tokens) == (8, 8)
    assert [[turn.answer for turn in talk.turns] for talk in load.board.talks] == [["1", "3"]] * 4


async def test_no_server_is_said_at_once(unused_tcp_port_factory: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    run: Awaitable[object] = Load(Plan(url)).run()
    with pytest.raises(Unreachable, match="does not answer"):
        await run
