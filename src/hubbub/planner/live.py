"""A running server and its planner: before the first chat it is told how fast its engines are here, and from time to
time it tells what its traffic showed (``refine``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hubbub.core.errors import HubbubError
from hubbub.core.types import EngineId
from hubbub.planner.service import PlanService
from hubbub.ports import Clock
from hubbub.runtime.dispatcher import Dispatcher

log = logging.getLogger(__name__)

FEWEST = 3
"""Kinds of steps seen, before the planner is asked."""


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    refine_seconds: float = field(
        default=600.0,
        metadata={"help": "seconds between refinements of this machine's coefficients by its own traffic; 0: never"},
    )
    calibrations: str = field(
        default="",
        metadata={"help": "folder of this machine's coefficients; empty: ~/.local/share/hubbub/calibrations"},
    )

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        if not self.refine_seconds >= 0:
            raise ValueError(f"refine_seconds is {self.refine_seconds!r}; it must be 0 or more")


@dataclass(frozen=True, slots=True)
class Runs:
    """``engine`` as the planner names kinds, ``model`` as it reads names and files; empty: what the engine says."""

    model: str
    engine: str


class Refiner:
    """Runs as one task; a planner that cannot help is logged once an engine and left alone."""

    def __init__(
        self,
        planner: PlanService,
        dispatcher: Dispatcher,
        runs: Mapping[EngineId, Runs],
        clock: Clock,
        config: PlannerConfig,
    ) -> None:
        self._planner = planner
        self._dispatcher = dispatcher
        self._runs = dict(runs)
        self._clock = clock
        self._every = config.refine_seconds
        self._task: asyncio.Task[None] | None = None
        self._told = clock.now()

    async def start(self) -> None:
        """Begin the engines' paces where this machine has a record, then refine by and by."""
        if not self._every or not self._runs:
            return
        if await asyncio.to_thread(self._planner.has_records):
            for engine, runs in list(self._runs.items()):
                await self._begin(engine, runs)
        self._task = asyncio.create_task(self._run(), name="refiner")

    async def close(self) -> None:
        """What came since the last refinement counts as well, unless it is next to nothing."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if self._clock.now() - self._told >= self._every / 4:
            await self.refine()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.refine()

    async def _begin(self, engine: EngineId, runs: Runs) -> None:
        pace = self._dispatcher.scheduler.pace_of(engine)
        if pace is None:
            return
        try:
            ttft = await self._planner.beginning(self._model(engine, runs), runs.engine)
        except HubbubError as fault:
            self._give_up(engine, fault)
            return
        pace.begin_at(ttft)

    async def refine(self) -> None:
        """Tell the planner what each engine's steps took."""
        self._told = self._clock.now()
        for engine, runs in list(self._runs.items()):
            pace = self._dispatcher.scheduler.pace_of(engine)
            steps = [asdict(step) for step in pace.observer.seen] if pace is not None else []
            if len(steps) < FEWEST:
                continue
            try:
                told = await self._planner.refine(self._model(engine, runs), runs.engine, steps)
            except HubbubError as fault:
                self._give_up(engine, fault)
                continue
            log.info("refined by traffic", extra={"action": "refine", "engine": engine, **told})

    def _model(self, engine: EngineId, runs: Runs) -> str:
        state = self._dispatcher.states.get(engine)
        return runs.model or (state.models[0] if state is not None and state.models else "")

    def _give_up(self, engine: EngineId, fault: HubbubError) -> None:
        log.info("not refined: %s", fault.message, extra={"action": "refine", "engine": engine})
        self._runs.pop(engine, None)
