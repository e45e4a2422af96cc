"""What a client can get wrong, and what it is told: a status, a stable code, the field, the way out."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from hubbub.engines.sim_prompt import Voice
from hubbub.gateway.config import GatewayConfig
from support.serving import MODEL, Served, served

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello"}
SAY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
JSON = {"Content-Type": "application/json"}


async def raw(house: Served, data: bytes, path: str = "/responses", headers: dict[str, str] = JSON) -> tuple[int, Any]:
    return await house.post(path, data=data, headers=headers)


async def test_an_unknown_model_is_told_those_there_are() -> None:
    async with served() as house:
        for path, body in (("/responses", ASK), ("/chat/completions", SAY)):
            status, said = await house.post(path, {**body, "model": "gpt-9"})
            assert status == 404
            error = said["error"]
            assert (error["type"], error["code"], error["param"]) == ("not_found_error", "model_not_found", "model")
            assert MODEL in error["message"]


async def test_bodies_that_are_no_json() -> None:
    async with served() as house:
        for data, word in (
            (b'{"model": ', "not valid JSON"),
            (b'{"model": "x", "input": "\xff\xfe"}', "not UTF-8"),
            (b'{"model": "x", "input": "\\ud800"}', "surrogate"),
            (b'{"model": "x", "input": "\\ud800 there"}', "surrogate"),
            (b'{"model": "x", "temperature": NaN}', "not valid JSON"),
            (b"[1]", "expected `object`"),
            (b'{"input":' + b'[{"a":' * 20_000 + b"1" + b"}]" * 20_000 + b"}", "too deep"),
        ):
            status, said = await raw(house, data)
            assert status == 400, data[:40]
            assert said["error"]["type"] == "invalid_request_error"
            assert word in said["error"]["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", ["/responses", "/chats/import", "/files"])
async def test_bodies_that_are_not_encoded_as_they_say(
    path: str, encoding: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    kind = {"/files": "multipart/form-data; boundary=b"}.get(path, "application/json")
    async with served(files=tmp_path / "files") as house:
        status, said = await raw(
            house, b"\xff no such thing", path, {"Content-Type": kind, "Content-Encoding": encoding}
        )
        assert (status, said["error"]["code"]) == (400, "invalid_request_error")
        assert encoding in said["error"]["message"]
    assert not [record for record in caplog.records if record.exc_info]


async def test_metadata_asked_for_as_a_whole_and_by_pairs() -> None:
    async with served() as house:
        for query in ("metadata=3&metadata[a]=3", "metadata[a]=3&metadata=3"):
            status, said = await house.call("GET", f"/v1/chat/completions?{query}")
            assert (status, said["error"]["param"]) == (400, "metadata")


async def test_whole_surrogate_pairs_are_fine() -> None:
    async with served() as house:
        status, said = await raw(house, b'{"model": "simulated", "input": "\\ud83d\\udc0b"}')
        assert status == 200
        _, page = await house.call("GET", f"/v1/responses/{said['id']}/input_items")
        assert page["data"][0]["content"][0]["text"] == "🐋"


async def test_nul_is_refused_by_name() -> None:
    async with served() as house:
        body = {**ASK, "input": [{"role": "user", "content": "a\0b"}]}
        status, said = await house.post("/responses", body)
        assert (status, said["error"]["param"]) == (400, "input[0].content")
        status, said = await house.post("/chats", {"title": "a\0b"})
        assert (status, said["error"]["param"]) == (400, "title")


async def test_a_body_that_is_too_large() -> None:
    async with served() as house:
        large = io.BytesIO(json.dumps({**ASK, "input": "x" * 10 * 1024 * 1024}).encode())
        status, said = await house.post("/responses", data=large, headers=JSON)
        assert (status, said["error"]["code"]) == (413, "body_too_large")
        assert "8388608 bytes" in said["error"]["message"]


async def test_a_body_that_is_too_large_and_does_not_say_so() -> None:
    async def pieces() -> Any:
        for _ in range(64):
            yield b"x" * 1024

    async with served(gateway=GatewayConfig(max_body_bytes=4096)) as house:
        async with house.http.post(f"{house.url}/v1/responses", data=pieces(), headers=JSON) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "body_too_large"
        status, _ = await house.post("/responses", {**ASK, "input": "x" * 2000})
        assert status == 200


async def test_a_prompt_longer_than_the_window() -> None:
    async with served(voice=Voice(context_window=100, output_median=5)) as house:
        long = "word " * 300
        for path, body in (
            ("/responses", {**ASK, "input": long}),
            ("/chat/completions", {**SAY, "messages": [{"role": "user", "content": long}]}),
        ):
            status, said = await house.post(path, body)
            assert status == 400
            assert said["error"]["code"] == "context_length_exceeded"
            numbers = [int(word) for word in said["error"]["message"].split() if word.isdigit()]
            assert 100 in numbers
            assert max(numbers) > 300


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("/chat/completions", {"max_tokens": -1}, "max_tokens"),
        ("/chat/completions", {"max_completion_tokens": 0}, "max_completion_tokens"),
        ("/chat/completions", {"temperature": 3}, "temperature"),
        ("/chat/completions", {"top_p": 0}, "top_p"),
        ("/chat/completions", {"presence_penalty": -2.5}, "presence_penalty"),
        ("/chat/completions", {"messages": []}, "messages"),
        ("/chat/completions", {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ("/chat/completions", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("/chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x", "mood": 1}]}, "messages[0].mood"),
        ("/chat/completions", {"model": 7}, "model"),
        ("/chat/completions", {"stop": ["", "x"]}, "stop[0]"),
        ("/chat/completions", {"seed": 2**70}, "seed"),
        ("/chat/completions", {"tool_choice": "required"}, "tool_choice"),
        ("/chat/completions", {"stream_options": {"include_usage": True}}, "stream_options"),
        ("/chat/completions", {"best_of": 3}, "best_of"),
        ("/chat/completions", {"metadata": {"k": "v" * 513}}, "metadata.k"),
        ("/chat/completions", {"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ("/responses", {"max_output_tokens": -1}, "max_output_tokens"),
        ("/responses", {"temperature": 3}, "temperature"),
        ("/responses", {"temperature": "warm"}, "temperature"),
        ("/responses", {"input": None}, "input"),
        ("/responses", {"input": []}, "input"),
        ("/responses", {"input": ["x"]}, "input[0]"),
        ("/responses", {"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type"),
        ("/responses", {"input": [{"role": "user", "content": "x"}, {"content": "x"}]}, "input[1].role"),
        ("/responses", {"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ("/responses", {"previous_response_id": "resp_x", "conversation": "conv_x"}, "previous_response_id"),
        ("/responses", {"background": True, "store": False}, "background"),
        ("/responses", {"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ("/responses", {"tools": [{"type": "function"}]}, "tools[0].name"),
        ("/responses", {"temperatur": 1}, "temperatur"),
    ],
)
async def test_bad_values_are_named(path: str, change: dict[str, Any], param: str) -> None:
    async with served() as house:
        status, said = await house.post(path, {**(SAY if path.startswith("/chat") else ASK), **change})
        assert status == 400
        assert (said["error"]["code"], said["error"]["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("/chat/completions", {"n": 2}, "n"),
        ("/chat/completions", {"logprobs": True}, "logprobs"),
        ("/chat/completions", {"top_logprobs": 3}, "top_logprobs"),
        ("/chat/completions", {"logit_bias": {"1": 5}}, "logit_bias"),
        ("/chat/completions", {"modalities": ["text", "audio"]}, "modalities"),
        ("/chat/completions", {"audio": {"voice": "x", "format": "mp3"}}, "audio"),
        ("/chat/completions", {"functions": [{"name": "x"}]}, "functions"),
        ("/chat/completions", {"reasoning_effort": "high"}, "reasoning_effort"),
        ("/chat/completions", {"verbosity": "low"}, "verbosity"),
        ("/chat/completions", {"web_search_options": {}}, "web_search_options"),
        ("/chat/completions", {"service_tier": "priority"}, "service_tier"),
        ("/chat/completions", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ("/chat/completions", {"response_format": {"type": "grammar"}}, "response_format.type"),
        ("/responses", {"truncation": "auto"}, "truncation"),
        ("/responses", {"prompt": {"id": "x"}}, "prompt"),
        ("/responses", {"context_management": [{"type": "compaction"}]}, "context_management"),
        ("/responses", {"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ("/responses", {"include": ["message.output_text.logprobs"]}, "include[0]"),
        ("/responses", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("/responses", {"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice"),
        ("/responses", {"text": {"verbosity": "low"}}, "text.verbosity"),
        ("/responses", {"input": [{"type": "item_reference", "id": "msg_x"}]}, "input[0].type"),
        ("/responses", {"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ],
)
async def test_what_is_not_offered_is_refused(path: str, change: dict[str, Any], param: str) -> None:
    async with served() as house:
        status, said = await house.post(path, {**(SAY if path.startswith("/chat") else ASK), **change})
        assert status == 400
        assert (said["error"]["code"], said["error"]["param"]) == ("unsupported_parameter", param)


async def test_images_and_files_are_refused_by_their_place() -> None:
    async with served() as house:
        image: Any = {"type": "input_image", "image_url": "data:,"}
        content: list[Any] = [{"type": "input_text", "text": "See"}, image]
        status, said = await house.post("/responses", {**ASK, "input": [{"role": "user", "content": content}]})
        assert (status, said["error"]["param"]) == (400, "input[0].content[1].type")
        content = [{"type": "image_url", "image_url": {"url": "data:,"}}]
        status, said = await house.post(
            "/chat/completions", {**SAY, "messages": [{"role": "user", "content": content}]}
        )
        assert (status, said["error"]["param"]) == (400, "messages[0].content[0].type")


async def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    async with served() as house:
        status, said = await house.post("/responses", {**ASK, "max_output_tokens": 5.0})
        assert (status, said["max_output_tokens"]) == (200, 5)
        status, said = await house.post("/responses", {**ASK, "max_output_tokens": 5.5})
        assert (status, said["error"]["param"]) == (400, "max_output_tokens")
        status, _ = await house.post("/chats", {"style": {"max_tokens": 1e2}})
        assert status == 200


async def test_harmless_fields_are_taken() -> None:
    async with served() as house:
        shared: dict[str, Any] = {
            "user": "u",
            "safety_identifier": "s",
            "prompt_cache_key": "p",
            "service_tier": "auto",
        }
        shared |= {"metadata": None, "parallel_tool_calls": True, "temperature": None}
        more: dict[str, Any] = {
            "n": 1,
            "logprobs": False,
            "modalities": ["text"],
            "reasoning_effort": "none",
            "prediction": None,
        }
        status, _ = await house.post("/chat/completions", {**SAY, **shared, **more})
        assert status == 200
        more = {"truncation": "disabled", "reasoning": {"effort": None}, "include": ["reasoning.encrypted_content"]}
        status, said = await house.post("/responses", {**ASK, **shared, **more})
        assert status == 200
        assert (said["user"], said["service_tier"], said["truncation"]) == ("u", "default", "disabled")


async def test_unknown_things() -> None:
    async with served() as house:
        status, said = await house.post("/responses", {**ASK, "conversation": "conv_none"})
        assert (status, said["error"]["param"]) == (404, "conversation")
        status, said = await house.post("/responses", {**ASK, "previous_response_id": "resp_none"})
        assert (status, said["error"]["param"]) == (404, "previous_response_id")
        status, said = await house.call("GET", "/v1/responses/resp_none?stream=true")
        assert (status, said["error"]["param"]) == (404, "response_id")


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("page=2", "page")],
)
async def test_bad_queries_are_named(query: str, param: str) -> None:
    async with served() as house:
        status, said = await house.call("GET", f"/v1/chats?{query}")
        assert (status, said["error"]["param"]) == (400, param)


async def test_routes_methods_and_content_types() -> None:
    async with served() as house:
        status, said = await house.call("GET", "/v1/nothing")
        assert (status, said["error"]["type"], said["error"]["code"]) == (404, "not_found_error", "not_found")
        async with house.http.put(f"{house.url}/v1/responses") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "POST"
            assert (await response.json())["error"]["code"] == "method_not_allowed"
        status, said = await raw(house, b"model=x", headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert status == 400
        assert "application/json" in said["error"]["message"]


async def test_every_answer_has_a_request_id_and_any_key_is_taken() -> None:
    async with served() as house:
        headers = {"Authorization": "Bearer whatever"}
        async with house.http.get(f"{house.url}/v1/models", headers=headers) as response:
            assert response.status == 200
            assert response.headers["x-request-id"].startswith("req_")
        async with house.http.get(f"{house.url}/v1/models/none") as response:
            assert response.headers["x-request-id"].startswith("req_")
            assert response.headers["x-should-retry"] == "false"


async def test_health_metrics_and_the_interface() -> None:
    async with served() as house:
        status, said = await house.call("GET", "/health")
        assert (status, said["ready"]) == (200, True)
        async with house.http.get(f"{house.url}/metrics") as response:
            assert response.content_type == "text/plain"
        status, said = await house.call("GET", "/openapi.json")
        assert (status, said["openapi"]) == (200, "3.1.0")


async def test_garbage_on_the_socket_does_not_stop_the_server() -> None:
    async with served() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert (await house.call("GET", "/v1/models"))[0] == 200
