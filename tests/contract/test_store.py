"""What every store must do, run over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.errors import Conflict, NotFound, StorageError
from hubbub.core.tree import is_sound, link, without
from hubbub.core.types import (
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Asked,
    ChatId,
    Delta,
    FinishReason,
    Item,
    ItemId,
    ItemType,
    NodeHash,
    Priority,
    Role,
    Sampling,
    Style,
    ToolDelta,
    Usage,
    UserId,
)
from hubbub.ports import (
    AnswerDeleted,
    AnswerQuery,
    AnswerSaved,
    ChatDeleted,
    ChatEdited,
    ChatQuery,
    ChatSaved,
    HeadMoved,
    JournalEntry,
    NodesAdded,
    Store,
)
from hubbub.store.config import MEMORY, StoreConfig, Synchronous
from hubbub.store.open import open_store
from support.store_kit import ANN, BOB, NOW, a_chat, an_answer, ended, entry, keep, nodes, said


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    path = MEMORY if request.param == "memory" else str(tmp_path / "data" / "hubbub.db")
    # Nothing here cuts the power: tests/integration/test_store_durability.py is about what waits for the disk.
    opened = await open_store(StoreConfig(path=path, readers=2, synchronous=Synchronous.NEVER))
    yield opened
    assert await opened.verify() == ()
    await opened.close()


async def texts(store: Store, head: NodeHash | None, user: UserId = ANN) -> list[str]:
    return [node.item.text for node in await store.path(user, head)]


async def found(store: Store, search: str, user: UserId = ANN) -> set[str]:
    return {chat.id for chat in (await store.chats(user, ChatQuery(search=search, limit=100))).rows}


class TestChats:
    async def test_comes_back_as_it_was_saved(self, store: Store) -> None:
        path = nodes("Привет", "hello", "\x00 \ud800 \U0001f600")
        chat = replace(
            a_chat("conv_1", path, title="Первый"),
            updated_at=NOW + 0.1,
            style=Style("Be brief.", "smollm2", 0.1, 0.9, 12),
            metadata={"k": "ё", "x": ""},
            forked_from=ChatId("conv_0"),
        )
        await store.commit(NodesAdded(path), ChatSaved(chat))
        assert await store.chat(ANN, chat.id) == chat
        assert await store.path(ANN, chat.head) == path
        assert all(map(is_sound, await store.path(ANN, chat.head)))

    async def test_items_of_every_type_come_back(self, store: Store) -> None:
        items = [
            said("weather?"),
            Item(ItemId("fc_1"), ItemType.FUNCTION_CALL, ('{"city": "Рига"}',), call_id="call_1", name="weather"),
            Item(ItemId("fco_1"), ItemType.FUNCTION_CALL_OUTPUT, ("sun", "wind"), call_id="call_1"),
            Item(ItemId("msg_1"), ItemType.MESSAGE, (), Role.ASSISTANT, complete=False),
        ]
        path = link(ANN, None, items, NOW)
        await store.commit(NodesAdded(path))
        assert await store.path(ANN, path[-1].hash) == path

    async def test_saving_again_changes_all_but_birth_and_head(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b")
        other = replace(chat, title="new", metadata={"a": "1"}, updated_at=NOW + 5, created_at=0.0, head=None)
        await store.commit(ChatSaved(replace(other, forked_from=ChatId("conv_9"))))
        assert await store.chat(ANN, chat.id) == replace(chat, title="new", metadata={"a": "1"}, updated_at=NOW + 5)

    async def test_an_edit_sets_what_it_names_and_leaves_the_rest(self, store: Store) -> None:
        chat = replace(await keep(store, "conv_1", "a"), title="a", named=False)
        await store.commit(ChatSaved(chat))
        style = Style(system_prompt="Be brief.", temperature=0.5)
        for edit, changed in (
            (ChatEdited(chat.id, pinned=True), {"pinned": True}),
            (ChatEdited(chat.id, metadata={"k": "v"}, at=NOW + 5), {"metadata": {"k": "v"}, "updated_at": NOW + 5}),
            (ChatEdited(chat.id, title="Of its question"), {"title": "Of its question"}),
            (ChatEdited(chat.id, title="Mine", named=True), {"title": "Mine", "named": True}),
            (ChatEdited(chat.id, title="Of its question", style=style), {"style": style}),
            (ChatEdited(chat.id, title="", named=False), {"title": "", "named": False}),
            (ChatEdited(chat.id), {}),
        ):
            await store.commit(edit)
            chat = replace(chat, **changed)
            assert await store.chat(ANN, chat.id) == chat
        found = await store.chats(ANN, ChatQuery(search="Mine"))
        assert found.rows == ()
        with pytest.raises(Conflict):
            await store.commit(ChatEdited(ChatId("conv_gone"), pinned=True))

    async def test_later_change_of_what_was_saved_or_read_stays_outside(self, store: Store) -> None:
        metadata = {"a": "1"}
        await store.commit(ChatSaved(replace(a_chat("conv_1"), metadata=metadata)))
        metadata["a"] = "2"
        read = await store.chat(ANN, ChatId("conv_1"))
        assert read is not None
        assert read.metadata == {"a": "1"}

    async def test_head_moves_only_from_where_it_is(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a")
        more = nodes("b", below=(await store.path(ANN, chat.head))[-1])
        await store.commit(NodesAdded(more), HeadMoved(chat.id, chat.head, more[0].hash, NOW + 1))
        late = nodes("c", below=(await store.path(ANN, chat.head))[-1])
        with pytest.raises(Conflict):
            await store.commit(
                NodesAdded(late),
                ChatSaved(replace(chat, title="late")),
                HeadMoved(chat.id, chat.head, late[0].hash, NOW + 2),
            )
        after = await store.chat(ANN, chat.id)
        assert after == replace(chat, head=more[0].hash, updated_at=NOW + 1)
        assert (await store.counts())["nodes"] == 2
        for before in (None, NodeHash("f" * 64)):
            with pytest.raises(Conflict):
                await store.commit(HeadMoved(chat.id, before, None, NOW))

    @pytest.mark.parametrize("after", ["unknown", "other user's"])
    async def test_head_never_points_to_what_is_not_there(self, store: Store, after: str) -> None:
        chat = await keep(store, "conv_1", "a")
        other = await keep(store, "conv_2", "a", user=BOB)
        target = other.head if after == "other user's" else NodeHash("0" * 64)
        with pytest.raises(Conflict):
            await store.commit(HeadMoved(chat.id, chat.head, target, NOW))
        with pytest.raises(Conflict):
            await store.commit(ChatSaved(replace(a_chat("conv_3"), head=target)))
        assert await store.chat(ANN, ChatId("conv_3")) is None

    async def test_move_of_an_unknown_chat_is_a_conflict(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await store.commit(HeadMoved(ChatId("conv_1"), None, None, NOW))

    async def test_ids_of_others_are_taken(self, store: Store) -> None:
        await keep(store, "conv_1", "a")
        await store.commit(AnswerSaved(an_answer("resp_1")))
        with pytest.raises(Conflict):
            await store.commit(ChatSaved(a_chat("conv_1", user=BOB)))
        with pytest.raises(Conflict):
            await store.commit(AnswerSaved(an_answer("resp_1", user=BOB)))

    async def test_others_see_nothing(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "secret", title="secret")
        await store.commit(AnswerSaved(an_answer("resp_1")))
        assert await store.chat(BOB, chat.id) is None
        assert await store.answer(BOB, AnswerId("resp_1")) is None
        assert (await store.chats(BOB, ChatQuery())).rows == ()
        assert await found(store, "secret", BOB) == set()
        assert (await store.answers(BOB, AnswerQuery(AnswerKind.RESPONSE))).rows == ()
        assert await store.match(BOB, [said("secret")]) == ()
        with pytest.raises(NotFound):
            await store.path(BOB, chat.head)

    async def test_an_id_that_is_no_unicode_finds_nothing(self, store: Store) -> None:
        assert await store.chat(ANN, ChatId("\ud800")) is None
        assert await store.answer(UserId("\ud800"), AnswerId("\ud800")) is None
        assert await store.entries(AnswerId("\ud800")) == ()
        with pytest.raises(NotFound):
            await store.path(ANN, NodeHash("\ud800"))
        with pytest.raises(NotFound):
            await store.chats(ANN, ChatQuery(after=ChatId("\ud800")))

    async def test_nothing_is_a_commit_too(self, store: Store) -> None:
        await store.commit()
        await store.append(())


class TestTree:
    async def test_forks_share_their_beginning(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b", "c")
        path = await store.path(ANN, chat.head)
        await store.commit(ChatSaved(a_chat("conv_2", path[:2])))
        assert await texts(store, path[1].hash) == ["a", "b"]
        assert (await store.counts())["nodes"] == 3

    async def test_adding_what_is_there_changes_nothing(self, store: Store) -> None:
        path = nodes("a", "b")
        await store.commit(NodesAdded(path))
        await store.commit(NodesAdded(tuple(replace(node, created_at=NOW + 9) for node in path)))
        assert await store.path(ANN, path[-1].hash) == path

    async def test_nodes_come_first_wherever_they_stand(self, store: Store) -> None:
        path = nodes("a")
        await store.commit(ChatSaved(a_chat("conv_1", path)), NodesAdded(path))
        assert await texts(store, path[0].hash) == ["a"]

    async def test_below_nothing_is_a_conflict(self, store: Store) -> None:
        path = nodes("a", "b")
        with pytest.raises(Conflict):
            await store.commit(ChatSaved(a_chat("conv_1")), NodesAdded(path[1:]))
        assert await store.counts() == {"chats": 0, "nodes": 0, "answers": 0, "journal": 0}

    async def test_wrong_depth_is_an_error(self, store: Store) -> None:
        with pytest.raises(StorageError):
            await store.commit(NodesAdded((replace(nodes("a")[0], depth=2),)))

    async def test_path_of_nothing_and_of_the_unknown(self, store: Store) -> None:
        assert await store.path(ANN, None) == ()
        with pytest.raises(NotFound):
            await store.path(ANN, NodeHash("0" * 64))
        with pytest.raises(NotFound):
            await store.path(ANN, NodeHash("0" * 64), 1)
        assert await store.path(ANN, None, 1) == ()

    @pytest.mark.large
    async def test_two_thousand_items(self, store: Store) -> None:
        chat = await keep(store, "conv_1", *(f"item {index}" for index in range(2000)))
        path = await store.path(ANN, chat.head)
        assert [node.depth for node in path] == list(range(1, 2001))
        assert await store.match(ANN, [replace(node.item, id=ItemId("")) for node in path]) == path
        for last in (1, 2, 1999, 2000, 2001):
            assert await store.path(ANN, chat.head, last) == path[-last:]
        await store.commit(ChatDeleted(chat.id))
        assert (await store.counts())["nodes"] == 0

    async def test_match_goes_by_bodies_not_by_ids(self, store: Store) -> None:
        path = nodes("a", "b", "c", ids=("msg_1", "msg_2", "msg_3"))
        await store.commit(NodesAdded(path))
        assert await store.match(ANN, [said("a"), said("b"), said("x")]) == path[:2]
        assert await store.match(ANN, [said("b")]) == ()
        assert await store.match(ANN, [said("a", role=Role.SYSTEM)]) == ()
        assert await store.match(ANN, []) == ()

    async def test_match_takes_the_longest_of_equal_beginnings(self, store: Store) -> None:
        short = nodes("a", "b", ids=("msg_1", "msg_2"))
        long = nodes("a", "b", "c", ids=("msg_3", "msg_4", "msg_5"))
        await store.commit(NodesAdded(short), NodesAdded(long))
        assert await store.match(ANN, [said("a"), said("b"), said("c"), said("d")]) == long
        assert await store.match(ANN, [said("a"), said("b")]) == short


class TestSweep:
    async def test_deleting_a_chat_leaves_what_others_need(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b", "c", "d")
        path = await store.path(ANN, chat.head)
        await store.commit(ChatSaved(a_chat("conv_2", path[:2])))
        await store.commit(ChatDeleted(chat.id))
        assert await store.chat(ANN, chat.id) is None
        assert (await store.counts())["nodes"] == 2
        await store.commit(ChatDeleted(ChatId("conv_2")))
        assert (await store.counts())["nodes"] == 0

    @pytest.mark.parametrize("field", ["input", "output"])
    async def test_answers_hold_their_nodes(self, store: Store, field: str) -> None:
        chat = await keep(store, "conv_1", "a", "b")
        answer = ended(an_answer("resp_1"))
        held = replace(answer, input=chat.head) if field == "input" else replace(answer, output=chat.head)
        await store.commit(AnswerSaved(held), ChatDeleted(chat.id))
        assert await texts(store, chat.head) == ["a", "b"]
        await store.commit(AnswerDeleted(answer.id))
        assert await store.counts() == {"chats": 0, "nodes": 0, "answers": 0, "journal": 0}

    async def test_an_item_left_out_is_gone_once_no_chat_has_it(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b", "c")
        path = await store.path(ANN, chat.head)
        added, head = without(path, path[1].item.id, NOW)
        await store.commit(NodesAdded(added), HeadMoved(chat.id, chat.head, head, NOW))
        assert await texts(store, head) == ["a", "c"]
        assert (await store.counts())["nodes"] == 2
        assert await found(store, "b") == set()

    async def test_siblings_stay(self, store: Store) -> None:
        one = await keep(store, "conv_1", "a", "b")
        two = await keep(store, "conv_2", "a", "c")
        await store.commit(ChatDeleted(one.id))
        assert await texts(store, two.head) == ["a", "c"]

    async def test_deleting_what_is_not_there_changes_nothing(self, store: Store) -> None:
        await store.commit(ChatDeleted(ChatId("conv_1")), AnswerDeleted(AnswerId("resp_1")))

    async def test_one_commit_can_hand_over(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b")
        await store.commit(ChatDeleted(chat.id), ChatSaved(replace(chat, id=ChatId("conv_2"))))
        assert await texts(store, chat.head) == ["a", "b"]


class TestSearch:
    @pytest.fixture(autouse=True)
    async def kept(self, store: Store) -> None:
        await keep(store, "conv_1", "Как испечь ХЛЕБ?", "Муку просеять", title="Пекарня")
        await keep(store, "conv_2", "Straße nach Berlin", title="100% sure_thing\\")
        await keep(store, "conv_3", "Как испечь ХЛЕБ?", "Другой ответ")

    @pytest.mark.parametrize(
        ("search", "chats"),
        [
            ("", {"conv_1", "conv_2", "conv_3"}),
            ("хлеб", {"conv_1", "conv_3"}),
            ("ПЕКАРНЯ", {"conv_1"}),
            ("просе", {"conv_1"}),
            ("ДРУГОЙ", {"conv_3"}),
            ("STRASSE", {"conv_2"}),
            ("0% s", {"conv_2"}),
            ("100%thing", set()),
            ("sure_", {"conv_2"}),
            ("sure-", set()),
            ("\\", {"conv_2"}),
            ("е", {"conv_1", "conv_3"}),
            ("nowhere", set()),
            ("\ud800", set()),
            ("'; DROP TABLE chats --", set()),
        ],
    )
    async def test_finds(self, store: Store, search: str, chats: set[str]) -> None:
        assert await found(store, search) == chats

    async def test_sees_the_path_and_no_sibling(self, store: Store) -> None:
        shared = nodes("root", "trunk")
        one, two = nodes("left", below=shared[-1]), nodes("right", below=shared[-1])
        await store.commit(
            NodesAdded((*shared, *one, *two)),
            ChatSaved(a_chat("conv_l", (*shared, *one))),
            ChatSaved(a_chat("conv_r", (*shared, *two))),
            ChatSaved(a_chat("conv_t", shared)),
        )
        assert await found(store, "left") == {"conv_l"}
        assert await found(store, "trunk") == {"conv_l", "conv_r", "conv_t"}

    async def test_follows_a_new_title(self, store: Store) -> None:
        chat = await store.chat(ANN, ChatId("conv_3"))
        assert chat is not None
        await store.commit(ChatSaved(replace(chat, title="Булочная")))
        assert await found(store, "булочная") == {"conv_3"}


class TestPages:
    @pytest.mark.parametrize("descending", [True, False])
    @pytest.mark.parametrize("limit", [1, 3, 7, 20])
    @pytest.mark.parametrize("search", ["", "chat"])
    async def test_chats_come_once_and_in_order(self, store: Store, descending: bool, limit: int, search: str) -> None:
        # Three at the same moment each: the id breaks the tie.
        await store.commit(*(ChatSaved(a_chat(f"conv_{n:02}", at=NOW + n // 3, title="Chat")) for n in range(20)))
        seen: list[str] = []
        query = ChatQuery(search=search, limit=limit, descending=descending)
        while True:
            page = await store.chats(ANN, query)
            seen += [chat.id for chat in page.rows]
            assert page.has_more == (len(seen) < 20)
            if not page.has_more:
                break
            query = replace(query, after=page.rows[-1].id)
        wanted = [f"conv_{n:02}" for n in range(20)]
        assert seen == (wanted[::-1] if descending else wanted)

    @pytest.mark.parametrize("descending", [True, False])
    async def test_answers_come_once_and_in_order(self, store: Store, descending: bool) -> None:
        await store.commit(*(AnswerSaved(an_answer(f"resp_{n:02}", at=NOW + n // 3)) for n in range(11)))
        seen: list[str] = []
        query = AnswerQuery(AnswerKind.RESPONSE, limit=2, descending=descending)
        while (page := await store.answers(ANN, query)).rows:
            seen += [answer.id for answer in page.rows]
            query = replace(query, after=page.rows[-1].id)
        wanted = [f"resp_{n:02}" for n in range(11)]
        assert seen == (wanted[::-1] if descending else wanted)

    async def test_cursor_of_nobody_and_of_others(self, store: Store) -> None:
        await keep(store, "conv_b", user=BOB)
        await store.commit(AnswerSaved(an_answer("resp_b", user=BOB)))
        for chat in ("conv_b", "conv_x", ""):
            with pytest.raises(NotFound) as missing:
                await store.chats(ANN, ChatQuery(after=ChatId(chat)))
            assert missing.value.param == "after"
        for answer in ("resp_b", "resp_x"):
            with pytest.raises(NotFound) as missing:
                await store.answers(ANN, AnswerQuery(AnswerKind.RESPONSE, after=AnswerId(answer)))
            assert missing.value.param == "after"

    async def test_a_page_of_nothing(self, store: Store) -> None:
        assert (await store.chats(ANN, ChatQuery())).has_more is False
        await keep(store, "conv_1")
        page = await store.chats(ANN, ChatQuery(limit=0))
        assert (page.rows, page.has_more) == ((), True)

    async def test_answers_by_kind_model_and_metadata(self, store: Store) -> None:
        base = ended(an_answer("resp_1"))
        await store.commit(
            AnswerSaved(replace(base, metadata={"a": "1", "b": "2"})),
            AnswerSaved(replace(base, id=AnswerId("resp_2"), metadata={"a": "1", "c'\"$.": "ё"})),
            AnswerSaved(replace(base, id=AnswerId("resp_3"), model="other")),
            AnswerSaved(replace(base, id=AnswerId("chatcmpl-1"), kind=AnswerKind.COMPLETION)),
        )

        async def ids(query: AnswerQuery) -> list[str]:
            return [answer.id for answer in (await store.answers(ANN, query)).rows]

        query = AnswerQuery(AnswerKind.RESPONSE)
        assert await ids(query) == ["resp_1", "resp_2", "resp_3"]
        assert await ids(AnswerQuery(AnswerKind.COMPLETION)) == ["chatcmpl-1"]
        assert await ids(replace(query, model="other")) == ["resp_3"]
        assert await ids(replace(query, metadata=(("a", "1"),))) == ["resp_1", "resp_2"]
        assert await ids(replace(query, metadata=(("a", "1"), ("b", "2")))) == ["resp_1"]
        assert await ids(replace(query, metadata=(("c'\"$.", "ё"),))) == ["resp_2"]
        assert await ids(replace(query, metadata=(("a", "2"),))) == []


class TestAnswers:
    async def test_comes_back_as_it_was_saved(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a", "b")
        path = await store.path(ANN, chat.head)
        answer = replace(
            an_answer("resp_1"),
            status=AnswerStatus.INCOMPLETE,
            chat=chat.id,
            previous=AnswerId("resp_0"),
            input=path[0].hash,
            output=path[1].hash,
            output_items=(path[1].item,),
            finish=FinishReason.LENGTH,
            usage=Usage(7, 8, 3),
            error_code="x",
            error_message="y",
            error_param="z",
            params={"tools": [{"a": None, "b": [1, 2.5, True]}], "input": "ё\ud800"},
            metadata={"k": "v"},
            store=True,
            background=True,
            completed_at=NOW + 0.000001,
            cuts=((-1, 3), (0, 5)),
        )
        await store.commit(AnswerSaved(answer))
        assert await store.answer(ANN, answer.id) == answer

    async def test_what_is_not_json_is_refused_and_changes_nothing(self, store: Store) -> None:
        with pytest.raises(TypeError):
            await store.commit(
                AnswerSaved(an_answer("resp_1")), AnswerSaved(replace(an_answer("resp_2"), params={"x": object()}))
            )
        assert (await store.counts())["answers"] == 0

    async def test_input_that_is_gone_is_a_conflict(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await store.commit(AnswerSaved(replace(an_answer("resp_1"), input=NodeHash("0" * 64))))

    async def test_an_end_is_an_end(self, store: Store) -> None:
        await store.commit(AnswerSaved(ended(an_answer("resp_1"))))
        with pytest.raises(Conflict):
            await store.commit(AnswerSaved(an_answer("resp_1")))
        await store.commit(AnswerSaved(replace(ended(an_answer("resp_1")), metadata={"late": "1"})))
        answer = await store.answer(ANN, AnswerId("resp_1"))
        assert answer is not None
        assert answer.metadata == {"late": "1"}

    async def test_how_it_was_asked_comes_back_as_it_was(self, store: Store) -> None:
        sampling = Sampling(
            temperature=0.0,
            max_tokens=7,
            stop=("a", "b"),
            seed=5,
            response_format={"type": "text"},
            tools=({"type": "function", "function": {"name": "look"}},),
            tool_choice={"type": "function", "function": {"name": "look"}},
        )
        for number, asked in enumerate(
            (Asked("Be brief.", sampling, Priority.BULK, 2, parked=True, adapter="x"), Asked())
        ):
            answer = replace(an_answer(f"resp_{number}"), asked=asked)
            await store.commit(AnswerSaved(answer))
            assert await store.answer(ANN, answer.id) == answer

    async def test_unfinished_are_those_of_all_users_in_the_order_of_their_coming(self, store: Store) -> None:
        await store.commit(
            AnswerSaved(an_answer("resp_3", at=NOW + 1)),
            AnswerSaved(an_answer("resp_2", user=BOB)),
            AnswerSaved(an_answer("resp_1", status=AnswerStatus.IN_PROGRESS)),
            AnswerSaved(ended(an_answer("resp_0"))),
        )
        assert [answer.id for answer in await store.unfinished()] == ["resp_3", "resp_2", "resp_1"]


class TestJournal:
    async def test_the_tokens_behind_each_delta_are_kept(self, store: Store) -> None:
        deltas = (
            Delta("one", tokens=1),
            Delta("two and three", tokens=2),
            Delta("none"),
            Delta(tool=ToolDelta(0, "call_1", "look", "{"), tokens=4),
        )
        await store.commit(AnswerSaved(an_answer("resp_1")))
        await store.append([JournalEntry(AnswerId("resp_1"), 0, deltas)])
        kept = await store.entries(AnswerId("resp_1"))
        assert kept == deltas
        assert [delta.tokens for delta in kept] == [1, 2, 0, 4]

    async def test_keeps_deltas_in_order(self, store: Store) -> None:
        await store.commit(AnswerSaved(an_answer("resp_1")), AnswerSaved(an_answer("resp_2")))
        tool = Delta("", ToolDelta(0, "call_1", "weather", '{"city"'))
        await store.append([entry("resp_1", 0, "При", "вет"), entry("resp_2", 0, "x")])
        await store.append([entry("resp_1", 2, "\ud83d")])
        await store.append([JournalEntry(AnswerId("resp_1"), 3, (tool, Delta("", ToolDelta(0, arguments="\udc00"))))])
        assert await store.entries(AnswerId("resp_1")) == (
            Delta("При"),
            Delta("вет"),
            Delta("\ud83d"),
            tool,
            Delta("", ToolDelta(0, arguments="\udc00")),
        )
        assert (await store.counts())["journal"] == 6

    async def test_one_append_can_go_on_with_one_answer(self, store: Store) -> None:
        await store.commit(AnswerSaved(an_answer("resp_1")))
        await store.append([entry("resp_1", 0, "a"), entry("resp_1", 1), entry("resp_1", 1, "b")])
        assert await store.entries(AnswerId("resp_1")) == (Delta("a"), Delta("b"))

    @pytest.mark.parametrize("start", [0, 1, 3])
    async def test_twice_or_with_a_gap_is_refused_whole(self, store: Store, start: int) -> None:
        await store.commit(AnswerSaved(an_answer("resp_1")), AnswerSaved(an_answer("resp_2")))
        await store.append([entry("resp_1", 0, "a", "b")])
        with pytest.raises(StorageError, match="goes on at 2"):
            await store.append([entry("resp_2", 0, "x"), entry("resp_1", start, "c")])
        assert await store.entries(AnswerId("resp_2")) == ()
        await store.append([entry("resp_2", 0, "x"), entry("resp_1", 2, "c")])
        assert len(await store.entries(AnswerId("resp_1"))) == 3

    async def test_takes_nothing_for_what_is_not_being_written(self, store: Store) -> None:
        await store.commit(AnswerSaved(ended(an_answer("resp_1"))))
        for name in ("resp_1", "resp_9"):
            with pytest.raises(StorageError, match="not being written"):
                await store.append([entry(name, 0, "a")])
            assert await store.entries(AnswerId(name)) == ()

    async def test_an_end_clears_it(self, store: Store) -> None:
        answer, other = an_answer("resp_1"), an_answer("resp_2")
        await store.commit(AnswerSaved(answer), AnswerSaved(other))
        await store.append([entry("resp_1", 0, "a"), entry("resp_2", 0, "b")])
        await store.commit(AnswerSaved(replace(answer, status=AnswerStatus.IN_PROGRESS)))
        assert await store.entries(answer.id) == (Delta("a"),)
        await store.commit(AnswerSaved(ended(answer)))
        assert await store.entries(answer.id) == ()
        assert await store.entries(other.id) == (Delta("b"),)
        assert (await store.counts())["journal"] == 1

    async def test_a_failed_end_clears_nothing(self, store: Store) -> None:
        answer = an_answer("resp_1")
        await store.commit(AnswerSaved(answer))
        await store.append([entry("resp_1", 0, "a")])
        with pytest.raises(Conflict):
            await store.commit(AnswerSaved(ended(answer)), HeadMoved(ChatId("conv_x"), None, None, NOW))
        assert await store.entries(answer.id) == (Delta("a"),)
        await store.append([entry("resp_1", 1, "b")])

    async def test_a_deleted_answer_starts_anew(self, store: Store) -> None:
        answer = an_answer("resp_1")
        await store.commit(AnswerSaved(answer), AnswerSaved(an_answer("resp_2")))
        await store.append([entry("resp_1", 0, "old"), entry("resp_2", 0, "x")])
        await store.commit(AnswerDeleted(answer.id))
        await store.commit(AnswerSaved(answer))
        assert await store.entries(answer.id) == ()
        await store.append([entry("resp_1", 0, "new")])
        assert await store.entries(answer.id) == (Delta("new"),)


class TestTogether:
    async def test_one_conflict_leaves_its_neighbours_alone(self, store: Store) -> None:
        chat = await keep(store, "conv_0", "a")
        await store.commit(AnswerSaved(an_answer("resp_1")))
        jobs = [store.commit(ChatSaved(a_chat(f"conv_{n}"))) for n in range(1, 50)]
        jobs[20:20] = [store.commit(ChatSaved(a_chat("conv_x")), HeadMoved(chat.id, None, None, NOW))]
        jobs[30:30] = [store.append([entry("resp_1", 5, "gap")]), store.append([entry("resp_1", 0, "a")])]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict, StorageError]
        assert (await store.counts()) == {"chats": 50, "nodes": 1, "answers": 1, "journal": 1}

    async def test_of_many_moves_from_one_place_one_wins(self, store: Store) -> None:
        chat = await keep(store, "conv_1", "a")
        path = await store.path(ANN, chat.head)
        tries = [nodes(f"try {n}", below=path[-1]) for n in range(20)]
        jobs = [store.commit(NodesAdded(t), HeadMoved(chat.id, chat.head, t[0].hash, NOW)) for t in tries]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert outcomes.count(None) == 1
        assert (await store.counts())["nodes"] == 2

    async def test_reads_see_what_was_acknowledged(self, store: Store) -> None:
        async def one(n: int) -> None:
            chat = await keep(store, f"conv_{n}", f"text {n}")
            assert await store.chat(ANN, chat.id) == chat
            assert await texts(store, chat.head) == [f"text {n}"]

        await asyncio.gather(*map(one, range(40)))

    async def test_a_caller_that_gives_up_harms_nobody(self, store: Store) -> None:
        jobs = [asyncio.ensure_future(store.commit(ChatSaved(a_chat(f"conv_{n}")))) for n in range(10)]
        await asyncio.sleep(0)
        jobs[3].cancel()
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [outcome for n, outcome in enumerate(outcomes) if n != 3] == [None] * 9
        assert (await store.counts())["chats"] >= 9


async def test_a_closed_store_says_so(store: Store) -> None:
    other = await open_store(StoreConfig(path=MEMORY))
    await other.close()
    await other.close()
    with pytest.raises(StorageError, match="closed"):
        await other.commit(ChatSaved(a_chat("conv_1")))
    with pytest.raises(StorageError, match="closed"):
        await other.chat(ANN, ChatId("conv_1"))
