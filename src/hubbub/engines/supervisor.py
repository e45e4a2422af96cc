"""Keeps one process running: starts it, waits until it is ready, starts it again when it dies, ends it with its parent.

State machine::

    STOPPED --start()--> STARTING --ready--> READY --exit--> RESTARTING --backoff--> STARTING (and so on, for ever)
       ^                    |                                    |
       '---- not ready -----'  (only before the first READY)     '-- stop() from anywhere --> STOPPED

``start`` fails fast, so that a wrong command is an error and no loop; once the process has been ready it is brought
back for ever, with a pause that doubles up to ``backoff_most_s`` and is short again after ``stable_s`` of good work.
``status`` always says how it is. The process leads a group of its own; whenever it ends, the rest of its group is
killed, so that nothing of it is left. If this process dies, the leash (see ``leash.py``) kills the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hubbub.core.errors import ConfigError, EngineUnavailable
from hubbub.engines import leash
from hubbub.engines.child_log import ChildLog, LogPipe, announcement

log = logging.getLogger(__name__)

PROBE_PAUSE_S = 0.1
PIPE_TIMEOUT_S = 1.0
"""How long the log is read after the process is gone: a grandchild that left the group may hold it open."""


class Phase(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"


@dataclass(frozen=True, slots=True)
class Status:
    """``restarts`` counts from the first READY. ``started_at``: Unix seconds of the present process's start.
    ``launch``: what the process said of itself (``{"port": N, ...}``). ``trouble``: why it last ended."""

    phase: Phase = Phase.STOPPED
    pid: int | None = None
    restarts: int = 0
    started_at: float | None = None
    launch: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``env`` is added to this process's environment. ``announces``: it prints a JSON line with its port
    once that is open, and is not probed before. Times in seconds, sizes in bytes."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    log_path: Path | None = None
    announces: bool = False
    ready_s: float = 120.0
    grace_s: float = 5.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 30.0
    stable_s: float = 60.0
    log_bytes: int = 5_000_000
    log_keep: int = 2

    def __post_init__(self) -> None:
        if not self.argv:
            raise ConfigError("an engine's command is empty", param="command")


Probe = Callable[[Mapping[str, Any]], Awaitable[bool]]
"""Whether the process that announced this can take work now. EngineUnavailable counts as no."""


class Supervisor:
    """``changed`` is called with each new status, on the event loop."""

    def __init__(self, command: Command, probe: Probe, changed: Callable[[Status], None] | None = None) -> None:
        self.command = command
        self.status = Status()
        self.log = ChildLog(command.log_path, max_bytes=command.log_bytes, keep=command.log_keep)
        self._probe = probe
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._pipe = -1
        self._logs: tuple[LogPipe, ...] = ()
        self._keeper: asyncio.Task[None] | None = None
        self._doing = asyncio.Lock()
        self._halt = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self.status.pid

    @property
    def restarts(self) -> int:
        return self.status.restarts

    @property
    def name(self) -> str:
        return Path(self.command.argv[0]).name

    async def start(self) -> Status:
        """Return once it is ready; at once if it is, or is being brought back. Raises EngineUnavailable, with the last
        lines of its log, if it ends before or is not ready in ``ready_s``; nothing runs then."""
        async with self._doing:
            if self._keeper is None:
                try:
                    await self._launch()
                except BaseException as fault:
                    await self._end(grace_s=0.0)
                    self._set(phase=Phase.STOPPED, pid=None, launch={}, trouble=str(fault))
                    raise
                self._keeper = asyncio.create_task(self._keep())
        return self.status

    async def stop(self) -> None:
        """SIGTERM, ``grace_s``, SIGKILL, to the whole group. Nothing runs when it returns; a ``start`` that still waits
        fails."""
        self._halt.set()
        async with self._doing:
            self._halt.clear()
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.wait([self._keeper])
                self._keeper = None
            await self._end(self.command.grace_s)
            self._set(phase=Phase.STOPPED, pid=None, launch={})
            self.log.close()

    def kill(self) -> None:
        """SIGKILL the group: for a process that hangs. It is brought back like one that crashed."""
        self._signal(signal.SIGKILL)

    def _set(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        if self._changed is not None:
            self._changed(self.status)

    # One life of the process ---------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        self.log.clear_last()
        self._set(phase=Phase.STARTING, pid=None, launch={}, started_at=time.time())
        announced: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        await self._spawn(announced)
        self._set(pid=self._running.pid)
        ready = asyncio.create_task(self._ready(announced))
        gone = asyncio.create_task(self._running.wait())
        halt = asyncio.create_task(self._halt.wait())
        try:
            await asyncio.wait({ready, gone, halt}, timeout=self.command.ready_s, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                launch = ready.result()
            elif gone.done():
                await self._end(grace_s=0.0)
                raise EngineUnavailable(self._words(f"ended before it was ready ({_exit_words(gone.result())})"))
            elif halt.done():
                raise EngineUnavailable(f"{self.name} was stopped before it was ready")
            else:
                raise EngineUnavailable(self._words(f"was not ready within {self.command.ready_s:g} s"))
        finally:
            for task in (ready, gone, halt):
                task.cancel()
            await asyncio.gather(ready, gone, halt, return_exceptions=True)
        self._set(phase=Phase.READY, launch=launch, trouble="")

    async def _spawn(self, announced: asyncio.Future[Mapping[str, Any]]) -> None:
        command = self.command

        def hear(line: str) -> None:
            said = announcement(line) if command.announces and not announced.done() else None
            if said is not None:
                announced.set_result(said)
            self.log.line(line)

        theirs, self._pipe = os.pipe()
        self._logs = LogPipe(hear), LogPipe(self.log.line)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-E", str(Path(leash.__file__)), str(theirs), *command.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._logs[0].write_fd,
                stderr=self._logs[1].write_fd,
                env={**os.environ, **command.env},
                cwd=command.cwd,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except OSError as fault:
            for pipe in self._logs:
                pipe.discard()
            self._logs = ()
            raise EngineUnavailable(f"{self.name} cannot be started: {fault}") from fault
        finally:
            os.close(theirs)
        for pipe in self._logs:
            await pipe.listen()

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("no process runs")
        return self._process

    async def _ready(self, announced: asyncio.Future[Mapping[str, Any]]) -> Mapping[str, Any]:
        launch: Mapping[str, Any] = await announced if self.command.announces else {}
        while True:
            with contextlib.suppress(EngineUnavailable):
                if await self._probe(launch):
                    return launch
            await asyncio.sleep(PROBE_PAUSE_S)

    async def _end(self, grace_s: float) -> None:
        """End the group and forget the process."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None and grace_s > 0:
                _signal_group(process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), grace_s)
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
            await self._drain()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    async def _drain(self) -> None:
        logs, self._logs = self._logs, ()
        for pipe in logs:
            await pipe.drain(PIPE_TIMEOUT_S)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            _signal_group(self._process.pid, number)

    def _words(self, what: str) -> str:
        """What happened, with the last lines of the log."""
        where = f" (log: {self.log.path})" if self.log.path else ""
        last = self.log.last()
        return f"{self.name} {what}{where}" + (f":\n{last}" if last else "")

    # Bringing it back ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        command, pause = self.command, self.command.backoff_first_s
        loop = asyncio.get_running_loop()
        while True:
            ready_at = loop.time()
            if self._process is not None:
                code = await self._process.wait()
                await self._end(grace_s=0.0)
                trouble = self._words(f"ended ({_exit_words(code)})")
                log.warning("%s", trouble, extra={"action": "engine_exit"})
                if loop.time() - ready_at >= command.stable_s:
                    pause = command.backoff_first_s
                self._set(phase=Phase.RESTARTING, pid=None, launch={}, trouble=trouble)
            await asyncio.sleep(pause)
            pause = min(pause * 2, command.backoff_most_s)
            self._set(restarts=self.status.restarts + 1)
            try:
                await self._launch()
            except EngineUnavailable as error:
                log.warning("%s", error.message, extra={"action": "engine_restart"})
                await self._end(grace_s=0.0)
                self._set(phase=Phase.RESTARTING, pid=None, launch={}, trouble=error.message)


@runtime_checkable
class Supervised(Protocol):
    """An engine whose process is ours."""

    supervisor: Supervisor


def _signal_group(group: int, number: signal.Signals) -> None:
    # PermissionError: macOS says so of a group in which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
