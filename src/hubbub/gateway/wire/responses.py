"""Responses: what a client sends, what it gets."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from hubbub.gateway.wire.base import In, Metadata, Out, Positive, Temperature, TopP
from hubbub.gateway.wire.items import ItemOut, ItemsIn

ResponseErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ConversationRef(In, frozen=True, kw_only=True):
    id: str


class StreamOptions(In, frozen=True, kw_only=True):
    include_obfuscation: bool | None = None


class TextConfig(In, frozen=True, kw_only=True):
    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ResponseCreate(In, frozen=True, kw_only=True):
    """Body of POST /responses. ``wire.support.RESPONSES`` says what each field does."""

    access_programs: Any = None
    adapter: str | None = None
    after: str | None = None
    background: bool | None = None
    background_options: Any = None
    context_management: Any = None
    conversation: str | ConversationRef | None = None
    image: Any = None
    include: list[str] | None = None
    input: str | ItemsIn | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    max_tool_calls: int | None = None
    metadata: Metadata | None = None
    model: str | None = None
    moderation: Any = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: str | None = None
    reasoning: dict[str, Any] | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    text: TextConfig | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: int | None = None
    top_p: TopP | None = None
    truncation: str | None = None
    user: str | None = None


class InputTokensCreate(In, frozen=True, kw_only=True):
    """Body of POST /responses/input_tokens."""

    conversation: str | ConversationRef | None = None
    input: str | ItemsIn | None = None
    instructions: str | None = None
    model: str | None = None
    parallel_tool_calls: bool | None = None
    personality: Any = None
    previous_response_id: str | None = None
    reasoning: dict[str, Any] | None = None
    text: TextConfig | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    truncation: str | None = None


class InputTokens(Out, frozen=True, kw_only=True):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class Conversation(Out, frozen=True, kw_only=True):
    id: str


class ResponseError(Out, frozen=True, kw_only=True):
    """``code`` is one of the official client's; ``type`` is this server's own, finer one."""

    code: ResponseErrorCode
    message: str
    type: str


class IncompleteDetails(Out, frozen=True, kw_only=True):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputDetails(Out, frozen=True, kw_only=True):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(Out, frozen=True, kw_only=True):
    reasoning_tokens: int = 0


class ResponseUsage(Out, frozen=True, kw_only=True):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class ResponseOut(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["response"] = "response"
    created_at: float
    status: str
    background: bool
    completed_at: float | None
    conversation: Conversation | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: Metadata
    model: str
    output: list[ItemOut]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: str
    usage: ResponseUsage | None
    user: str | None
    adapter: str | UnsetType = UNSET


class ResponseDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: bool = True
