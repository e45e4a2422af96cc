"""What every key store does, and what the one in a file does beside."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubbub.core.errors import Conflict, NotFound, StorageError
from hubbub.core.keys import SESSIONS_KEPT, KeyId, Scope, Session, User, digest_of
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.ports import KeyStore
from hubbub.store.keys_memory import MemoryKeyStore
from hubbub.store.keys_sqlite import APPLICATION_ID, MIGRATIONS, SqliteKeyStore
from support.keys import a_key, text_of

ANN, BOB = KeyId("key_ann"), KeyId("key_bob")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    opened: KeyStore
    opened = MemoryKeyStore() if request.param == "memory" else await SqliteKeyStore.open(tmp_path / "keys.db")
    yield opened
    await opened.close()


async def test_a_key_comes_back_as_it_was(store: KeyStore) -> None:
    key = a_key("ann", frozenset(Scope), Limits(1, None, 0, 4), created_at=5.25, expires_at=9.5)
    await store.add(key)
    await store.add(a_key("bob", created_at=4.0))
    assert [found.id for found in await store.keys()] == [BOB, ANN]
    assert (await store.keys())[1] == key


async def test_the_same_key_twice_is_a_conflict(store: KeyStore) -> None:
    await store.add(a_key("ann"))
    with pytest.raises(Conflict):
        await store.add(a_key("ann"))
    assert len(await store.keys()) == 1


async def test_a_user_is_made_with_the_first_key_and_keeps_its_weight(store: KeyStore) -> None:
    await store.add(a_key("bob"))
    await store.save_user(User(UserId("ann"), 2.5))
    await store.add(a_key("ann"))
    assert await store.users() == (User(UserId("ann"), 2.5), User(UserId("bob"), 1.0))


async def test_the_revision_rises_with_what_a_server_must_know(store: KeyStore) -> None:
    seen = [await store.revision()]
    await store.add(a_key("ann"))
    seen.append(await store.revision())
    await store.save_user(User(UserId("ann"), 3.0))
    seen.append(await store.revision())
    await store.revoke(ANN, 7.0)
    seen.append(await store.revision())
    assert seen == sorted(set(seen))
    await store.record({ANN: 60.0}, {(ANN, 1): 5})
    await store.revoke(ANN, 8.0)
    assert await store.revision() == seen[-1]


async def test_a_key_is_revoked_once(store: KeyStore) -> None:
    await store.add(a_key("ann"))
    assert (await store.revoke(ANN, 7.0)).revoked_at == 7.0
    assert (await store.revoke(ANN, 8.0)).revoked_at == 7.0
    with pytest.raises(NotFound):
        await store.revoke(BOB, 7.0)


async def test_tokens_add_up_by_key_and_day(store: KeyStore) -> None:
    await store.add(a_key("ann"))
    await store.add(a_key("bob"))
    await store.record({}, {(ANN, 3): 10, (BOB, 3): 1, (ANN, 4): 2})
    await store.record({}, {(ANN, 3): -4})
    assert await store.spent(3) == {ANN: 6, BOB: 1}
    assert await store.spent(4) == {ANN: 2}
    assert await store.spent(5) == {}


async def test_last_use_never_goes_back_and_a_key_that_is_gone_is_no_error(store: KeyStore) -> None:
    await store.add(a_key("ann"))
    await store.record({ANN: 120.0, BOB: 5.0}, {(BOB, 1): 5})
    await store.record({ANN: 60.0}, {})
    assert (await store.keys())[0].used_at == 120.0
    assert await store.spent(1) == {}


# Who signs in --------------------------------------------------------------------------------------------------------


def a_session(name: str, at: float = 0.0, until: float = 100.0, user: str = "ann") -> Session:
    return Session(digest_of(name), UserId(user), at, until)


async def test_a_user_comes_back_as_it_was(store: KeyStore) -> None:
    hashed = "$argon2id$x"
    user = User(UserId("ann"), 2.0, admin=True, password=hashed, subject="https://idp 7", created_at=5.25)
    await store.save_user(user)
    await store.add(a_key("ann"))
    assert await store.users() == (user,)
    with pytest.raises(Conflict):
        await store.save_user(User(UserId("bob"), subject="https://idp 7"))
    assert "argon2" not in repr(user)


async def test_sessions_come_and_go(store: KeyStore) -> None:
    with pytest.raises(NotFound):
        await store.add_session(a_session("a"))
    await store.save_user(User(UserId("ann")))
    await store.save_user(User(UserId("bob")))
    seen = [await store.revision()]
    for name in "abc":
        await store.add_session(a_session(name, ord(name)))
    await store.add_session(a_session("d", 1.0, user="bob"))
    seen.append(await store.revision())
    assert await store.sessions() == (a_session("d", 1.0, user="bob"), *(a_session(n, ord(n)) for n in "abc"))[:4]
    await store.end_sessions(UserId("ann"), only=digest_of("d"))  # another's
    assert len(await store.sessions()) == 4
    await store.end_sessions(UserId("ann"), only=digest_of("a"))
    await store.end_sessions(UserId("ann"), but=digest_of("b"))
    assert {session.digest for session in await store.sessions()} == {digest_of("b"), digest_of("d")}
    seen.append(await store.revision())
    assert seen == sorted(set(seen))


async def test_sessions_that_are_over_and_too_many_go(store: KeyStore) -> None:
    await store.save_user(User(UserId("ann")))
    await store.add_session(a_session("old", 0.0, 50.0))
    for number in range(SESSIONS_KEPT + 2):
        await store.add_session(a_session(str(number), 50.0 + number, 1e9))
    kept = await store.sessions()
    assert len(kept) == SESSIONS_KEPT
    assert kept[0].created_at == 52.0


async def test_a_user_goes_with_keys_and_sessions(store: KeyStore) -> None:
    for name in ("ann", "bob"):
        await store.add(a_key(name))
        await store.add_session(a_session(name, user=name))
    await store.record({}, {(ANN, 3): 10, (BOB, 3): 1})
    await store.delete_user(UserId("ann"))
    assert [key.id for key in await store.keys()] == [BOB]
    assert [user.id for user in await store.users()] == ["bob"]
    assert [session.user for session in await store.sessions()] == ["bob"]
    assert await store.spent(3) == {BOB: 1}
    with pytest.raises(NotFound):
        await store.delete_user(UserId("ann"))


# The file ------------------------------------------------------------------------------------------------------------


async def test_two_connections_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    one, other = await SqliteKeyStore.open(path), await SqliteKeyStore.open(path)
    before = await one.revision()
    await other.add(a_key("ann"))
    assert await one.revision() > before
    assert [key.id for key in await one.keys()] == [ANN]
    await asyncio.gather(*(store.record({}, {(ANN, 1): 1}) for store in [one, other] * 20))
    assert await one.spent(1) == {ANN: 40}
    await one.close()
    await other.close()


async def test_what_was_kept_is_there_after_a_restart_and_no_key_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = await SqliteKeyStore.open(path)
    await store.add(a_key("ann"))
    await store.record({}, {(ANN, 1): 7})
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    await store.close()
    assert text_of("ann").encode() not in written
    assert text_of("ann")[8:].encode() not in written
    assert a_key("ann").digest.encode() in written
    again = await SqliteKeyStore.open(path)
    assert await again.spent(1) == {ANN: 7}
    await again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StorageError, match="another program"):
        await SqliteKeyStore.open(path)
    (tmp_path / "text").write_text("no database at all, but long enough to look for a header in it" * 20)
    with pytest.raises(StorageError, match="not a SQLite database"):
        await SqliteKeyStore.open(tmp_path / "text")


async def test_a_file_from_before_there_were_passwords_opens(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with sqlite3.connect(path) as old:
        for statement in MIGRATIONS[0]:
            old.execute(statement)
        old.execute("INSERT INTO users (id, weight) VALUES ('ann', 2.5)")
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    store = await SqliteKeyStore.open(path)
    assert await store.users() == (User(UserId("ann"), 2.5),)
    assert await store.sessions() == ()
    await store.close()


async def test_a_file_of_a_newer_hubbub_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    await (await SqliteKeyStore.open(path)).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StorageError, match="newer Hubbub"):
        await SqliteKeyStore.open(path)
