"""Styles that a user keeps, to give them to chats."""

from __future__ import annotations

from dataclasses import asdict

from hubbub.core.errors import BadRequest
from hubbub.core.types import Style
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.routes.chats import check_adapter, restyled
from hubbub.gateway.wire.base import Listed, listed
from hubbub.gateway.wire.chats import SavedStyle, StyleDeleted, StyleIn, StyleOut
from hubbub.runtime import styles

NAME_CHARACTERS = 100


async def index(call: Call[None, NoQuery]) -> Listed[SavedStyle]:
    """All of them, by name."""
    mine = await call.gateway.store.styles(call.user)
    return listed([_out(name, style) for name, style in mine.items()], list(mine), has_more=False)


async def save(call: Call[StyleIn, NoQuery]) -> SavedStyle:
    """The whole of it: a field that is left out is the server's default."""
    check_adapter(call, call.body)
    name, style = _name(call), restyled(Style(), call.body)
    await styles.keep(call.gateway.store, call.user, name, style)
    return _out(name, style)


async def delete(call: Call[None, NoQuery]) -> StyleDeleted:
    await styles.forget(call.gateway.store, call.user, _name(call))
    return StyleDeleted(name=_name(call))


def _name(call: AnyCall) -> str:
    """Raises BadRequest."""
    name = call.arg("style")
    if len(name) > NAME_CHARACTERS or not name.isprintable() or not name.strip():
        raise BadRequest(f"the name of a style has 1 to {NAME_CHARACTERS} characters that can be seen", param="name")
    return name


def _out(name: str, style: Style) -> SavedStyle:
    return SavedStyle(name=name, style=StyleOut(**asdict(style)))
