"""Chats brought into a store and taken out of it again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO

import pytest

from hubbub.core import tree
from hubbub.core.types import Chat, ChatId, Item, ItemId, ItemType, Role, UserId
from hubbub.exchange.exporting import Exporter, Format
from hubbub.exchange.files import Bounds
from hubbub.exchange.nexus_note import read
from hubbub.ports import ChatDeleted, ChatQuery, ChatSaved, HeadMoved, NodesAdded
from hubbub.store.memory import MemoryStore
from support.exchange_kit import (
    ANN,
    CHAT,
    NOTE_1_0,
    NOTE_1_2,
    NOTE_1_3,
    NOTE_1_6,
    NOTES,
    branching,
    bring,
    conversation,
    export,
    message,
    packed,
)

LATER = 1_800_000_000.0


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    opened = MemoryStore()
    yield opened
    assert await opened.verify() == ()


async def only(store: MemoryStore) -> Chat:
    (chat,) = (await store.chats(ANN, ChatQuery())).rows
    return chat


async def texts(store: MemoryStore, chat: Chat) -> list[str]:
    return [node.item.text for node in await store.path(ANN, chat.head)]


async def say(store: MemoryStore, *given: tuple[Role, str], at: float = LATER) -> None:
    """Go on in the only chat, as the hub does."""
    chat = await only(store)
    path = await store.path(ANN, chat.head)
    items = [Item(ItemId(f"msg_{n}new"), ItemType.MESSAGE, (text,), role) for n, (role, text) in enumerate(given)]
    nodes = tree.link(ANN, path[-1] if path else None, items, at)
    await store.commit(NodesAdded(nodes), HeadMoved(chat.id, chat.head, nodes[-1].hash, at))


async def note(store: MemoryStore) -> str:
    return (await Exporter(store).one(ANN, (await only(store)).id, Format.NEXUS)).data.decode()


class TestChatGpt:
    async def test_comes_with_its_branches_titles_and_times(self, store: MemoryStore) -> None:
        report = await bring(store, export(branching()))
        assert (report.created, report.items, report.problems) == (1, 4, [])
        chat = await only(store)
        assert (chat.title, chat.created_at, chat.updated_at) == ("Of whales", 1_700_000_000.5, 1_700_000_900.25)
        assert await texts(store, chat) == ["Why do whales sing?", "To find each other.", "And *at night*?"]
        (other,) = await store.branches(ANN, chat.id)
        assert [node.item.text for node in await store.path(ANN, other)] == ["Why do whales sing?", "To be heard."]
        assert [node.created_at for node in await store.path(ANN, other)] == [1_700_000_000.5, 1_700_000_010.0]

    async def test_twice_is_once(self, store: MemoryStore) -> None:
        data = packed({"conversations.json": export(branching(), branching())})
        first, second = await bring(store, data), await bring(store, data)
        assert (first.created, first.unchanged, second.unchanged, second.items) == (1, 1, 2, 0)
        assert (await store.counts())["nodes"] == 4

    async def test_a_longer_export_goes_on_and_keeps_the_old_end(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        longer = branching()
        longer["mapping"]["a1b"] = {
            "id": "a1b",
            "parent": "a1",
            "message": message("a1b", "user", "By whom?"),
            "children": [],
        }
        longer |= {"current_node": "a1b", "update_time": 1_700_001_000.0}
        report = await bring(store, export(longer))
        assert (report.updated, report.items) == (1, 1)
        chat = await only(store)
        assert await texts(store, chat) == ["Why do whales sing?", "To be heard.", "By whom?"]
        assert chat.updated_at == 1_700_001_000.0
        ends = [(await store.path(ANN, leaf))[-1].item.text for leaf in await store.branches(ANN, chat.id)]
        assert "And *at night*?" in ends

    async def test_where_somebody_went_on_here_what_comes_is_a_branch(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        await say(store, (Role.USER, "mine"))
        longer = branching()
        longer["mapping"]["q3"] = {
            "id": "q3",
            "parent": "q2",
            "message": message("q3", "assistant", "theirs"),
            "children": [],
        }
        report = await bring(store, export(longer | {"current_node": "q3"}))
        assert (report.updated, report.items) == (1, 1)
        chat = await only(store)
        assert (await texts(store, chat))[-1] == "mine"
        ends = [(await store.path(ANN, leaf))[-1].item.text for leaf in await store.branches(ANN, chat.id)]
        assert ends == ["To be heard.", "theirs"]
        assert (await bring(store, export(longer | {"current_node": "q3"}))).unchanged == 1

    async def test_of_a_chat_that_was_deleted_here_it_is_brought_anew(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        await store.commit(ChatDeleted((await only(store)).id))
        assert (await store.counts())["nodes"] == 0
        assert (await bring(store, export(branching()))).created == 1

    async def test_while_an_answer_is_written_it_is_left_alone(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        longer = branching()
        longer["mapping"]["q3"] = {
            "id": "q3",
            "parent": "q2",
            "message": message("q3", "assistant", "x"),
            "children": [],
        }
        report = await bring(store, export(longer | {"current_node": "q3"}), busy=lambda user, chat: True)
        assert (report.updated, report.problem_count) == (0, 1)
        assert "being written" in report.problems[0].message
        assert (await store.counts())["nodes"] == 4

    @pytest.mark.large
    async def test_thousands_stream_in_and_out(self, store: MemoryStore) -> None:
        chats = [conversation(("q", None, message("q", "user", f"t{n}")), conversation_id=f"c{n}") for n in range(300)]
        report = await bring(store, export(*chats))
        assert (report.created, report.items) == (300, 300)
        pieces = [piece async for piece in Exporter(store).every(ANN, Format.JSON)]
        assert {piece.name for piece in pieces} == {"conversations.json"}
        assert len(json.loads(b"".join(piece.data for piece in pieces))) == 300
        assert [p.data async for p in Exporter(store).every(UserId("bob"), Format.JSON)] == [b"[]\n"]

    async def test_a_chat_that_is_too_large_is_told_and_the_others_come(self, store: MemoryStore) -> None:
        large = conversation(*((str(n), None, message(str(n), "user", "x" * 100)) for n in range(100)))
        report = await bring(store, export(large, branching()), bounds=Bounds(chat_bytes=8000))
        assert (report.created, report.problem_count) == (1, 1)


class TestNotes:
    @pytest.mark.parametrize("text", NOTES)
    async def test_come_back_byte_for_byte(self, store: MemoryStore, text: str) -> None:
        report = await bring(store, text.encode(), "Of whales.md")
        assert (report.created, report.items) == (1, 2)
        assert await note(store) == text
        assert (await bring(store, text.encode(), "Of whales.md")).unchanged == 1

    @pytest.mark.parametrize("text", [*NOTES, "\ufeff" + NOTE_1_6.replace("\n", "\r\n")])
    async def test_what_is_said_since_is_added_in_the_same_form(self, store: MemoryStore, text: str) -> None:
        await bring(store, text.encode(), "n.md")
        before = read(text)
        await say(store, (Role.USER, "More?\n\n> quoted\n  code"), (Role.ASSISTANT, "Yes."))
        after = await note(store)
        assert after.startswith(text)
        found = read(after)
        assert [p.text for p in found.pieces[-2:]] == ["More?\n\n> quoted\n  code", "Yes."]
        assert (found.form, found.newline, found.clock) == (before.form, before.newline, before.clock)
        assert abs((found.clock.read(found.pieces[-1].when) or 0) - LATER) < 60
        assert (await bring(store, after.encode(), "n.md")).items == 0
        assert await note(store) == after

    async def test_the_added_form_is_the_plugins_own(self, store: MemoryStore) -> None:
        await bring(store, NOTE_1_3.encode(), "n.md")
        await say(store, (Role.USER, "a"), (Role.ASSISTANT, "b"))
        assert (await note(store))[len(NOTE_1_3) :] == (
            "\n\n>[!nexus_user] **User** - 01/15/2027 at 3:00:00 AM\n> a\n<!-- UID: 0new -->\n"
            ">[!nexus_agent] **Assistant** - 01/15/2027 at 3:00:00 AM\n> b\n<!-- UID: 1new -->\n\n---"
        )

    async def test_the_old_forms_go_on_as_they_were(self, store: MemoryStore) -> None:
        await bring(store, NOTE_1_0.encode(), "n.md")
        await say(store, (Role.ASSISTANT, "b"))
        assert (await note(store))[len(NOTE_1_0) :] == (
            "\n\n#### Assistant, on 01/15/2027 at 8:00 AM;\n>> b\n<!-- UID: 0new -->\n\n---\n\n\n"
        )

    async def test_a_longer_note_goes_on(self, store: MemoryStore) -> None:
        await bring(store, NOTE_1_2.encode(), "n.md")
        longer = NOTE_1_2 + "\n\n>[!nexus_user] **User** - 09/02/2025 at 10:00 AM\n> thanks\n<!-- UID: t -->\n\n\n"
        report = await bring(store, longer.encode(), "moved/n.md")
        assert (report.updated, report.items) == (1, 1)
        chat = await only(store)
        assert (await texts(store, chat))[-1] == "thanks"
        assert await note(store) == longer
        assert (await bring(store, NOTE_1_2.encode(), "n.md")).items == 0
        assert await note(store) == longer

    async def test_a_message_that_was_changed_in_the_vault_is_a_branch_that_is_shown(self, store: MemoryStore) -> None:
        await bring(store, NOTE_1_6.encode(), "n.md")
        await bring(store, NOTE_1_6.replace("слышали", "видели").encode(), "n.md")
        chat = await only(store)
        assert "видели" in (await texts(store, chat))[-1]
        (old,) = await store.branches(ANN, chat.id)
        assert "слышали" in (await store.path(ANN, old))[-1].item.text

    async def test_of_another_branch_what_it_shares_comes_back(self, store: MemoryStore) -> None:
        await bring(store, NOTE_1_3.encode(), "n.md")
        chat = await only(store)
        first, _ = await store.path(ANN, chat.head)
        nodes = tree.link(ANN, first, [Item(ItemId("msg_x"), ItemType.MESSAGE, ("Other.",), Role.ASSISTANT)], LATER)
        await store.commit(NodesAdded(nodes), HeadMoved(chat.id, chat.head, nodes[-1].hash, LATER))
        after = await note(store)
        assert after.startswith(NOTE_1_3[: read(NOTE_1_3).pieces[0].end])
        assert [piece.text for piece in read(after).pieces][1:] == ["Other."]

    async def test_a_vault_goes_in_and_out(self, store: MemoryStore) -> None:
        vault = {f"Nexus/Conversations/{n}/Чат {n}.md": text.encode() for n, text in enumerate(NOTES)}
        report = await bring(store, packed({**vault, "x.md": b"# other"}), "vault.zip")
        assert (report.created, report.passed_over) == (4, {"other notes": 1})
        data = b"".join([piece async for piece in Exporter(store).archive(ANN, Format.NEXUS)])
        with zipfile.ZipFile(BytesIO(data)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == vault

    async def test_a_note_that_names_a_chat_of_ours_takes_nothing_from_it(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        chat = await only(store)
        await bring(store, NOTE_1_3.replace("provider:", f"hubbub_chat: {chat.id}\nprovider:").encode(), "n.md")
        assert await store.chat(ANN, chat.id) == chat
        assert len((await store.chats(ANN, ChatQuery())).rows) == 2


class TestOurs:
    async def test_json_comes_back_exactly(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        chat = await only(store)
        path = await store.path(ANN, chat.head)
        odd = [
            Item(ItemId(""), ItemType.FUNCTION_CALL, ('{"a": 1}',), call_id="call_1", name="f"),
            Item(ItemId(""), ItemType.FUNCTION_CALL_OUTPUT, ("x", "y"), call_id="call_1"),
            Item(ItemId(""), ItemType.MESSAGE, ("cut", " short"), Role.ASSISTANT, complete=False),
            Item(ItemId(""), ItemType.MESSAGE, ("Now brief.",), Role.DEVELOPER),
            Item(ItemId(""), ItemType.MESSAGE, ("",), Role.USER),
        ]
        nodes = tree.link(ANN, path[-1], odd, LATER)
        style = replace(chat.style, system_prompt="Be kind.", temperature=0.5)
        await store.commit(
            NodesAdded(nodes), HeadMoved(chat.id, chat.head, nodes[-1].hash, LATER),
            ChatSaved(replace(chat, style=style, metadata={"k": "v"}, updated_at=LATER)),
        )  # fmt: skip
        data = (await Exporter(store).one(ANN, chat.id, Format.JSON)).data
        assert (await bring(store, data)).unchanged == 1

        other = MemoryStore()
        report = await bring(other, data)
        assert (report.created, report.items, report.problems, dict(report.left_out)) == (1, 9, [], {})
        twin = await only(other)
        assert await other.path(ANN, twin.head) == await store.path(ANN, nodes[-1].hash)
        assert (twin.style, twin.metadata, twin.title) == (style, {"k": "v"}, chat.title)
        assert len(await other.branches(ANN, twin.id)) == 1
        assert (await Exporter(other).one(ANN, twin.id, Format.JSON)).data == data.replace(
            chat.id.encode(), twin.id.encode()
        )
        assert await other.verify() == ()

    async def test_a_chat_made_here_becomes_a_note_and_is_known_again(self, store: MemoryStore) -> None:
        chat = Chat(ChatId("conv_1"), ANN, 1_700_000_000.0, 1_700_000_000.0, title="Is it: so?")
        await store.commit(ChatSaved(chat))
        await say(store, (Role.USER, "Hi\n\n> q"), (Role.ASSISTANT, ""))
        text = await note(store)
        assert text.startswith(
            "---\nnexus: nexus-ai-chat-importer\nplugin_version: \"1.6.3\"\nprovider: hubbub\naliases: 'Is it: so'\n"
            "conversation_id: conv_1\ncreate_time: 2023-11-14T22:13:20.000Z\nupdate_time: 2027-01-15T08:00:00.000Z\n"
        )
        assert "# Title: Is it: so?\n\nCreated: 2023-11-14 22:13:20\n" in text
        assert ">[!nexus_agent] **Assistant** - 2027-01-15 08:00:00\n> [No content found]\n" in text
        assert (await bring(store, text.encode(), "x.md")).items == 0
        assert await note(store) == text

    async def test_a_chat_of_chatgpt_becomes_a_note_with_its_uids(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        piece = await Exporter(store).one(ANN, (await only(store)).id, Format.NEXUS)
        text = piece.data.decode()
        assert f"conversation_id: {CHAT}\n" in text
        assert f"Chat URL: https://chatgpt.com/c/{CHAT}\n" in text
        assert [p.uid for p in read(text).pieces] == ["q1", "a2", "q2"]
        assert piece.name == "chatgpt/2023/11/Of whales.md"
        assert (await bring(store, text.encode(), "x.md")).items == 0
        assert len((await store.chats(ANN, ChatQuery())).rows) == 1

    async def test_markdown_is_for_reading(self, store: MemoryStore) -> None:
        await bring(store, export(branching()))
        data = (await Exporter(store).one(ANN, (await only(store)).id, Format.MARKDOWN)).data.decode()
        assert "# Of whales\n\n## User (2023-11-14 22:13:20 UTC)\n\nWhy do whales sing?\n" in data

    async def test_names_of_files_are_safe_and_differ(self, store: MemoryStore) -> None:
        titles = ["../../etc", "a/b\\c:d", "Ёлки", "ёлки", "", "x" * 300, "\u202e.htaccess"]
        chats = [
            conversation(("q", None, message("q", "user", "t")), conversation_id=f"c{n}", title=title)
            for n, title in enumerate(titles)
        ]
        await bring(store, export(*chats))
        names = [piece.name async for piece in Exporter(store).every(ANN, Format.NEXUS)]
        assert len({name.casefold() for name in names}) == len(titles)
        assert all(name.startswith("chatgpt/2023/11/") and name.count("/") == 3 for name in names)
        assert all(len(name.rpartition("/")[2].encode()) <= 120 for name in names)
