"""The chunks of a streamed chat completion. What never changes of a chunk is encoded once a stream."""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring as quoted

import msgspec

from hubbub.core.types import Answer, AnswerKind, Delta, FinishReason, ToolDelta
from hubbub.gateway.errors import error_of, event_of
from hubbub.gateway.views import FINISH, completion_usage

DONE = b"data: [DONE]\n\n"


class CompletionChunks:
    """Feed it the deltas in order, in any grouping. ``usage``: whether the client asked for the usage chunk.

    The chunks of a stored completion carry their number, so that a client can go on after the last it saw; those up to
    ``after`` are left out.
    """

    def __init__(self, answer: Answer, usage: bool, after: int = -1) -> None:
        self._usage = usage
        self._numbered = answer.store and answer.kind is AnswerKind.COMPLETION
        self._number = 0
        self._after = after
        fixed = msgspec.json.encode({
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": int(answer.created_at),
            "model": answer.model,
            "service_tier": answer.params.get("service_tier", "default"),
            "system_fingerprint": None,
            **({"adapter": adapter} if (adapter := answer.params.get("adapter")) else {}),
        }).decode()[:-1]  # fmt: skip
        self._head = f"data: {fixed}"
        self._choice = f'{self._head},"choices":[{{"index":0,"delta":'
        no_usage = ',"usage":null' if usage else ""
        self._more = f',"logprobs":null,"finish_reason":null}}]{no_usage}}}\n\n'
        self._text = f'{self._choice}{{"content":'
        self._text_end = f"}}{self._more}"
        self._no_usage = no_usage
        self._calls: dict[int, int] = {}

    def opening(self) -> bytes:
        return self._shown([f'{self._choice}{{"role":"assistant","content":"","refusal":null}}{self._more}'])

    def feed(self, answer: Answer, deltas: Sequence[Delta]) -> bytes:
        """Chunks of new deltas."""
        head, tail = self._text, self._text_end
        return self._shown([
            f"{head}{quoted(delta.text)}{tail}" if delta.tool is None else self._tool(delta.tool) for delta in deltas
        ])  # fmt: skip

    def closing(self, answer: Answer) -> bytes:
        """The finish, the usage and the end; or the error. ``answer`` is in its final state."""
        error = error_of(answer)
        if error is not None:
            return self._shown([event_of(error).decode()])
        finish = FINISH[answer.finish or FinishReason.STOP]
        last = [f'{self._choice}{{}},"logprobs":null,"finish_reason":"{finish}"}}]{self._no_usage}}}\n\n']
        if self._usage:
            usage = msgspec.json.encode(completion_usage(answer.usage)).decode()
            last.append(f'{self._head},"choices":[],"usage":{usage}}}\n\n')
        return self._shown(last) + DONE

    def _shown(self, chunks: list[str]) -> bytes:
        if self._numbered:
            first = self._number
            self._number += len(chunks)
            chunks = [
                f'{chunk[:-3]},"sequence_number":{number}}}\n\n'
                for number, chunk in enumerate(chunks, start=first)
                if number > self._after
            ]
        return "".join(chunks).encode("utf-8", "replace")

    def _tool(self, piece: ToolDelta) -> str:
        call: dict[str, object] = {"function": {"arguments": piece.arguments}}
        if piece.index not in self._calls:
            self._calls[piece.index] = len(self._calls)
            call = {
                "id": piece.call_id,
                "type": "function",
                "function": {"name": piece.name, "arguments": piece.arguments},
            }
        delta = {"tool_calls": [{"index": self._calls[piece.index], **call}]}
        return f"{self._choice}{msgspec.json.encode(delta).decode()}{self._more}"
