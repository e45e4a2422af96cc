"""The tree's rules, and both stores side by side under whatever a caller may do."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.core.errors import HubbubError
from hubbub.core.tree import canonical, is_sound, item_body, item_from_body, link, without
from hubbub.core.types import AnswerId, AnswerKind, AnswerStatus, ChatId, Delta, Item, ItemId, ItemType, Role, UserId
from hubbub.ports import (
    AnswerDeleted,
    AnswerQuery,
    AnswerSaved,
    Change,
    ChatDeleted,
    ChatEdited,
    ChatQuery,
    ChatSaved,
    HeadMoved,
    JournalEntry,
    NodesAdded,
    Store,
)
from hubbub.store.config import StoreConfig, Synchronous
from hubbub.store.memory import MemoryStore
from hubbub.store.sqlite import SqliteStore
from support.store_kit import a_chat, an_answer

ANN = UserId("ann")
USERS = [ANN, UserId("bob")]
items = st.builds(
    Item,
    id=st.just(ItemId("")) | st.text(min_size=1, max_size=3).map(ItemId),
    type=st.sampled_from(ItemType),
    parts=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    role=st.none() | st.sampled_from(Role),
    call_id=st.text(max_size=2),
    name=st.text(max_size=2),
    complete=st.booleans(),
)
histories = st.lists(items, max_size=6)


@given(items)
def test_a_body_says_all_but_the_id(item: Item) -> None:
    assert item_from_body(item.id, item_body(item)) == item
    assert canonical(item) == canonical(replace(item, id=ItemId("other")))


@given(histories, st.sampled_from(USERS))
def test_links_are_sound_and_deep(history: list[Item], user: UserId) -> None:
    path = link(user, None, history, 1.0)
    assert [node.depth for node in path] == list(range(1, len(history) + 1))
    assert [node.parent for node in path] == [None, *(node.hash for node in path)][: len(path)]
    assert all(node.item.id and is_sound(node) for node in path)
    assert all(not is_sound(replace(node, user=UserId("eve"))) for node in path)
    assert all(not is_sound(replace(node, item=replace(node.item, complete=not node.item.complete))) for node in path)


@given(histories, histories, histories)
def test_equal_beginnings_share_hashes_and_others_never(start: list[Item], one: list[Item], two: list[Item]) -> None:
    left, right = link(ANN, None, start + one, 1.0), link(ANN, None, start + two, 2.0)
    shared = len(start)
    assert [node.hash for node in left[:shared]] == [node.hash for node in right[:shared]]
    same = [a.item == b.item for a, b in zip(left, right, strict=False)]
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        assert (a.hash == b.hash) == all(same[: index + 1])
    other = link(UserId("bob"), None, start + one, 1.0)
    assert not {node.hash for node in left} & {node.hash for node in other}


@given(histories.filter(bool), st.data())
def test_leaving_one_out_keeps_all_other_ids(history: list[Item], data: st.DataObject) -> None:
    path = link(ANN, None, history, 1.0)
    place = data.draw(st.integers(0, len(path) - 1))
    place = next(index for index, node in enumerate(path) if node.item.id == path[place].item.id)
    added, head = without(path, path[place].item.id, 2.0)
    after = (*path[:place], *added)
    assert [node.item for node in after] == [node.item for i, node in enumerate(path) if i != place]
    assert head == (after[-1].hash if after else None)
    assert all(map(is_sound, after))
    assert link(ANN, path[place - 1] if place else None, [node.item for node in added], 2.0) == added


words = st.sampled_from(["a", "б", "Б", "hello", "_"])
names = st.integers(0, 4)
Call = Callable[[Store], Coroutine[Any, Any, object]]


class SideBySide(RuleBasedStateMachine):
    """Every call goes to both stores; both must answer, or refuse, alike."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="hubbub-property-"))
        self.twin: Store = MemoryStore()
        self.real: Store = self.reopen()
        self.now = 1.0
        self.starts: dict[str, int] = {}

    def reopen(self) -> Store:
        path = str(self.folder / "hubbub.db")
        config = StoreConfig(path=path, readers=1, journal_limit_bytes=200, synchronous=Synchronous.NEVER)
        return self.loop.run_until_complete(SqliteStore.open(config.file, config))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.real.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def both(self, call: Call) -> object:
        async def outcome(store: Store) -> object:
            try:
                return await call(store)
            except HubbubError as error:
                return type(error), str(error), error.param

        one, two = (self.loop.run_until_complete(outcome(store)) for store in (self.twin, self.real))
        assert one == two
        return one

    def commit(self, *changes: Change) -> bool:
        self.now += 0.25
        return self.both(lambda store: store.commit(*changes)) is None

    def path_of(self, user: UserId, name: int) -> Any:
        chat: Any = self.both(lambda store: store.chat(user, ChatId(f"conv_{name}")))
        return (chat, self.both(lambda store: store.path(user, chat.head))) if chat else (None, ())

    @rule(user=st.sampled_from(USERS), name=names, texts=st.lists(words, max_size=3), title=words)
    def save_chat(self, user: UserId, name: int, texts: list[str], title: str) -> None:
        path = link(user, None, [Item(ItemId(""), ItemType.MESSAGE, (text,), Role.USER) for text in texts], self.now)
        chat = a_chat(f"conv_{name}", path, user=user, at=self.now // 1, title=title)
        self.commit(NodesAdded(path), ChatSaved(chat))

    @rule(user=st.sampled_from(USERS), name=names, text=words, item=st.sampled_from(["", "msg_1", "msg_2"]))
    def say(self, user: UserId, name: int, text: str, item: str) -> None:
        chat, path = self.path_of(user, name)
        if chat:
            said = Item(ItemId(item), ItemType.MESSAGE, (text,), Role.ASSISTANT)
            (node,) = link(user, path[-1] if path else None, [said], self.now)
            self.commit(HeadMoved(chat.id, chat.head, node.hash, self.now), NodesAdded((node,)))

    @rule(user=st.sampled_from(USERS), name=names, twin=names, place=st.integers(0, 5))
    def fork(self, user: UserId, name: int, twin: int, place: int) -> None:
        chat, path = self.path_of(user, name)
        if chat:
            made = a_chat(f"conv_{twin}", path[:place], user=user, at=self.now)
            self.commit(ChatSaved(replace(made, forked_from=chat.id, metadata={"k": str(place)})))

    @rule(name=names, title=st.none() | words, named=st.none() | st.booleans(), pinned=st.none() | st.booleans())
    def edit_chat(self, name: int, title: str | None, named: bool | None, pinned: bool | None) -> None:
        self.commit(ChatEdited(ChatId(f"conv_{name}"), title, named, pinned=pinned, at=self.now if title else None))

    @rule(user=st.sampled_from(USERS), name=names, place=st.integers(0, 5))
    def leave_out(self, user: UserId, name: int, place: int) -> None:
        chat, path = self.path_of(user, name)
        if place < len(path):
            added, head = without(path, path[place].item.id, self.now)
            self.commit(NodesAdded(added), HeadMoved(chat.id, chat.head, head, self.now))

    @rule(user=st.sampled_from(USERS), name=names, other=names)
    def move_wrongly(self, user: UserId, name: int, other: int) -> None:
        _, path = self.path_of(user, other)
        before = path[0].hash if path else None
        self.commit(ChatDeleted(ChatId(f"conv_{other}")), HeadMoved(ChatId(f"conv_{name}"), before, before, self.now))

    @rule(names=st.lists(names, max_size=2))
    def delete_chats(self, names: list[int]) -> None:
        self.commit(*(ChatDeleted(ChatId(f"conv_{name}")) for name in names))

    @rule(user=st.sampled_from(USERS), name=names, status=st.sampled_from(AnswerStatus), chat=names, ends=st.booleans())
    def save_answer(self, user: UserId, name: int, status: AnswerStatus, chat: int, ends: bool) -> None:
        _, path = self.path_of(user, chat)
        head = path[-1].hash if path else None
        answer = replace(an_answer(f"resp_{name}", user=user, at=self.now // 2, status=status), input=head)
        answer = replace(answer, output=head if ends else None, metadata={"s": status.value})
        known = f"resp_{name}" in self.starts
        if self.commit(AnswerSaved(answer)):
            if status.final:
                self.starts.pop(answer.id, None)
            elif not known:
                self.starts[answer.id] = 0

    @rule(name=names)
    def delete_answer(self, name: int) -> None:
        self.commit(AnswerDeleted(AnswerId(f"resp_{name}")))
        self.starts.pop(f"resp_{name}", None)

    @rule(texts=st.lists(words, max_size=3), wrong=st.sampled_from([0] * 8 + [1, -1]), name=names)
    def append(self, texts: list[str], wrong: int, name: int) -> None:
        chosen = {*self.starts, f"resp_{name}"} if wrong else set(self.starts)
        entries = [
            JournalEntry(AnswerId(answer), self.starts.get(answer, 0) + wrong, tuple(map(Delta, texts)))
            for answer in sorted(chosen)
        ]
        if self.both(lambda store: store.append(entries)) is None:
            for entry in entries:
                self.starts[entry.answer] += len(texts)

    @precondition(lambda self: self.now > 2)
    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.real.close())
        self.real = self.reopen()

    @rule(user=st.sampled_from(USERS), search=words | st.just(""), limit=st.integers(1, 3), down=st.booleans())
    def page_through(self, user: UserId, search: str, limit: int, down: bool) -> None:
        query = ChatQuery(search=search, limit=limit, descending=down)
        page: Any = self.both(lambda store: store.chats(user, query))
        while page.has_more:
            after = replace(query, after=page.rows[-1].id)
            page = self.both(lambda store, after=after: store.chats(user, after))  # type: ignore[misc]
        self.both(lambda store: store.chats(user, replace(query, after=ChatId("conv_0"))))

    @rule(user=st.sampled_from(USERS), texts=st.lists(words, max_size=3), roles=st.lists(st.sampled_from(Role)))
    def match(self, user: UserId, texts: list[str], roles: list[Role]) -> None:
        said = [
            Item(ItemId(""), ItemType.MESSAGE, (text,), role)
            for text, role in zip(texts, [*roles, *[Role.USER] * 3], strict=False)
        ]
        self.both(lambda store: store.match(user, said))

    @invariant()
    def same(self) -> None:
        self.both(lambda store: store.counts())
        self.both(lambda store: store.unfinished())
        assert self.both(lambda store: store.verify()) == ()
        for answer, start in self.starts.items():
            deltas: Any = self.both(lambda store, answer=answer: store.entries(answer))  # type: ignore[misc]
            assert len(deltas) == start
        for user in USERS:
            page: Any = self.both(lambda store, user=user: store.chats(user, ChatQuery()))  # type: ignore[misc]
            for chat in page.rows:
                self.both(lambda store, chat=chat: store.path(chat.user, chat.head))  # type: ignore[misc]
            query = AnswerQuery(AnswerKind.RESPONSE, metadata=(("s", "queued"),))
            self.both(lambda store, user=user, query=query: store.answers(user, query))  # type: ignore[misc]


SideBySide.TestCase.settings = settings(stateful_step_count=25)
TestSideBySide = pytest.mark.large(SideBySide.TestCase)
