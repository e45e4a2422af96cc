"""Function tools, their choice and the format of an answer: from both wire dialects to chat-completions JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from hubbub.core.errors import BadRequest, Unsupported
from hubbub.core.types import Json
from hubbub.gateway.wire.base import In, convert

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class Function(In, frozen=True, kw_only=True):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NestedTool(In, frozen=True, kw_only=True):
    """A tool of a chat completion."""

    type: Literal["function"]
    function: Function


class FlatTool(Function, frozen=True, kw_only=True):
    """A tool of a response. ``output_schema`` describes what the client's function returns; a model is not shown it."""

    type: Literal["function"]
    allowed_callers: list[Literal["direct"]] | None = None
    defer_loading: Literal[False] | None = None
    output_schema: dict[str, Any] | None = None


class JsonSchema(In, frozen=True, kw_only=True):
    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class FlatFormat(JsonSchema, frozen=True, kw_only=True):
    """``text.format`` of a response."""

    type: Literal["json_schema"]


class NestedFormat(In, frozen=True, kw_only=True):
    """``response_format`` of a chat completion."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


def _given(struct: JsonSchema | Function, *names: str) -> dict[str, Json]:
    return {name: value for name in names if (value := getattr(struct, name)) is not None}


def _schema_json(schema: JsonSchema) -> dict[str, Json]:
    fields = _given(schema, "name", "description", "schema", "strict")
    return {"type": "json_schema", "json_schema": fields}


def _function_json(function: Function) -> dict[str, Json]:
    return {"type": "function", "function": _given(function, "name", "description", "parameters", "strict")}


def _functions_only(tool: Mapping[str, Json], path: str) -> None:
    if tool.get("type") != "function":
        raise Unsupported(
            f"{path}: tools of type {tool.get('type')!r} are not supported here; define a function and run it yourself",
            param=f"{path}.type",
        )


Tools = tuple[Mapping[str, Json], ...]


def _tools(given: Sequence[Mapping[str, Json]] | None, read: Callable[[Mapping[str, Json], str], Function]) -> Tools:
    tools = []
    for place, tool in enumerate(given or ()):
        path = f"tools[{place}]"
        _functions_only(tool, path)
        tools.append(_function_json(read(tool, path)))
    return tuple(tools)


def nested_tools(given: Sequence[Mapping[str, Json]] | None) -> Tools:
    """Tools of a chat completion. Raises BadRequest or Unsupported, naming the tool."""
    return _tools(given, lambda tool, path: convert(tool, NestedTool, path).function)


def flat_tools(given: Sequence[Mapping[str, Json]] | None) -> Tools:
    """Tools of a response. Raises BadRequest or Unsupported, naming the tool."""
    return _tools(given, lambda tool, path: convert(tool, FlatTool, path))


def tool_choice(given: Json, tools: Tools) -> Json:
    """The choice in chat-completions JSON, from either dialect. Raises BadRequest or Unsupported."""
    if given is None or given in ("none", "auto"):
        return given
    if given != "required" and not (isinstance(given, dict) and given.get("type") == "function"):
        raise Unsupported(
            "tool_choice can be none, auto, required or one function here; leave it out", param="tool_choice"
        )
    if not tools:
        raise BadRequest("tool_choice asks for a tool, but tools is empty", param="tool_choice")
    if given == "required":
        return given
    name = given.get("name") or (given.get("function") or {}).get("name")
    known = [tool["function"]["name"] for tool in tools]
    if name not in known:
        raise BadRequest(f"tool_choice names {name!r}; tools has {', '.join(known)}", param="tool_choice")
    return {"type": "function", "function": {"name": name}}


def response_format(given: Mapping[str, Json] | None, path: str) -> Mapping[str, Json] | None:
    """The format in chat-completions JSON, from ``text.format`` or ``response_format``; None for plain text."""
    kind = None if given is None else given.get("type")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind == "json_schema":
        if "json_schema" in given:
            return _schema_json(convert(given, NestedFormat, path).json_schema)
        return _schema_json(convert(given, FlatFormat, path))
    raise Unsupported(f"{path}.type can be text, json_object or json_schema here", param=f"{path}.type")
