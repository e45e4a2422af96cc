"""The client of an OpenAI-compatible endpoint: one whole chat completion a call, its faults sorted by what helps.

A record's share of the client's CPU decides how fast a gigabyte can be written: httpx and the openai package cost 10 to
50 times as much a request as aiohttp (measured at 64 to 1,024 in flight), and aiohttp twice as much as ``http_stream``,
which asks here. aiohttp looks who is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import aiohttp
import msgspec

from hubbub.core.errors import ConfigError, HubbubError
from hubbub.core.types import Message, Role, Sampling
from hubbub.http_stream import KEEPALIVE_S, HttpPool

PATH = "/v1/chat/completions"
ANSWER_BYTES = 64 << 20
"""Of one answer; what is beyond is cut, and then no JSON."""
MOST_TOKENS = 2**32
"""Of one answer, or prompt."""
CONNECT_S = 5.0
PROBE_S = 10.0
MESSAGE_CHARS = 300


class FaultKind(StrEnum):
    BUSY = "busy"
    """429, or 503 of a server that lives: fewer requests at once, and the same again later."""
    AWAY = "away"
    """Nobody answers, or the connection broke: the same again later."""
    TIMEOUT = "timeout"
    FAILED = "failed"
    """The engine failed on this request (500, an answer that cannot be read): the same again a few times."""
    REFUSED = "refused"
    """The request itself is at fault (400, 413, 422): the same will not help."""
    FATAL = "fatal"
    """No request can succeed: the key, the address or the model is wrong."""


class RequestFault(HubbubError):
    """A request to the endpoint failed."""

    code = "endpoint_fault"
    http_status = 502

    def __init__(self, kind: FaultKind, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """``url`` may end in ``/v1``. ``timeout_s``: for one answer as a whole. ``aliases``: what the model may call itself
    beside the name it was asked by."""

    url: str
    api_key: str = field(default="", repr=False)
    timeout_s: float = 600.0
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"--engine {self.url!r} must begin with http:// or https://", param="engine")
        if not self.api_key.isascii() or any(c.isspace() for c in self.api_key):
            raise ConfigError("the API key has characters that no HTTP header can carry", param="api_key")

    @property
    def base(self) -> str:
        return self.url.rstrip("/").removesuffix("/v1")


@dataclass(frozen=True, slots=True)
class Answered:
    """``model``: as the endpoint names it."""

    text: str
    tokens: int
    prompt_tokens: int
    finish: str
    model: str


@dataclass(frozen=True, slots=True)
class Served:
    """What the endpoint said of itself. ``hubbub``: it is one of ours, so bulk can ask to wait for chats."""

    model: str
    models: tuple[str, ...]
    hubbub: bool = False
    version: str = ""
    engine: str = ""
    max_sequences: int = 0
    health: Mapping[str, Any] = field(default_factory=dict)


class Answering(Protocol):
    """Who answers a run. ``served`` is known once it was opened."""

    served: Served

    @property
    def name(self) -> str:
        """How people know it."""
        ...

    async def ask(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Answered:
        """One answer. Raises RequestFault."""
        ...

    async def get(self, path: str) -> bytes | None:
        """The body of a page of the server, or None where it does not have it."""
        ...


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


_BROKEN = ("cancelled", "abort", "error", "failed")
"""Ends that are none: what vLLM (``abort``), Hubbub and others say of an answer that was cut in the middle."""
_answer = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode
_ROLES = {role: "system" if role is Role.DEVELOPER else role.value for role in Role}


def body_of(model: str, messages: Sequence[Message], sampling: Sampling, *, flex: bool) -> bytes:
    """The JSON body. What is None is left to the engine's defaults for the model."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": [{"role": _ROLES[message.role], "content": message.text} for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "response_format": sampling.response_format,
        "service_tier": "flex" if flex else None,
    }
    return _encode({name: value for name, value in fields.items() if value is not None})


