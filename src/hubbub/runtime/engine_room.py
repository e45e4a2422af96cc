"""What people do with engines while the server runs: look at them, drain one, restart one.

Theory of operation. A draining engine is given nothing new and ends what it runs. A restart drains, waits for that end
(unless it is forced: what runs then goes on elsewhere, or here once it is back), kills the process, which its
supervisor brings back, and lets the engine work again; an engine that was draining before drains still. Both are
forgotten when the server stops.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.core.errors import Conflict, NotFound
from hubbub.core.types import EngineId, EngineState, Json
from hubbub.ports import Engine, Killable
from hubbub.runtime.dispatcher import Dispatcher

log = logging.getLogger(__name__)

TAIL_BYTES = 1 << 20
LOOK_S = 0.05
"""Between looks at whether an engine has ended its work, or is back."""


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine now. ``state`` None: not ready, ``trouble`` says why. ``running``: requests given to it. ``ours``: it
    can be restarted. ``facts``: what is known of it beside the port (kind; of our own processes pid, memory, restarts).
    """

    id: EngineId
    state: EngineState | None
    trouble: str
    running: int
    draining: bool
    restarting: bool
    ours: bool
    facts: Mapping[str, Json] = field(default_factory=dict)


class EngineRoom:
    """``facts`` is asked anew for each view. ``logs``: the file that an engine's process writes, where it is ours."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        facts: Callable[[Engine], Mapping[str, Json]] | None = None,
        logs: Callable[[Engine], Path | None] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._facts = facts
        self._logs = logs
        self._restarts: dict[EngineId, asyncio.Task[None]] = {}

    def views(self) -> list[EngineView]:
        """All that are configured, in that order."""
        dispatcher = self._dispatcher
        loads, draining = dispatcher.scheduler.view().engines, dispatcher.scheduler.draining
        return [
            EngineView(
                id=engine.id,
                state=dispatcher.states.get(engine.id),
                trouble=dispatcher.trouble.get(engine.id, ""),
                running=loads[engine.id].sequences if engine.id in loads else 0,
                draining=engine.id in draining,
                restarting=engine.id in self._restarts,
                ours=isinstance(engine, Killable),
                facts=self._facts(engine) if self._facts else {},
            )
            for engine in dispatcher.engines.values()
        ]

    def view(self, engine: str) -> EngineView:
        """Raises NotFound."""
        self._engine(engine)
        return next(view for view in self.views() if view.id == engine)

    async def log(self, engine: str, lines: int) -> list[str]:
        """The last ``lines`` of what it printed; none where no file is kept. Raises NotFound."""
        found = self._engine(engine)
        path = self._logs(found) if self._logs else None
        return [] if path is None else await asyncio.to_thread(tail, path, lines)

    def drain(self, engine: str, draining: bool) -> None:
        """Give it nothing new from now on, or again. Raises NotFound, and Conflict while it is being restarted."""
        found = self._engine(engine).id
        if found in self._restarts:
            raise Conflict(f"engine {engine} is being restarted; wait until it is back")
        self._dispatcher.drain(found, draining)

    def restart(self, engine: str, *, force: bool) -> None:
        """Begin to restart it; ``force``: without waiting for what it runs. Raises NotFound, and Conflict for an engine
        that is no process of ours."""
        found = self._engine(engine)
        if not isinstance(found, Killable):
            raise Conflict(f"engine {engine} is no process of this server; drain it, and restart it where it runs")
        if found.id in self._restarts:
            return
        task = self._restarts[found.id] = asyncio.create_task(self._restart(found, found, force))
        task.add_done_callback(lambda _: self._restarts.pop(found.id, None))

    async def close(self) -> None:
        tasks = list(self._restarts.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _restart(self, engine: Engine, process: Killable, force: bool) -> None:
        dispatcher, name = self._dispatcher, engine.id
        drained = name in dispatcher.scheduler.draining
        dispatcher.drain(name, True)
        try:
            if not force:
                await _until(lambda: not self.view(name).running)
            log.warning("engine %s is being restarted", name, extra={"action": "engine_restart"})
            dispatcher.lose(name, "it is being restarted")
            process.kill()
            await asyncio.sleep(LOOK_S)
            await _until(lambda: name in dispatcher.states)
        finally:
            dispatcher.drain(name, drained)

    def _engine(self, engine: str) -> Engine:
        found = self._dispatcher.engines.get(EngineId(engine))
        if found is None:
            there = ", ".join(self._dispatcher.engines)
            raise NotFound(f"there is no engine {engine!r}; there is {there}", param="engine")
        return found


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file, out of its last ``TAIL_BYTES``. Blocks. Empty where there is no file."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            found = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return found[1 if start else 0 :][-lines:]


async def _until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - the dispatcher would have to set an event on its hot path
        await asyncio.sleep(LOOK_S)
