"""What people do with chats beside asking: make, rename, restyle, fork, append, remove, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hubbub.core.types import Chat, ChatId, Item, ItemId, Node, Style, UserId
from hubbub.ports import Page

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ChatEdit:
    """What to change of a chat; None leaves a field as it is."""

    title: str | None = None
    style: Style | None = None
    metadata: Mapping[str, str] | None = None


class Chats:
    async def create(
        self,
        user: UserId,
        items: Sequence[Item],
        *,
        title: str = "",
        style: Style | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Chat: ...

    async def get(self, user: UserId, chat: ChatId) -> Chat:
        """Raises NotFound."""

    async def edit(self, user: UserId, chat: ChatId, edit: ChatEdit) -> Chat: ...

    async def delete(self, user: UserId, chat: ChatId) -> None:
        """Raises NotFound, ChatBusy while an answer is being written there."""

    async def items(self, user: UserId, chat: ChatId) -> tuple[Node, ...]:
        """The whole path, root first. Raises NotFound."""

    async def append(self, user: UserId, chat: ChatId, items: Sequence[Item]) -> tuple[Node, ...]:
        """Items said without asking. Raises NotFound, ChatBusy, Conflict."""

    async def remove(self, user: UserId, chat: ChatId, item: ItemId) -> Chat:
        """Leave one item out of this chat; forks keep it. Raises NotFound, ChatBusy, Conflict."""

    async def fork(self, user: UserId, chat: ChatId, *, at: ItemId | None = None, title: str | None = None) -> Chat:
        """A second chat that shares the path up to and including ``at`` (None: all of it). Raises NotFound."""


def page(rows: Sequence[Row], ids: Sequence[str], *, after: str | None, limit: int, descending: bool) -> Page[Row]:
    """One page of an ordered list (oldest first). Raises NotFound (param ``after``) for a cursor not in ``ids``."""