class Endpoint:
    """Calls one endpoint over kept connections. ``served`` is known once it was opened."""

    def __init__(self, config: EndpointConfig, session: aiohttp.ClientSession, served: Served) -> None:
        self.config = config
        self.served = served
        self._session = session
        self._pool = HttpPool(config.base, dict(session.headers))

    @property
    def name(self) -> str:
        return self.config.base

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, config: EndpointConfig, model: str = "") -> AsyncIterator[Endpoint]:
        """Look who is there. Raises RequestFault (AWAY, FATAL): nobody, or ``model`` is not served there."""
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if config.api_key:
            headers["Authorization"] = f"Bearer {config.api_key}"
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            headers=headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        try:
            endpoint = cls(config, session, await _look(config, session, model))
            try:
                yield endpoint
            finally:
                endpoint._pool.close()
        finally:
            await session.close()

    async def ask(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Answered:
        """One answer. Raises RequestFault."""
        name = model or self.served.model
        body = body_of(name, messages, sampling, flex=self.served.hubbub)
        try:
            async with (
                asyncio.timeout(self.config.timeout_s),
                self._pool.post(PATH, body, {}) as exchange,
            ):
                said = await exchange.text(ANSWER_BYTES)
                status, wait = exchange.status, exchange.header("Retry-After")
        except TimeoutError as fault:
            raise RequestFault(FaultKind.TIMEOUT, f"no answer within {self.config.timeout_s:g} s") from fault
        except OSError as fault:
            raise self._away(fault) from fault
        if status != 200:
            raise fault_of(status, wait, said, self.config.api_key)
        return answered_of(said, name, self.config.aliases)

    async def get(self, path: str) -> bytes | None:
        """The body of a page of the server, or None where it does not have it."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(PROBE_S), self._session.get(self.config.base + path) as response:
                return await response.read() if response.status == 200 else None
        return None

    def _away(self, fault: BaseException) -> RequestFault:
        return RequestFault(FaultKind.AWAY, f"{self.config.base} does not answer: {_reason(fault)}")


def answered_of(said: bytes, asked: str, aliases: Sequence[str] = ()) -> Answered:
    """The answer in a chat completion's JSON. ``asked``: the model that was. Raises RequestFault."""
    try:
        answer = _answer.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise RequestFault(FaultKind.FAILED, f"the endpoint's answer is no chat completion ({fault})") from fault
    if not answer.choices:
        raise RequestFault(FaultKind.FAILED, "the endpoint's answer has no choice in it")
    if answer.model and not _is(answer.model, asked, aliases):
        raise RequestFault(
            FaultKind.FATAL,
            f"model: {asked!r} was asked for, and {answer.model!r} answered. Ask for the model that is there, "
            f"or say with --same-model {answer.model} that it is the same",
        )
    choice, usage = answer.choices[0], answer.usage or _Usage()
    if choice.finish_reason in _BROKEN:
        raise RequestFault(FaultKind.AWAY, f"the endpoint broke an answer off ({choice.finish_reason})")
    if choice.finish_reason == "content_filter":
        raise RequestFault(FaultKind.REFUSED, "the endpoint's content filter stopped the answer")
    return Answered(
        choice.message.content or "",
        _counted(usage.completion_tokens),
        _counted(usage.prompt_tokens),
        choice.finish_reason or "stop",
        answer.model or asked,
    )


def _counted(tokens: int | None) -> int:
    """As an endpoint says, within what can be: counts are added up."""
    return min(max(tokens or 0, 0), MOST_TOKENS)


def _is(said: str, asked: str, aliases: Sequence[str]) -> bool:
    """Hosted models answer by a dated name (``gpt-4o-2024-08-06``), llama.cpp by its file's."""
    return said == asked or said.startswith(asked + "-20") or said in aliases


async def _look(config: EndpointConfig, session: aiohttp.ClientSession, model: str) -> Served:
    async def fetch(path: str) -> tuple[int, bytes]:
        async with asyncio.timeout(PROBE_S), session.get(config.base + path, allow_redirects=False) as response:
            return response.status, await response.read()

    try:
        status, said = await fetch("/v1/models")
        if status != 200:
            raise fault_of(status, None, said, config.api_key)
        _, health = await fetch("/health")
    except TimeoutError as fault:
        raise RequestFault(FaultKind.AWAY, f"{config.base} does not answer within {PROBE_S:g} s") from fault
    except (aiohttp.ClientError, OSError) as fault:
        raise RequestFault(FaultKind.AWAY, f"{config.base} does not answer: {_reason(fault)}") from fault
    names = _names(said)
    if not names:
        raise RequestFault(FaultKind.FATAL, f"{config.base}/v1/models lists no model")
    if model and model not in names:
        there = ", ".join(names[:5])
        raise RequestFault(FaultKind.FATAL, f"model: {model!r} is not served at {config.base}; there is {there}")
    return _served(model or names[0], names, health)


def _names(said: bytes) -> tuple[str, ...]:
    listed = _json(said)
    rows = listed.get("data") if isinstance(listed, dict) else None
    return tuple(str(row["id"]) for row in rows or () if isinstance(row, dict) and row.get("id"))


def _served(model: str, names: tuple[str, ...], said: bytes) -> Served:
    """What /health tells, where it is Hubbub's."""
    health = _json(said)
    if not isinstance(health, dict) or not {"ready", "version"} <= health.keys():
        return Served(model, names)
    engines = [engine for engine in health.get("engines") or () if isinstance(engine, dict)]
    states = [engine["state"] for engine in engines if isinstance(engine.get("state"), dict)]
    return Served(
        model,
        names,
        hubbub=True,
        version=str(health["version"]),
        engine=", ".join(str(engine.get("id")) for engine in engines),
        max_sequences=sum(int(state.get("max_sequences") or 0) for state in states),
        health=health,
    )


def fault_of(status: int, retry_after: str | None, said: bytes, api_key: str = "") -> RequestFault:
    """An answer other than 200, by what helps against it."""
    payload = _json(said)
    if isinstance(payload, dict):
        payload = payload.get("error") or payload.get("detail") or payload
    if isinstance(payload, dict):
        payload = payload.get("message") or payload
    text = payload if isinstance(payload, str) else str(payload or "")
    line = next((line.strip() for line in text.splitlines() if line.strip()), "") or f"the endpoint answered {status}"
    if api_key:
        line = line.replace(api_key, "***")
    line = line[:MESSAGE_CHARS]
    wait = _seconds(retry_after)
    if status in (429, 503, 529):
        return RequestFault(FaultKind.BUSY, line, retry_after=wait)
    if status in (502, 504):
        return RequestFault(FaultKind.AWAY, line, retry_after=wait)
    if status in (401, 403):
        return RequestFault(
            FaultKind.FATAL, f"the endpoint refuses the API key (HUBBUB_ENGINE_API_KEY, --api-key-file): {line}"
        )
    if status == 404:
        return RequestFault(FaultKind.FATAL, f"the endpoint has no such model or address: {line}")
    if status == 408:
        return RequestFault(FaultKind.TIMEOUT, line)
    return RequestFault(FaultKind.FAILED if status >= 500 else FaultKind.REFUSED, line)


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in either of its two forms."""
    if not header:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return None


def _json(said: bytes) -> Any:
    try:
        return msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return said.decode("utf-8", "replace")


def _reason(fault: BaseException) -> str:
    if isinstance(fault, aiohttp.InvalidURL):
        return "that is no address"
    if isinstance(fault, aiohttp.ClientConnectorError):
        return f"cannot connect ({fault.os_error.strerror or fault.os_error})"
    return str(fault) or type(fault).__name__
