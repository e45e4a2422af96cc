"""What a key may use, as its client is told."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from hubbub.core.keys import KeyId
from hubbub.core.quota import Limits, day_of
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from support.keys import Locked, a_key, bearer, locked
from support.serving import ENDLESS, MODEL

ASK: dict[str, Any] = {"model": MODEL, "input": "Hello", "max_output_tokens": 5}
RESET = re.compile(r"(\d+h)?(\d+m)?[\d.]+m?s")


def refused(said: Any, headers: dict[str, str], *, again: bool = True) -> str:
    assert (said["error"]["type"], said["error"]["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(headers["retry-after"]) <= 120
    assert headers["x-should-retry"] == ("true" if again else "false")
    message: str = said["error"]["message"]
    return message


async def test_requests_a_minute() -> None:
    async with locked(a_key("ann", limits=Limits(requests_per_minute=3)), a_key("bob")) as door:
        for left in (2, 1, 0):
            status, _, headers = await door.call("ann", "GET", "/v1/models")
            assert status == 200
            assert headers["x-ratelimit-limit-requests"] == "3"
            assert headers["x-ratelimit-remaining-requests"] == str(left)
            assert RESET.fullmatch(headers["x-ratelimit-reset-requests"])
        status, said, headers = await door.call("ann", "GET", "/v1/models")
        assert status == 429
        assert "3 requests a minute" in refused(said, headers)
        assert headers["x-ratelimit-remaining-requests"] == "0"
        status, _, headers = await door.call("bob", "GET", "/v1/models")
        assert status == 200
        assert not any(name.startswith("x-ratelimit") for name in headers)


async def test_every_answer_of_a_limited_key_says_what_is_left() -> None:
    async with locked(a_key("ann", limits=Limits(requests_per_minute=100, tokens_per_minute=10_000))) as door:
        for method, path, body, status in (
            ("POST", "/v1/responses", {**ASK, "stream": True}, 200),
            ("POST", "/v1/chat/completions", {"model": MODEL}, 400),
            ("GET", "/v1/responses/resp_none", None, 404),
            ("GET", "/health", None, 200),
        ):
            got, _, headers = await door.call("ann", method, path, body)
            assert got == status
            for field in ("limit", "remaining", "reset"):
                assert f"x-ratelimit-{field}-requests" in headers
                assert f"x-ratelimit-{field}-tokens" in headers


async def left(door: Locked) -> int:
    _, _, headers = await door.call("ann", "GET", "/v1/models")
    return int(headers["x-ratelimit-remaining-tokens"])


async def test_tokens_are_charged_by_estimate_and_corrected_at_the_end() -> None:
    async with locked(a_key("ann", limits=Limits(tokens_per_day=10_000)), voice=ENDLESS) as door:
        body = {**ASK, "max_output_tokens": 4000, "background": True}
        _, made, _ = await door.call("ann", "POST", "/v1/responses", body)
        assert await left(door) == 10_000 - 4000 - len("Hello") // 4
        _, ended, _ = await door.call("ann", "POST", f"/v1/responses/{made['id']}/cancel")
        assert await left(door) == 10_000 - ended["usage"]["total_tokens"]


@pytest.mark.parametrize("change", [{"model": "gpt-9"}, {"conversation": "conv_none"}])
async def test_what_is_refused_is_not_charged(change: dict[str, Any]) -> None:
    async with locked(a_key("ann", limits=Limits(tokens_per_day=10_000))) as door:
        assert (await door.call("ann", "POST", "/v1/responses", {**ASK, **change}))[0] == 404
        assert await left(door) == 10_000


async def test_tokens_a_minute() -> None:
    async with locked(a_key("ann", limits=Limits(tokens_per_minute=1000))) as door:
        status, said, headers = await door.call("ann", "POST", "/v1/responses", {**ASK, "max_output_tokens": 1000})
        assert status == 429
        assert "may take 1001 tokens, more than the 1000 a minute" in refused(said, headers, again=False)
        assert (await door.call("ann", "POST", "/v1/responses", {**ASK, "input": "word " * 700}))[0] == 200
        status, said, headers = await door.call("ann", "POST", "/v1/responses", {**ASK, "max_output_tokens": 600})
        assert status == 429
        assert "1000 tokens a minute" in refused(said, headers)


async def test_tokens_a_day_outlive_the_server() -> None:
    async with locked(a_key("ann", limits=Limits(tokens_per_day=1000)), quota=QuotaConfig(expected_output=300)) as door:
        body = {"model": MODEL, "input": "word " * 100}
        said = (await door.call("ann", "POST", "/v1/responses", body))[1]
        total = said["usage"]["total_tokens"]
        assert await left(door) == 1000 - total
        await door.ring.close()
        spent = await door.store.spent(day_of(said["created_at"]))
        assert spent == {KeyId("key_ann"): total}
        await door.ring.start()
        assert await left(door) == 1000 - total
        status, said, headers = await door.call("ann", "POST", "/v1/responses", {**ASK, "max_output_tokens": 990})
        assert status == 429
        message = refused(said, headers, again=int(headers["x-ratelimit-reset-tokens"].split("h")[0]) == 0)
        assert "midnight UTC" in message


async def test_chats_at_once() -> None:
    async with locked(a_key("ann", limits=Limits(parallel_chats=2)), voice=ENDLESS) as door:
        body = {"model": MODEL, "input": "Hello", "background": True}
        made = [(await door.call("ann", "POST", "/v1/responses", body))[1]["id"] for _ in range(2)]
        status, said, headers = await door.call("ann", "POST", "/v1/responses", body)
        assert status == 429
        assert "2 chats answered at once" in refused(said, headers)
        await door.call("ann", "POST", f"/v1/responses/{made[0]}/cancel")
        status, other, _ = await door.call("ann", "POST", "/v1/responses", body)
        assert status == 200
        for name in (made[1], other["id"]):
            await door.call("ann", "POST", f"/v1/responses/{name}/cancel")


async def test_keys_without_limits_of_their_own_have_the_servers() -> None:
    quota = QuotaConfig(requests_per_minute=1)
    async with locked(a_key("ann"), a_key("bob", limits=Limits(requests_per_minute=0)), quota=quota) as door:
        for name, statuses in (("ann", [200, 429]), ("bob", [200, 200])):
            assert [(await door.call(name, "GET", "/v1/models"))[0] for _ in range(2)] == statuses
    with pytest.raises(ValueError, match="tokens_per_day is -1"):
        QuotaConfig(tokens_per_day=-1)


async def test_the_official_client_waits_and_comes_through() -> None:
    """It reads Retry-After and tries again by itself."""
    limits = Limits(parallel_chats=1)
    async with locked(a_key("ann", limits=limits), voice=ENDLESS, api_key=bearer("ann")["Authorization"][7:]) as door:
        first = await door.house.client.responses.create(model=MODEL, input="Hi", background=True)
        patient = door.house.client.with_options(max_retries=3)
        second = asyncio.create_task(patient.responses.create(model=MODEL, input="Hi", max_output_tokens=3))
        await asyncio.sleep(0)
        await door.house.client.responses.cancel(first.id)
        assert (await second).status == "incomplete"


# Streams ---------------------------------------------------------------------------------------------------------


async def test_open_streams_are_bounded_by_user_and_in_all() -> None:
    limits = LimitsConfig(max_streams_per_user=2, max_streams=3)
    body = {"model": MODEL, "input": "Hello", "stream": True, "store": False}
    async with locked(a_key("ann"), a_key("bob"), limits=limits, voice=ENDLESS) as door:
        http, url = door.house.http, f"{door.house.url}/v1/responses"
        async with (
            http.post(url, json=body, headers=bearer("ann")) as one,
            http.post(url, json=body, headers=bearer("ann")) as two,
        ):
            assert (one.status, two.status) == (200, 200)
            status, said, headers = await door.call("ann", "POST", "/v1/responses", body)
            assert status == 429
            assert "2 streams open" in refused(said, headers)
            assert (await door.call("ann", "POST", "/v1/responses", ASK))[0] == 200
            async with http.post(url, json=body, headers=bearer("bob")) as three:
                assert three.status == 200
                status, said, headers = await door.call("bob", "POST", "/v1/responses", body)
                assert (status, said["error"]["code"]) == (429, "queue_full")
                assert headers["x-should-retry"] == "true"
                assert door.house.seats.taken == 3
        async with asyncio.timeout(5):
            while door.house.seats.taken:
                await asyncio.sleep(0.01)
        assert (await door.call("ann", "POST", "/v1/responses", {**body, "max_output_tokens": 2}))[0] == 200
