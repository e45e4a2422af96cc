# ruff: noqa: E501 - a table is read by its rows
"""Every route of the server. The OpenAPI document and docs/api.md are made from this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hubbub.gateway.call import AnyCall, NoQuery
from hubbub.gateway.routes import chats, completions, conversations, responses, server
from hubbub.gateway.routes.conversations import IncludeQuery
from hubbub.gateway.routes.responses import ItemsQuery
from hubbub.gateway.wire.base import Listed
from hubbub.gateway.wire.chat_completions import (
    CompletionCreate,
    CompletionDeleted,
    CompletionOut,
    CompletionUpdate,
    StoredMessage,
)
from hubbub.gateway.wire.chats import ChatCreate, ChatDeleted, ChatOut, ChatUpdate, ForkCreate
from hubbub.gateway.wire.conversations import (
    ConversationCreate,
    ConversationDeleted,
    ConversationOut,
    ConversationUpdate,
    ItemsCreate,
)
from hubbub.gateway.wire.items import ItemOut
from hubbub.gateway.wire.models import ModelList, ModelOut
from hubbub.gateway.wire.responses import InputTokens, InputTokensCreate, ResponseCreate, ResponseDeleted, ResponseOut


@dataclass(frozen=True, slots=True)
class Route:
    """``body`` None: the request has none. ``answer`` None: no JSON of ours."""

    method: str
    path: str
    handler: Callable[[AnyCall], Awaitable[Any]]
    summary: str
    answer: Any = None
    body: Any = None
    query: Any = NoQuery
    streams: bool = False


_COMPLETION = "/v1/chat/completions/{completion_id}"
_RESPONSE = "/v1/responses/{response_id}"
_CONVERSATION = "/v1/conversations/{conversation_id}"
_CHAT = "/v1/chats/{conversation_id}"
_ITEMS = Listed[ItemOut]

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/models", server.models, "The models there are", ModelList),
    Route("GET", "/v1/models/{model:.+}", server.model, "One model", ModelOut),

    Route("POST", "/v1/chat/completions", completions.create, "Complete a chat", CompletionOut, CompletionCreate, streams=True),
    Route("GET", "/v1/chat/completions", completions.index, "Stored completions", Listed[CompletionOut], query=completions.ListQuery),
    Route("GET", _COMPLETION, completions.retrieve, "A stored completion; with stream, its chunks", CompletionOut, query=completions.RetrieveQuery, streams=True),
    Route("POST", _COMPLETION, completions.update, "Change its metadata", CompletionOut, CompletionUpdate),
    Route("DELETE", _COMPLETION, completions.delete, "Delete it", CompletionDeleted),
    Route("GET", _COMPLETION + "/messages", completions.messages, "What it was asked with", Listed[StoredMessage], query=completions.MessagesQuery),

    Route("POST", "/v1/responses", responses.create, "Ask for a response", ResponseOut, ResponseCreate, streams=True),
    Route("POST", "/v1/responses/input_tokens", responses.input_tokens, "Count a prompt", InputTokens, InputTokensCreate),
    Route("GET", _RESPONSE, responses.retrieve, "A response; with stream, its events", ResponseOut, query=responses.RetrieveQuery, streams=True),
    Route("DELETE", _RESPONSE, responses.delete, "Delete it", ResponseDeleted),
    Route("POST", _RESPONSE + "/cancel", responses.cancel, "End it now", ResponseOut),
    Route("GET", _RESPONSE + "/input_items", responses.input_items, "What it was asked with", _ITEMS, query=ItemsQuery),

    Route("POST", "/v1/conversations", conversations.create, "Make a conversation", ConversationOut, ConversationCreate),
    Route("GET", _CONVERSATION, conversations.retrieve, "A conversation", ConversationOut),
    Route("POST", _CONVERSATION, conversations.update, "Change its metadata", ConversationOut, ConversationUpdate),
    Route("DELETE", _CONVERSATION, conversations.delete, "Delete it", ConversationDeleted),
    Route("POST", _CONVERSATION + "/items", conversations.create_items, "Add items", _ITEMS, ItemsCreate, IncludeQuery),
    Route("GET", _CONVERSATION + "/items", conversations.items, "Its items", _ITEMS, query=ItemsQuery),
    Route("GET", _CONVERSATION + "/items/{item_id}", conversations.retrieve_item, "One item", ItemOut, query=IncludeQuery),
    Route("DELETE", _CONVERSATION + "/items/{item_id}", conversations.delete_item, "Leave one item out", ConversationOut),

    Route("GET", "/v1/chats", chats.index, "Chats by last change", Listed[ChatOut], query=chats.ListQuery),
    Route("POST", "/v1/chats", chats.create, "Make a chat", ChatOut, ChatCreate),
    Route("GET", _CHAT, chats.retrieve, "A chat", ChatOut),
    Route("PATCH", _CHAT, chats.update, "Change title, style or metadata", ChatOut, ChatUpdate),
    Route("DELETE", _CHAT, chats.delete, "Delete it", ChatDeleted),
    Route("POST", _CHAT + "/fork", chats.fork, "A second chat with the same beginning", ChatOut, ForkCreate),
    Route("GET", _CHAT + "/items", chats.items, "Its items", _ITEMS, query=ItemsQuery),

    Route("GET", "/health", server.health, "Whether it can answer, and by what"),
    Route("GET", "/metrics", server.metrics, "Prometheus text"),
    Route("GET", "/openapi.json", server.openapi, "This interface as OpenAPI 3.1"),
)
# fmt: on
