"""Chats: conversations with a title, a style and forks. Beyond the OpenAI contract, on the same ids."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from hubbub.gateway.wire.base import In, Metadata, Out, Positive, Temperature, TopP
from hubbub.gateway.wire.conversations import FewItems
from hubbub.gateway.wire.errors import ErrorDetail

BROADCAST_MOST = 1000

Title = Annotated[str, Meta(max_length=200)]


class StyleIn(In, frozen=True, kw_only=True):
    """A field that is left out stays as it is; null goes back to the server's default."""

    system_prompt: str | UnsetType | None = UNSET
    model: str | UnsetType | None = UNSET
    temperature: Temperature | UnsetType | None = UNSET
    top_p: TopP | UnsetType | None = UNSET
    max_tokens: Positive | UnsetType | None = UNSET
    adapter: str | UnsetType | None = UNSET


class ChatCreate(In, frozen=True, kw_only=True):
    title: Title = ""
    style: StyleIn | None = None
    items: FewItems | None = None
    metadata: Metadata | None = None


class ChatUpdate(In, frozen=True, kw_only=True):
    """An empty title goes back to the first question's words."""

    title: Title | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    style: StyleIn | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class ForkCreate(In, frozen=True, kw_only=True):
    """``at``: the last item the fork keeps; without it, all."""

    at: str | None = None
    title: Title | None = None


class BranchTurn(In, frozen=True, kw_only=True):
    """``item``: one on any branch of the chat."""

    item: str


class StyleOut(Out, frozen=True, kw_only=True):
    system_prompt: str | None
    model: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    adapter: str | None


class LastResponse(Out, frozen=True, kw_only=True):
    id: str
    status: str


class ChatOut(Out, frozen=True, kw_only=True):
    """``preview``: the beginning of the last message. ``busy``: an answer is being written; ``state`` says whether it
    has begun. ``last_response``: the stored one that said the last item, else the latest asked here;
    ``context_tokens``: its input and output, once it has ended. Of a search: ``snippet``, the words around what was
    found in an item's text, and ``snippet_item``, that item."""

    id: str
    object: Literal["chat"] = "chat"
    created_at: float
    updated_at: float
    title: str
    preview: str
    items: int
    busy: bool
    state: Literal["idle", "waiting", "running"]
    last_response: LastResponse | None
    context_tokens: int | None
    pinned: bool
    style: StyleOut
    metadata: Metadata
    forked_from: str | None
    snippet: str | UnsetType = UNSET
    snippet_item: str | UnsetType = UNSET


class SavedStyle(Out, frozen=True, kw_only=True):
    name: str
    object: Literal["style"] = "style"
    style: StyleOut


class StyleDeleted(Out, frozen=True, kw_only=True):
    name: str
    object: Literal["style.deleted"] = "style.deleted"
    deleted: bool = True


class Broadcast(In, frozen=True, kw_only=True):
    """One question to many chats. ``chats`` are asked, or ``new`` ones are made, with ``style``. ``{{name}}`` in the
    template is replaced from ``values``: one object a chat, in the same order; where neither chats nor new says how
    many, there is a new chat for each."""

    template: Annotated[str, Meta(min_length=1)]
    chats: Annotated[list[str], Meta(min_length=1, max_length=BROADCAST_MOST)] | None = None
    new: Annotated[int, Meta(ge=1, le=BROADCAST_MOST)] | None = None
    values: Annotated[list[dict[str, str]], Meta(min_length=1, max_length=BROADCAST_MOST)] | None = None
    style: StyleIn | None = None
    max_output_tokens: Positive | None = None


class BroadcastAccepted(Out, frozen=True, kw_only=True):
    chat: str
    response: str


class BroadcastRefused(Out, frozen=True, kw_only=True):
    """``place``: which of the chats asked for, from 0. ``chat``: null where a new one was not kept."""

    place: int
    chat: str | None
    error: ErrorDetail


class BroadcastOut(Out, frozen=True, kw_only=True):
    accepted: list[BroadcastAccepted]
    refused: list[BroadcastRefused]


class ChatDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.deleted"] = "chat.deleted"
    deleted: bool = True
