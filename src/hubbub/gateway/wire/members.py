"""Signing in, users and keys. Beyond the OpenAI contract."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hubbub.core.keys import LIFE_MOST_S, WEIGHT_MOST
from hubbub.core.quota import LIMIT_MOST
from hubbub.gateway.wire.base import In, Out

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
Given = Annotated[str, Meta(max_length=1000)]
"""What somebody types: a password or a code. Whether it is a good one is not for the schema to say."""
NewPassword = Annotated[str, Meta(min_length=10, max_length=1000)]
Weight = Annotated[float, Meta(gt=0, le=WEIGHT_MOST)]
ScopeName = Literal["read", "chat", "bulk", "admin"]
Count = Annotated[int, Meta(ge=0, le=LIMIT_MOST)]


class Provider(Out, frozen=True, kw_only=True):
    """An identity provider: how its button is called. It begins at ``/auth/oidc/start``."""

    name: str


class SessionOut(Out, frozen=True, kw_only=True):
    """``mode``: ``open``: nobody has to sign in, everybody is ``local``; ``first_start``: nobody can yet, and ``POST
    /v1/session/first`` makes the first admin; ``password``: sign in."""

    object: Literal["session"] = "session"
    mode: Literal["open", "first_start", "password"]
    signed_in: bool
    user: str | None
    admin: bool
    scopes: list[str]
    oidc: Provider | None


class SessionCreate(In, frozen=True, kw_only=True):
    user: Given
    password: Given


class SessionFirst(In, frozen=True, kw_only=True):
    """``setup_code``: what `hubbub serve` printed."""

    user: Name
    password: NewPassword
    setup_code: Given


class PasswordChange(In, frozen=True, kw_only=True):
    old: Given
    new: NewPassword


class UserOut(Out, frozen=True, kw_only=True):
    """``password`` and ``oidc``: whether it can sign in so. ``keys``: that open something. ``created_at``: Unix
    seconds, 0 for one that was made by its first key."""

    name: str
    object: Literal["user"] = "user"
    admin: bool
    weight: float
    password: bool
    oidc: bool
    keys: int
    created_at: int


class UserList(Out, frozen=True, kw_only=True):
    data: list[UserOut]
    object: Literal["list"] = "list"


class UserCreate(In, frozen=True, kw_only=True):
    """``password`` null: it has keys alone, or comes by the identity provider. ``weight``: share of the machine."""

    name: Name
    password: NewPassword | None = None
    admin: bool = False
    weight: Weight = 1.0


class UserUpdate(In, frozen=True, kw_only=True):
    password: NewPassword | None = None
    admin: bool | None = None
    weight: Weight | None = None


class UserDeleted(Out, frozen=True, kw_only=True):
    name: str
    object: Literal["user.deleted"] = "user.deleted"
    deleted: bool = True


class KeyLimits(In, frozen=True, kw_only=True):
    """What is null holds as the section ``[quota]`` of the settings says; 0 is without limit."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    parallel_chats: Count | None = None


class KeyCreate(In, frozen=True, kw_only=True):
    """``user``: another's, for admins. ``expires_in``: seconds from now; null: never."""

    label: Annotated[str, Meta(max_length=200)] = ""
    scopes: Annotated[tuple[ScopeName, ...], Meta(min_length=1, max_length=4)] = ("chat", "bulk")
    expires_in: Annotated[int, Meta(ge=60, le=LIFE_MOST_S)] | None = None
    limits: KeyLimits = KeyLimits()
    user: Name | None = None


class KeyOut(Out, frozen=True, kw_only=True):
    """``hint``: its first characters. ``state``: ``good``, or why it opens nothing. Times are Unix seconds; ``used_at``
    to the minute."""

    id: str
    object: Literal["key"] = "key"
    user: str
    hint: str
    label: str
    scopes: list[str]
    state: str
    limits: dict[str, int | None]
    created_at: int
    used_at: int | None
    expires_at: int | None
    revoked_at: int | None


class KeyMade(KeyOut, frozen=True, kw_only=True):
    """``secret``: the key itself. It is told this once."""

    secret: str


class KeyList(Out, frozen=True, kw_only=True):
    data: list[KeyOut]
    object: Literal["list"] = "list"
