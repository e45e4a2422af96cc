"""Keys and the users they belong to. Pure: randomness and time come from the caller.

Only the SHA-256 of a key is kept. A slow, salted hash (argon2, bcrypt) protects what people can remember, by making
each guess dear. A key here is 32 bytes of randomness: nobody can guess at 2**256, salted or not, so one quick hash
protects as well, and a request does not cost 100 ms of CPU.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from hubbub.core.errors import BadRequest
from hubbub.core.quota import Limits
from hubbub.core.types import UserId

KeyId = NewType("KeyId", str)
"""``key_...``: names a key without giving it away."""

PREFIX = "hb-"
RANDOM_BYTES = 32
HINT_CHARACTERS = 7
"""Of the key that are kept, to tell keys apart: the prefix and 24 of its 256 bits."""
LABEL_CHARACTERS = 200
PASSWORD_LEAST, PASSWORD_MOST = 10, 1000
"""Characters. NIST SP 800-63B: length counts, kinds of characters do not."""
LIFE_MOST_S = 10 * 366 * 86_400
"""Ten years: the longest that a key is made for which expires."""
WEIGHT_MOST = 1_000_000
SESSIONS_KEPT = 50
"""Of one user; the oldest goes."""
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class Scope(StrEnum):
    """What a key may do.

    ``read``: look at the user's chats and answers, and at the models. ``chat``: ask, and change chats. ``bulk``: ask
    with ``service_tier: flex`` only. ``admin``: all of it, and the metrics and the state of the server. ``chat`` and
    ``bulk`` hold ``read``.
    """

    READ = "read"
    CHAT = "chat"
    BULK = "bulk"
    ADMIN = "admin"


HELD = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.CHAT: frozenset({Scope.CHAT, Scope.READ}),
    Scope.BULK: frozenset({Scope.BULK, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key, without the key. ``digest`` is 64 hex digits. Times are Unix seconds, ``used_at`` to the minute."""

    id: KeyId
    user: UserId
    digest: str = field(repr=False)
    hint: str
    scopes: frozenset[Scope]
    created_at: float
    label: str = ""
    limits: Limits = field(default_factory=Limits)
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None

    def trouble(self, now: float) -> str:
        """Why it does not open any more; empty while it does."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "has expired"
        return ""

    def allows(self, scope: Scope) -> bool:
        return any(scope in HELD[held] for held in self.scopes)


@dataclass(frozen=True, slots=True)
class User:
    """``weight``: share of the machine against other users. ``password``: its argon2 hash; empty: it cannot sign in
    with one. ``subject``: who it is to the identity provider, as issuer and subject; empty where it has none.
    ``created_at``: Unix seconds, 0 for one that was made by its first key."""

    id: UserId
    weight: float = 1.0
    admin: bool = False
    password: str = field(default="", repr=False)
    subject: str = ""
    created_at: float = 0.0

    @property
    def scopes(self) -> frozenset[Scope]:
        """What it may do once it has signed in."""
        return frozenset({Scope.ADMIN} if self.admin else {Scope.CHAT, Scope.BULK})


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has signed in, without what it holds. ``digest``: as of a key, 64 hex digits of SHA-256."""

    digest: str = field(repr=False)
    user: UserId
    created_at: float
    expires_at: float


def key_text(randomness: bytes) -> str:
    """The key itself, from 32 random bytes: ``hb-`` and 43 characters."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a key takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    return PREFIX + urlsafe_b64encode(randomness).rstrip(b"=").decode()


def digest_of(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def checked_user(name: str) -> UserId:
    """Raises BadRequest."""
    if not _USER.fullmatch(name):
        raise BadRequest(
            f"user {name[:80]!r} is no user name: 1 to 64 letters, digits or . _ @ + -, first a letter or digit",
            param="user",
        )
    return UserId(name)


def checked_password(password: str, user: str) -> str:
    """Raises BadRequest, without the password."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise BadRequest(f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters", param="password")
    if password.casefold() == user.casefold() or len(set(password)) < 4:
        raise BadRequest("this password is too easy to guess; take another", param="password")
    return password


def checked_label(label: str) -> str:
    """Raises BadRequest."""
    if len(label) > LABEL_CHARACTERS or not label.isprintable():
        raise BadRequest(f"a label is one line of at most {LABEL_CHARACTERS} characters", param="label")
    return label


def checked_weight(weight: float) -> float:
    """Raises BadRequest."""
    if not 0 < weight <= WEIGHT_MOST:
        raise BadRequest(f"weight is {weight}; give a number above 0, at most {WEIGHT_MOST}", param="weight")
    return weight


def checked_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Raises BadRequest."""
    scopes = set()
    for name in names:
        if name not in tuple(Scope):
            raise BadRequest(f"{name!r} is no scope; there are {', '.join(Scope)}", param="scopes")
        scopes.add(Scope(name))
    if not scopes:
        raise BadRequest(f"a key needs a scope; there are {', '.join(Scope)}", param="scopes")
    return frozenset(scopes)
