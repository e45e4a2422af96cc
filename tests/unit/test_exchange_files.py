"""Files as they are brought: torn, hostile, too large, or something else."""

from __future__ import annotations

import json
import struct
import zipfile
from io import BytesIO
from typing import Any

import pytest

from hubbub.exchange.exporting import unique_name
from hubbub.exchange.files import Bounds, Reading, safe
from hubbub.exchange.json_items import elements
from support.exchange_kit import NOTE_1_3, NOTE_1_6, branching, conversation, export, message, packed


def found(data: bytes, name: str = "x", **bounds: int) -> tuple[list[str], list[str]]:
    """Titles of what was read, and problems."""
    given = list(Reading(name, Bounds(**bounds)).found(BytesIO(data)))
    titles = [one.talk.title for one in given if one.talk]
    return titles, [f"{p.file} | {p.chat} | {p.message}" for one in given if (p := one.problem)]


def split(data: bytes, most: int = 1000, step: int = 7) -> list[tuple[int, bytes | None, str]]:
    source = BytesIO(data)
    return [(e.number, e.raw, e.fault) for e in elements(lambda size: source.read(step), most)]


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_elements_come_one_by_one_whatever_the_pieces(step: int) -> None:
    chats: list[Any] = [{"a": ']}\\" [{'}, {"b": [{}, [1, "\\\\"]]}, {}]
    data = b"\xef\xbb\xbf \n" + json.dumps(chats).encode()
    assert [json.loads(raw or b"") for _, raw, _ in split(data, step=step)] == chats
    assert [json.loads(raw or b"") for _, raw, _ in split(b' {"a": {}}', step=step)] == [{"a": {}}]
    assert split(b" [ ] ", step=step) == []


@pytest.mark.parametrize(
    ("data", "whole", "fault"),
    [
        (b'[{"a": 1}, {"b": "x', 1, "amid this chat"),
        (b'[{"a": 1}', 1, "amid the list"),
        (b'[{"a": 1}, 3, {}]', 1, "here stands b'3'"),
        (b"hello", 0, "begins neither"),
        (b"  ", 0, "empty"),
    ],
)
def test_a_torn_list_gives_what_was_whole(data: bytes, whole: int, fault: str) -> None:
    *good, (_, raw, said) = split(data)
    assert len(good) == whole
    assert raw is None
    assert fault in said


def test_one_that_is_too_large_does_not_take_the_others_with_it() -> None:
    large = {"a": [{"n": n} for n in range(500)]}
    data = json.dumps([{"x": 1}, large, {"y": 2}]).encode()
    assert [(number, raw is not None) for number, raw, _ in split(data)] == [(1, True), (2, False), (3, True)]
    endless = json.dumps([{"x": 1}, {"a": "s" * 5000}, {"y": 2}]).encode()
    assert "was not read" in split(endless)[-1][2]


def test_one_damaged_chat_does_not_take_the_others_with_it() -> None:
    whole = json.dumps(branching()).encode()
    bad = (
        b'{"title": "Bad \xff", "mapping": {}}',
        b'{"title": "b", mapping: {}}',
        b'{"title": "None"}',
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
    )
    titles, problems = found(b"[" + b",".join([whole, *bad, whole]) + b"]")
    assert titles == ["Of whales", "Of whales"]
    words = ("not UTF-8", "not valid JSON", "no mapping", "")
    assert all(word in problem for word, problem in zip(words, problems, strict=True))
    assert "None (chat 4, at byte" in problems[2]


def test_half_a_surrogate_pair_and_names_that_are_not_unicode_can_be_kept() -> None:
    (one,) = Reading("\udcff.json").found(BytesIO(export(conversation(("q", None, message("q", "user", "\ud83d"))))))
    assert one.talk is not None
    assert (one.file, one.talk.said[0].item.text) == ("?.json", "\ufffd")


def test_an_archive_of_chatgpt_with_its_pictures() -> None:
    reading = Reading("x.zip")
    files = {"conversations-000.json": export(branching()), "a/b.png": b"x", "chat.html": b"x", "user.json": b"{}"}
    (one,) = reading.found(BytesIO(packed(files)))
    assert one.file == "conversations-000.json"
    assert reading.passed_over == {".png": 1, ".html": 1, ".json": 1}


