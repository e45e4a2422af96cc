"""The way to the identity provider and back. Browsers come here: what goes wrong is told to the page in its address."""

from __future__ import annotations

import logging
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta

from hubbub.core.errors import HubbubError, NotFound
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.members import Members
from hubbub.gateway.oidc import IdentityProvider
from hubbub.gateway.routes.session import give
from hubbub.gateway.wire.base import In

log = logging.getLogger(__name__)

STATE, PATH = "hubbub_oidc", "/auth/oidc"
STATE_S = 600
Text = Annotated[str, Meta(max_length=4000)]


class CallbackQuery(In, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Providers add what they like, which means nothing here."""

    code: Text = ""
    state: Text = ""
    error: Text = ""


async def start(call: Call[None, NoQuery]) -> web.Response:
    provider, _ = _parts(call)
    secure = call.gateway.doors.secure(call.request)
    callback = f"{'https' if secure else 'http'}://{call.request.headers.get('Host', '')}{PATH}/callback"
    try:
        where, state = await provider.start(callback)
    except HubbubError as error:
        return _back(error.message)
    response = _to(where)
    # Lax: the provider's page sends the browser back, which SameSite=Strict would take for another site's doing.
    response.set_cookie(STATE, state, max_age=STATE_S, path=PATH, httponly=True, samesite="Lax", secure=secure)
    return response


async def callback(call: Call[None, CallbackQuery]) -> web.Response:
    provider, members = _parts(call)
    query = call.query
    if query.error or not query.code:
        return _back("the identity provider did not sign you in")
    try:
        identity = await provider.finish(query.code, query.state, call.request.cookies.get(STATE, ""))
        user = await members.by_subject(
            identity.subject, identity.name, admins=provider.admins, make=provider.make_users
        )
        token = await members.begin(user)
    except HubbubError as error:
        return _back(error.message)
    response = _to("/")
    give(call, response, token, members)
    response.del_cookie(STATE, path=PATH)
    return response


def _parts(call: AnyCall) -> tuple[IdentityProvider, Members]:
    """Raises NotFound."""
    doors = call.gateway.doors
    if doors.provider is None or doors.members is None:
        raise NotFound("this server has no identity provider: see the section [oidc] of the settings")
    return doors.provider, doors.members


def _back(words: str) -> web.Response:
    return _to(f"/sign-in?trouble={quote(words)}")


def _to(where: str) -> web.Response:
    return web.Response(status=303, headers={"Location": where, "Cache-Control": "no-store"})
