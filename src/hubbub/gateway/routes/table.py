# ruff: noqa: E501 - a table is read by its rows
"""Every route of the server. The OpenAPI document and docs/api.md are made from this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hubbub.core.keys import Scope
from hubbub.gateway.call import AnyCall, NoQuery
from hubbub.gateway.routes import (
    batches,
    broadcast,
    chats,
    completions,
    conversations,
    corpora,
    engines,
    exchange,
    files,
    live,
    members,
    oidc,
    plan,
    responses,
    room,
    server,
    session,
    styles,
)
from hubbub.gateway.routes.conversations import IncludeQuery
from hubbub.gateway.routes.responses import ItemsQuery
from hubbub.gateway.wire.base import Listed
from hubbub.gateway.wire.batches import BatchCreate, BatchOut
from hubbub.gateway.wire.chat_completions import (
    CompletionCreate,
    CompletionDeleted,
    CompletionOut,
    CompletionUpdate,
    StoredMessage,
)
from hubbub.gateway.wire.chats import (
    BranchTurn,
    Broadcast,
    BroadcastOut,
    ChatCreate,
    ChatDeleted,
    ChatOut,
    ChatUpdate,
    ForkCreate,
    SavedStyle,
    StyleDeleted,
    StyleIn,
)
from hubbub.gateway.wire.conversations import (
    ConversationCreate,
    ConversationDeleted,
    ConversationOut,
    ConversationUpdate,
    ItemsCreate,
)
from hubbub.gateway.wire.corpora import (
    CorpusCreate,
    CorpusDeleted,
    CorpusList,
    CorpusOut,
    RecipeCheck,
    RecipeChecked,
    RecipeList,
    RecordList,
)
from hubbub.gateway.wire.engines import EngineDrain, EngineList, EngineLog, EngineOut, EngineRestart
from hubbub.gateway.wire.exchange import ImportOut
from hubbub.gateway.wire.files import FileDeleted, FileForm, FileOut
from hubbub.gateway.wire.items import ItemOut
from hubbub.gateway.wire.members import (
    KeyCreate,
    KeyList,
    KeyMade,
    KeyOut,
    PasswordChange,
    SessionCreate,
    SessionFirst,
    SessionOut,
    UserCreate,
    UserDeleted,
    UserList,
    UserOut,
    UserUpdate,
)
from hubbub.gateway.wire.models import ModelList, ModelOut
from hubbub.gateway.wire.plan import PlanCreate
from hubbub.gateway.wire.responses import InputTokens, InputTokensCreate, ResponseCreate, ResponseDeleted, ResponseOut
from hubbub.gateway.wire.room import RoomOut


@dataclass(frozen=True, slots=True)
class Route:
    """``body`` None: the request has none. ``form``, ``upload`` (a file as it is): what it has instead, which the handler reads. ``answer`` None: no JSON of ours; with ``streams``, a stream always. ``scopes``: what a key must have one of;
    none: the route is open to all."""

    method: str
    path: str
    handler: Callable[[AnyCall], Awaitable[Any]]
    summary: str
    answer: Any = None
    body: Any = None
    query: Any = NoQuery
    streams: bool = False
    scopes: tuple[Scope, ...] = ()
    form: Any = None
    upload: bool = False


_COMPLETION = "/v1/chat/completions/{completion_id}"
_RESPONSE = "/v1/responses/{response_id}"
_CONVERSATION = "/v1/conversations/{conversation_id}"
_CHAT = "/v1/chats/{conversation_id}"
_STYLE = "/v1/styles/{style}"
_FILE = "/v1/files/{file_id}"
_BATCH = "/v1/batches/{batch_id}"
_ENGINE = "/v1/engines/{engine}"
_CORPUS = "/v1/corpora/{name}"
_USER = "/v1/users/{user_name}"
_ITEMS = Listed[ItemOut]
_READ, _WRITE, _BULK, _ADMIN = (Scope.READ,), (Scope.CHAT,), (Scope.BULK,), (Scope.ADMIN,)
_ASK = _WRITE + _BULK

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/models", server.models, "The models there are, and their adapters", ModelList, scopes=_READ),
    Route("GET", "/v1/models/{model:.+}", server.model, "One model", ModelOut, scopes=_READ),

    Route("POST", "/v1/chat/completions", completions.create, "Complete a chat", CompletionOut, CompletionCreate, streams=True, scopes=_ASK),
    Route("GET", "/v1/chat/completions", completions.index, "Stored completions", Listed[CompletionOut], query=completions.ListQuery, scopes=_READ),
    Route("GET", _COMPLETION, completions.retrieve, "A stored completion; with stream, its chunks", CompletionOut, query=completions.RetrieveQuery, streams=True, scopes=_READ),
    Route("POST", _COMPLETION, completions.update, "Change its metadata", CompletionOut, CompletionUpdate, scopes=_ASK),
    Route("DELETE", _COMPLETION, completions.delete, "Delete it", CompletionDeleted, scopes=_ASK),
    Route("GET", _COMPLETION + "/messages", completions.messages, "What it was asked with", Listed[StoredMessage], query=completions.MessagesQuery, scopes=_READ),

    Route("POST", "/v1/responses", responses.create, "Ask for a response", ResponseOut, ResponseCreate, streams=True, scopes=_ASK),
    Route("POST", "/v1/responses/input_tokens", responses.input_tokens, "Count a prompt", InputTokens, InputTokensCreate, scopes=_READ),
    Route("GET", _RESPONSE, responses.retrieve, "A response; with stream, its events", ResponseOut, query=responses.RetrieveQuery, streams=True, scopes=_READ),
    Route("DELETE", _RESPONSE, responses.delete, "Delete it", ResponseDeleted, scopes=_ASK),
    Route("POST", _RESPONSE + "/cancel", responses.cancel, "End it now", ResponseOut, scopes=_ASK),
    Route("GET", _RESPONSE + "/input_items", responses.input_items, "What it was asked with", _ITEMS, query=ItemsQuery, scopes=_READ),

    Route("POST", "/v1/conversations", conversations.create, "Make a conversation", ConversationOut, ConversationCreate, scopes=_WRITE),
    Route("GET", _CONVERSATION, conversations.retrieve, "A conversation", ConversationOut, scopes=_READ),
    Route("POST", _CONVERSATION, conversations.update, "Change its metadata", ConversationOut, ConversationUpdate, scopes=_WRITE),
    Route("DELETE", _CONVERSATION, conversations.delete, "Delete it", ConversationDeleted, scopes=_WRITE),
    Route("POST", _CONVERSATION + "/items", conversations.create_items, "Add items", _ITEMS, ItemsCreate, IncludeQuery, scopes=_WRITE),
    Route("GET", _CONVERSATION + "/items", conversations.items, "Its items", _ITEMS, query=ItemsQuery, scopes=_READ),
    Route("GET", _CONVERSATION + "/items/{item_id}", conversations.retrieve_item, "One item", ItemOut, query=IncludeQuery, scopes=_READ),
    Route("DELETE", _CONVERSATION + "/items/{item_id}", conversations.delete_item, "Leave one item out", ConversationOut, scopes=_WRITE),

    Route("GET", "/v1/chats", chats.index, "Chats by last change", Listed[ChatOut], query=chats.ListQuery, scopes=_READ),
    Route("POST", "/v1/chats", chats.create, "Make a chat", ChatOut, ChatCreate, scopes=_WRITE),
    Route("POST", "/v1/chats/import", exchange.bring, "Bring chats: ChatGPT's export, Nexus notes, our own JSON; a .zip of them", ImportOut, query=exchange.ImportQuery, scopes=_WRITE, upload=True),
    Route("GET", "/v1/chats/export", exchange.every, "All chats as a .zip: JSON, Markdown or Nexus notes", query=exchange.ExportQuery, scopes=_READ),
    Route("POST", "/v1/chats/broadcast", broadcast.create, "One question to many chats", BroadcastOut, Broadcast, scopes=_WRITE),
    Route("GET", _CHAT, chats.retrieve, "A chat", ChatOut, scopes=_READ),
    Route("PATCH", _CHAT, chats.update, "Change title, style or metadata", ChatOut, ChatUpdate, scopes=_WRITE),
    Route("DELETE", _CHAT, chats.delete, "Delete it", ChatDeleted, scopes=_WRITE),
    Route("POST", _CHAT + "/fork", chats.fork, "A second chat with the same beginning", ChatOut, ForkCreate, scopes=_WRITE),
    Route("GET", _CHAT + "/export", exchange.one, "It as JSON, Markdown or a Nexus note", query=exchange.ExportQuery, scopes=_READ),
    Route("POST", _CHAT + "/branch", chats.branch, "Show the latest branch that has an item", ChatOut, BranchTurn, scopes=_WRITE),
    Route("GET", _CHAT + "/items", chats.items, "Its items; with branches, those beside each", _ITEMS, query=chats.ChatItemsQuery, scopes=_READ),

    Route("GET", "/v1/styles", styles.index, "Styles that you keep", Listed[SavedStyle], scopes=_READ),
    Route("PUT", _STYLE, styles.save, "Keep a style, or change it", SavedStyle, StyleIn, scopes=_WRITE),
    Route("DELETE", _STYLE, styles.delete, "Delete it", StyleDeleted, scopes=_WRITE),

    Route("GET", "/v1/live", live.follow, "All that happens in your chats, as it happens", streams=True, scopes=_READ),

    Route("POST", "/v1/files", files.create, "Upload a file", FileOut, form=FileForm, scopes=_ASK),
    Route("GET", "/v1/files", files.index, "Files by creation", Listed[FileOut], query=files.ListQuery, scopes=_READ),
    Route("GET", _FILE, files.retrieve, "A file", FileOut, scopes=_READ),
    Route("GET", _FILE + "/content", files.content, "Its bytes", scopes=_READ),
    Route("DELETE", _FILE, files.delete, "Delete it", FileDeleted, scopes=_ASK),

    Route("POST", "/v1/batches", batches.create, "Ask all lines of a file, on what chats leave", BatchOut, BatchCreate, scopes=_BULK),
    Route("GET", "/v1/batches", batches.index, "Batches, newest first", Listed[BatchOut], query=batches.ListQuery, scopes=_READ),
    Route("GET", _BATCH, batches.retrieve, "A batch", BatchOut, scopes=_READ),
    Route("POST", _BATCH + "/cancel", batches.cancel, "End it, and keep what is done", BatchOut, scopes=_ASK),

    Route("GET", "/v1/recipes", corpora.recipes, "The recipes that come with Hubbub", RecipeList, scopes=_READ),
    Route("POST", "/v1/recipes/check", corpora.check, "What is wrong with a recipe, or its first prompts", RecipeChecked, RecipeCheck, scopes=_READ),
    Route("GET", "/v1/corpora", corpora.index, "Corpora, newest first", CorpusList, scopes=_READ),
    Route("POST", "/v1/corpora", corpora.create, "Write a corpus from a recipe, on what chats leave", CorpusOut, CorpusCreate, scopes=_BULK),
    Route("GET", _CORPUS, corpora.retrieve, "How a corpus stands", CorpusOut, scopes=_READ),
    Route("DELETE", _CORPUS, corpora.delete, "Delete it with all that it holds", CorpusDeleted, scopes=_BULK),
    Route("POST", _CORPUS + "/pause", corpora.pause, "Send nothing more until it is resumed", CorpusOut, scopes=_BULK),
    Route("POST", _CORPUS + "/resume", corpora.resume, "Go on where it was paused, stopped or failed", CorpusOut, scopes=_BULK),
    Route("POST", _CORPUS + "/stop", corpora.stop, "End it, and keep what is done", CorpusOut, scopes=_BULK),
    Route("GET", _CORPUS + "/records", corpora.records, "Its records, as they come", RecordList, query=corpora.RecordQuery, scopes=_READ),
    Route("GET", _CORPUS + "/site/{path:.*}", corpora.site, "A page of its hypertext", scopes=_READ),

    Route("POST", "/v1/plan", plan.create, "How many chats fit, how fast, how long for a gigabyte", dict[str, Any], PlanCreate, scopes=_READ),
    Route("GET", "/v1/room", room.retrieve, "How the server does, now and over the last 10 minutes", RoomOut, scopes=_READ),
    Route("GET", "/v1/engines", engines.index, "Every engine, its health and its load", EngineList, scopes=_ADMIN),
    Route("GET", _ENGINE, engines.retrieve, "One engine", EngineOut, scopes=_ADMIN),
    Route("GET", _ENGINE + "/log", engines.log, "The last lines that its process printed", EngineLog, query=engines.LogQuery, scopes=_ADMIN),
    Route("POST", _ENGINE + "/drain", engines.drain, "Give it nothing new; with undo, again", EngineOut, EngineDrain, scopes=_ADMIN),
    Route("POST", _ENGINE + "/restart", engines.restart, "Restart it when it has ended its work; with force, now", EngineOut, EngineRestart, scopes=_ADMIN),

    Route("GET", "/v1/session", session.retrieve, "Who one is here, and how to sign in", SessionOut),
    Route("POST", "/v1/session", session.create, "Sign in", SessionOut, SessionCreate),
    Route("DELETE", "/v1/session", session.delete, "Sign out", SessionOut),
    Route("POST", "/v1/session/first", session.first, "Make the first admin, with the code that the server printed", SessionOut, SessionFirst),
    Route("POST", "/v1/session/password", session.password, "Change one's password", SessionOut, PasswordChange, scopes=_READ),
    Route("GET", "/auth/oidc/start", oidc.start, "Sign in by the identity provider"),
    Route("GET", "/auth/oidc/callback", oidc.callback, "Where it sends the browser back to", query=oidc.CallbackQuery),
    Route("GET", "/v1/users", members.users, "All users", UserList, scopes=_ADMIN),
    Route("POST", "/v1/users", members.create_user, "Make a user", UserOut, UserCreate, scopes=_ADMIN),
    Route("PATCH", _USER, members.update_user, "Change password, weight, or whether it is an admin", UserOut, UserUpdate, scopes=_ADMIN),
    Route("DELETE", _USER, members.delete_user, "Delete it with its keys", UserDeleted, scopes=_ADMIN),
    Route("GET", "/v1/keys", members.keys, "One's keys; an admin's: all", KeyList, scopes=_READ),
    Route("POST", "/v1/keys", members.create_key, "Make a key, which is shown this once", KeyMade, KeyCreate, scopes=_READ),
    Route("DELETE", "/v1/keys/{key_id}", members.revoke_key, "Revoke it", KeyOut, scopes=_READ),

    Route("GET", "/health", server.health, "Whether it can answer, and by what"),
    Route("GET", "/metrics", server.metrics, "Prometheus text", scopes=_ADMIN),
    Route("GET", "/openapi.json", server.openapi, "This interface as OpenAPI 3.1"),
)
# fmt: on