def test_an_archive_of_a_vault() -> None:
    reading = Reading("vault.zip")
    files = {
        "Nexus/a.md": NOTE_1_3.encode(),
        "b.md": NOTE_1_6.encode(),
        "diary.md": b"# Today",
        "bad.md": b"\xff[!nexus_user]",
    }
    given = list(reading.found(BytesIO(packed(files))))
    assert [one.file for one in given if one.talk] == ["Nexus/a.md", "b.md"]
    assert [one.problem.message for one in given if one.problem] == ["this is not UTF-8: byte 0 is 0xff"]
    assert reading.passed_over == {"other notes": 1}


@pytest.mark.parametrize("name", ["../up.md", "/root.md", "a/../../b.md", "c:/x.md", "a\\..\\b.md", "a//b.md"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    titles, problems = found(packed({name: NOTE_1_3.encode(), "good.md": NOTE_1_6.encode()}))
    assert len(titles) == 1
    assert "leads out" in problems[0]
    assert not safe(name)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = packed({"conversations.json": b"[" + b" " * 5_000_000 + b"]", "good.md": NOTE_1_6.encode()})
    titles, problems = found(bomb, ratio_bytes=1_000_000)
    assert len(titles) == 1
    assert "no chats are" in problems[0]
    titles, problems = found(packed({f"{n}.md": NOTE_1_6.encode() for n in range(4)}), unpacked_bytes=2000)
    assert len(titles) == 2
    assert all("unpacks to more than 2000 bytes" in problem for problem in problems)
    assert "more than 3 files" in found(packed({f"{n}.md": b"" for n in range(4)}), entries=3)[1][0]


def test_what_an_archive_says_of_itself_is_not_believed() -> None:
    data = bytearray(packed({"conversations.json": export(branching())}))
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1  # encrypted, it says
    assert "encrypted" in found(bytes(data))[1][0]
    data = bytearray(packed({"conversations.json": export(branching())}))
    data[60] ^= 0xFF
    assert "cannot be unpacked" in found(bytes(data))[1][0]
    assert "damaged" in found(packed({"conversations.json": export(branching())})[:-30])[1][0]
    data = bytearray(packed({"conversations.json": export(branching())}))
    central = data.rindex(b"PK\x01\x02")
    data[central + 10 : central + 12] = struct.pack("<H", 99)
    assert "cannot be unpacked" in found(bytes(data))[1][0]


def test_an_archive_in_an_archive_says_what_to_do() -> None:
    inner = packed({"conversations.json": export(branching())})
    assert "unpack the outer one" in found(packed({"part1.zip": inner}))[1][0]
    assert "nothing to bring" in found(packed({"a.txt": b"x"}))[1][0]
    assert "nothing to bring" in found(packed({}))[1][0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"# A note", "neither"),
        (b"[]", "no chats"),
        (b"\x89PNG\xff", "not UTF-8"),
        (b"{}", "no mapping"),
    ],
)
def test_other_files_say_what_is_wrong(data: bytes, said: str) -> None:
    titles, problems = found(data)
    assert titles == []
    assert said in problems[0]


def test_a_note_that_is_too_large_is_refused() -> None:
    assert "more than 100 bytes" in found(NOTE_1_3.encode(), "n.md", chat_bytes=100)[1][0]


def test_problems_can_be_shown_anywhere() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../\x1b[31m\u202e.md", NOTE_1_3)
    _, (problem,) = found(out.getvalue())
    assert problem.isprintable()


def test_thousands_of_chats_of_one_title_have_names_of_their_own() -> None:
    given: dict[str, int] = {}
    names = [unique_name("New chat.md", given) for _ in range(3000)]
    assert names[:3] == ["New chat.md", "New chat (1).md", "New chat (2).md"]
    assert len({name.casefold() for name in names}) == 3000
    assert max(given.values()) == 2999, "each was tried once"
    assert unique_name("new CHAT (7).md", given) == "new CHAT (7) (1).md"
