"""A request as the JSON body of ``POST /v1/chat/completions``, the one wire every engine speaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hubbub.core.types import Json, Message, Request, Role, Sampling, UserId

# Chat templates of open models know no developer; it is what OpenAI calls a system prompt since its o1.
_ROLES = {Role.DEVELOPER: "system"}


def chat_body(request: Request) -> dict[str, Json]:
    """The streaming body. Values that are None are left out: the engine's model defaults hold. A LoRA adapter is named
    in place of its model, as vLLM and SGLang have it.

    ``partial`` goes last as an assistant message that the engine is told to go on with (vLLM's and SGLang's
    ``continue_final_message``); ``max_tokens`` then bounds what is still to come. ``priority`` is left out: who is
    next is decided before an engine is asked.
    """
    messages = messages_body(request.messages)
    body: dict[str, Json] = {
        "model": request.adapter or request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body.update(_sampling_body(request.sampling))
    if request.partial:
        messages.append({"role": "assistant", "content": request.partial})
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    return body


def cache_salt(user: UserId) -> str:
    """What keeps the prefix cache of one user apart from all others', in engines that take a ``cache_salt``: who knows
    another's prompt cannot tell from the time to a first token that it was asked. No secret is needed: a client cannot
    send a salt through Hubbub, and the engine need not learn the user's name."""
    return hashlib.sha256(b"hubbub cache salt\0" + user.encode("utf-8", "surrogatepass")).hexdigest()


def messages_body(messages: Sequence[Message]) -> list[dict[str, Json]]:
    return [_message_body(message) for message in messages]


def _message_body(message: Message) -> dict[str, Json]:
    body: dict[str, Json] = {"role": _ROLES.get(message.role, message.role.value), "content": message.text}
    if message.tool_calls:
        body["content"] = message.text or None
        body["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    return body


def _sampling_body(sampling: Sampling) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "response_format": None if sampling.response_format is None else dict(sampling.response_format),
        "tools": [dict(tool) for tool in sampling.tools] or None,
        "tool_choice": sampling.tool_choice,
    }
    return {name: value for name, value in fields.items() if value is not None}
