"""Chat completions: what a client sends, what it gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from hubbub.gateway.wire.base import In, Metadata, Out, Positive, Temperature, TopP

Penalty = Annotated[float, Meta(ge=-2, le=2)]
StopText = Annotated[str, Meta(min_length=1)]


class StreamOptions(In, frozen=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CompletionCreate(In, frozen=True, kw_only=True):
    """Body of POST /chat/completions. ``wire.support.COMPLETIONS`` says what each field does."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    model: str
    adapter: str | None = None
    audio: Any = None
    frequency_penalty: Penalty | None = None
    function_call: Any = None
    functions: Any = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Positive | None = None
    max_tokens: Positive | None = None
    metadata: Metadata | None = None
    modalities: list[str] | None = None
    moderation: Any = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    prediction: Any = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    safety_identifier: str | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    service_tier: str | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: int | None = None
    top_p: TopP | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: Any = None


class CompletionUpdate(In, frozen=True, kw_only=True):
    metadata: Metadata | None


class ContentPart(In, frozen=True, kw_only=True):
    type: Literal["text", "refusal"]
    text: str | None = None
    refusal: str | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class CalledFunction(In, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class ToolCallIn(In, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1)]
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class ChatMessageIn(In, frozen=True, kw_only=True):
    """``name`` tells participants apart and is not shown to the model. Fields of a returned message may come back."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class FunctionOut(Out, frozen=True, kw_only=True):
    name: str
    arguments: str


class ToolCallOut(Out, frozen=True, kw_only=True):
    id: str
    function: FunctionOut
    type: Literal["function"] = "function"


class ChatMessageOut(Out, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[Any] = field(default_factory=list)
    tool_calls: list[ToolCallOut] | UnsetType = UNSET


class Choice(Out, frozen=True, kw_only=True):
    index: int = 0
    message: ChatMessageOut
    logprobs: None = None
    finish_reason: str


class PromptDetails(Out, frozen=True, kw_only=True):
    cached_tokens: int
    audio_tokens: int = 0


class CompletionDetails(Out, frozen=True, kw_only=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class CompletionUsage(Out, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails = CompletionDetails()


class CompletionOut(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    service_tier: str = "default"
    system_fingerprint: None = None
    metadata: Metadata | UnsetType = UNSET
    adapter: str | UnsetType = UNSET


class CompletionDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: bool = True


class StoredPart(Out, frozen=True, kw_only=True):
    text: str
    type: Literal["text"] = "text"


class StoredMessage(Out, frozen=True, kw_only=True):
    """A message of a stored completion's input."""

    id: str
    role: str
    content: str | None
    name: str | None = None
    content_parts: list[StoredPart] | None = None
    tool_calls: list[ToolCallOut] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
