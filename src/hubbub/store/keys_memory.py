"""The twin of the key store: gone when its process ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hubbub.core.errors import Conflict, NotFound
from hubbub.core.keys import SESSIONS_KEPT, Key, KeyId, Session, User
from hubbub.core.types import UserId


class MemoryKeyStore:
    def __init__(self) -> None:
        self._keys: dict[KeyId, Key] = {}
        self._users: dict[UserId, User] = {}
        self._sessions: dict[str, Session] = {}
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
        if user.subject and any(o.subject == user.subject and o.id != user.id for o in self._users.values()):
            raise Conflict("another user has this subject of the identity provider")
        self._users[user.id] = user
        self._revision += 1

    async def sessions(self) -> tuple[Session, ...]:
        return tuple(sorted(self._sessions.values(), key=lambda session: (session.created_at, session.digest)))

    async def add_session(self, session: Session) -> None:
        if session.user not in self._users:
            raise NotFound(f"there is no user {session.user!r}", param="user")
        kept = [other for other in await self.sessions() if other.expires_at > session.created_at]
        mine = [other for other in kept if other.user == session.user]
        gone = mine[: max(0, len(mine) + 1 - SESSIONS_KEPT)]
        self._sessions = {other.digest: other for other in kept if other not in gone}
        self._sessions[session.digest] = session
        self._revision += 1

    async def end_sessions(self, user: UserId, *, only: str = "", but: str = "") -> None:
        for session in list(self._sessions.values()):
            if session.user == user and only in ("", session.digest) and session.digest != but:
                del self._sessions[session.digest]
        self._revision += 1

    async def delete_user(self, user: UserId) -> None:
        if user not in self._users:
            raise NotFound(f"there is no user {user!r}", param="user")
        gone = {name for name, key in self._keys.items() if key.user == user}
        self._keys = {name: key for name, key in self._keys.items() if name not in gone}
        self._spent = {(name, day): n for (name, day), n in self._spent.items() if name not in gone}
        self._sessions = {digest: held for digest, held in self._sessions.items() if held.user != user}
        del self._users[user]
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
