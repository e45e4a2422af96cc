"""A range of places, on a worker of a Ray cluster: asked, screened, and sent back in one piece.

A task is a pure function of its places and the recorded epochs (on an engine that repeats itself), so one that died
with its worker is simply done again on another. What a worker keeps between tasks (items, how much the endpoint takes)
only saves time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.corpus.asking import Patience
from hubbub.corpus.board import Board
from hubbub.corpus.client import Endpoint, EndpointConfig, FaultKind, RequestFault, Served
from hubbub.corpus.items import Items
from hubbub.corpus.judge import Judge
from hubbub.corpus.pressure import Pressure
from hubbub.corpus.producing import LocalProducer, Produced, RunnerConfig
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.screening import Here
from hubbub.corpus.steering import LAG, EpochWeights

AGAIN_S = 0.5
CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Job:
    """What all tasks of a run share. ``concurrency``: most requests of one task at once."""

    recipe: Recipe
    endpoint: EndpointConfig
    model: str
    concurrency: int
    patience: Patience


@dataclass(frozen=True, slots=True)
class Batch:
    """``fault``: kind (a FaultKind, or CONFIG) and words, where there is no use in going on."""

    produced: Sequence[tuple[int, Produced]]
    counts: Mapping[str, int]
    fault: tuple[str, str] | None = None


@dataclass(slots=True)
class _Range:
    """An Intake over the places of one task."""

    places: list[int]
    produced: list[tuple[int, Produced]] = field(default_factory=list)
    fault: BaseException | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _next: int = 0

    def next(self) -> int | None:
        if self._next == len(self.places):
            return None
        self._next += 1
        return self.places[self._next - 1]

    def put(self, place: int, produced: Produced) -> None:
        self.produced.append((place, produced))
        if len(self.produced) == len(self.places):
            self.done.set()

    def fail(self, fault: BaseException) -> None:
        self.fault = self.fault or fault
        self.done.set()

    def watched(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.fail(fault)


class Worker:
    """What one process of the cluster keeps of a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.items = Items(job.recipe)
        self.screener = Here(Judge(job.recipe))
        self.pressure = Pressure(job.concurrency)
        self.known = LAG

    def learn(self, epochs: Sequence[EpochWeights]) -> None:
        for weights in epochs:
            if weights.epoch >= self.known:
                self.items.learn(weights)
                self.known = weights.epoch + 1

    async def range(self, places: Sequence[int]) -> Batch:
        """Where nobody is at the address, it is tried again for as long as there is patience."""
        began = time.monotonic()
        while True:
            try:
                return await self._asked(places)
            except RequestFault as fault:
                if fault.kind is not FaultKind.AWAY or time.monotonic() - began > self.job.patience.give_up_s:
                    return Batch((), {}, (fault.kind, fault.message))
            await asyncio.sleep(AGAIN_S)

    async def _asked(self, places: Sequence[int]) -> Batch:
        board, intake = Board(), _Range(list(places))
        config = RunnerConfig(self.job.concurrency, patience=self.job.patience)
        async with Endpoint.opened(self.job.endpoint, self.job.model) as endpoint:
            producer = LocalProducer(intake, board, self.items, self.screener, endpoint, config, None, self.pressure)
            watching = asyncio.get_running_loop().create_task(producer.watch())
            watching.add_done_callback(intake.watched)
            producer.fill()
            await intake.done.wait()
            watching.cancel()
            await producer.close()
            await asyncio.wait([watching])
        if intake.fault is None:
            return Batch(intake.produced, board.counts)
        if isinstance(intake.fault, RequestFault):
            return Batch((), board.counts, (intake.fault.kind, intake.fault.message))
        if isinstance(intake.fault, ConfigError):
            return Batch((), board.counts, (CONFIG, intake.fault.message))
        raise intake.fault


# In the worker's process ----------------------------------------------------------------------------------------------

_loop: asyncio.AbstractEventLoop | None = None
_workers: dict[str, Worker] = {}


def _run(work: Any) -> Any:
    """On one loop for the life of the process: what is kept between tasks counts its seconds."""
    global _loop  # noqa: PLW0603  (a task has nowhere else to keep what its process has)
    _loop = _loop or asyncio.new_event_loop()
    return _loop.run_until_complete(work)


def look(job: Job) -> Served | tuple[str, str]:
    """What the endpoint says of itself, as a worker sees it; or kind and words of the fault."""

    async def seen() -> Served:
        async with Endpoint.opened(job.endpoint, job.model) as endpoint:
            return endpoint.served

    try:
        found: Served = _run(seen())
    except RequestFault as fault:
        return fault.kind, fault.message
    return found


def work(
    job: Sequence[Any], history: tuple[int, Sequence[Any]], recent: Sequence[EpochWeights], places: Sequence[int]
) -> Batch:
    """``job`` is a list of one reference, and so is what ``history`` has beside the number of the first epoch that is
    not in it: so they are fetched only by a process that needs them. ``recent``: the epochs from that number on."""
    import ray

    key = job[0].hex()
    if key not in _workers:
        _workers.clear()
        _workers[key] = Worker(ray.get(job[0]))
    worker = _workers[key]
    if worker.known < history[0]:
        worker.learn(ray.get(history[1][0]))
    worker.learn(recent)
    batch: Batch = _run(worker.range(places))
    return batch
