"""The types every layer speaks, on one page. All are frozen; what can be derived is a property, never stored twice.

A chat is a path through a tree of items. Items never change: a fork is a second pointer into the tree, and two chats
with the same beginning share the rows of that beginning. An answer is one run of the model at the end of a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NewType

if TYPE_CHECKING:
    from hubbub.core.errors import HubbubError

UserId = NewType("UserId", str)
ChatId = NewType("ChatId", str)
"""``conv_...``: a chat is what the OpenAI contract calls a conversation."""
ItemId = NewType("ItemId", str)
"""``msg_...``, ``fc_...`` or ``fco_...``."""
NodeHash = NewType("NodeHash", str)
"""64 hex digits: names an item together with everything said before it."""
AnswerId = NewType("AnswerId", str)
"""``resp_...`` or ``chatcmpl-...``."""
RequestId = NewType("RequestId", str)
EngineId = NewType("EngineId", str)

Json = Any
"""A JSON value. The one loose type, at the wire's edges."""


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Priority(StrEnum):
    """Chats are served first; bulk takes what chats leave."""

    CHAT = "chat"
    BULK = "bulk"


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``cached_tokens`` are those of the input that came from the engine's prefix cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function the model asks for. ``arguments`` is the JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message as an engine takes it."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. ``None`` leaves a value to the engine's model defaults.

    ``max_tokens`` bounds the output only. ``response_format``, ``tools`` and ``tool_choice`` are the chat-completions
    JSON, passed to the engine as they came. A ``seed`` makes an answer repeatable where the engine can.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_format: Mapping[str, Json] | None = None
    tools: tuple[Mapping[str, Json], ...] = ()
    tool_choice: Json = None


@dataclass(frozen=True, slots=True)
class Request:
    """One run of a model: what the scheduler weighs and an engine is handed.

    ``prompt_tokens`` is an estimate until the engine has counted. ``partial`` is what an earlier attempt already said:
    an engine continues it as a prefix of the answer. ``adapter``: the LoRA adapter to speak with, empty for none.
    """

    id: RequestId
    user: UserId
    chat: ChatId
    model: str
    prompt_tokens: int
    priority: Priority = Priority.CHAT
    messages: tuple[Message, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    partial: str = ""
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """A piece of a tool call: the first piece of ``index`` carries ``call_id`` and ``name``, all carry arguments."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What an engine says of one request. The last one of a request has ``finish`` or ``error``, never both."""

    text: str = ""
    tokens: int = 0
    tool: ToolDelta | None = None
    finish: FinishReason | None = None
    usage: Usage | None = None
    error: HubbubError | None = None

    @property
    def last(self) -> bool:
        return self.finish is not None or self.error is not None


@dataclass(frozen=True, slots=True)
class EngineState:
    """What a running engine can hold, as it reports itself, and what it holds now.

    ``kv_tokens``: KV-cache room in tokens. ``context_window``: tokens of input and output one request may have.
    ``max_sequences``: requests decoded together. ``steps``: steps made so far; while it rises the engine works, also
    when a long prefill says nothing (0: not told). ``adapters``: the LoRA adapters it has loaded; without
    ``mixes_adapters`` all requests it decodes together must have the same one. ``details`` are the engine's own words
    (flags, version), for people.
    """

    models: tuple[str, ...]
    context_window: int
    max_sequences: int
    kv_tokens: int
    prefix_cache: bool = False
    running: int = 0
    waiting: int = 0
    kv_used: float = 0.0
    steps: int = 0
    adapters: tuple[str, ...] = ()
    mixes_adapters: bool = True
    details: Mapping[str, str] = field(default_factory=dict)


class ItemType(StrEnum):
    MESSAGE = "message"
    FUNCTION_CALL = "function_call"
    FUNCTION_CALL_OUTPUT = "function_call_output"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing said. ``parts`` are the texts of a message, the arguments of a call, or the output of a call.

    ``complete`` is false for an answer that was cut short (length, cancel, failure).
    """

    id: ItemId
    type: ItemType
    parts: tuple[str, ...]
    role: Role | None = None
    call_id: str = ""
    name: str = ""
    complete: bool = True

    @property
    def text(self) -> str:
        return "".join(self.parts)


@dataclass(frozen=True, slots=True)
class Node:
    """An item in the tree. ``hash`` covers the parent's hash and the item (see ``core.tree``), so that equal paths are
    equal hashes and any change of a stored row shows. ``depth`` counts from 1 at the root."""

    hash: NodeHash
    parent: NodeHash | None
    depth: int
    user: UserId
    item: Item
    created_at: float


@dataclass(frozen=True, slots=True)
class Style:
    """How one chat speaks: a system prompt, a LoRA adapter and defaults for sampling, used where a request says nothing
    itself."""

    system_prompt: str | None = None
    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A durable chat: a pointer (``head``) to the last item of its path. Times are Unix seconds. ``named``: its title
    was given by somebody, and not taken from the first question."""

    id: ChatId
    user: UserId
    created_at: float
    updated_at: float
    head: NodeHash | None = None
    title: str = ""
    style: Style = field(default_factory=Style)
    metadata: Mapping[str, str] = field(default_factory=dict)
    forked_from: ChatId | None = None
    pinned: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a chat was brought from.

    ``source`` names it there, once a user: bringing it again adds to the same chat. ``name``: the path of its file.
    ``leaf``: where the chat's head was set by the last import. ``original``: that file, compressed, where it must be
    given back byte for byte; empty where not.
    """

    chat: ChatId
    user: UserId
    source: str
    name: str = ""
    leaf: NodeHash | None = None
    original: bytes = b""


class AnswerKind(StrEnum):
    RESPONSE = "response"
    COMPLETION = "chat.completion"


class AnswerStatus(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (AnswerStatus.QUEUED, AnswerStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Delta:
    """One published piece of a live answer: text, or a piece of a tool call. The journal is a list of these.

    ``tokens``: how many were generated for it. It bounds what is still to come when an answer goes on after a restart,
    and is no part of what was said: a replay of a finished answer does not have it, and is equal all the same.
    """

    text: str = ""
    tool: ToolDelta | None = None
    tokens: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What it takes, beside the path up to its ``input``, to send an unfinished answer to an engine again.

    ``interruptions``: how often the server ended without warning while the answer was being written. ``parked``: the
    last end was an orderly one, and is not to be counted.
    """

    system_prompt: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    priority: Priority = Priority.CHAT
    interruptions: int = 0
    parked: bool = False
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One run of the model at the end of a path: an OpenAI response or chat completion.

    ``input`` is the last node it was asked with, ``output`` the last node it said (``None`` until it ended, and when
    it said nothing). ``params`` is what the caller sent and the wire echoes. ``cuts`` are the published deltas
    as (tool index or -1 for text, characters), so that a finished stream can be replayed event by event. ``asked`` is
    kept until the end alone; an unfinished answer without it (of an older Hubbub) cannot go on after a restart.
    """

    id: AnswerId
    user: UserId
    kind: AnswerKind
    model: str
    created_at: float
    status: AnswerStatus = AnswerStatus.QUEUED
    chat: ChatId | None = None
    previous: AnswerId | None = None
    input: NodeHash | None = None
    output: NodeHash | None = None
    output_items: tuple[Item, ...] = ()
    finish: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    error_code: str = ""
    error_message: str = ""
    params: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    store: bool = True
    background: bool = False
    completed_at: float | None = None
    cuts: tuple[tuple[int, int], ...] = ()
    asked: Asked | None = None
    error_param: str | None = None
