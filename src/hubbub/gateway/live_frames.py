"""What a reader of ``/v1/live`` is sent: one snapshot, then frames of what is new. No I/O but looking chats up.

A frame costs by the number of answers that are being written, not by their tokens: of each it takes what was published
since the last frame as one text. Each text comes with the number that its last piece has in the response's own stream,
so that a client can go on there (``starting_after``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from hubbub.core.errors import NotFound
from hubbub.core.types import Answer, ChatId, Delta, UserId
from hubbub.gateway.call import Gateway
from hubbub.gateway.errors import response_error
from hubbub.gateway.routes.chats import chat_out
from hubbub.gateway.sse import characters
from hubbub.gateway.views import response_usage
from hubbub.gateway.wire.base import Out
from hubbub.gateway.wire.chats import ChatOut
from hubbub.gateway.wire.live import LiveEnded, LiveFrame, LiveRunning, LiveSnapshot, LiveStarted, State
from hubbub.runtime.feeds import Feed
from hubbub.runtime.live import Live, Place

SNAPSHOT_CHARACTERS = 20_000
"""Of one answer: its end. Hundreds of them make one event."""
CHATS_PER_FRAME = 50
NOTE_CHARACTERS = 100
"""What anything but text counts in the backlog of a reader that does not read."""


class EventNumbers:
    """The number of the last event of a response's own stream: what ``ResponseEvents`` makes, counted and not made."""

    def __init__(self, background: bool) -> None:
        self.last = 1 if background else 0
        self._running = False
        self._text = False
        self._tools = set[int]()

    def feed(self, deltas: Sequence[Delta]) -> None:
        if deltas and not self._running:
            self._running = True
            self.last += 1
        for delta in deltas:
            if delta.tool is None:
                self.last += 1 if self._text else 3  # an item and its part are opened before the first text
                self._text = True
                continue
            if delta.tool.index not in self._tools:
                self._tools.add(delta.tool.index)
                self.last += 1
            if delta.tool.arguments:
                self.last += 1


class _Followed:
    """One answer, and what the reader knows of it."""

    __slots__ = ("live", "numbers", "place", "seen", "state")

    def __init__(self, live: Live) -> None:
        self.live = live
        self.seen = 0
        self.numbers = EventNumbers(live.answer.background)
        self.state: State | None = None
        self.place: Place | None = None

    def new_text(self) -> str:
        deltas = self.live.deltas[self.seen :]
        self.seen += len(deltas)
        self.numbers.feed(deltas)
        return "".join(delta.text for delta in deltas)


class LiveFrames:
    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._followed: dict[str, _Followed] = {}

    def snapshot(self) -> bytes:
        """The first event: all that is being written now."""
        for live in self._feed.take_begun():
            self._followed[live.answer.id] = _Followed(live)
        running = [_running(each) for each in self._followed.values()]
        return event("snapshot", LiveSnapshot(running=running))

    async def frame(self, gateway: Gateway, user: UserId) -> bytes:
        """What is new since the last one; empty where that is nothing."""
        chats = await self._chats(gateway, user)
        found = LiveFrame(chats=chats, gone=[str(chat) for chat in self._feed.take_gone()])
        for live in self._feed.take_begun():
            self._followed.setdefault(live.answer.id, _Followed(live))
        for each in list(self._followed.values()):
            self._look_at(each, found)
        return event("frame", found) if any(getattr(found, name) for name in found.__struct_fields__) else b""

    def waits(self) -> bool:
        """Whether an answer has not begun: its place in the queue moves without a word."""
        return any(each.state == "waiting" for each in self._followed.values())

    def behind(self) -> int:
        """Characters that the reader has not been sent."""
        texts = sum(characters(each.live.deltas[each.seen :]) for each in self._followed.values())
        texts += sum(characters(live.deltas) for live in self._feed.begun.values())
        return texts + NOTE_CHARACTERS * (len(self._feed.begun) + len(self._feed.changed) + len(self._feed.gone))

    def _look_at(self, each: _Followed, frame: LiveFrame) -> None:
        # The answer before its words: an end that is seen has all of them published before it.
        answer, state, place = each.live.answer, each.live.state, each.live.place
        if state != each.state:
            each.state = state
            frame.started.append(LiveStarted(chat=answer.chat or "", response=answer.id, state=state))
        text = each.new_text()
        if text:
            frame.deltas.append((answer.id, each.numbers.last, text))
        if place is not None and place != each.place:
            frame.queue.append((answer.id, place.position, _rounded(place.seconds)))
        each.place = place
        if answer.status.final:
            frame.ended.append(_ended(answer))
            del self._followed[answer.id]

    async def _chats(self, gateway: Gateway, user: UserId) -> list[ChatOut]:
        changed = self._feed.take_changed(CHATS_PER_FRAME)
        found = await asyncio.gather(*(_chat(gateway, user, chat) for chat in changed))
        return [chat for chat in found if chat is not None]


async def _chat(gateway: Gateway, user: UserId, chat_id: ChatId) -> ChatOut | None:
    """None for one that has gone meanwhile."""
    chat = await gateway.store.chat(user, chat_id)
    try:
        return None if chat is None else await chat_out(gateway, chat)
    except NotFound:
        return None


def _running(each: _Followed) -> LiveRunning:
    answer, place = each.live.answer, each.live.place
    each.state, each.place = each.live.state, place
    text = each.new_text()
    skipped = max(0, len(text) - SNAPSHOT_CHARACTERS)
    return LiveRunning(
        chat=answer.chat or "",
        response=answer.id,
        sequence_number=each.numbers.last,
        text=text[skipped:],
        skipped=skipped or UNSET,
        state=each.state,
        position=place.position if place else None,
        estimate_s=_rounded(place.seconds) if place else None,
    )


def _ended(answer: Answer) -> LiveEnded:
    return LiveEnded(
        chat=answer.chat or "",
        response=answer.id,
        status=answer.status.value,
        error=response_error(answer),
        usage=response_usage(answer.usage),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def event(name: str, data: Out) -> bytes:
    """One event. Half a surrogate pair, which a delta may hold, stays an escape: its other half comes with the next."""
    try:
        said = msgspec.json.encode(data)
    except UnicodeEncodeError:
        said = json.dumps(msgspec.to_builtins(data)).encode()
    return b"event: %b\ndata: %b\n\n" % (name.encode(), said)
