"""Keys for tests, and a server that wants them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher

from hubbub.core.keys import HINT_CHARACTERS, Key, KeyId, Scope, digest_of, key_text
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.gateway.app import Rules
from hubbub.gateway.doors import Doors
from hubbub.gateway.keyring import KeyRing
from hubbub.gateway.limits import LimitsConfig, QuotaConfig
from hubbub.gateway.members import Members
from hubbub.gateway.oidc import IdentityProvider
from hubbub.gateway.passwords import Passwords
from hubbub.runtime.clock import SystemClock
from hubbub.store.keys_memory import MemoryKeyStore
from support.serving import Served, served

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
USER = frozenset({Scope.CHAT, Scope.BULK})


def text_of(name: str) -> str:
    """The key that ``name`` stands for in tests: the same every time."""
    return key_text(hashlib.sha256(name.encode()).digest())


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text_of(name)}"}


def a_key(name: str, scopes: frozenset[Scope] = USER, limits: Limits | None = None, **more: Any) -> Key:
    """The key of the user ``name``, with the id ``key_<name>``."""
    text = text_of(name)
    fields = {"user": UserId(name), "label": f"of {name}", "created_at": time.time(), **more}
    return Key(
        id=KeyId(f"key_{name}"),
        digest=digest_of(text),
        hint=text[:HINT_CHARACTERS],
        scopes=scopes,
        limits=limits or Limits(),
        **fields,
    )


@dataclass(frozen=True, slots=True)
class Locked:
    """A server with keys, and its key store."""

    house: Served
    store: MemoryKeyStore
    ring: KeyRing
    members: Members

    async def call(self, name: str, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and header fields (in lower case) of a request with the key of ``name``."""
        async with self.house.http.request(
            method, self.house.url + path, json=body, headers=bearer(name) if name else {}
        ) as response:
            text = await response.read()
            is_json = response.content_type == "application/json"
            said = await response.json() if is_json else text
            return response.status, said, {field.lower(): value for field, value in response.headers.items()}


@asynccontextmanager
async def locked(
    *keys: Key,
    quota: QuotaConfig | None = None,
    limits: LimitsConfig | None = None,
    provider: IdentityProvider | None = None,
    proxies: frozenset[str] = frozenset(),
    origins: frozenset[str] = frozenset(),
    **more: Any,
) -> AsyncIterator[Locked]:
    store, quota = MemoryKeyStore(), quota or QuotaConfig()
    for key in keys:
        await store.add(key)
    ring = KeyRing(store, SystemClock(), quota.limits)
    await ring.start()
    members = Members(store, ring, SystemClock(), Passwords(CHEAP), keys_each=5)
    doors = Doors(keys=ring, members=members, provider=provider, proxies=proxies, origins=origins)
    rules = Rules(limits or LimitsConfig(), quota, doors)
    try:
        async with served(rules=rules, **more) as house:
            yield Locked(house, store, ring, members)
    finally:
        members.close()
        await ring.close()
