"""What is SQLite's own: opening, migrations, locks, the journal's rows, damage, and a file that cannot grow."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, StorageError, StorageFull
from hubbub.core.types import AnswerId, ChatId, Delta, Origin
from hubbub.ports import AnswerSaved, BranchKept, ChatQuery, ChatSaved, HeadMoved, OriginSaved
from hubbub.store.config import StoreConfig
from hubbub.store.migrations import MIGRATIONS, Migration, level, migrate
from hubbub.store.sqlite import SqliteStore
from hubbub.store.writer import CUT_ROWS
from support.store_kit import ANN, NOW, a_chat, an_answer, ended, entry, keep


@asynccontextmanager
async def opened(path: Path, config: StoreConfig | None = None) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, config or StoreConfig(path=str(path), readers=1))
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubbub.db"


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


class TestOpening:
    async def test_what_was_kept_is_there_again(self, path: Path) -> None:
        async with opened(path) as store:
            chat = await keep(store, "conv_1", "a", "b")
        async with opened(path) as store:
            assert await store.chat(ANN, chat.id) == chat
            assert len(await store.path(ANN, chat.head)) == 2
            assert await store.verify() == ()

    async def test_folder_is_made_and_file_is_private(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "hubbub.db"
        async with opened(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_one_process_at_a_time(self, path: Path) -> None:
        async with opened(path) as store:
            with pytest.raises(StorageError, match="another Hubbub"):
                await SqliteStore.open(path)
            await keep(store, "conv_1", "still works")
        async with opened(path):
            pass

    async def test_reading_beside_a_running_one(self, path: Path) -> None:
        async with opened(path) as store:
            chat = await keep(store, "conv_1", "a")
            async with opened(path, StoreConfig(path=str(path), read_only=True)) as beside:
                assert await beside.chat(ANN, chat.id) == chat
                assert await beside.verify() == ()
                with pytest.raises(StorageError, match="read only"):
                    await beside.commit(ChatSaved(chat))

    async def test_reading_only_needs_a_store(self, path: Path) -> None:
        with pytest.raises(StorageError, match="no store"):
            await SqliteStore.open(path, StoreConfig(path=str(path), read_only=True))
        assert not path.exists()

    async def test_not_a_database(self, path: Path) -> None:
        path.write_bytes(b"this is no database, whatever it says" * 100)
        with pytest.raises(StorageError, match="not a SQLite database"):
            await SqliteStore.open(path)

    async def test_a_folder(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(StorageError, match="cannot"):
            await SqliteStore.open(path)

    async def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="cannot open"):
            await SqliteStore.open(tmp_path / "file" / "hubbub.db")

    async def test_database_of_another_program(self, path: Path) -> None:
        change(path, "CREATE TABLE songs (name)")
        with pytest.raises(StorageError, match=r"another program.*songs"):
            await SqliteStore.open(path)
        assert ask(path, "SELECT name FROM sqlite_master") == [("songs",)]

    async def test_a_lock_of_another_program(self, path: Path) -> None:
        config = StoreConfig(path=str(path), busy_timeout_s=0)
        async with opened(path, config) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                jobs = (store.commit(ChatSaved(a_chat(f"conv_{n}"))) for n in range(3))
                outcomes = await asyncio.gather(*jobs, return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [StorageError] * 3
                assert "lock" in str(outcomes[0])
            await store.commit(ChatSaved(a_chat("conv_1")))

    @pytest.mark.parametrize(
        ("field", "value"), [("readers", 0), ("busy_timeout_s", -1), ("journal_limit_bytes", 0), ("path", "")]
    )
    def test_config_names_the_field(self, field: str, value: object) -> None:
        with pytest.raises(ConfigError, match=field):
            replace(StoreConfig(), **{field: value})  # type: ignore[arg-type]

    async def test_close_keeps_what_was_submitted(self, path: Path) -> None:
        store = await SqliteStore.open(path)
        jobs = [asyncio.ensure_future(store.commit(ChatSaved(a_chat(f"conv_{n}")))) for n in range(100)]
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert await asyncio.gather(*jobs) == [None] * 100
        assert ask(path, "SELECT count(*) FROM chats") == [(100,)]
        for call in (store.commit(ChatSaved(a_chat("conv_x"))), store.counts(), store.path(ANN, None)):
            with pytest.raises(StorageError, match="closed"):
                await call

    async def test_no_log_is_left_behind(self, path: Path) -> None:
        async with opened(path) as store:
            await keep(store, "conv_1", "a")
        assert sorted(file.name for file in path.parent.iterdir()) == ["hubbub.db", "hubbub.db.lock"]


class TestMigrations:
    def test_a_fresh_and_an_old_database_end_the_same(self, tmp_path: Path) -> None:
        more = (*MIGRATIONS, Migration("m_next", ("ALTER TABLE chats ADD COLUMN colour TEXT",)))
        schemas = []
        for name, steps in (("fresh", [more]), ("old", [MIGRATIONS, more, more])):
            with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as connection:
                applied = [migrate(connection, step) for step in steps]
                assert level(connection) == len(more)
                schemas.append(connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
        assert applied == [len(MIGRATIONS), 1, 0]
        assert schemas[0] == schemas[1]

    def test_a_failing_step_leaves_nothing(self, path: Path) -> None:
        broken = (*MIGRATIONS, Migration("m_broken", ("CREATE TABLE more (a)", "CREATE TABLE more (a)")))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            with pytest.raises(sqlite3.OperationalError):
                migrate(connection, broken)
            assert level(connection) == len(MIGRATIONS)
            assert migrate(connection) == 0

    async def test_of_a_newer_hubbub(self, path: Path) -> None:
        async with opened(path):
            pass
        change(path, "INSERT INTO migrations VALUES (?, 'm_future', 0)", len(MIGRATIONS) + 1)
        for read_only in (False, True):
            with pytest.raises(StorageError, match="newer Hubbub"):
                await SqliteStore.open(path, StoreConfig(path=str(path), read_only=read_only))

    def test_numbers_and_names_go_up(self) -> None:
        names = [migration.name for migration in MIGRATIONS]
        assert [name.split("_")[0] for name in names] == [f"m{n:03}" for n in range(1, len(names) + 1)]


class TestJournalRows:
    async def test_a_group_is_a_row_and_rows_go_when_nobody_needs_them(self, path: Path) -> None:
        async with opened(path) as store:
            answers = [an_answer(f"resp_{n}") for n in range(5)]
            await store.commit(*map(AnswerSaved, answers))
            for start in range(4):
                await store.append([entry(answer.id, start, "x") for answer in answers])
            assert ask(path, "SELECT count(*) FROM journal") == [(4,)]
            await store.commit(*(AnswerSaved(ended(answer)) for answer in answers[1:]))
            assert ask(path, "SELECT count(*) FROM journal") == [(4,)]
            await store.commit(AnswerSaved(ended(answers[0])))
            assert ask(path, "SELECT count(*) FROM journal") == [(0,)]

    async def test_a_slow_answer_does_not_hold_the_others(self, path: Path) -> None:
        async with opened(path, StoreConfig(path=str(path), journal_limit_bytes=2000)) as store:
            await store.commit(AnswerSaved(an_answer("resp_slow")))
            await store.append([entry("resp_slow", 0, "a")])
            for n in range(50):
                answer = an_answer(f"resp_{n}")
                await store.commit(AnswerSaved(answer))
                await store.append([entry(answer.id, 0, "x" * 100), entry("resp_slow", n + 1, "b")])
                await store.commit(AnswerSaved(ended(answer)))
            (size,) = ask(path, "SELECT sum(length(batch)) FROM journal")[0]
            assert isinstance(size, int)
            assert size < 2500
            assert await store.entries(AnswerId("resp_slow")) == (Delta("a"), *[Delta("b")] * 50)
            assert (await store.counts())["journal"] == 51
            assert await store.verify() == ()

    @pytest.mark.large
    async def test_many_rows_go_in_steps(self, path: Path) -> None:
        async with opened(path) as store:
            await store.commit(AnswerSaved(an_answer("resp_1")), AnswerSaved(an_answer("resp_2")))
            for n in range(CUT_ROWS + 10):
                await store.append([entry("resp_1", n, "x")])
            await store.append([entry("resp_2", 0, "y")])
            await store.commit(AnswerSaved(ended(an_answer("resp_1"))))
            assert ask(path, "SELECT count(*) FROM journal") == [(11,)]
            await store.append([entry("resp_2", 1, "y")])
            assert ask(path, "SELECT count(*) FROM journal") == [(2,)]
            assert len(await store.entries(AnswerId("resp_2"))) == 2

    async def test_goes_on_after_a_restart(self, path: Path) -> None:
        async with opened(path) as store:
            await store.commit(*(AnswerSaved(an_answer(f"resp_{n}")) for n in range(3)))
            await store.append([entry("resp_0", 0, "a"), entry("resp_1", 0, "b", "c")])
            await store.append([entry("resp_0", 1, "d")])
        async with opened(path) as store:
            assert [answer.id for answer in await store.unfinished()] == ["resp_0", "resp_1", "resp_2"]
            assert await store.entries(AnswerId("resp_0")) == (Delta("a"), Delta("d"))
            assert (await store.counts())["journal"] == 4
            with pytest.raises(StorageError, match="goes on at 2"):
                await store.append([entry("resp_1", 0, "again")])
            await store.append([entry("resp_1", 2, "e"), entry("resp_2", 0, "f")])
            assert await store.entries(AnswerId("resp_1")) == (Delta("b"), Delta("c"), Delta("e"))
            for n in range(3):
                await store.commit(AnswerSaved(ended(an_answer(f"resp_{n}"))))
            assert ask(path, "SELECT count(*) FROM journal") == [(0,)]


FLIPS = [
    ("UPDATE nodes SET doc = replace(doc, 'bravo', 'brave') WHERE depth = 2", "its hash is not that"),
    ("UPDATE nodes SET doc = '[' WHERE depth = 2", "cannot be read"),
    ("UPDATE nodes SET doc = CAST(x'FFFE' AS TEXT) WHERE depth = 2", "cannot be read"),
    ("UPDATE nodes SET hash = 'f' || substr(hash, 2) || 'f' WHERE depth = 2", "its hash is not that"),
    ("UPDATE nodes SET user = 'eve' WHERE depth = 2", "user eve"),
    ("UPDATE nodes SET depth = 7 WHERE depth = 2", "depth"),
    ("UPDATE nodes SET parent = 999 WHERE depth = 2", "missing"),
    ("UPDATE nodes SET parent = NULL WHERE depth = 2", "root"),
    ("UPDATE nodes SET digest = x'00' WHERE depth = 2", "digest"),
    ("UPDATE node_texts SET folded = 'brave'", "search"),
    ("UPDATE chats SET head = 999", "chat conv_1"),
    ("UPDATE chats SET doc = substr(doc, 2)", "chat conv_1"),
    ("UPDATE chats SET title = 'x'", "chat conv_1"),
    ("UPDATE chats SET user = 'eve'", "chat conv_1"),
    ("UPDATE answers SET input = 999", "answer resp_1"),
    ("UPDATE answers SET input = 1", "answer resp_1"),
    ("UPDATE answers SET doc = substr(doc, 2)", "answer resp_1"),
    ("UPDATE answers SET live = 0", "answer resp_1"),
    ("UPDATE answers SET id = 'resp_9'", "answer resp_9"),
    ("UPDATE journal SET batch = x'FF'", "journal is damaged"),
    ("DELETE FROM journal WHERE seq = (SELECT min(seq) FROM journal)", "answer resp_1: its journal goes from 0 to 1"),
]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE origins SET user = 'bob'", "origin of chat conv_1 (user bob): its chat is one of user ann"),
        ("UPDATE origins SET chat = 'conv_9'", "origin of chat conv_9 (user ann): its chat is missing"),
        ("UPDATE branches SET chat = 'conv_9'", "branch of chat conv_9: there is no such chat"),
        ("UPDATE branches SET leaf = 99", "branch of chat conv_1 (user ann): its leaf, row 99, is missing"),
    ],
)
async def test_verify_finds_branches_and_origins_that_lead_nowhere(path: Path, statement: str, named: str) -> None:
    async with opened(path) as store:
        chat = await keep(store, "conv_1", "a")
        assert chat.head is not None
        await store.commit(BranchKept(chat.id, chat.head), OriginSaved(Origin(chat.id, ANN, "s")))
        assert await store.verify() == ()
        change(path, statement)
        assert any(named in fault for fault in await store.verify())


@pytest.mark.parametrize(("statement", "named"), FLIPS, ids=[statement for statement, _ in FLIPS])
async def test_verify_finds_and_names_damage(path: Path, statement: str, named: str) -> None:
    async with opened(path) as store:
        chat = await keep(store, "conv_1", "alpha", "bravo", "charlie", title="t")
        await store.commit(AnswerSaved(replace(an_answer("resp_1"), input=chat.head)))
        await store.append([entry("resp_1", 0, "a")])
        await store.append([entry("resp_1", 1, "b")])
        assert await store.verify() == ()
        change(path, statement)
        faults = await store.verify()
        assert any(named in fault for fault in faults), faults


async def test_verify_finds_any_flipped_byte_of_a_text(path: Path) -> None:
    async with opened(path) as store:
        await keep(store, "conv_1", "a text of which one byte flips")
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"one byte flips")
    raw[place] ^= 0x01
    path.write_bytes(raw)
    async with opened(path) as store:
        (fault, *_) = await store.verify()
        assert fault.startswith("node ")


class TestFull:
    """The file cannot grow past a number of pages, as on a full disk."""

    async def test_says_so_changes_nothing_and_goes_on_later(self, path: Path) -> None:
        async with opened(path) as store:
            chat = await keep(store, "conv_0", "before")
            await store.commit(AnswerSaved(an_answer("resp_1")))
            await store.append([entry("resp_1", 0, "a")])
            writer = store._writer._connection
            pages = writer.execute("PRAGMA page_count").fetchone()[0]
            writer.execute(f"PRAGMA max_page_count = {pages}")
            before = await store.counts()

            with pytest.raises(StorageFull, match="full"):
                await keep(store, "conv_big", "x" * 100_000)
            with pytest.raises(StorageFull):
                await store.append([entry("resp_1", 1, "x" * 100_000)])
            assert await store.counts() == before
            assert await store.verify() == ()

            small = [store.commit(HeadMoved(chat.id, chat.head, chat.head, NOW + 1))]
            small += [keep(store, "conv_big", "x" * 100_000)]  # type: ignore[list-item]
            outcomes = await asyncio.gather(*small, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [type(None), StorageFull]

            writer.execute("PRAGMA max_page_count = 1000000")
            await keep(store, "conv_big", "x" * 100_000)
            await store.append([entry("resp_1", 1, "b")])
            assert await store.entries(AnswerId("resp_1")) == (Delta("a"), Delta("b"))
            assert {chat.id for chat in (await store.chats(ANN, ChatQuery())).rows} == {"conv_0", "conv_big"}
            assert await store.verify() == ()


async def test_ids_that_are_no_unicode_are_an_error_of_their_own(path: Path) -> None:
    async with opened(path) as store:
        jobs = [store.commit(ChatSaved(a_chat(name))) for name in ("conv_1", "conv_\ud800", "conv_2")]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), StorageError, type(None)]
        assert await store.chat(ANN, ChatId("conv_\ud800")) is None
