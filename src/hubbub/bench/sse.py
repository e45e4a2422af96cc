"""Server-sent events, as cheaply as a load generator needs them: split on blank lines, decode only what is counted.

Two dialects: the Responses API names its events, chat completions do not. Both come out as a ``Seen``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of one answer, as the server reports them."""

    input: int = 0
    cached: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one event told. ``end`` is empty until the terminal event, then ``ok`` or an error code."""

    text: str = ""
    end: str = ""
    message: str = ""
    tokens: Tokens | None = None


class Dialect(Protocol):
    def read(self, event: bytes) -> Seen | None:
        """What this event tells, None where it tells nothing that is counted. Raises ValueError for broken JSON."""
        ...


class Lines:
    """Bytes as they come off the wire in, whole events out."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data
        if b"\r" in data:  # one at the very end may be half of a CRLF: the rest shows it again
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        return iter(events)


class _Detail(msgspec.Struct):
    cached_tokens: int = 0


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _ResponseUsage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Detail | None = None


class _Incomplete(msgspec.Struct):
    reason: str = ""


class _Response(msgspec.Struct):
    status: str = ""
    usage: _ResponseUsage | None = None
    error: _Error | None = None
    incomplete_details: _Incomplete | None = None


class _ResponseEvent(msgspec.Struct):
    type: str = ""
    delta: str = ""
    code: str | int | None = None
    message: str | None = None
    response: _Response | None = None


class ResponsesDialect:
    """Events of ``POST /v1/responses`` with ``stream``. An answer cut at its token limit is an ok one."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_ResponseEvent).decode

    def read(self, event: bytes) -> Seen | None:
        start = event.find(b"data:")
        if start < 0:
            return None
        head = event[:start]
        if head.startswith(b"event: response.output_text.delta"):
            return Seen(text=self._decode(event[start + 5 :]).delta)
        if head and not head.startswith(_TERMINAL):
            return None
        if event[start + 5 :].strip() == b"[DONE]":
            return None
        return self._end(self._decode(event[start + 5 :]))

    def _end(self, event: _ResponseEvent) -> Seen | None:
        if event.type == "response.output_text.delta":
            return Seen(text=event.delta)
        if event.type == "error":
            return Seen(end=str(event.code or "error"), message=event.message or "")
        if event.response is None or event.type not in _ENDS:
            return None
        response = event.response
        tokens = _response_tokens(response.usage)
        if response.status == "completed":
            return Seen(end="ok", tokens=tokens)
        if response.status == "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details else ""
            return Seen(end="ok" if reason == "max_output_tokens" else f"incomplete_{reason}", tokens=tokens)
        error = response.error or _Error()
        return Seen(end=str(error.code or response.status), message=error.message or "", tokens=tokens)


_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_TERMINAL = (*(f"event: {name}".encode() for name in _ENDS), b"event: error")


def _response_tokens(usage: _ResponseUsage | None) -> Tokens | None:
    if usage is None:
        return None
    cached = usage.input_tokens_details.cached_tokens if usage.input_tokens_details else 0
    return Tokens(usage.input_tokens, cached, usage.output_tokens)


class _ChatDelta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _ChatDelta = msgspec.field(default_factory=_ChatDelta)
    finish_reason: str | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Detail | None = None


class _ChatEvent(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _ChatUsage | None = None
    error: _Error | None = None


class ChatDialect:
    """Events of ``POST /v1/chat/completions`` with ``stream``. One answer each: make a new one a turn.

    The end is ``[DONE]`` after a finish reason; ``[DONE]`` without one is no end, the turn is then lost.
    """

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_ChatEvent).decode
        self._finish = ""

    def read(self, event: bytes) -> Seen | None:
        start = event.find(b"data:")
        if start < 0:
            return None
        data = event[start + 5 :].strip()
        if data == b"[DONE]":
            return Seen(end="ok") if self._finish else None
        chunk = self._decode(data)
        if chunk.error is not None:
            return Seen(end=str(chunk.error.code or "error"), message=chunk.error.message or "")
        text = ""
        if chunk.choices:
            choice = chunk.choices[0]
            text = choice.delta.content or ""
            self._finish = choice.finish_reason or self._finish
        return Seen(text=text, tokens=_chat_tokens(chunk.usage)) if text or chunk.usage else None


def _chat_tokens(usage: _ChatUsage | None) -> Tokens | None:
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    return Tokens(usage.prompt_tokens, cached, usage.completion_tokens)
