"""Lists of chats: search, pins, what a list shows of a chat; and styles. What every store must do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.types import AnswerStatus, ChatId, Style, Usage
from hubbub.ports import (
    AnswerSaved,
    ChatDeleted,
    ChatQuery,
    ChatSaved,
    HeadMoved,
    NodesAdded,
    Store,
    StyleDeleted,
    StyleSaved,
)
from hubbub.store.config import MEMORY, StoreConfig, Synchronous
from hubbub.store.open import open_store
from support.store_kit import ANN, BOB, NOW, a_chat, an_answer, ended, keep, nodes


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    path = MEMORY if request.param == "memory" else str(tmp_path / "hubbub.db")
    opened = await open_store(StoreConfig(path=path, readers=2, synchronous=Synchronous.NEVER))
    yield opened
    assert await opened.verify() == ()
    await opened.close()


async def found(store: Store, search: str) -> list[str]:
    return sorted(chat.id for chat in (await store.chats(ANN, ChatQuery(search=search, limit=100))).rows)


async def test_all_words_of_a_search_are_in_the_title_or_in_one_text(store: Store) -> None:
    await keep(store, "conv_1", "The whale sings at night", "and the cow listens")
    await keep(store, "conv_2", "nothing", title="A Whale's Song")
    await keep(store, "conv_3", "Straße nach Köln", "quotes \" and ' and % and * and -", "日本語のテキスト")
    await keep(store, "conv_4", "the whale, too", user=BOB)
    for search, wanted in (
        ("whale", ["conv_1", "conv_2"]),
        ("WHALE sing", ["conv_1"]),
        ("night whale", ["conv_1"]),
        ("hal", ["conv_1", "conv_2"]),
        ("whale cow", []),
        ("strasse KÖLN", ["conv_3"]),
        ('" * %', ["conv_3"]),
        ('s " a', ["conv_3"]),
        ("本語の", ["conv_3"]),
        ("日", ["conv_3"]),
        ("a", ["conv_1", "conv_2", "conv_3"]),
        ("whale OR cow", []),
        ("NOT", ["conv_2"]),
        ("\ud800 ab\ud800cd", []),
        ("   ", ["conv_1", "conv_2", "conv_3"]),
        ("x" * 500, []),
    ):
        assert await found(store, search) == wanted, search


async def test_what_is_gone_is_not_found(store: Store) -> None:
    chat = await keep(store, "conv_1", "the whale", "the cow")
    path = await store.path(ANN, chat.head)
    await store.commit(HeadMoved(chat.id, chat.head, path[0].hash, NOW))
    assert (await found(store, "whale"), await found(store, "cow")) == (["conv_1"], [])
    await store.commit(ChatDeleted(chat.id))
    assert await found(store, "whale") == []


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("search", ["", "chat"])
async def test_pinned_chats_come_first_and_each_once(store: Store, descending: bool, search: str) -> None:
    await store.commit(
        *(ChatSaved(replace(a_chat(f"conv_{n}", at=NOW + n // 2, title="Chat"), pinned=n % 3 == 0)) for n in range(8))
    )
    seen: list[str] = []
    query = ChatQuery(search=search, limit=3, descending=descending, pinned_first=True)
    while (page := await store.chats(ANN, query)).rows:
        seen += [chat.id for chat in page.rows]
        query = replace(query, after=page.rows[-1].id)
    order = [f"conv_{n}" for n in (range(7, -1, -1) if descending else range(8))]
    wanted = [name for name in order if int(name[5:]) % 3 == 0]
    assert seen == wanted + [name for name in order if name not in wanted]
    back = await store.chat(ANN, ChatId("conv_3"))
    assert back is not None
    await store.commit(ChatSaved(replace(back, pinned=False)))
    assert "conv_3" not in [chat.id for chat in (await store.chats(ANN, replace(query, after=None))).rows]


async def test_a_glance_at_a_chat(store: Store) -> None:
    chat = await keep(store, "conv_1", "a whale", "b", "c")
    path = await store.path(ANN, chat.head)
    first = replace(ended(an_answer("resp_1")), output=path[1].hash, usage=Usage(3, 4), chat=chat.id)
    second = replace(an_answer("resp_2"), input=path[2].hash, chat=chat.id)
    await store.commit(AnswerSaved(first), AnswerSaved(second))
    glance = await store.glance(chat, "WHALE")
    assert (glance.items, glance.last, glance.found) == (3, path[2].item, path[0].item)
    assert glance.answer is not None
    assert (glance.answer.id, glance.answer.status) == ("resp_2", AnswerStatus.QUEUED)
    shorter = replace(chat, head=path[1].hash)
    glance = await store.glance(shorter)
    assert glance.answer is not None
    assert (glance.answer.id, glance.answer.usage, glance.found) == ("resp_1", Usage(3, 4), None)
    assert (await store.glance(chat, "none")).found is None
    empty = await keep(store, "conv_2")
    glance = await store.glance(empty, "x")
    assert (glance.items, glance.last, glance.answer, glance.found) == (0, None, None, None)


async def test_styles_are_kept_by_user_and_name(store: Store) -> None:
    brief, long = Style("Be brief.", max_tokens=5), Style("ё\ud800", "m", 0.5, 0.9, 7, "lora")
    await store.commit(StyleSaved(ANN, "b", brief), StyleSaved(ANN, "a", long), StyleSaved(BOB, "b", long))
    assert list((await store.styles(ANN)).items()) == [("a", long), ("b", brief)]
    await store.commit(StyleSaved(ANN, "a", brief), StyleDeleted(ANN, "b"), StyleDeleted(ANN, "none"))
    assert await store.styles(ANN) == {"a": brief}
    assert await store.styles(BOB) == {"b": long}


async def test_nodes_shared_with_a_stranger_are_not_found_twice(store: Store) -> None:
    chat = await keep(store, "conv_1", "the whale")
    path = await store.path(ANN, chat.head)
    below = nodes("more", below=path[0])
    await store.commit(NodesAdded(below), ChatSaved(a_chat("conv_2", (*path, *below))))
    assert await found(store, "whale") == ["conv_1", "conv_2"]
