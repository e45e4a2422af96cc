"""What people do with chats beside asking: make, rename, restyle, fork, append, remove, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hubbub.core import tree
from hubbub.core.errors import ChatBusy, NotFound
from hubbub.core.types import Chat, ChatId, Item, ItemId, Node, Style, UserId
from hubbub.ports import BranchKept, ChatDeleted, ChatEdited, ChatSaved, Clock, HeadMoved, NodesAdded, Page, Store
from hubbub.runtime.feeds import Feeds
from hubbub.runtime.question import title_of

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ChatEdit:
    """What to change of a chat; None leaves a field as it is. An empty title: the first question's words again."""

    title: str | None = None
    style: Style | None = None
    metadata: Mapping[str, str] | None = None
    pinned: bool | None = None


class Chats:
    """``busy`` says whether an answer is being written in a chat: its path must not change meanwhile. ``feeds`` hear of
    every change."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: Callable[[str], str],
        busy: Callable[[UserId, ChatId], bool],
        feeds: Feeds | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._busy = busy
        self._feeds = Feeds() if feeds is None else feeds

    async def create(
        self,
        user: UserId,
        items: Sequence[Item],
        *,
        title: str = "",
        style: Style | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Chat:
        now = self._clock.wall()
        nodes = tree.link(user, None, items, now)
        chat = Chat(
            id=ChatId(self._new_id("conv_")),
            user=user,
            created_at=now,
            updated_at=now,
            head=nodes[-1].hash if nodes else None,
            title=title or title_of(items),
            named=bool(title),
            style=style or Style(),
            metadata=metadata or {},
        )
        await self._store.commit(NodesAdded(nodes), ChatSaved(chat))
        self._feeds.changed(user, chat.id)
        return chat

    async def get(self, user: UserId, chat: ChatId) -> Chat:
        """Raises NotFound."""
        found = await self._store.chat(user, chat)
        if found is None:
            raise NotFound(f"there is no conversation {chat!r}", param="conversation")
        return found

    async def edit(self, user: UserId, chat: ChatId, edit: ChatEdit) -> Chat:
        """Raises NotFound, and Conflict if it is deleted meanwhile."""
        found = await self.get(user, chat)
        title = found.title if edit.title is None else edit.title
        if not title:
            title = title_of(node.item for node in await self._store.path(user, found.head))
        change = ChatEdited(
            chat,
            title=None if title == found.title and edit.title is None else title,
            named=None if edit.title is None else bool(edit.title),
            style=edit.style,
            metadata=edit.metadata,
            pinned=edit.pinned,
            at=None if edit == ChatEdit(pinned=edit.pinned) else self._clock.wall(),
        )
        await self._store.commit(change)
        self._feeds.changed(user, chat)
        return await self.get(user, chat)

    async def delete(self, user: UserId, chat: ChatId) -> None:
        """Raises NotFound, ChatBusy while an answer is being written there."""
        await self._idle(user, chat)
        await self._store.commit(ChatDeleted(chat))
        self._feeds.gone(user, chat)

    async def items(self, user: UserId, chat: ChatId) -> tuple[Node, ...]:
        """The whole path, root first. Raises NotFound."""
        return await self._store.path(user, (await self.get(user, chat)).head)

    async def append(self, user: UserId, chat: ChatId, items: Sequence[Item]) -> tuple[Node, ...]:
        """Items said without asking. Raises NotFound, ChatBusy, Conflict."""
        found = await self._idle(user, chat)
        now = self._clock.wall()
        path = await self._store.path(user, found.head)
        nodes = tree.link(user, path[-1] if path else None, items, now)
        if nodes:
            await self._store.commit(NodesAdded(nodes), HeadMoved(chat, found.head, nodes[-1].hash, now))
            self._feeds.changed(user, chat)
        return nodes

    async def remove(self, user: UserId, chat: ChatId, item: ItemId) -> Chat:
        """Leave one item out of this chat; forks keep it. Raises NotFound, ChatBusy, Conflict."""
        found = await self._idle(user, chat)
        now = self._clock.wall()
        try:
            nodes, head = tree.without(await self._store.path(user, found.head), item, now)
        except KeyError:
            raise NotFound(f"there is no item {item!r} in conversation {chat!r}", param="item_id") from None
        await self._store.commit(NodesAdded(nodes), HeadMoved(chat, found.head, head, now))
        self._feeds.changed(user, chat)
        return replace(found, head=head, updated_at=now)

    async def turn(self, user: UserId, chat: ChatId, item: ItemId) -> Chat:
        """Show the latest branch that has this item; the one shown now is kept. Raises NotFound, ChatBusy, Conflict."""
        found = await self._idle(user, chat)
        tree_of = await self._store.chat_tree(user, chat)
        node = tree_of.find(item)
        if node is None:
            raise NotFound(f"there is no item {item!r} in conversation {chat!r}", param="item")
        leaf = tree_of.leaf(node)
        if leaf == found.head:
            return found
        left = tree_of.left(leaf)
        kept = [] if left is None else [BranchKept(chat, left)]
        await self._store.commit(HeadMoved(chat, found.head, leaf, found.updated_at), *kept)
        self._feeds.changed(user, chat)
        return replace(found, head=leaf)

    async def fork(self, user: UserId, chat: ChatId, *, at: ItemId | None = None, title: str | None = None) -> Chat:
        """A second chat that shares the path up to and including ``at`` (None: all of it). Raises NotFound."""
        found = await self.get(user, chat)
        head = found.head
        if at is not None:
            path = await self._store.path(user, head)
            head = next((node.hash for node in path if node.item.id == at), None)
            if head is None:
                raise NotFound(f"there is no item {at!r} in conversation {chat!r}", param="at")
        now = self._clock.wall()
        twin = replace(
            found,
            id=ChatId(self._new_id("conv_")),
            head=head,
            title=found.title if title is None else title,
            named=found.named if title is None else bool(title),
            pinned=False,
            created_at=now,
            updated_at=now,
            forked_from=found.id,
        )
        await self._store.commit(ChatSaved(twin))
        self._feeds.changed(user, twin.id)
        return twin

    async def _idle(self, user: UserId, chat: ChatId) -> Chat:
        found = await self.get(user, chat)
        if self._busy(user, chat):
            raise ChatBusy(f"an answer is being written in conversation {chat!r}; wait for its end or cancel it")
        return found


def page(rows: Sequence[Row], ids: Sequence[str], *, after: str | None, limit: int, descending: bool) -> Page[Row]:
    """One page of an ordered list (oldest first). Raises NotFound (param ``after``) for a cursor not in ``ids``."""
    order = range(len(rows) - 1, -1, -1) if descending else range(len(rows))
    start = 0
    if after is not None:
        if after not in ids:
            raise NotFound(f"there is no item {after!r} to go on after", param="after")
        start = order.index(ids.index(after)) + 1
    picked = order[start : start + limit]
    return Page(tuple(rows[i] for i in picked), has_more=start + limit < len(rows))
