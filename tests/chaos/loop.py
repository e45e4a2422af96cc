"""An event loop whose time is virtual: where a real one waits for a timer, this one jumps to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any

LIFE: ContextVar[int] = ContextVar("LIFE", default=0)
"""Whose tasks are made: 0 is the world's, each life of the server has its own number."""


class Stuck(RuntimeError):
    """Nothing is left to wait for, and somebody waits."""


class _Jumps:
    """Stands where a loop has its selector: there are no files, only time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("no timer is set and no task is ready")
        self._loop.virtual += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """``tasks``: those that are not done, by the life they belong to, in the order they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual = 0.0
        self.tasks: dict[int, dict[asyncio.Task[Any], None]] = {}
        self._selector = _Jumps(self)
        self.set_task_factory(self._make)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.virtual

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def _make(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        life = LIFE.get() if context is None else context.get(LIFE, 0)
        mine = self.tasks.setdefault(life, {})
        mine[task] = None
        task.add_done_callback(lambda done: mine.pop(done, None))
        return task
