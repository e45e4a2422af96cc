"""Small questions to a running engine: can it take work, what does it serve, how many tokens is this."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineState, Message
from hubbub.engines.remote_errors import REDIRECTS, error_of_response, error_of_transport, short
from hubbub.engines.wire_body import messages_body

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=4.0, sock_connect=3.0)

_capacity = msgspec.json.Decoder(EngineState)


def encode_capacity(state: EngineState) -> bytes:
    """The body of ``GET /capacity``: the fields of EngineState by their names; ``kv_used`` is a share from 0 to 1."""
    return msgspec.json.encode(state)


async def fetch_capacity(session: aiohttp.ClientSession, url: str) -> EngineState:
    """``GET url/capacity`` of an engine of ours. Raises EngineUnavailable."""
    status, body = await fetch(session, url + "/capacity")
    if status != 200:
        raise EngineUnavailable(f"{url}/capacity answered {status}: {short(body.decode('utf-8', 'replace'))}")
    return decode_capacity(url, body)


def decode_capacity(url: str, body: bytes) -> EngineState:
    """Raises EngineUnavailable for what no engine of ours says."""
    try:
        return _capacity.decode(body)
    except msgspec.DecodeError as fault:
        raise EngineUnavailable(f"{url}/capacity is not an engine's of this version ({fault})") from fault


async def fetch(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    """Status and body of a GET. Raises EngineUnavailable when nobody answers within PROBE_TIMEOUT.

    Of a redirect the body is where it leads to. It is not followed: our key is for the address that was configured.
    """
    try:
        async with session.get(url, timeout=PROBE_TIMEOUT, allow_redirects=False) as response:
            if response.status in REDIRECTS:
                return response.status, response.headers.get("Location", "").encode()
            return response.status, await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as fault:
        raise EngineUnavailable(error_of_transport(fault, url, begun=False).message, retry_after=1.0) from fault


class _Count(msgspec.Struct):
    count: int = 0
    tokens: list[int] | None = None


async def fetch_token_count(
    session: aiohttp.ClientSession, url: str, model: str, messages: Sequence[Message]
) -> int | None:
    """Tokens of the rendered prompt by ``POST url/tokenize`` (vLLM's form); None where that is not offered.

    Raises EngineUnavailable when nobody answers.
    """
    body: dict[str, object] = {"messages": messages_body(messages), "add_generation_prompt": True}
    if model:
        body["model"] = model
    try:
        async with session.post(
            url + "/tokenize",
            data=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
            timeout=PROBE_TIMEOUT,
        ) as response:
            data = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as fault:
        raise EngineUnavailable(error_of_transport(fault, url, begun=False).message, retry_after=1.0) from fault
    if response.status in (404, 405, 501):
        return None
    if response.status != 200:
        retry_after = response.headers.get("Retry-After")
        raise EngineUnavailable(error_of_response(response.status, retry_after, data).message)
    try:
        counted = msgspec.json.decode(data, type=_Count)
    except msgspec.DecodeError:
        return None
    # llama.cpp's /tokenize knows only ``content`` and answers messages with no tokens at all.
    return counted.count or len(counted.tokens or ()) or None
