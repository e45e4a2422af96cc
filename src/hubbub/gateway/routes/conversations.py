"""Conversations and their items."""

from __future__ import annotations

from hubbub.core.errors import NotFound
from hubbub.core.types import Chat, ChatId, ItemId, Node
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.items import item_out, items_in
from hubbub.gateway.routes.responses import ItemsQuery
from hubbub.gateway.wire.base import In, Listed, checked_metadata, listed
from hubbub.gateway.wire.conversations import (
    ConversationCreate,
    ConversationDeleted,
    ConversationOut,
    ConversationUpdate,
    ItemsCreate,
)
from hubbub.gateway.wire.items import ItemOut
from hubbub.runtime.chats import ChatEdit, page


class IncludeQuery(In, frozen=True, kw_only=True):
    include: list[str] | None = None


def conversation_out(chat: Chat) -> ConversationOut:
    return ConversationOut(id=chat.id, created_at=int(chat.created_at), metadata=dict(chat.metadata))


def items_page(nodes: tuple[Node, ...], query: ItemsQuery) -> Listed[ItemOut]:
    """Raises NotFound (param ``after``) for a cursor that is no item of this path."""
    ids = [str(node.item.id) for node in nodes]
    rows = page(nodes, ids, after=query.after, limit=query.limit, descending=query.order == "desc")
    return listed([item_out(n.item) for n in rows.rows], [n.item.id for n in rows.rows], rows.has_more)


async def create(call: Call[ConversationCreate, NoQuery]) -> ConversationOut:
    items = items_in(call.body.items, "items")
    metadata = checked_metadata(call.body.metadata)
    return conversation_out(await call.gateway.chats.create(call.user, items, metadata=metadata))


async def retrieve(call: Call[None, NoQuery]) -> ConversationOut:
    return conversation_out(await call.gateway.chats.get(call.user, chat_id(call)))


async def update(call: Call[ConversationUpdate, NoQuery]) -> ConversationOut:
    edit = ChatEdit(metadata=checked_metadata(call.body.metadata))
    return conversation_out(await call.gateway.chats.edit(call.user, chat_id(call), edit))


async def delete(call: Call[None, NoQuery]) -> ConversationDeleted:
    await call.gateway.chats.delete(call.user, chat_id(call))
    return ConversationDeleted(id=call.arg("conversation_id"))


async def create_items(call: Call[ItemsCreate, IncludeQuery]) -> Listed[ItemOut]:
    items = items_in(call.body.items, "items")
    nodes = await call.gateway.chats.append(call.user, chat_id(call), items)
    return listed([item_out(node.item) for node in nodes], [node.item.id for node in nodes], has_more=False)


async def items(call: Call[None, ItemsQuery]) -> Listed[ItemOut]:
    return items_page(await call.gateway.chats.items(call.user, chat_id(call)), call.query)


async def retrieve_item(call: Call[None, IncludeQuery]) -> ItemOut:
    wanted = call.arg("item_id")
    for node in await call.gateway.chats.items(call.user, chat_id(call)):
        if node.item.id == wanted:
            return item_out(node.item)
    raise NotFound(f"there is no item {wanted!r} in conversation {chat_id(call)!r}", param="item_id")


async def delete_item(call: Call[None, NoQuery]) -> ConversationOut:
    return conversation_out(await call.gateway.chats.remove(call.user, chat_id(call), ItemId(call.arg("item_id"))))


def chat_id(call: AnyCall) -> ChatId:
    return ChatId(call.arg("conversation_id"))
