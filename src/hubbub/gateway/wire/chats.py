"""Chats: conversations with a title, a style and forks. Beyond the OpenAI contract, on the same ids."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from hubbub.gateway.wire.base import In, Metadata, Out, Positive, Temperature, TopP
from hubbub.gateway.wire.conversations import FewItems

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
    title: Title | UnsetType = UNSET
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


class ChatOut(Out, frozen=True, kw_only=True):
    """``preview``: the beginning of the last message. ``busy``: an answer is being written."""

    id: str
    object: Literal["chat"] = "chat"
    created_at: float
    updated_at: float
    title: str
    preview: str
    items: int
    busy: bool
    style: StyleOut
    metadata: Metadata
    forked_from: str | None


class ChatDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.deleted"] = "chat.deleted"
    deleted: bool = True
