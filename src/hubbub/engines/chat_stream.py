"""The SSE stream of a chat completion as chunks: bytes in, cut anywhere; chunks out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from hubbub.core.errors import EngineError, EngineLost, EngineUnavailable
from hubbub.core.types import Chunk, FinishReason, ToolDelta, Usage
from hubbub.engines.remote_errors import error_of_stream, short

DONE: Final = b"[DONE]"

# Words of vLLM, SGLang, llama.cpp, OpenAI ("stop", "length", "tool_calls", "function_call", "content_filter") and TGI.
_FINISH = {
    "stop": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "content_filter": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
}
_BROKEN_OFF = frozenset({"abort", "error"})
"""vLLM and SGLang say ``abort`` when they give a request up, vLLM ``error`` when a worker failed."""


class SseEvents:
    """Splits bytes into the data of SSE events. Lines may end in LF, CRLF or CR; comments and other fields drop out."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        if self._tail:
            data = self._tail + data
        elif _single(data):
            return [data[5:-2]]
        if b"\r" in data:
            # A CR at the very end may be half of a CRLF: wait for what follows.
            held = data.endswith(b"\r")
            data = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r" * held
        events = data.split(b"\n\n")
        self._tail = events.pop()
        return [payload for event in events if (payload := _payload(event))]

    def flush(self) -> list[bytes]:
        """What is left when the stream ends without a last empty line."""
        tail, self._tail = self._tail, b""
        payload = _payload(tail.strip(b"\r"))
        return [payload] if payload else []


def _single(data: bytes) -> bool:
    """Whether this is one whole event of one line, as most reads are."""
    whole = data.startswith(b"data:") and data.endswith(b"\n\n")
    return whole and data.find(b"\n") == len(data) - 2 and b"\r" not in data


def _payload(event: bytes) -> bytes:
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:]
    lines = [line.removeprefix(b"\xef\xbb\xbf") for line in event.split(b"\n")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None

    def counted(self) -> Usage:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        return Usage(self.prompt_tokens, self.completion_tokens or 0, cached or 0)


class _Event(msgspec.Struct, gc=False):
    """``error_code`` and ``text``: FastChat's way to say what went wrong."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None
    error_code: object = None
    text: object = None


_event = msgspec.json.Decoder(_Event)


class ChatStream:
    """One stream's chunks. ``done`` once its last word was heard.

    The finish reason comes before the usage, so the last chunk is made only at ``[DONE]`` or the end of the stream. A
    chunk with text or part of a call counts as one token; the usage at the end says how many it really were. Reasoning
    (``reasoning_content``; vLLM since 0.12: ``reasoning``) counts, and is not passed on.
    """

    def __init__(self) -> None:
        self.done = False
        self._events = SseEvents()
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._calls = 0

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Raises, after the chunks before it, what the engine says went wrong; EngineError for what cannot be read."""
        return self._chunks(self._events.feed(data))

    def end(self) -> Iterator[Chunk]:
        """The connection has ended. Raises EngineLost if the stream had not."""
        yield from self._chunks(self._events.flush())
        if not self.done:
            if self._finish is None:
                raise EngineLost("the engine ended the stream in the middle of the answer")
            yield self._last()

    def _chunks(self, payloads: list[bytes]) -> Iterator[Chunk]:
        for payload in payloads:
            try:
                event = _event.decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError) as fault:
                if payload.strip() == DONE:
                    if self._finish is None:
                        raise EngineLost("the engine said [DONE] without a finish reason") from None
                    yield self._last()
                    return
                words = short(payload[:100].decode("utf-8", "replace"))
                raise EngineError(f"the engine said something that cannot be read: {words!r} ({fault})") from fault
            if event.error is not None or event.error_code:
                raise error_of_stream(event.error or {"code": event.error_code, "message": str(event.text)})
            if event.usage is not None:
                self._usage = event.usage.counted()
            if event.choices:
                delta, finish = event.choices[0].delta, event.choices[0].finish_reason
                if delta is not None:
                    if delta.content:
                        yield Chunk(delta.content, 1)
                    elif delta.reasoning_content or delta.reasoning:
                        yield Chunk(tokens=1)
                    for call in delta.tool_calls or ():
                        yield Chunk(tokens=1, tool=self._tool(call))
                if finish is not None:
                    if finish in _BROKEN_OFF:
                        raise EngineUnavailable(f"the engine broke the answer off ({finish})")
                    self._finish = _FINISH.get(finish, FinishReason.STOP)

    def _tool(self, call: _ToolCall) -> ToolDelta:
        function = call.function or _Function()
        if call.index is not None:
            index = call.index
        else:
            # Servers that send calls whole leave the index out: each id is a new call.
            self._calls += call.id is not None
            index = max(0, self._calls - 1)
        return ToolDelta(index, call.id or "", function.name or "", function.arguments or "")

    def _last(self) -> Chunk:
        self.done = True
        return Chunk(finish=self._finish, usage=self._usage)
