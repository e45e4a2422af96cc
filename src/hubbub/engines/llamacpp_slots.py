"""Which of llama.cpp's slots a request goes to.

A slot keeps the keys and values of the last prompt it had. Left to itself the server takes the idle slot whose prompt
begins most alike, from a tenth up: of two chats with one system prompt the second throws the first one's history out,
with empty slots beside it. Here a chat goes back to its own slot, else to one that nobody used, else to the one used
longest ago; bulk, which shares a template, to slots of bulk first. What one user left is of no use to another: else the
time to the first token would tell what was asked. So a slot counts as a user's once the server has begun to answer; a
request that was cancelled before may have come to it or not, and what is in its slot then is of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hubbub.core.types import Priority, Request, RequestId

_NOBODY: Final = ("", "")
"""Nothing is in the slot yet."""
_UNKNOWN: Final = (None, "")
"""Whose is in it isn't known."""


@dataclass(slots=True)
class Place:
    """``warm``: what is in the slot is this user's, or nothing. ``answered``: the server has begun to answer."""

    slot: int
    warm: bool
    answered: bool = False


class SlotTable:
    """State: ``_idle`` maps each free slot to whoever used it last (user and chat), in the order in which they came
    free (never used ones first); ``_held`` what is taken. Every slot is in exactly one of them."""

    def __init__(self, count: int) -> None:
        self._idle: dict[int, tuple[str | None, str]] = dict.fromkeys(range(count), _NOBODY)
        self._held: dict[RequestId, Place] = {}

    def place(self, request: RequestId) -> Place | None:
        return self._held.get(request)

    def answered(self, request: RequestId) -> None:
        """The server has begun to answer it: what is in its slot is its user's from now on."""
        if (place := self._held.get(request)) is not None:
            place.answered = True

    def take(self, request: Request) -> Callable[[], None]:
        """Returns what gives the slot back, any number of times. Without a free slot none is taken: the server lets the
        request wait for one."""
        whose = (request.user, "bulk" if request.priority is Priority.BULK else f"chat {request.chat}")
        slot = next((slot for slot, before in self._idle.items() if before == whose), next(iter(self._idle), None))
        if slot is None or request.id in self._held:
            return lambda: None
        before = self._idle.pop(slot)
        place = self._held[request.id] = Place(slot, before == _NOBODY or before[0] == request.user)
        given = False

        def give_back() -> None:
            nonlocal given
            if not given:
                given = True
                del self._held[request.id]
                self._idle[slot] = whose if place.warm or place.answered else _UNKNOWN

        return give_back
