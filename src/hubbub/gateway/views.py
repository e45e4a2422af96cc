"""Answers as the wire shows them: response objects and chat completions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import UNSET

from hubbub.core.types import Answer, AnswerStatus, FinishReason, Item, ItemType, Role, Usage
from hubbub.gateway.errors import response_error
from hubbub.gateway.items import item_out
from hubbub.gateway.wire.chat_completions import (
    ChatMessageOut,
    Choice,
    CompletionOut,
    CompletionUsage,
    FunctionOut,
    PromptDetails,
    StoredMessage,
    StoredPart,
    ToolCallOut,
)
from hubbub.gateway.wire.responses import (
    Conversation,
    IncompleteDetails,
    InputDetails,
    ResponseOut,
    ResponseUsage,
)

FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CANCELLED: "stop",
}


def response_out(answer: Answer) -> ResponseOut:
    params, final = answer.params, answer.status.final
    return ResponseOut(
        id=answer.id,
        created_at=int(answer.created_at),
        status=answer.status.value,
        background=answer.background,
        completed_at=None if answer.completed_at is None else int(answer.completed_at),
        conversation=None if answer.chat is None else Conversation(id=answer.chat),
        error=response_error(answer),
        incomplete_details=IncompleteDetails() if answer.finish is FinishReason.LENGTH else None,
        instructions=params.get("instructions"),
        max_output_tokens=params.get("max_output_tokens"),
        max_tool_calls=params.get("max_tool_calls"),
        metadata=dict(answer.metadata),
        model=answer.model,
        output=[item_out(item) for item in answer.output_items],
        parallel_tool_calls=params.get("parallel_tool_calls", True),
        previous_response_id=answer.previous,
        prompt_cache_key=params.get("prompt_cache_key"),
        prompt_cache_retention=params.get("prompt_cache_retention"),
        reasoning={"effort": None, "summary": None},
        safety_identifier=params.get("safety_identifier"),
        service_tier=params.get("service_tier", "default"),
        store=answer.store,
        temperature=params.get("temperature"),
        text=params.get("text", {"format": {"type": "text"}}),
        tool_choice=params.get("tool_choice", "auto"),
        tools=[{"parameters": None, "strict": None, **tool} for tool in params.get("tools", ())],
        top_logprobs=0,
        top_p=params.get("top_p"),
        truncation="disabled",
        usage=_response_usage(answer.usage) if final else None,
        user=params.get("user"),
        adapter=params.get("adapter", UNSET),
    )


def _response_usage(usage: Usage) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=usage.input_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
    )


def completion_usage(usage: Usage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=usage.cached_tokens),
    )


def completion_out(answer: Answer) -> CompletionOut:
    texts = [item.text for item in answer.output_items if item.type is ItemType.MESSAGE]
    calls = [tool_call_out(item) for item in answer.output_items if item.type is ItemType.FUNCTION_CALL]
    message = ChatMessageOut(content="".join(texts) if texts else None, tool_calls=calls or UNSET)
    return CompletionOut(
        id=answer.id,
        created=int(answer.created_at),
        model=answer.model,
        choices=[Choice(message=message, finish_reason=FINISH[answer.finish or FinishReason.STOP])],
        usage=completion_usage(answer.usage),
        service_tier=answer.params.get("service_tier", "default"),
        metadata=dict(answer.metadata) if answer.store else UNSET,
        adapter=answer.params.get("adapter", UNSET),
    )


def tool_call_out(item: Item) -> ToolCallOut:
    return ToolCallOut(id=item.call_id, function=FunctionOut(name=item.name, arguments=item.text))


def stored_messages(items: Sequence[Item]) -> list[StoredMessage]:
    """The items as chat messages: calls join the assistant's text before them."""
    messages: list[StoredMessage] = []
    for item in items:
        if item.type is ItemType.FUNCTION_CALL:
            last = messages[-1] if messages else None
            if last is None or last.role != Role.ASSISTANT.value:
                last = StoredMessage(id=item.id, role=Role.ASSISTANT.value, content=None)
                messages.append(last)
            calls = [] if last.tool_calls is UNSET else list(last.tool_calls)
            messages[-1] = StoredMessage(
                id=last.id, role=last.role, content=last.content, tool_calls=[*calls, tool_call_out(item)]
            )
            continue
        output = item.type is ItemType.FUNCTION_CALL_OUTPUT
        role = Role.TOOL if output else item.role or Role.USER
        messages.append(
            StoredMessage(
                id=item.id,
                role=role.value,
                content=item.text,
                content_parts=[StoredPart(text=text) for text in item.parts] if len(item.parts) > 1 else None,
                tool_call_id=item.call_id if output else UNSET,
            )
        )
    return messages


def begun(answer: Answer, status: AnswerStatus) -> ResponseOut:
    """The response as it was when it had just begun, whatever became of it: the same in every replay."""
    fresh = replace(
        answer,
        status=status,
        output_items=(),
        finish=None,
        error_code="",
        error_message="",
        error_param=None,
        completed_at=None,
    )
    return response_out(fresh)
