"""``--on ray``: ranges of places as tasks on a Ray cluster. What they make is decided here, in order, as always.

A worker that dies takes its tasks with it: Ray does them again elsewhere, as often as it takes, and they come to the
same. A worker that joins gets the next ones. So the cluster decides how long a run takes, and nothing else about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.corpus.board import Board
from hubbub.corpus.client import FaultKind, RequestFault, Served
from hubbub.corpus.items import Items
from hubbub.corpus.producing import Intake
from hubbub.corpus.ray_task import CONFIG, Batch, Job, look, work
from hubbub.corpus.steering import LAG, EpochWeights

RANGE_FACTOR = 4
"""Places of a task, for each request that it has out at once: so that its last answers are a small part of it."""
AHEAD = 2
"""Tasks handed to the cluster for each of its CPUs: the next is there when one ends."""
RECENT = 64
"""Epochs that go along with each task; those before them are kept in the cluster once."""
LOOK_S = 0.5


class Cluster:
    """The cluster this process is connected to."""

    def __init__(self, ray: Any, job: Job) -> None:
        self.job = job
        self._ray = ray
        self._job = [ray.put(job)]
        self._work = ray.remote(work).options(max_retries=-1, scheduling_strategy="SPREAD", num_cpus=1)

    @property
    def cpus(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 1))

    def served(self) -> Served:
        """What is at the address, as a worker sees it. Raises RequestFault."""
        found = self._ray.get(self._ray.remote(look).options(max_retries=-1).remote(self.job))
        if isinstance(found, Served):
            return found
        raise RequestFault(FaultKind(found[0]), found[1])

    def keep(self, value: Any) -> Any:
        return self._ray.put(value)

    def submit(self, history: tuple[int, Any], recent: Sequence[EpochWeights], places: list[int]) -> Any:
        return self._work.remote(self._job, (history[0], [history[1]]), recent, places)

    def cancel(self, reference: Any) -> None:
        self._ray.cancel(reference, force=True)


@contextlib.contextmanager
def connected(job: Job) -> Iterator[Cluster]:
    """To the cluster of RAY_ADDRESS, else to the one that runs on this machine, else to one that is begun here and ends
    with the run. Raises ConfigError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError("--on ray needs Ray: pip install 'hubbub[ray]'") from None
    try:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    except ConnectionError as fault:
        raise ConfigError(f"--on ray: there is no cluster at {os.environ.get('RAY_ADDRESS')}: {fault}") from fault
    try:
        yield Cluster(ray, job)
    finally:
        ray.shutdown()


class RayProducer:
    """A Producer whose tasks run on the cluster. ``items`` knows the epochs that are recorded."""

    def __init__(self, intake: Intake, board: Board, items: Items, cluster: Cluster) -> None:
        self._intake, self._board, self._items, self._cluster = intake, board, items, cluster
        self._most = AHEAD * cluster.cpus
        self._size = RANGE_FACTOR * cluster.job.concurrency
        self._places: list[int] = []
        self._tasks: dict[asyncio.Task[None], Any] = {}
        self._history: tuple[int, Any] = (LAG, cluster.keep(()))
        self._out = 0
        self._paused = False

    @property
    def in_flight(self) -> int:
        return min(self._out, self.limit)

    @property
    def limit(self) -> int:
        return self._most // AHEAD * self._cluster.job.concurrency

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def fill(self) -> None:
        """Whole ranges; what is less waits for more, at most until the next look."""
        while not self._paused and len(self._tasks) < self._most:
            while len(self._places) < self._size:
                place = self._intake.next()
                if place is None:
                    return
                self._places.append(place)
            self._submit()

    def pause(self, paused: bool) -> None:
        self._paused = paused

    async def watch(self) -> None:
        while True:
            self.fill()
            if self._places and not self._paused and len(self._tasks) < self._most:
                self._submit()
            await asyncio.sleep(LOOK_S)
            self._most = AHEAD * self._cluster.cpus  # nodes join and leave

    async def settle(self, timeout_s: float) -> None:
        if self._places:
            self._submit()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def close(self) -> None:
        for task, reference in list(self._tasks.items()):
            self._cluster.cancel(reference)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _submit(self) -> None:
        places, self._places = self._places, []
        recent = self._items.recorded(self._history[0])
        if len(recent) > RECENT:
            self._history = (self._history[0] + len(recent), self._cluster.keep(self._items.recorded(LAG)))
            recent = ()
        reference = self._cluster.submit(self._history, recent, places)
        task = asyncio.get_running_loop().create_task(self._take(reference, len(places)))
        self._tasks[task] = reference
        self._out += len(places)
        task.add_done_callback(self._taken)

    async def _take(self, reference: Any, places: int) -> None:
        try:
            batch: Batch = await asyncio.wrap_future(reference.future())
        finally:
            self._out -= places
        self._board.counts.update(batch.counts)
        if batch.fault is not None:
            kind, words = batch.fault
            raise ConfigError(words) if kind == CONFIG else RequestFault(FaultKind(kind), words)
        for place, produced in batch.produced:
            self._intake.put(place, produced)

    def _taken(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._intake.fail(fault)
        self.fill()
