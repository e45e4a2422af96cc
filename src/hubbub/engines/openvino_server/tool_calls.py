"""Tool calls as Hermes, Qwen and most open models write them: ``<tool_call>{"name", "arguments"}</tool_call>``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hubbub.core.types import ToolDelta
from hubbub.engines.openvino_server.stops import overlap

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


_calls = msgspec.json.Decoder(_Call)


class ToolParser:
    """Text in, text and calls out. A call is said when it is whole; what looks like one and is not stays text."""

    __slots__ = ("_held", "_inside", "calls")

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self.calls = 0

    def feed(self, text: str) -> list[str | ToolDelta]:
        said: list[str | ToolDelta] = []
        self._held += text
        while True:
            mark = CLOSE if self._inside else OPEN
            before, found, after = self._held.partition(mark)
            if not found:
                break
            self._held = after
            said.append(self._call(before) if self._inside else before)
            self._inside = not self._inside
        if not self._inside:
            keep = len(self._held) - overlap(self._held, OPEN)
            said.append(self._held[:keep])
            self._held = self._held[keep:]
        return self._tidy(said)

    def end(self) -> list[str | ToolDelta]:
        """A model that ends its turn right after the call may leave the closing mark out."""
        held, self._held = self._held, ""
        if not self._inside:
            return self._tidy([held])
        self._inside = False
        call = self._call(held)
        return [OPEN + held if isinstance(call, str) else call]

    def _call(self, body: str) -> str | ToolDelta:
        try:
            call = _calls.decode(body.strip())
        except (msgspec.DecodeError, UnicodeEncodeError):
            return f"{OPEN}{body}{CLOSE}"
        delta = ToolDelta(self.calls, f"call_{secrets.token_hex(12)}", call.name, bytes(call.arguments).decode())
        self.calls += 1
        return delta

    def _tidy(self, said: list[str | ToolDelta]) -> list[str | ToolDelta]:
        """Line breaks between calls are layout, not text."""
        return [piece for piece in said if not isinstance(piece, str) or (piece.strip() if self.calls else piece)]


def call_grammar(tools: Sequence[Mapping[str, Any]]) -> str:
    """A structural tag (xgrammar's JSON) that makes the output one call of one of ``tools``."""
    tags = [
        {
            "type": "tag",
            "begin": f'{OPEN}\n{{"name": {json.dumps(tool["function"]["name"], ensure_ascii=False)}, "arguments": ',
            "content": {
                "type": "json_schema",
                "json_schema": tool["function"].get("parameters") or {"type": "object"},
            },
            "end": f"}}\n{CLOSE}",
        }
        for tool in tools
    ]
    return structural_tag(tags[0] if len(tags) == 1 else {"type": "or", "elements": tags})


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """A structural tag that makes the output one JSON value of ``schema``."""
    return structural_tag({"type": "json_schema", "json_schema": schema})


def structural_tag(form: Mapping[str, Any]) -> str:
    return json.dumps({"type": "structural_tag", "format": form}, ensure_ascii=False)
