"""Notes of the Nexus importer: every form it has had, read and given back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hubbub.core.types import Role
from hubbub.exchange import nexus
from hubbub.exchange.nexus_note import Form, is_note, read
from hubbub.exchange.nexus_times import clock_of, stamp
from support.exchange_kit import NOTE_1_0, NOTE_1_2, NOTE_1_3, NOTE_1_6, NOTES


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("text", NOTES)
def test_messages_of_every_version_are_found_with_their_uids(text: str) -> None:
    note = read(text)
    assert is_note(text)
    assert [piece.role for piece in note.pieces] == [Role.USER, Role.ASSISTANT]
    assert all(f"<!-- UID: {piece.uid} -->" in text for piece in note.pieces)
    assert note.pieces[0].end == note.pieces[1].start


def test_the_first_form() -> None:
    note = read(NOTE_1_0)
    assert [piece.text for piece in note.pieces] == ["Why do whales sing?\n\nIn short.", "To be heard.\n> quoted"]
    assert (note.title, note.form, note.clock.sure) == ("Whales", Form.OLD, False)
    assert note.clock.read(note.pieces[1].when) == utc(2024, 7, 22, 1, 19)


def test_the_form_with_blank_lines() -> None:
    note = read(NOTE_1_2)
    assert note.form is Form.LOOSE
    assert note.pieces[0].text == (
        "clear the cache on linux\n\n[!nexus_attachment] **shot.png** (image/png) - 12.5 KB\n"
        "![[Nexus/Attachments/chatgpt/shot.png]]"
    )
    assert note.pieces[1].text.startswith("Do this:\n\n---\n\n1. **Close it**\n   ```bash\n   rm -rf")
    assert note.attachments == 1


def test_the_dense_form_tells_its_zone() -> None:
    note = read(NOTE_1_3)
    assert note.form is Form.DENSE
    assert (note.clock.offset, note.clock.sure) == (-5 * 3600, True)
    assert note.clock.read(note.pieces[0].when) == utc(2025, 9, 11, 21, 25, 37)
    assert note.pieces[1].text == (
        "Here:\n>[!nexus_artifact] **Front page** v1\n"
        "> 🎨 [[Nexus/Attachments/claude/artifacts/x/front_v1|View Artifact]]"
    )
    assert note.attachments == 2


def test_the_newest_form() -> None:
    note = read(NOTE_1_6)
    assert note.title == "Киты: почему поют"
    assert note.pieces[1].text == "Чтобы их слышали.\n\n> цитата\n\n$$x^2$$"
    assert note.clock.read(note.pieces[1].when) == utc(2026, 1, 15, 11, 30, 23)
    talk = nexus.conversation(NOTE_1_6.encode(), "x")
    assert talk is not None
    assert (talk.source, talk.created_at) == ("nexus:perplexity:3f6d1b52-thread", utc(2026, 1, 15, 11, 30, 22))
    assert [one.item.id for one in talk.said] == ["msg_7a1c-user", "msg_7a1c"]


def test_what_is_quoted_in_a_message_begins_none() -> None:
    text = (
        ">[!nexus_user] **User** - 2026-01-15 14:30:22\n> [!nexus_agent] **Assistant** - 2026-01-15 14:30:22\n"
        "> <!-- UID: no -->\n>> [!nexus_agent] no\n<!-- UID: yes -->"
    )
    (piece,) = read(text).pieces
    assert piece.uid == "yes"
    assert piece.text.count("nexus_agent") == 2


def test_a_head_on_two_lines_and_with_blanks_as_people_write_it() -> None:
    text = (
        "> [!nexus_user]\n> **User** - 2026-01-15 14:30:22\n>\n> Hi\n<!-- UID: a -->\n\n"
        "> [!nexus_agent]+ **Assistant**\n> Ho"
    )
    first, second = read(text).pieces
    assert (first.text, first.when, second.text, second.when) == ("\nHi", "2026-01-15 14:30:22", "Ho", "")
    assert second.uid


def test_uids_that_come_twice_are_told_apart() -> None:
    piece = ">[!nexus_user] **User** - 2026-01-15 14:30:22\n> Hi\n<!-- UID: unknown -->\n"
    assert [one.uid for one in read(piece * 3).pieces] == ["unknown", "unknown.2", "unknown.3"]


@pytest.mark.parametrize(
    "text",
    [
        "# A note\n\ntext",
        "---\nnexus: nexus-ai-chat-importer\nartifact_id: a\nconversation_id: c\n---\n# X (Version 1)\n",
        "---\nnexus: nexus-ai-chat-importer\nprovider: chatgpt\n---\n# Import report\n",
        "",
    ],
)
def test_other_notes_are_no_conversations(text: str) -> None:
    assert not is_note(text)
    assert nexus.conversation(text.encode(), "x") is None


def test_crlf_and_a_byte_order_mark_change_nothing_of_the_texts() -> None:
    note = read("\ufeff" + NOTE_1_6.replace("\n", "\r\n"))
    assert note.newline == "\r\n"
    assert [(p.uid, p.text) for p in note.pieces] == [(p.uid, p.text) for p in read(NOTE_1_6).pieces]
    assert note.fields == read(NOTE_1_6).fields


@pytest.mark.parametrize(
    ("text", "order", "numbers"),
    [
        ("09/02/2025 at 9:17 AM", "MDY", (2025, 9, 2, 9, 17, 0)),
        ("09/11/2025 at 12:25:35 AM", "MDY", (2025, 9, 11, 0, 25, 35)),
        ("29.06.2025 at 16:50", "DMY", (2025, 6, 29, 16, 50, 0)),
        ("2025-06-29 16:50:01", "YMD", (2025, 6, 29, 16, 50, 1)),
        ("2025/06/29 at 4:50:01 p.m.", "YMD", (2025, 6, 29, 16, 50, 1)),
    ],
)
def test_times_in_the_forms_of_many_languages(text: str, order: str, numbers: tuple[int, ...]) -> None:
    found = stamp(text)
    assert found is not None
    assert found.wall(order) == utc(*numbers)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1/2/3/4 at 5:00", "32/13/2025 at 9:17", "2024. 01. 01. at 오후 1:00"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert clock_of(("", ""), [text]).read(text) is None


def test_the_order_of_day_and_month_is_told_by_the_time_in_utc() -> None:
    clock = clock_of(("2025-04-03T10:00:00.000Z", "03/04/2025 at 15:45:00"), [])
    assert (clock.offset, clock.read("05/04/2025 at 15:45:00")) == (5.75 * 3600, utc(2025, 4, 5, 10))
    clock = clock_of(("2025-03-04T10:00:00.000Z", "03/04/2025 at 10:00:00"), [])
    assert clock.read("05/04/2025 at 10:00:00") == utc(2025, 5, 4, 10)


@pytest.mark.parametrize(
    "like", ["9/2/2025 at 9:17 AM", "09/12/2025 at 9:17:05 PM", "29.06.2025 16:50:01", "2025-06-29 06:50:01"]
)
def test_a_new_time_has_the_form_of_the_old_ones(like: str) -> None:
    clock = clock_of(("", ""), [like])
    at = clock.read(like)
    assert at is not None
    assert clock.write(at, like) == like
