"""Engines: what an admin sees of them and asks of them. Beyond the OpenAI contract."""

from __future__ import annotations

from typing import Literal

from hubbub.gateway.wire.base import In, Out


class EngineDrain(In, frozen=True, kw_only=True):
    """``undo``: give it work again."""

    undo: bool = False


class EngineRestart(In, frozen=True, kw_only=True):
    """``force``: without waiting for what it runs, which goes on elsewhere, or here once it is back."""

    force: bool = False


class EngineOut(Out, frozen=True, kw_only=True):
    """``running``: requests given to it. ``waiting``: of those, what it has not begun, where it tells. ``trouble``: why
    it is not ready. The numbers of what it can hold are 0 while it is not. ``pid``, ``rss_bytes`` (with its children)
    and ``restarts`` are of a process of this server, which alone can be restarted. ``cost_usd``: what a
    hosted one has cost since the start, by the prices set."""

    id: str
    object: Literal["engine"] = "engine"
    kind: str
    ready: bool
    draining: bool
    restarting: bool
    trouble: str
    models: list[str]
    adapters: list[str]
    mixes_adapters: bool
    running: int
    waiting: int
    max_sequences: int
    context_window: int
    kv_tokens: int
    kv_used: float
    details: dict[str, str]
    can_restart: bool
    pid: int | None
    rss_bytes: int | None
    restarts: int | None
    cost_usd: float | None = None


class EngineLog(Out, frozen=True, kw_only=True):
    """``lines``: oldest first; none for an engine that is no process of this server."""

    id: str
    object: Literal["engine.log"] = "engine.log"
    lines: list[str]


class EngineList(Out, frozen=True, kw_only=True):
    data: list[EngineOut]
    object: Literal["list"] = "list"
