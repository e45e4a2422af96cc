"""From a request body to the one question the hub takes. Everything a body can get wrong by itself is found here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hubbub.core.errors import BadRequest, Unsupported
from hubbub.core.types import (
    AnswerId,
    AnswerKind,
    ChatId,
    Item,
    ItemId,
    ItemType,
    Json,
    Priority,
    Role,
    Sampling,
    UserId,
)
from hubbub.gateway.items import NEW, items_in
from hubbub.gateway.tools import flat_tools, nested_tools, response_format, tool_choice
from hubbub.gateway.wire import support
from hubbub.gateway.wire.base import checked_metadata, convert
from hubbub.gateway.wire.chat_completions import ChatMessageIn, CompletionCreate, ContentPart, ToolCallIn
from hubbub.gateway.wire.responses import ConversationRef, InputTokensCreate, ResponseCreate
from hubbub.runtime.hub import Ask

ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
    "user",
)


def ask_of_response(user: UserId, body: ResponseCreate) -> Ask:
    """Raises BadRequest or Unsupported, naming the field."""
    support.check(body, support.RESPONSES)
    _check_includes(body.include)
    _check_reasoning(body.reasoning)
    _check_obfuscation(body.stream_options.include_obfuscation if body.stream_options else None)
    if body.background and body.store is False:
        raise BadRequest("background needs store: leave store out or set it to true", param="background")
    verbosity, form = (body.text.verbosity, body.text.format) if body.text else (None, None)
    if verbosity not in (None, "medium"):
        raise Unsupported("text.verbosity can only be medium here; leave it out", param="text.verbosity")
    tools = flat_tools(body.tools)
    place = _place(body)
    return Ask(
        user=user,
        kind=AnswerKind.RESPONSE,
        items=place.items,
        model=place.model,
        adapter=body.adapter,
        instructions=body.instructions,
        sampling=Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_output_tokens,
            response_format=response_format(form, "text.format"),
            tools=tools,
            tool_choice=tool_choice(body.tool_choice, tools),
        ),
        chat=place.chat,
        after=_after(body, place),
        previous=place.previous,
        store=body.store is not False,
        background=bool(body.background),
        priority=_priority(body.service_tier),
        metadata=checked_metadata(body.metadata),
        params=_params(body, form),
    )


def _after(body: ResponseCreate, place: Ask) -> ItemId | None:
    """Raises BadRequest."""
    if body.after is None:
        return None
    if place.chat is None:
        raise BadRequest("after names an item of a conversation; send conversation, too", param="after")
    if not body.after and not place.items:
        raise BadRequest("input is empty, and there is nothing before the first item", param="input")
    return ItemId(body.after)


def _params(body: ResponseCreate, form: Mapping[str, Json] | None) -> dict[str, Json]:
    """What a response says of its request, without what is null."""
    params = {name: value for name in ECHOED if (value := getattr(body, name)) is not None}
    if form is not None:
        params["text"] = {"format": form}
    if body.service_tier == "flex":
        params["service_tier"] = "flex"
    return params


def ask_of_count(user: UserId, body: InputTokensCreate) -> Ask:
    """The question whose prompt is to be counted. Raises BadRequest or Unsupported."""
    support.check(body, support.INPUT_TOKENS)
    _check_reasoning(body.reasoning)
    place = _place(body)
    return replace(place, user=user, instructions=body.instructions, store=False)


def _place(body: ResponseCreate | InputTokensCreate) -> Ask:
    """What is asked, and after what."""
    chat = body.conversation.id if isinstance(body.conversation, ConversationRef) else body.conversation
    if chat and body.previous_response_id:
        raise BadRequest(
            "conversation and previous_response_id exclude each other; send one of them", param="previous_response_id"
        )
    items = items_in(body.input, "input")
    if not items and not chat and not body.previous_response_id:
        raise BadRequest("input is empty, and neither conversation nor previous_response_id is given", param="input")
    return Ask(
        user=UserId(""),
        kind=AnswerKind.RESPONSE,
        items=items,
        model=body.model or "",
        chat=ChatId(chat) if chat else None,
        previous=AnswerId(body.previous_response_id) if body.previous_response_id else None,
    )


def ask_of_completion(user: UserId, body: CompletionCreate) -> Ask:
    """Raises BadRequest or Unsupported, naming the field."""
    support.check(body, support.COMPLETIONS)
    _check_obfuscation(body.stream_options.include_obfuscation if body.stream_options else None)
    if body.stream_options is not None and not body.stream:
        raise BadRequest("stream_options needs stream to be true", param="stream_options")
    if not body.model:
        raise BadRequest("model is empty; GET /v1/models lists those there are", param="model")
    tools = nested_tools(body.tools)
    return Ask(
        user=user,
        kind=AnswerKind.COMPLETION,
        items=messages_in(body.messages),
        model=body.model,
        adapter=body.adapter,
        sampling=Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
            stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
            seed=body.seed,
            presence_penalty=body.presence_penalty,
            frequency_penalty=body.frequency_penalty,
            response_format=response_format(body.response_format, "response_format"),
            tools=tools,
            tool_choice=tool_choice(body.tool_choice, tools),
        ),
        store=bool(body.store),
        priority=_priority(body.service_tier),
        metadata=checked_metadata(body.metadata),
        params=_completion_params(body),
    )


def _completion_params(body: CompletionCreate) -> dict[str, Json]:
    """What later readers of a stored completion have to know of its request."""
    params: dict[str, Json] = {"service_tier": "flex"} if body.service_tier == "flex" else {}
    if body.stream_options is not None and body.stream_options.include_usage:
        params["include_usage"] = True
    return params


def messages_in(messages: Sequence[dict[str, Any]]) -> tuple[Item, ...]:
    """The messages of a chat completion as items: an assistant's calls come after its text.

    Raises BadRequest or Unsupported, naming the place as in ``messages[2].content[0].type``.
    """
    items: list[Item] = []
    for place, raw in enumerate(messages):
        items.extend(_message_in(raw, f"messages[{place}]"))
    return tuple(items)


def _message_in(raw: dict[str, Any], path: str) -> list[Item]:
    if raw.get("role") == "function":
        raise Unsupported(f"{path}: role 'function' is not supported here; use role 'tool'", param=f"{path}.role")
    message = convert(raw, ChatMessageIn, path)
    parts = _content(message.content, f"{path}.content")
    if message.role == "tool":
        if not message.tool_call_id:
            raise BadRequest(f"missing required parameter '{path}.tool_call_id'", param=f"{path}.tool_call_id")
        return [Item(NEW, ItemType.FUNCTION_CALL_OUTPUT, parts, call_id=message.tool_call_id)]
    if message.role != "assistant":
        if message.content is None:
            raise BadRequest(f"missing required parameter '{path}.content'", param=f"{path}.content")
        return [Item(NEW, ItemType.MESSAGE, parts, Role(message.role))]
    if message.refusal and not parts:
        parts = (message.refusal,)
    items = [Item(NEW, ItemType.MESSAGE, parts, Role.ASSISTANT)] if any(parts) or not message.tool_calls else []
    for place, given in enumerate(message.tool_calls or ()):
        call = convert(given, ToolCallIn, f"{path}.tool_calls[{place}]")
        arguments = (call.function.arguments,)
        items.append(Item(NEW, ItemType.FUNCTION_CALL, arguments, call_id=call.id, name=call.function.name))
    return items


def _content(content: str | Sequence[dict[str, Any]] | None, path: str) -> tuple[str, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (content,)
    parts = []
    for place, part in enumerate(content):
        here = f"{path}[{place}]"
        if part.get("type") not in ("text", "refusal"):
            raise Unsupported(
                f"{here}: content of type {part.get('type')!r} is not supported here; this server takes text",
                param=f"{here}.type",
            )
        read = convert(part, ContentPart, here)
        text = read.text if read.type == "text" else read.refusal
        if text is None:
            raise BadRequest(f"missing required parameter '{here}.{read.type}'", param=f"{here}.{read.type}")
        parts.append(text)
    return tuple(parts)


def _check_includes(include: Sequence[str] | None) -> None:
    for place, name in enumerate(include or ()):
        if name not in support.HARMLESS_INCLUDES:
            raise Unsupported(
                f"include[{place}]: {name!r} is not supported here; leave it out", param=f"include[{place}]"
            )


def _check_reasoning(reasoning: Mapping[str, Json] | None) -> None:
    for name, value in (reasoning or {}).items():
        if value is not None and not (name == "effort" and value == "none"):
            raise Unsupported(
                f"reasoning.{name} is not supported here; leave reasoning out or set its effort to none",
                param=f"reasoning.{name}",
            )


def _check_obfuscation(wanted: bool | None) -> None:
    if wanted:
        raise Unsupported(
            "stream_options.include_obfuscation can only be false here", param="stream_options.include_obfuscation"
        )


def _priority(tier: str | None) -> Priority:
    return Priority.BULK if tier == "flex" else Priority.CHAT
