"""Chats brought and taken."""

from __future__ import annotations

from typing import Literal

from hubbub.gateway.wire.base import Out


class ImportProblem(Out, frozen=True, kw_only=True):
    """``chat``: its title or place in the file, where one chat is meant."""

    file: str
    chat: str
    message: str


class ImportOut(Out, frozen=True, kw_only=True):
    """Chats by what became of them, and the items added. ``left_out``: what was not kept, by kind; ``passed_over``:
    files that hold no chats, by their endings. Of ``problems`` and ``chats`` (new ones, and ones that went on) the
    first 1,000 are told."""

    object: Literal["chat.import"] = "chat.import"
    created: int
    updated: int
    unchanged: int
    items: int
    left_out: dict[str, int]
    passed_over: dict[str, int]
    problems: list[ImportProblem]
    problem_count: int
    chats: list[str]
