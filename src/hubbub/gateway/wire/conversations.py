"""Conversations, as the OpenAI contract has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from hubbub.gateway.wire.base import In, Metadata, Out
from hubbub.gateway.wire.items import ITEM_SCHEMA

FewItems = Annotated[list[dict[str, Any]], Meta(max_length=20, extra_json_schema={"items": ITEM_SCHEMA})]


class ConversationCreate(In, frozen=True, kw_only=True):
    items: FewItems | None = None
    metadata: Metadata | None = None


class ConversationUpdate(In, frozen=True, kw_only=True):
    metadata: Metadata | None


class ItemsCreate(In, frozen=True, kw_only=True):
    items: FewItems


class ConversationOut(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: Metadata


class ConversationDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True
