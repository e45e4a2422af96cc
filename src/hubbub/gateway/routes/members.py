"""Users, for admins; and keys, each their own."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import msgspec

from hubbub.core.errors import NotFound
from hubbub.core.keys import Key, Scope, User
from hubbub.core.quota import Limits
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.members import Members
from hubbub.gateway.wire.members import (
    KeyCreate,
    KeyList,
    KeyMade,
    KeyOut,
    UserCreate,
    UserDeleted,
    UserList,
    UserOut,
    UserUpdate,
)


async def users(call: Call[None, NoQuery]) -> UserList:
    return UserList(data=[_user_out(call, user) for user in _members(call).users()])


async def create_user(call: Call[UserCreate, NoQuery]) -> UserOut:
    body = call.body
    user = await _members(call).add_user(body.name, body.password, admin=body.admin, weight=body.weight)
    return _user_out(call, user)


async def update_user(call: Call[UserUpdate, NoQuery]) -> UserOut:
    body = call.body
    user = await _members(call).change_user(call.arg("user_name"), body.password, body.admin, body.weight)
    return _user_out(call, user)


async def delete_user(call: Call[None, NoQuery]) -> UserDeleted:
    name = call.arg("user_name")
    await _members(call).delete_user(call.caller, name)
    return UserDeleted(name=name)


async def keys(call: Call[None, NoQuery]) -> KeyList:
    """Newest first. An admin sees those of all users."""
    found = _members(call).keys(call.caller)
    return KeyList(data=[KeyOut(**_key(key)) for key in reversed(found)])


async def create_key(call: Call[KeyCreate, NoQuery]) -> KeyMade:
    body = call.body
    secret, key = await _members(call).add_key(
        call.caller,
        body.user or "",
        body.label,
        frozenset(map(Scope, body.scopes)),
        Limits(**msgspec.structs.asdict(body.limits)),
        None if body.expires_in is None else time.time() + body.expires_in,
    )
    return KeyMade(**_key(key), secret=secret)


async def revoke_key(call: Call[None, NoQuery]) -> KeyOut:
    return KeyOut(**_key(await _members(call).revoke(call.caller, call.arg("key_id"))))


def _members(call: AnyCall) -> Members:
    """Raises NotFound on a server that asks for no keys."""
    members = call.gateway.doors.members
    if members is None:
        raise NotFound("this server asks for no keys and has no users: server.keys = 'required' makes it")
    return members


def _user_out(call: AnyCall, user: User) -> UserOut:
    now = time.time()
    held = [key for key in _members(call).keys(call.caller) if key.user == user.id and not key.trouble(now)]
    return UserOut(
        name=user.id,
        admin=user.admin,
        weight=user.weight,
        password=bool(user.password),
        oidc=bool(user.subject),
        keys=len(held),
        created_at=int(user.created_at),
    )


def _key(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "user": key.user,
        "hint": key.hint,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "state": key.trouble(time.time()) or "good",
        "limits": asdict(key.limits),
        "created_at": int(key.created_at),
        "used_at": _whole(key.used_at),
        "expires_at": _whole(key.expires_at),
        "revoked_at": _whole(key.revoked_at),
    }


def _whole(at: float | None) -> int | None:
    return None if at is None else int(at)
