"""Conversations, their items and models, as the official client sees them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.conversations import Conversation, ConversationItemList

from support.serving import MODEL, served


def said(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


def texts(items: list[Any]) -> list[str]:
    return [item.content[0].text for item in items]


async def test_a_conversation_is_made_changed_and_deleted() -> None:
    async with served() as house:
        api = house.client.conversations
        made = await api.create(items=[said("Hello")], metadata={"topic": "sea"})
        assert made.id.startswith("conv_")
        assert made.object == "conversation"
        assert await api.retrieve(made.id) == made
        changed = await api.update(made.id, metadata={"topic": "air"})
        assert changed.metadata == {"topic": "air"}
        assert (await api.retrieve(made.id)).metadata == {"topic": "air"}
        gone = await api.delete(made.id)
        assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
        for call in (api.retrieve(made.id), api.delete(made.id), api.update(made.id, metadata={})):
            with pytest.raises(openai.NotFoundError) as refused:
                await call
            assert refused.value.param == "conversation"
        assert set((await house.store.counts()).values()) == {0}


async def test_what_is_sent_fits_the_clients_types_strictly() -> None:
    async with served() as house:
        _, made = await house.post("/conversations", {"items": [said("Hello"), said("Hi", "assistant")]})
        Conversation.model_validate(made, strict=True)
        _, page = await house.call("GET", f"/v1/conversations/{made['id']}/items")
        ConversationItemList.model_validate(page, strict=True)
        _, empty = await house.post("/conversations")
        _, page = await house.call("GET", f"/v1/conversations/{empty['id']}/items")
        ConversationItemList.model_validate(page, strict=True)


async def test_items_are_paged_both_ways() -> None:
    words = [f"word {n}" for n in range(45)]
    async with served() as house:
        api = house.client.conversations
        chat = await api.create(items=[said(word) for word in words[:20]])
        for start in (20, 40):
            added = await api.items.create(chat.id, items=[said(word) for word in words[start : start + 20]])
            assert texts(list(added.data)) == words[start : start + 20]
            assert not added.has_more
        assert texts([i async for i in await api.items.list(chat.id)]) == words[::-1]
        assert texts([i async for i in await api.items.list(chat.id, order="asc", limit=7)]) == words
        page = await api.items.list(chat.id, order="asc", limit=100)
        assert not page.has_more
        assert page.last_id == page.data[-1].id
        tail = await api.items.list(chat.id, order="asc", after=str(page.data[40].id))
        assert texts(list(tail.data)) == words[41:]


async def test_one_item_is_read_and_left_out() -> None:
    async with served() as house:
        api = house.client.conversations
        chat = await api.create(items=[said("One"), said("Two", "assistant"), said("Three")])
        items = [i async for i in await api.items.list(chat.id, order="asc")]
        middle = str(items[1].id)
        one: Any = await api.items.retrieve(middle, conversation_id=chat.id)
        assert one.content[0].type == "output_text"
        assert one.status == "completed"
        assert (await api.items.delete(middle, conversation_id=chat.id)).id == chat.id
        left = [i async for i in await api.items.list(chat.id, order="asc")]
        assert texts(left) == ["One", "Three"]
        assert [i.id for i in left] == [items[0].id, items[2].id]
        with pytest.raises(openai.NotFoundError) as refused:
            await api.items.retrieve(middle, conversation_id=chat.id)
        assert refused.value.param == "item_id"


async def test_a_cursor_of_another_conversation_is_as_if_absent() -> None:
    async with served() as house:
        api = house.client.conversations
        here, there = await api.create(items=[said("One")]), await api.create(items=[said("Two")])
        foreign = str((await api.items.list(there.id)).data[0].id)
        with pytest.raises(openai.NotFoundError) as refused:
            await api.items.list(here.id, after=foreign)
        assert refused.value.param == "after"
        with pytest.raises(openai.NotFoundError):
            await api.items.retrieve(foreign, conversation_id=here.id)


async def test_models() -> None:
    async with served() as house:
        listed = [model async for model in await house.client.models.list()]
        assert [model.id for model in listed] == [MODEL]
        one = await house.client.models.retrieve(MODEL)
        assert (one.object, one.owned_by) == ("model", "local")
        with pytest.raises(openai.NotFoundError) as refused:
            await house.client.models.retrieve("Qwen/Qwen3")
        assert refused.value.code == "model_not_found"
        assert MODEL in refused.value.message
