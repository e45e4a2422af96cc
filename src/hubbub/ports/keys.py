"""Where keys, users and sessions are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hubbub.core.keys import Key, KeyId, Session, User
from hubbub.core.types import UserId


class KeyBook(Protocol):
    """Keys and users. Several processes may write: a running server reads what the command line does beside it."""

    async def revision(self) -> int:
        """Rises with every change of a key or a user, whoever made it; cheap. Raises StorageError."""
        ...

    async def keys(self) -> tuple[Key, ...]:
        """All, by creation; expired and revoked ones too."""
        ...

    async def users(self) -> tuple[User, ...]:
        """All, by name."""
        ...

    async def add(self, key: Key) -> None:
        """A user that is not known is made, with weight 1. Raises Conflict for an id or a digest that is there."""
        ...

    async def revoke(self, key: KeyId, at: float) -> Key:
        """The key as it is then; one that was revoked before keeps its time. Raises NotFound."""
        ...

    async def save_user(self, user: User) -> None:
        """Make or change it."""
        ...


class Members(Protocol):
    """Who may sign in, and which browsers have. Every change raises the revision."""

    async def sessions(self) -> tuple[Session, ...]:
        """By creation; also those that are over."""
        ...

    async def add_session(self, session: Session) -> None:
        """Sessions that are over by its creation go, and the user's oldest beyond SESSIONS_KEPT. Raises NotFound."""
        ...

    async def end_sessions(self, user: UserId, *, only: str = "", but: str = "") -> None:
        """End all sessions of a user; ``only`` and ``but`` name one by its digest."""
        ...

    async def delete_user(self, user: UserId) -> None:
        """With all keys and sessions. Raises NotFound."""
        ...


class KeyUse(Protocol):
    """What keys were used for."""

    async def record(self, used: Mapping[KeyId, float], spent: Mapping[tuple[KeyId, int], int]) -> None:
        """``used``: times of last use, never going back. ``spent``: tokens to add by key and day (may be negative)."""
        ...

    async def spent(self, day: int) -> Mapping[KeyId, int]:
        """Tokens by key of one day (days since 1970)."""
        ...

    async def close(self) -> None: ...


class KeyStore(KeyBook, Members, KeyUse, Protocol):
    """What one adapter brings: all of it."""
