"""How one kind of server departs from the common OpenAI wire: what it is asked, and where it says what it can hold.

``Dialect`` itself is the common wire. An adapter of one kind overrides what its server does otherwise; it keeps no
state of its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineId, EngineState, Json, Message, Request
from hubbub.engines.probe import decode_capacity, fetch, fetch_token_count
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body

DEFAULT_WINDOW = 8192
"""Tokens; for an engine that does not say, where nothing is configured."""
DEFAULT_SEQUENCES = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server can hold, where it does not say so itself. ``models``: empty takes what it lists. Zero for
    ``context_window`` (tokens) takes what it lists for its first model; zero for ``kv_tokens`` means room for
    ``max_sequences`` full windows. ``adapters``: LoRA adapters it serves, each as a model of that name;
    empty takes what it lists."""

    models: tuple[str, ...] = ()
    context_window: int = 0
    max_sequences: int = DEFAULT_SEQUENCES
    kv_tokens: int = 0
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """One running server, and what is configured of it. ``base`` ends before ``/v1``."""

    engine: EngineId
    base: str
    session: aiohttp.ClientSession
    limits: Limits

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises EngineUnavailable when nobody answers."""
        return await fetch(self.session, self.base + path)


class _Model(msgspec.Struct):
    """``parent``: of a LoRA adapter, which vLLM and SGLang list as a model of its own."""

    id: str
    parent: str | None = None
    max_model_len: int | None = None
    context_length: int | None = None
    context_window: int | None = None

    @property
    def window(self) -> int:
        """As vLLM, OpenRouter and Groq tell it; 0 where it is not told."""
        return self.max_model_len or self.context_length or self.context_window or 0


class _Models(msgspec.Struct):
    data: list[_Model]


class Dialect:
    """The common wire: ``/v1/chat/completions``, ``/v1/models``, ``/health``; and ``/capacity`` of our own servers."""

    api = "/v1"
    """What stands between the site's base and ``/chat/completions`` or ``/models``."""

    def body(self, request: Request) -> dict[str, Json]:
        """The JSON of ``POST /v1/chat/completions``."""
        return chat_body(request)

    async def prepare(self, site: Site, request: Request, body: dict[str, Json]) -> None:
        """What the server is to do before this request is sent; ``body`` may change by it."""

    def called(self, model: str) -> str:
        """What the server calls this model."""
        return model

    def headers(self, request: Request) -> Mapping[str, str]:
        """Headers of this request, beside those of every request."""
        return {}

    def answered(self, request: Request, status: int, header: Callable[[str], str | None]) -> None:
        """The head of an answer has come; some servers tell their limits there."""

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        """Capacity and gauges now. ``known``: what this returned last since the engine started, None the first time.
        ``running`` may be left 0 where the server does not tell. Raises EngineUnavailable."""
        if known is None or "url" not in known.details:
            status, body = await site.get("/capacity")
            if status == 200:
                return decode_capacity(site.base, body)
            if status >= 500:
                raise EngineUnavailable(error_of_response(status, None, body).message)
        status = await self.healthy(site)
        if known is None or status == 404:
            return await self.listed(site)
        return known

    async def healthy(self, site: Site, path: str = "/health") -> int:
        """The status of the health route, below 500. Raises EngineUnavailable."""
        status, _ = await site.get(path)
        if status >= 500:
            raise EngineUnavailable(f"{site.base}{path} answered {status}", retry_after=1.0)
        return status

    async def listed(self, site: Site) -> EngineState:
        """The server's own list of models, with what is configured. Raises EngineUnavailable."""
        limits = site.limits
        status, body = await site.get(f"{self.api}/models")
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, body).message)
        try:
            listed = msgspec.json.decode(body, type=_Models).data
        except msgspec.DecodeError as fault:
            words = f"{site.base}{self.api}/models is not an OpenAI list of models ({fault})"
            raise EngineUnavailable(words) from fault
        adapters = limits.adapters or tuple(model.id for model in listed if model.parent is not None)
        names = limits.models or tuple(model.id for model in listed if model.id not in adapters)
        if not names:
            raise EngineUnavailable(f"engine {site.engine} at {site.base} serves no model")
        first = self.called(names[0])
        window = limits.context_window or next(
            (model.window for model in listed if model.id == first and model.window), DEFAULT_WINDOW
        )
        return EngineState(
            models=names,
            context_window=window,
            max_sequences=limits.max_sequences,
            kv_tokens=limits.kv_tokens or limits.max_sequences * window,
            adapters=adapters,
            details={"url": site.base},
        )

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        """Tokens of the rendered prompt, None where the server cannot say. Raises EngineUnavailable."""
        return await fetch_token_count(site.session, site.base, model, messages)
