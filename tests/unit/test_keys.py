"""Keys: what is kept of them, what they open, and that nothing shows them."""

from __future__ import annotations

import re

import pytest

from hubbub.core import keys
from hubbub.core.errors import BadRequest, Forbidden, StorageError, Unauthorized
from hubbub.core.keys import KeyId, Scope, User
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.gateway.keyring import ANYBODY, NOBODY, STALE_S, KeyRing
from hubbub.gateway.metering import duration
from hubbub.runtime.clock import VirtualClock
from hubbub.settings import EngineConfig, load
from hubbub.store.keys_memory import MemoryKeyStore
from support.keys import a_key, bearer, text_of


def test_a_key_is_32_random_bytes_in_text() -> None:
    text = keys.key_text(bytes(range(32)))
    assert re.fullmatch(r"hb-[A-Za-z0-9_-]{43}", text)
    assert keys.key_text(b"\xff" * 32) != text
    with pytest.raises(ValueError, match="32 random bytes"):
        keys.key_text(b"short")


def test_scopes_hold_one_another() -> None:
    held = {scope: {other for other in Scope if a_key("x", frozenset({scope})).allows(other)} for scope in Scope}
    assert held == {
        Scope.READ: {Scope.READ},
        Scope.CHAT: {Scope.READ, Scope.CHAT},
        Scope.BULK: {Scope.READ, Scope.BULK},
        Scope.ADMIN: set(Scope),
    }


@pytest.mark.parametrize("name", ["", "-ann", "a b", "a" * 65, "ä", "a\n"])
def test_bad_user_names(name: str) -> None:
    with pytest.raises(BadRequest):
        keys.checked_user(name)


def test_bad_words() -> None:
    for label in ("a\nb", "x" * 201):
        with pytest.raises(BadRequest):
            keys.checked_label(label)
    for weight in (0.0, -1.0, 1e7, float("inf"), float("nan")):
        with pytest.raises(BadRequest):
            keys.checked_weight(weight)
    for scopes in (["chat", "king"], []):
        with pytest.raises(BadRequest, match="read, chat, bulk, admin"):
            keys.checked_scopes(scopes)


def test_nothing_shows_a_secret() -> None:
    key = a_key("ann")
    assert key.digest not in repr(key)
    assert "canary" not in repr(EngineConfig(api_key="canary"))
    assert "canary" not in repr(load({"engine.api_key": "canary"}, environ={}))


async def ring_of(clock: VirtualClock, *given: keys.Key, weights: dict[str, float] | None = None) -> KeyRing:
    store = MemoryKeyStore()
    for key in given:
        await store.add(key)
    await store.save_user(User(UserId("bob"), 2.0))
    ring = KeyRing(store, clock, Limits(), weights)
    await ring.start()
    return ring


async def test_a_ring_knows_whose_key_it_is() -> None:
    ring = await ring_of(VirtualClock(), a_key("ann"), a_key("bob"))
    assert ring.caller(bearer("bob")["Authorization"]).user == "bob"
    assert ring.caller(f"bearer   {text_of('ann')} ").user == "ann"
    assert ring.usable == 2
    await ring.close()


async def test_a_ring_refuses_what_opens_nothing() -> None:
    clock = VirtualClock()
    dead = a_key("dead", revoked_at=1.0)
    brief = a_key("brief", expires_at=clock.wall() + 10)
    ring = await ring_of(clock, dead, brief)
    assert ring.usable == 1
    for given, says in (
        (None, "Authorization: Bearer"),
        ("", "Authorization: Bearer"),
        (f"Basic {text_of('brief')}", "Authorization: Bearer"),
        ("Bearer any", "not known here"),
        ("Bearer \udcff\udcfe", "not known here"),
        (bearer("dead")["Authorization"], "was revoked"),
    ):
        with pytest.raises(Unauthorized, match=says):
            ring.caller(given)
    ring.caller(bearer("brief")["Authorization"])
    clock.advance(10)
    with pytest.raises(Unauthorized, match="has expired"):
        ring.caller(bearer("brief")["Authorization"])
    await ring.close()


async def test_a_ring_that_cannot_read_lets_nobody_in() -> None:
    clock = VirtualClock()
    ring = await ring_of(clock, a_key("ann"))
    clock.advance(STALE_S + 1)
    with pytest.raises(StorageError):
        ring.caller(bearer("ann")["Authorization"])
    await ring.close()


async def test_weights_are_those_of_the_users_over_those_of_the_settings() -> None:
    weights = {"eve": 3.0, "bob": 9.0}
    ring = await ring_of(VirtualClock(), a_key("ann"), weights=weights)
    assert weights == {"eve": 3.0, "bob": 2.0}
    await ring.close()


async def test_last_use_is_kept_to_the_minute() -> None:
    clock, store = VirtualClock(), MemoryKeyStore()
    await store.add(a_key("ann"))
    ring = KeyRing(store, clock, Limits())
    await ring.start()
    ring.caller(bearer("ann")["Authorization"])
    await ring.close()
    used = (await store.keys())[0].used_at
    assert used is not None
    assert used % 60 == 0
    assert 0 <= clock.wall() - used < 60


def test_callers() -> None:
    assert ANYBODY.allows(Scope.ADMIN)
    assert not NOBODY.allows(Scope.READ)
    with pytest.raises(Forbidden, match="scope admin or chat; this key's: none"):
        NOBODY.check(Scope.ADMIN, Scope.CHAT)
    assert KeyId("key_ann") == a_key("ann").id


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-1, "0s"), (0.12, "120ms"), (1.5, "1.5s"), (59.9, "59.9s"), (360, "6m0s"), (10921, "3h2m1s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
