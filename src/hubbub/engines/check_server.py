"""A server under test: what it is asked, and what it said, as plainly as it said it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import Json
from hubbub.engines.chat_stream import SseEvents

STEP_S = 120.0
"""One request may take so long: a big model on a CPU reads a long prompt slowly."""


@dataclass(slots=True)
class Said:
    """One answer. ``order``: of its events, without repetition: text, tool, finish, usage, done."""

    status: int = 200
    pieces: list[str] = field(default_factory=list)
    tools: str = ""
    finish: str = ""
    usage: Mapping[str, Json] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    error: str = ""

    def note(self, what: str) -> None:
        if self.order[-1:] != [what]:
            self.order.append(what)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def cached(self) -> int | None:
        details = self.usage.get("prompt_tokens_details") or {}
        found = details.get("cached_tokens")
        return found if isinstance(found, int) else None

    @property
    def trouble(self) -> str:
        return f"it answered {self.status}: {self.error[:200]}" if self.status != 200 or self.error else ""


class Server:
    """One server under test. ``base`` ends before ``/v1``."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.session = session
        self.model = ""
        self.window = 0
        """Tokens, 0 where it does not say."""

    async def get(self, path: str) -> tuple[int, Any]:
        """Status, and the JSON or text. Raises EngineUnavailable."""
        async with self._asking(), self.session.get(self.base + path) as response:
            return response.status, json_of(await response.read())

    async def post(self, path: str, body: Mapping[str, Json]) -> tuple[int, Any]:
        """Status, and the JSON or text. Raises EngineUnavailable."""
        async with self._asking(), self.session.post(self.base + path, json=body) as response:
            return response.status, json_of(await response.read())

    async def say(self, words: str, *, stop_after: int = 0, **fields: Json) -> Said:
        """A streamed answer. ``stop_after``: hang up after so many pieces of text. Raises EngineUnavailable."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": words}],
            "max_tokens": 24,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **fields,
        }
        said, events = Said(), SseEvents()
        async with self._asking(), self.session.post(self.base + "/v1/chat/completions", json=body) as response:
            said.status = response.status
            if response.status != 200:
                said.error = (await response.read()).decode("utf-8", "replace")
                return said
            async for data in response.content.iter_any():
                for event in events.feed(data):
                    _hear(said, event)
                    if stop_after and len(said.pieces) >= stop_after:
                        return said
            for event in events.flush():
                _hear(said, event)
        return said

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(STEP_S):
                yield
        except TimeoutError:
            raise EngineUnavailable(f"{self.base} did not answer within {STEP_S:g} s") from None
        except (aiohttp.ClientError, OSError) as fault:
            raise EngineUnavailable(f"{self.base} does not answer: {fault}") from fault


def _hear(said: Said, event: bytes) -> None:
    """Take one event down."""
    if event.strip() == b"[DONE]":
        said.note("done")
        return
    chunk = json_of(event)
    if not isinstance(chunk, dict):
        said.error = f"an event is no JSON object: {event[:100]!r}"
        return
    if "error" in chunk:
        said.error = str(chunk["error"])
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if delta.get("content"):
            said.pieces.append(delta["content"])
            said.note("text")
        for call in delta.get("tool_calls") or ():
            said.tools += (call.get("function") or {}).get("arguments") or ""
            said.note("tool")
        if choice.get("finish_reason"):
            said.finish = choice["finish_reason"]
            said.note("finish")
    if chunk.get("usage") and not chunk.get("choices"):
        said.usage = chunk["usage"]
        said.note("usage")


def json_of(data: bytes) -> Any:
    """The JSON value, or the text of what is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")
