"""From the items of a path to the messages an engine takes, and how many tokens those will be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from hubbub.core.types import Item, ItemType, Message, Role, Sampling, Style, ToolCall, Usage

# Tokens a chat template adds for each message: role and end marks. ChatML takes 4 to 5.
TEMPLATE_TOKENS = 5


def messages_of(system_prompt: str | None, items: Iterable[Item]) -> tuple[Message, ...]:
    """The messages of a path, after ``system_prompt`` if there is one. Calls follow the text they were said with."""
    messages = [Message(Role.SYSTEM, system_prompt)] if system_prompt else []
    for item in items:
        if item.type is ItemType.FUNCTION_CALL_OUTPUT:
            messages.append(Message(Role.TOOL, item.text, tool_call_id=item.call_id))
        elif item.type is ItemType.FUNCTION_CALL:
            call = ToolCall(item.call_id, item.name, item.text)
            if messages and messages[-1].role is Role.ASSISTANT:
                messages[-1] = replace(messages[-1], tool_calls=(*messages[-1].tool_calls, call))
            else:
                messages.append(Message(Role.ASSISTANT, tool_calls=(call,)))
        else:
            messages.append(Message(item.role or Role.USER, item.text))
    return tuple(messages)


def styled(sampling: Sampling, style: Style) -> Sampling:
    """``sampling`` with the chat's defaults where it says nothing itself."""
    shared = {f.name for f in fields(Style)} & {f.name for f in fields(Sampling)}
    unset = {name: getattr(style, name) for name in shared if getattr(sampling, name) is None}
    return replace(sampling, **unset)


def prompt_bytes(messages: Sequence[Message]) -> int:
    """UTF-8 bytes of all that the model will read: a token is never less than one of them."""
    total = 0
    for message in messages:
        total += len(message.text.encode("utf-8", "surrogatepass"))
        for call in message.tool_calls:
            total += len(call.name.encode()) + len(call.arguments.encode("utf-8", "surrogatepass"))
    return total


class TokenEstimate:
    """Tokens of a prompt from its bytes, by a ratio learned from what engines report.

    Starts at 3.6 bytes a token: low for prose (4.4 to 6.0 with Qwen's tokenizer), so that room is rather over- than
    under-reserved until the first answers are in.
    """

    def __init__(self, bytes_per_token: float = 3.6, weight: float = 0.05) -> None:
        self.bytes_per_token = bytes_per_token
        self._weight = weight

    def tokens(self, messages: Sequence[Message]) -> int:
        return round(prompt_bytes(messages) / self.bytes_per_token) + TEMPLATE_TOKENS * len(messages)

    def most(self, messages: Sequence[Message]) -> int:
        """An upper bound: one token a byte, and twice the usual template."""
        return prompt_bytes(messages) + 2 * TEMPLATE_TOKENS * (len(messages) + 1)

    def learn(self, messages: Sequence[Message], usage: Usage) -> None:
        text_tokens = usage.input_tokens - TEMPLATE_TOKENS * len(messages)
        if text_tokens >= 16:
            seen = min(12.0, max(1.0, prompt_bytes(messages) / text_tokens))
            self.bytes_per_token += self._weight * (seen - self.bytes_per_token)
