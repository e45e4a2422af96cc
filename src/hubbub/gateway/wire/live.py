"""The events of ``GET /v1/live``."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType, field

from hubbub.gateway.wire.base import Out
from hubbub.gateway.wire.chats import ChatOut
from hubbub.gateway.wire.responses import ResponseError, ResponseUsage

State = Literal["waiting", "running"]


class LiveRunning(Out, frozen=True, kw_only=True):
    """An answer as it is now. ``sequence_number``: of the last event of its own stream that is in ``text``. Of a long
    text only the end is there; ``skipped`` characters come before it."""

    chat: str
    response: str
    sequence_number: int
    text: str
    skipped: int | UnsetType = UNSET
    state: State
    position: int | None
    estimate_s: float | None


class LiveSnapshot(Out, frozen=True, kw_only=True):
    """The first event, ``snapshot``."""

    running: list[LiveRunning]


class LiveStarted(Out, frozen=True, kw_only=True):
    """An answer was accepted, or has another state than before."""

    chat: str
    response: str
    state: State


class LiveEnded(Out, frozen=True, kw_only=True):
    chat: str
    response: str
    status: str
    error: ResponseError | None
    usage: ResponseUsage


class LiveFrame(Out, frozen=True, kw_only=True, omit_defaults=True):
    """Every other event, ``frame``: what is new, to be taken in this order; empty lists are left out. ``deltas``:
    response, the number of the last event of its own stream that is in the text, text. ``queue``: response, place in
    line from 1, seconds to its first token where they can be told."""

    started: list[LiveStarted] = field(default_factory=list)
    deltas: list[tuple[str, int, str]] = field(default_factory=list)
    queue: list[tuple[str, int, float | None]] = field(default_factory=list)
    ended: list[LiveEnded] = field(default_factory=list)
    chats: list[ChatOut] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
