"""Who watches their chats: one feed a reader, whatever the number of chats.

Theory of operation. A feed queues no words. It holds the live answers of its user, and its reader looks at what each
has published since it last looked: a token costs a feed nothing, and a reader that is slow is behind in lists that are
there anyway. A feed is woken once for each publication that has something of its user's, and at once when an answer
begins or ends or a chat changes; how often its reader then looks is the reader's to say. What readers see is what the
publisher has published, and so is in the journal. Answers that are not stored, or are in no chat, are not shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from hubbub.core.errors import HubbubError
from hubbub.core.types import Answer, AnswerId, ChatId, UserId
from hubbub.runtime.live import Live


class Feed:
    """What has happened in one user's chats since the reader last took it."""

    def __init__(self) -> None:
        self.begun: dict[AnswerId, Live] = {}
        """Live answers that are new to the reader."""
        self.changed: dict[ChatId, None] = {}
        self.gone: dict[ChatId, None] = {}
        self.closed: HubbubError | None = None
        self._news = asyncio.Event()

    async def news(self, seconds: float | None) -> None:
        """Return when there may be something new, or after that time. Raises what the feeds were closed with."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
        if self.closed is not None:
            raise type(self.closed)(self.closed.message, retry_after=self.closed.retry_after)

    def wake(self) -> None:
        self._news.set()

    def take_begun(self) -> Iterable[Live]:
        begun, self.begun = self.begun, {}
        return begun.values()

    def take_changed(self, most: int) -> list[ChatId]:
        """At most so many; more of them are news at once."""
        taken = list(self.changed)[:most]
        for chat in taken:
            del self.changed[chat]
        if self.changed:
            self.wake()
        return taken

    def take_gone(self) -> list[ChatId]:
        gone, self.gone = self.gone, {}
        return list(gone)


class Feeds:
    """All feeds of one server, by user."""

    def __init__(self) -> None:
        self._open: dict[UserId, set[Feed]] = {}
        self._closed: HubbubError | None = None

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    @contextlib.contextmanager
    def open(self, user: UserId) -> Iterator[Feed]:
        feed = Feed()
        if self._closed is not None:
            _close(feed, self._closed)
        self._open.setdefault(user, set()).add(feed)
        try:
            yield feed
        finally:
            self._open[user].discard(feed)
            if not self._open[user]:
                del self._open[user]

    def begun(self, live: Live) -> None:
        """An answer was accepted, or taken up again."""
        answer = live.answer
        if shown(live):
            for feed in self._open.get(answer.user, ()):
                feed.begun[answer.id] = live
        self._changed_by(answer)

    def published(self, users: Iterable[UserId]) -> None:
        """There are new words in answers of these. The iterable is not looked at while nobody watches."""
        if self._open:
            for user in set(users):
                for feed in self._open.get(user, ()):
                    feed.wake()

    def ended(self, answer: Answer) -> None:
        self._changed_by(answer)

    def changed(self, user: UserId, chat: ChatId) -> None:
        for feed in self._open.get(user, ()):
            feed.changed[chat] = None
            feed.wake()

    def gone(self, user: UserId, chat: ChatId) -> None:
        for feed in self._open.get(user, ()):
            feed.changed.pop(chat, None)
            feed.gone[chat] = None
            feed.wake()

    def close(self, error: HubbubError) -> None:
        """The server stops: all readers hear ``error``, those to come, too."""
        self._closed = error
        for feeds in self._open.values():
            for feed in feeds:
                _close(feed, error)

    def _changed_by(self, answer: Answer) -> None:
        if answer.chat is not None:
            self.changed(answer.user, answer.chat)


def shown(live: Live) -> bool:
    """Whether feeds show it."""
    return live.answer.store and live.answer.chat is not None


def _close(feed: Feed, error: HubbubError) -> None:
    feed.closed = error
    feed.wake()
