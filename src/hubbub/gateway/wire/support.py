"""Which request fields do what. One table a request; docs/api.md is made from it and requests are checked against it.

A field the official client can send but this server cannot honour is refused when its value would change the answer,
and taken silently only when it could not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from hubbub.core.errors import Unsupported
from hubbub.core.types import Json


class Support(StrEnum):
    FULL = "honoured"
    ECHO = "kept and echoed, changes nothing here"
    TAKEN = "accepted, changes nothing here"
    LIMITED = "limited"
    NONE = "refused unless null"


@dataclass(frozen=True, slots=True)
class Field:
    """``allowed``: the only values taken beside null, for LIMITED and NONE."""

    support: Support
    note: str = ""
    allowed: tuple[Json, ...] = ()


FULL = Field(Support.FULL)
NONE = Field(Support.NONE)


def only(*allowed: Json, note: str = "") -> Field:
    return Field(Support.LIMITED, note, allowed)


def echo(note: str = "") -> Field:
    return Field(Support.ECHO, note)


def taken(note: str = "") -> Field:
    return Field(Support.TAKEN, note)


HARMLESS_INCLUDES = frozenset({
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
})  # fmt: skip
"""What ``include`` may ask for: details of items that are never made here."""

ADAPTER = Field(Support.FULL, "beyond OpenAI: the LoRA adapter to speak with; empty: none; default: the chat's")

RESPONSES: Mapping[str, Field] = {
    "access_programs": NONE,
    "adapter": ADAPTER,
    "after": Field(
        Support.FULL,
        "beyond OpenAI: the item of the conversation to go on from, on any branch; empty: before the first; "
        "default: the last. With it, input may be empty",
    ),
    "background": Field(Support.FULL, "needs store"),
    "background_options": NONE,
    "context_management": NONE,
    "conversation": Field(Support.FULL, "not with previous_response_id"),
    "image": NONE,
    "include": Field(Support.LIMITED, "only values that concern items this server never makes; no logprobs"),
    "input": Field(Support.LIMITED, "text, messages of text parts, function_call, function_call_output"),
    "instructions": FULL,
    "max_output_tokens": FULL,
    "max_tool_calls": echo("counts hosted tools, of which there are none"),
    "metadata": FULL,
    "model": Field(
        Support.FULL, "or the name of an adapter; default: the conversation's model, else the server's first"
    ),
    "moderation": NONE,
    "parallel_tool_calls": echo(),
    "previous_response_id": FULL,
    "prompt": NONE,
    "prompt_cache_key": echo("prefixes are cached by content"),
    "prompt_cache_options": NONE,
    "prompt_cache_retention": echo(),
    "reasoning": Field(Support.LIMITED, "only null or effort none"),
    "safety_identifier": echo(),
    "service_tier": only("auto", "default", "flex", note="flex is served after all chats"),
    "store": FULL,
    "stream": FULL,
    "stream_options": Field(Support.LIMITED, "include_obfuscation only false"),
    "temperature": FULL,
    "text": Field(Support.LIMITED, "format text, json_object, json_schema; verbosity only medium"),
    "tool_choice": Field(Support.LIMITED, "none, auto, required or one function"),
    "tools": Field(Support.LIMITED, "functions only"),
    "top_logprobs": only(0),
    "top_p": FULL,
    "truncation": only("disabled"),
    "user": echo(),
}

COMPLETIONS: Mapping[str, Field] = {
    "messages": Field(Support.LIMITED, "text; tool calls of functions"),
    "model": Field(Support.FULL, "or the name of an adapter"),
    "adapter": ADAPTER,
    "audio": NONE,
    "frequency_penalty": FULL,
    "function_call": Field(Support.NONE, "use tool_choice"),
    "functions": Field(Support.NONE, "use tools"),
    "logit_bias": only({}),
    "logprobs": only(False),
    "max_completion_tokens": FULL,
    "max_tokens": FULL,
    "metadata": FULL,
    "modalities": only(["text"]),
    "moderation": NONE,
    "n": only(1),
    "parallel_tool_calls": taken(),
    "prediction": taken("a hint for speed; the text is the same"),
    "presence_penalty": FULL,
    "prompt_cache_key": taken("prefixes are cached by content"),
    "prompt_cache_options": NONE,
    "prompt_cache_retention": taken(),
    "reasoning_effort": only("none"),
    "response_format": FULL,
    "safety_identifier": taken(),
    "seed": FULL,
    "service_tier": only("auto", "default", "flex", note="flex is served after all chats"),
    "stop": Field(Support.FULL, "up to 4"),
    "store": FULL,
    "stream": FULL,
    "stream_options": Field(Support.LIMITED, "include_usage; include_obfuscation only false"),
    "temperature": FULL,
    "tool_choice": Field(Support.LIMITED, "none, auto, required or one function"),
    "tools": Field(Support.LIMITED, "functions only"),
    "top_logprobs": only(0),
    "top_p": FULL,
    "user": taken(),
    "verbosity": only("medium"),
    "web_search_options": NONE,
}

INPUT_TOKENS: Mapping[str, Field] = {
    "conversation": FULL,
    "input": RESPONSES["input"],
    "instructions": FULL,
    "model": FULL,
    "parallel_tool_calls": taken(),
    "personality": NONE,
    "previous_response_id": FULL,
    "reasoning": RESPONSES["reasoning"],
    "text": taken("a format is no part of the prompt"),
    "tool_choice": taken(),
    "tools": Field(Support.NONE, "what they add to the prompt is known to the engine alone"),
    "truncation": only("disabled"),
}


def check(request: msgspec.Struct, table: Mapping[str, Field]) -> None:
    """Raises Unsupported for the first field whose value this server cannot honour."""
    for name, field in table.items():
        value = getattr(request, name)
        if value is None or value is msgspec.UNSET:
            continue
        refuse = field.support is Support.NONE or (field.allowed and not _among(value, field.allowed))
        if refuse:
            way_out = f"; {field.note}" if field.note and field.support is Support.NONE else ""
            takes = " or ".join(msgspec.json.encode(v).decode() for v in field.allowed)
            hint = f"; it can only be {takes}" if takes else way_out or "; leave it out"
            raise Unsupported(f"{name!r} with this value is not supported here{hint}", param=name)


def _among(value: Json, allowed: tuple[Json, ...]) -> bool:
    # True == 1 in Python, not on the wire.
    return any(value == entry and isinstance(value, bool) == isinstance(entry, bool) for entry in allowed)


def table(fields: Mapping[str, Field]) -> str:
    """The table as Markdown."""
    lines = ["| field | support | note |", "| --- | --- | --- |"]
    for name, field in fields.items():
        values = ", ".join(f"`{msgspec.json.encode(v).decode()}`" for v in field.allowed)
        note = "; ".join(part for part in (values and f"only {values}", field.note) if part)
        lines.append(f"| `{name}` | {field.support.value} | {note} |")
    return "\n".join(lines) + "\n"
