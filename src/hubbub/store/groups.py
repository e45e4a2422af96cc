"""Group commit, seen from the event loop: callers wait on futures while one thread writes whatever has gathered.

While a group is being written, the next one gathers here. So a lone caller waits for one transaction, and 200 at once
share one. The loop is woken once a group. A caller that is cancelled leaves its job in the group: it may be kept.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hubbub.core.errors import StorageError
from hubbub.store.writer import Append, Commit, Outcome, Writer

GROUP_MOST = 1000
"""Jobs in one group: bounds how long the first of a group waits for the last."""

_Waiting = tuple[Commit | Append, "asyncio.Future[None]"]


class Groups:
    def __init__(self, writer: Writer, thread: ThreadPoolExecutor) -> None:
        """``thread`` has one worker; nobody else may use ``writer``."""
        self._writer = writer
        self._thread = thread
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._idle: asyncio.Future[None] | None = None

    async def submit(self, job: Commit | Append) -> None:
        """Returns when the job is kept. Raises what kept it from being so."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((job, future))
        if not self._busy:
            self._busy = True
            # Not at once: what else this turn of the loop brings goes along.
            loop.call_soon(self._start)
        await future

    async def drain(self) -> None:
        """Returns when nothing is waiting or being written."""
        while self._busy:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _start(self) -> None:
        group, self._waiting = self._waiting[:GROUP_MOST], self._waiting[GROUP_MOST:]
        done = asyncio.wrap_future(self._thread.submit(self._writer.run, [job for job, _ in group]))
        done.add_done_callback(lambda done: self._deliver(group, done))

    def _deliver(self, group: list[_Waiting], done: asyncio.Future[list[Outcome]]) -> None:
        if done.cancelled():
            outcomes: list[BaseException | None] = [StorageError("the store was closed")] * len(group)
        elif (unforeseen := done.exception()) is not None:
            outcomes = [unforeseen] * len(group)
        else:
            outcomes = list(done.result())
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)
        if self._waiting:
            self._start()
            return
        self._busy = False
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
