"""Signing in and out, with a password; and who one is."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from hubbub.core.errors import Conflict
from hubbub.core.keys import Scope
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.doors import COOKIE
from hubbub.gateway.keyring import Caller
from hubbub.gateway.members import Members
from hubbub.gateway.wire.members import PasswordChange, Provider, SessionCreate, SessionFirst, SessionOut


async def retrieve(call: Call[None, NoQuery]) -> SessionOut:
    return session_out(call, call.caller)


async def create(call: Call[SessionCreate, NoQuery]) -> web.Response:
    members, address = _members(call), call.gateway.doors.client(call.request)
    token, _ = await members.sign_in(call.body.user, call.body.password, address)
    return signed_in(call, token, members)


async def first(call: Call[SessionFirst, NoQuery]) -> web.Response:
    body, members = call.body, _members(call)
    address = call.gateway.doors.client(call.request)
    token, _ = await members.first(body.user, body.password, body.setup_code, address)
    return signed_in(call, token, members)


async def delete(call: Call[None, NoQuery]) -> web.Response:
    await _members(call).sign_out(call.caller)
    response = _json(session_out(call, Caller(call.user)))
    response.del_cookie(
        COOKIE, path="/", httponly=True, samesite="Strict", secure=call.gateway.doors.secure(call.request)
    )
    return response


async def password(call: Call[PasswordChange, NoQuery]) -> SessionOut:
    address = call.gateway.doors.client(call.request)
    await _members(call).change_password(call.caller, call.body.old, call.body.new, address)
    return session_out(call, call.caller)


def signed_in(call: AnyCall, token: str, members: Members) -> web.Response:
    """Gives the browser its session."""
    caller = call.gateway.doors.signed_in(token)
    response = _json(session_out(call, caller or call.caller))
    give(call, response, token, members)
    return response


def give(call: AnyCall, response: web.Response, token: str, members: Members) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(members.session_s),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=call.gateway.doors.secure(call.request),
    )
    response.headers["Cache-Control"] = "no-store"


def session_out(call: AnyCall, caller: Caller) -> SessionOut:
    doors = call.gateway.doors
    held = [scope.value for scope in Scope if caller.allows(scope)]
    mode: Literal["open", "first_start", "password"] = "open"
    if doors.keys is not None:
        mode = "first_start" if doors.members is not None and doors.members.first_start else "password"
    return SessionOut(
        mode=mode,
        signed_in=bool(held),
        user=caller.user if held else None,
        admin=Scope.ADMIN in held,
        scopes=held,
        oidc=None if doors.provider is None else Provider(name=doors.provider.name),
    )


def _members(call: AnyCall) -> Members:
    """Raises Conflict on a server where nobody has to sign in."""
    members = call.gateway.doors.members
    if members is None:
        raise Conflict("nobody has to sign in at this server: everybody is let in as the user local")
    return members


def _json(said: SessionOut) -> web.Response:
    return web.Response(body=msgspec.json.encode(said), content_type="application/json")
