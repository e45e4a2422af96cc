"""Chats: what the page needs beyond conversations."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from hubbub.core.search import snippet, words
from hubbub.core.types import Chat, ChatId, ItemId, Style
from hubbub.gateway.call import AnyCall, Call, Gateway, NoQuery
from hubbub.gateway.items import item_out, items_in
from hubbub.gateway.routes.conversations import chat_id, items_page
from hubbub.gateway.routes.responses import ItemsQuery
from hubbub.gateway.wire.base import In, Limit, Listed, Order, checked_metadata, listed
from hubbub.gateway.wire.chats import (
    BranchTurn,
    ChatCreate,
    ChatDeleted,
    ChatOut,
    ChatUpdate,
    ForkCreate,
    LastResponse,
    StyleIn,
    StyleOut,
)
from hubbub.gateway.wire.items import ItemOut
from hubbub.ports import ChatQuery, LastAnswer
from hubbub.runtime.chats import ChatEdit, page
from hubbub.runtime.live import Live

PREVIEW_CHARACTERS = 160


class ListQuery(In, frozen=True, kw_only=True):
    search: str = ""
    after: str | None = None
    limit: Limit = 20
    order: Order = "desc"
    pinned_first: bool = False


class ChatItemsQuery(ItemsQuery, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 20
    branches: bool = False


async def index(call: Call[None, ListQuery]) -> Listed[ChatOut]:
    query = call.query
    after = None if query.after is None else ChatId(query.after)
    rows = await call.gateway.store.chats(
        call.user,
        ChatQuery(query.search, after, query.limit, query.order == "desc", query.pinned_first),
    )
    shown = await asyncio.gather(*(chat_out(call.gateway, chat, query.search) for chat in rows.rows))
    return listed(list(shown), [chat.id for chat in rows.rows], rows.has_more)


async def create(call: Call[ChatCreate, NoQuery]) -> ChatOut:
    body = call.body
    check_adapter(call, body.style)
    chat = await call.gateway.chats.create(
        call.user,
        items_in(body.items, "items"),
        title=body.title,
        style=restyled(Style(), body.style),
        metadata=checked_metadata(body.metadata),
    )
    return await chat_out(call.gateway, chat)


async def retrieve(call: Call[None, NoQuery]) -> ChatOut:
    return await chat_out(call.gateway, await call.gateway.chats.get(call.user, chat_id(call)))


async def update(call: Call[ChatUpdate, NoQuery]) -> ChatOut:
    body, chats = call.body, call.gateway.chats
    style = None
    if body.style is not UNSET:
        check_adapter(call, body.style)
        style = restyled((await chats.get(call.user, chat_id(call))).style, body.style)
    edit = ChatEdit(
        title=None if body.title is UNSET else body.title,
        style=style,
        metadata=None if body.metadata is UNSET else checked_metadata(body.metadata),
        pinned=None if body.pinned is UNSET else body.pinned,
    )
    return await chat_out(call.gateway, await chats.edit(call.user, chat_id(call), edit))


async def delete(call: Call[None, NoQuery]) -> ChatDeleted:
    await call.gateway.chats.delete(call.user, chat_id(call))
    return ChatDeleted(id=chat_id(call))


async def fork(call: Call[ForkCreate, NoQuery]) -> ChatOut:
    at = None if call.body.at is None else ItemId(call.body.at)
    twin = await call.gateway.chats.fork(call.user, chat_id(call), at=at, title=call.body.title)
    return await chat_out(call.gateway, twin)


async def branch(call: Call[BranchTurn, NoQuery]) -> ChatOut:
    """Show the latest branch that has the item."""
    turned = await call.gateway.chats.turn(call.user, chat_id(call), ItemId(call.body.item))
    return await chat_out(call.gateway, turned)


async def items(call: Call[None, ChatItemsQuery]) -> Listed[ItemOut]:
    """With ``branches``, each item names those beside it, itself among them, in the order in which they came."""
    query, store = call.query, call.gateway.store
    if not query.branches:
        return items_page(await call.gateway.chats.items(call.user, chat_id(call)), query)
    tree = await store.chat_tree(call.user, chat_id(call))
    twigs, descending = tree.path(), query.order == "desc"
    ids = [str(twig.item) for twig in twigs]
    rows = page(twigs, ids, after=query.after, limit=query.limit, descending=descending)
    shown = list(rows.rows)
    if not shown:
        return listed([], [], False)
    # Of a long chat no more texts are read than are shown.
    nodes = await store.path(call.user, shown[0 if descending else -1].hash, last=len(shown))
    found = [
        msgspec.structs.replace(item_out(node.item), siblings=list(tree.siblings(node.hash)))
        for node in (reversed(nodes) if descending else nodes)
    ]
    return listed(found, [twig.item for twig in shown], rows.has_more)


async def chat_out(gateway: Gateway, chat: Chat, search: str = "") -> ChatOut:
    """Raises NotFound where it has gone on or away meanwhile."""
    glance = await gateway.store.glance(chat, search)
    live = gateway.hub.answering(chat.user, chat.id)
    preview = " ".join(glance.last.text.split()) if glance.last else ""
    last, found = glance.answer, glance.found
    return ChatOut(
        id=chat.id,
        created_at=chat.created_at,
        updated_at=chat.updated_at,
        title=chat.title,
        preview=preview if len(preview) <= PREVIEW_CHARACTERS else preview[: PREVIEW_CHARACTERS - 1] + "…",
        items=glance.items,
        busy=gateway.hub.busy(chat.user, chat.id),
        state=_state(gateway, chat, live),
        last_response=_last_response(last, live),
        context_tokens=last.usage.total_tokens if last and last.status.final else None,
        pinned=chat.pinned,
        style=StyleOut(**asdict(chat.style)),
        metadata=dict(chat.metadata),
        forked_from=chat.forked_from,
        snippet=UNSET if found is None else snippet(found.text, words(search)),
        snippet_item=UNSET if found is None else found.id,
    )


def _state(gateway: Gateway, chat: Chat, live: Live | None) -> Literal["idle", "waiting", "running"]:
    if live is not None:
        return live.state
    return "waiting" if gateway.hub.busy(chat.user, chat.id) else "idle"


def _last_response(last: LastAnswer | None, live: Live | None) -> LastResponse | None:
    if live is not None and live.answer.store:
        return LastResponse(id=live.answer.id, status=live.answer.status.value)
    return LastResponse(id=last.id, status=last.status.value) if last else None


def check_adapter(call: AnyCall, style: StyleIn | None) -> None:
    """Raises BadRequest for an adapter that is not there."""
    if style is not None and style.adapter:
        served = call.gateway.hub.served()
        served.check_adapter(style.adapter, "style.adapter", "GET /v1/models lists them")


def restyled(style: Style, given: StyleIn | None) -> Style:
    if given is None:
        return style
    fields: dict[str, Any] = {name: getattr(given, name) for name in msgspec.structs.asdict(given)}
    return replace(style, **{name: value for name, value in fields.items() if value is not UNSET})
