"""Branches beside a chat's path, and where a chat was brought from: what every store must do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.errors import Conflict, NotFound
from hubbub.core.types import ChatId, NodeHash, Origin
from hubbub.ports import BranchKept, ChatDeleted, ChatSaved, HeadMoved, NodesAdded, OriginSaved, Store
from hubbub.store.config import MEMORY, StoreConfig, Synchronous
from hubbub.store.open import open_store
from support.store_kit import ANN, BOB, NOW, a_chat, keep, nodes


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    path = MEMORY if request.param == "memory" else str(tmp_path / "hubbub.db")
    opened = await open_store(StoreConfig(path=path, readers=2, synchronous=Synchronous.NEVER))
    yield opened
    assert await opened.verify() == ()
    await opened.close()


async def test_a_kept_branch_outlives_the_head_and_goes_with_the_chat(store: Store) -> None:
    chat = await keep(store, "conv_1", "a", "b")
    root = (await store.path(ANN, chat.head))[0]
    other = nodes("c", "d", below=root)
    assert chat.head is not None
    await store.commit(
        NodesAdded(other), BranchKept(chat.id, chat.head), HeadMoved(chat.id, chat.head, other[-1].hash, NOW)
    )
    await store.commit(BranchKept(chat.id, chat.head))
    assert await store.branches(ANN, chat.id) == (chat.head,)
    assert await store.branches(BOB, chat.id) == ()
    assert [node.item.text for node in await store.path(ANN, chat.head)] == ["a", "b"]
    await store.commit(ChatDeleted(chat.id))
    assert (await store.counts())["nodes"] == 0
    assert await store.branches(ANN, chat.id) == ()


async def test_a_branch_of_what_is_not_there_is_a_conflict(store: Store) -> None:
    chat = await keep(store, "conv_1", "a")
    stranger = await keep(store, "conv_2", "b", user=BOB)
    assert chat.head is not None
    assert stranger.head is not None
    for change in (
        BranchKept(chat.id, NodeHash("f" * 64)),
        BranchKept(chat.id, stranger.head),
        BranchKept(ChatId("conv_9"), chat.head),
    ):
        with pytest.raises(Conflict):
            await store.commit(change)
    assert await store.branches(ANN, chat.id) == ()


async def test_an_origin_comes_back_is_replaced_and_goes_with_the_chat(store: Store) -> None:
    chat = await keep(store, "conv_1", "a")
    origin = Origin(chat.id, ANN, "chatgpt:1", "a/ё.md", chat.head, b"\x00\xff")
    await store.commit(OriginSaved(origin))
    assert await store.origin(ANN, chat.id) == origin
    assert await store.brought(ANN, "chatgpt:1") == origin
    assert await store.origin(BOB, chat.id) is None
    assert await store.brought(BOB, "chatgpt:1") is None
    later = replace(origin, leaf=None, original=b"")
    await store.commit(OriginSaved(later))
    assert await store.brought(ANN, "chatgpt:1") == later
    await store.commit(ChatDeleted(chat.id))
    assert await store.brought(ANN, "chatgpt:1") is None


async def test_a_source_becomes_one_chat_of_a_user(store: Store) -> None:
    chat, other = await keep(store, "conv_1", "a"), await keep(store, "conv_2", "b")
    theirs = await keep(store, "conv_3", "c", user=BOB)
    await store.commit(OriginSaved(Origin(chat.id, ANN, "s")), OriginSaved(Origin(theirs.id, BOB, "s")))
    for wrong in (Origin(other.id, ANN, "s"), Origin(theirs.id, ANN, "t"), Origin(ChatId("conv_9"), ANN, "t")):
        with pytest.raises(Conflict):
            await store.commit(OriginSaved(wrong))


async def test_the_tree_of_a_chat_has_its_own_branches_alone(store: Store) -> None:
    chat = await keep(store, "conv_1", "a", "b")
    path = await store.path(ANN, chat.head)
    other = nodes("c", below=path[0])
    await store.commit(NodesAdded(other), BranchKept(chat.id, other[0].hash))
    stranger = nodes("d", below=path[0])
    await store.commit(NodesAdded(stranger), ChatSaved(a_chat("conv_2", (path[0], *stranger))))
    tree = await store.chat_tree(ANN, chat.id)
    assert (tree.head, tree.leaves) == (chat.head, (other[0].hash,))
    assert tree.siblings(path[1].hash) == [path[1].item.id, other[0].item.id]
    assert tree.find(other[0].item.id) == other[0].hash
    assert tree.find(stranger[0].item.id) is None
    for user, name in ((BOB, "conv_1"), (ANN, "conv_x")):
        with pytest.raises(NotFound):
            await store.chat_tree(user, ChatId(name))
