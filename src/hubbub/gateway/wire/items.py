"""Items of responses and conversations: what a client may send, and what it gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from hubbub.gateway.wire.base import In, Out

Status = Literal["in_progress", "completed", "incomplete"]


class TextPart(In, frozen=True, kw_only=True):
    """``input_text`` and ``output_text`` are the same to a model. Annotations and logprobs of an echo are dropped."""

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class RefusalPart(In, frozen=True, kw_only=True):
    type: Literal["refusal"]
    refusal: str


class MessageIn(In, frozen=True, kw_only=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    type: Literal["message"] = "message"
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallIn(In, frozen=True, kw_only=True):
    type: Literal["function_call"]
    call_id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    arguments: str
    id: str | None = None
    status: Status | None = None
    caller: dict[str, Any] | None = None
    namespace: None = None


class FunctionCallOutputIn(In, frozen=True, kw_only=True):
    type: Literal["function_call_output"]
    call_id: Annotated[str, Meta(min_length=1)]
    output: str | list[dict[str, Any]]
    id: str | None = None
    status: Status | None = None
    caller: dict[str, Any] | None = None
    name: str | None = None
    namespace: None = None


ITEM_SCHEMA = {
    "anyOf": [{"$ref": f"#/components/schemas/{k.__name__}"} for k in (MessageIn, FunctionCallIn, FunctionCallOutputIn)]
}

ItemsIn = Annotated[list[dict[str, Any]], Meta(extra_json_schema={"items": ITEM_SCHEMA})]
"""Read item by item (``gateway.items``): which kind an item is hangs on a ``type`` that may be missing."""


class InputText(Out, frozen=True, kw_only=True, tag="input_text", tag_field="type"):
    text: str


class OutputText(Out, frozen=True, kw_only=True, tag="output_text", tag_field="type"):
    text: str
    annotations: list[Any] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)


class MessageOut(Out, frozen=True, kw_only=True, tag="message", tag_field="type"):
    id: str
    status: Status
    role: str
    content: list[OutputText | InputText]
    siblings: list[str] | UnsetType = UNSET


class FunctionCallOut(Out, frozen=True, kw_only=True, tag="function_call", tag_field="type"):
    id: str
    status: Status
    call_id: str
    name: str
    arguments: str
    siblings: list[str] | UnsetType = UNSET


class FunctionCallOutputOut(Out, frozen=True, kw_only=True, tag="function_call_output", tag_field="type"):
    id: str
    status: Status
    call_id: str
    output: str
    name: str | UnsetType = UNSET
    siblings: list[str] | UnsetType = UNSET


ItemOut = MessageOut | FunctionCallOut | FunctionCallOutputOut
