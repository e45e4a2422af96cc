"""The styles that users keep by a name."""

from __future__ import annotations

from hubbub.core.errors import Conflict, NotFound
from hubbub.core.types import Style, UserId
from hubbub.ports import Store, StyleDeleted, StyleSaved

STYLES_MOST = 200
"""Of one user."""


async def keep(store: Store, user: UserId, name: str, style: Style) -> None:
    """Make or change it. Raises Conflict where the user has too many."""
    mine = await store.styles(user)
    if name not in mine and len(mine) >= STYLES_MOST:
        raise Conflict(f"you keep {STYLES_MOST} styles already; delete one", param="name")
    await store.commit(StyleSaved(user, name, style))


async def forget(store: Store, user: UserId, name: str) -> None:
    """Raises NotFound."""
    if name not in await store.styles(user):
        raise NotFound(f"there is no style {name!r}", param="name")
    await store.commit(StyleDeleted(user, name))
