"""What the published schemas say beyond what the wire models check by type: what a handler checks by itself.

A client that goes by the document should not be refused. What cannot be said in a schema without making it unreadable
(fields that exclude each other, a tool that must be among the tools) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hubbub.core.types import Json
from hubbub.gateway.tools import FlatTool, NestedTool
from hubbub.gateway.wire import support
from hubbub.gateway.wire.base import METADATA_KEY, METADATA_PAIRS, METADATA_VALUE
from hubbub.gateway.wire.chat_completions import ChatMessageIn, ContentPart, ToolCallIn
from hubbub.gateway.wire.items import FunctionCallIn, FunctionCallOutputIn, MessageIn, RefusalPart, TextPart
from hubbub.gateway.wire.live import LiveFrame, LiveSnapshot

ITEMS = (MessageIn, FunctionCallIn, FunctionCallOutputIn)
MORE: tuple[Any, ...] = (
    *ITEMS,
    TextPart,
    RefusalPart,
    ChatMessageIn,
    ContentPart,
    ToolCallIn,
    FlatTool,
    NestedTool,
    LiveSnapshot,
    LiveFrame,
)
"""Models that no route names: handlers read them one by one, and streams are made of them."""

NULL: Json = {"type": "null"}
METADATA: Json = {
    "type": "object",
    "maxProperties": METADATA_PAIRS,
    "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY},
    "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE},
}
TABLES = {
    "ResponseCreate": support.RESPONSES,
    "CompletionCreate": support.COMPLETIONS,
    "InputTokensCreate": support.INPUT_TOKENS,
}


def _ref(kind: type) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _list(*kinds: Json, **more: int) -> Json:
    return {"type": "array", "items": kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)}, **more}


def _or_null(*kinds: Json) -> Json:
    return {"anyOf": [*kinds, NULL], "default": None}


_TEXT: Json = {"type": "string"}
_ITEMS = [_ref(kind) for kind in ITEMS]
_INPUT = _or_null(_TEXT, _list(*_ITEMS))
_INCLUDE = _or_null(_list({"enum": sorted(support.HARMLESS_INCLUDES)}))
_EFFORT = _or_null({"type": "object", "properties": {"effort": {"enum": ["none", None]}}, "additionalProperties": NULL})

OVERLAY: Mapping[str, Mapping[str, Json]] = {
    "ResponseCreate": {
        "input": _INPUT,
        "include": _INCLUDE,
        "reasoning": _EFFORT,
        "tools": _or_null(_list(_ref(FlatTool))),
    },
    "InputTokensCreate": {"input": _INPUT, "reasoning": _EFFORT},
    "CompletionCreate": {
        "messages": _list(_ref(ChatMessageIn), minItems=1),
        "tools": _or_null(_list(_ref(NestedTool))),
    },
    "ChatCreate": {"items": _or_null(_list(*_ITEMS, maxItems=20))},
    "ConversationCreate": {"items": _or_null(_list(*_ITEMS, maxItems=20))},
    "ItemsCreate": {"items": _list(*_ITEMS, maxItems=20)},
    "MessageIn": {"content": {"anyOf": [_TEXT, _list(_ref(TextPart), _ref(RefusalPart))]}},
    "FunctionCallOutputIn": {"output": {"anyOf": [_TEXT, _list(_ref(TextPart), _ref(RefusalPart))]}},
    "ChatMessageIn": {
        "content": _or_null(_TEXT, _list(_ref(ContentPart))),
        "tool_calls": _or_null(_list(_ref(ToolCallIn))),
    },
}


TOGETHER = ("expires_after[anchor]", "expires_after[seconds]")
"""Parts of an upload that need each other."""


def refine(components: dict[str, Json]) -> None:
    """Make the schemas as narrow as the handlers are."""
    components["FileForm"]["dependentRequired"] = {TOGETHER[0]: [TOGETHER[1]], TOGETHER[1]: [TOGETHER[0]]}
    for name, fields in (*_of_tables(), *OVERLAY.items()):
        for field, schema in fields.items():
            components[name]["properties"][field] = schema
    for schema in components.values():
        if schema.get("additionalProperties") is False and "metadata" in schema.get("properties", {}):
            may_lack = "metadata" not in schema.get("required", ())
            schema["properties"]["metadata"] = _or_null(METADATA) if may_lack else {"anyOf": [METADATA, NULL]}


def _of_tables() -> Iterator[tuple[str, dict[str, Json]]]:
    for name, table in TABLES.items():
        fields: dict[str, Json] = {}
        for field, told in table.items():
            if told.allowed:
                fields[field] = {"enum": [*told.allowed, None], "default": None}
            elif told.support is support.Support.NONE:
                fields[field] = {**NULL, "default": None}
        yield name, fields
