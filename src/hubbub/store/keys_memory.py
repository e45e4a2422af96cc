"""The twin of the key store: gone when its process ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hubbub.core.errors import Conflict, NotFound
from hubbub.core.keys import Key, KeyId, User
from hubbub.core.types import UserId


class MemoryKeyStore:
    def __init__(self) -> None:
        self._keys: dict[KeyId, Key] = {}
        self._users: dict[UserId, User] = {}
        self._spent: dict[tuple[KeyId, int], int] = {}
        self._revision = 0

    async def revision(self) -> int:
        return self._revision

    async def keys(self) -> tuple[Key, ...]:
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at, key.id)))

    async def users(self) -> tuple[User, ...]:
        return tuple(self._users[name] for name in sorted(self._users))

    async def add(self, key: Key) -> None:
        if key.id in self._keys or any(key.digest == other.digest for other in self._keys.values()):
            raise Conflict(f"there is a key {key.id!r} already")
        self._users.setdefault(key.user, User(key.user))
        self._keys[key.id] = key
        self._revision += 1

    async def revoke(self, key: KeyId, at: float) -> Key:
        found = self._keys.get(key)
        if found is None:
            raise NotFound(f"there is no key {key!r}", param="key")
        if found.revoked_at is None:
            self._keys[key] = replace(found, revoked_at=at)
            self._revision += 1
        return self._keys[key]

    async def save_user(self, user: User) -> None:
        self._users[user.id] = user
        self._revision += 1

    async def record(self, used: Mapping[KeyId, float], spent: Mapping[tuple[KeyId, int], int]) -> None:
        for name, at in used.items():
            if name in self._keys:
                self._keys[name] = replace(self._keys[name], used_at=max(at, self._keys[name].used_at or 0.0))
        for (name, day), tokens in spent.items():
            if name in self._keys:
                self._spent[name, day] = self._spent.get((name, day), 0) + tokens

    async def spent(self, day: int) -> Mapping[KeyId, int]:
        return {name: tokens for (name, at), tokens in self._spent.items() if at == day}

    async def close(self) -> None:
        """Nothing to let go of."""
