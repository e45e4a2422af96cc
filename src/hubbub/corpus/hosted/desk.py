"""Where recipes are ordered and looked after: the port ``Corpora`` on one folder.

Theory of operation. Each run has one task while it is to run: it waits for one of the few places, opens the run's
folder, and drives the runner until the target, a fault, or a stop. Pausing and stopping both stop the runner in order
and differ in what is written down; resuming begins anew from the folder. So a restart of the server is one more stop
and resume: runs that were going go on by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.corpora import (
    CheckedRecipe,
    Corpus,
    CorpusOrder,
    CorpusRecords,
    CorpusState,
    Rejection,
    WorkedRecipe,
)
from hubbub.core.errors import BadRequest, Conflict, HubbubError, RateLimited
from hubbub.core.types import UserId
from hubbub.corpus.client import FaultKind, RequestFault
from hubbub.corpus.hosted import shelf
from hubbub.corpus.hosted.run import HostedRun, House
from hubbub.corpus.hosted.site import Sites
from hubbub.corpus.hosted.worked import checked, guest_recipe, worked
from hubbub.corpus.problems import RecipeError
from hubbub.corpus.recipe import Recipe, Unit
from hubbub.corpus.runner import STOP_S, State
from hubbub.ports import AskRow, Clock

log = logging.getLogger(__name__)

AWAY_S = 2.0
"""Before a run looks again whether there is a model."""
LEAST_BYTES = 50
"""Of a text, for bounding a target that counts records."""


@dataclass(frozen=True, slots=True)
class CorporaConfig:
    """``each``: runs of one user. ``at_once``: runs of all users that go on together. ``amount``: bytes of a target."""

    each: int
    at_once: int
    amount: int


class _Hosted:
    """One run as it stands. ``idle``: its task waits for something that nobody has to wait out."""

    def __init__(self, kept: shelf.Kept, folder: Path) -> None:
        self.kept, self.folder = kept, folder
        self.run: HostedRun | None = None
        self.task: asyncio.Task[None] | None = None
        self.idle = False
        self.writing = asyncio.Lock()
        self.last: tuple[str, dict[str, Any] | None] | None = None

    @property
    def wanted(self) -> bool:
        return self.kept.state.going


class Corpora:
    def __init__(self, root: Path, config: CorporaConfig, clock: Clock, new_id: Callable[[str], str]) -> None:
        self._root, self._config, self._clock, self._new_id = root, config, clock, new_id
        self._runs: dict[tuple[UserId, str], _Hosted] = {}
        self._places = asyncio.Semaphore(config.at_once)
        self._sites = Sites()
        self._filters = ThreadPoolExecutor(1, "corpus-filters")
        self._house: House | None = None
        self._closing = False
        self._changing = asyncio.Lock()

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self, ask: AskRow, models: Callable[[], tuple[str, ...]], places: int) -> None:
        """Take up the runs that were going on. Raises StorageError."""
        self._house = House(ask, models, max(1, places), self._filters)
        for kept in await asyncio.to_thread(lambda: list(shelf.kept_in(self._root))):
            hosted = self._add(kept)
            if hosted.wanted:
                self._begin(hosted)

    async def close(self) -> None:
        """Stop them at once; what is done is kept, and the next start goes on."""
        self._closing = True
        await asyncio.gather(*(self._halted(hosted, "the server stops", 0.0) for hosted in self._runs.values()))
        self._filters.shutdown()

    async def ended(self, user: UserId, name: str) -> None:
        """Return once nothing runs for it any more."""
        task = self._of(user, name).task
        if task is not None:
            await asyncio.wait([task])

    # Recipes -------------------------------------------------------------------------------------------------------

    async def recipes(self) -> tuple[WorkedRecipe, ...]:
        return await asyncio.to_thread(worked)

    async def check(self, recipe: str, target: str, prompts: int) -> CheckedRecipe:
        return await asyncio.to_thread(checked, recipe, target, prompts)

    # Runs ----------------------------------------------------------------------------------------------------------

    async def create(self, order: CorpusOrder) -> Corpus:
        try:
            recipe = await asyncio.to_thread(guest_recipe, order.recipe, order.target, order.seed)
        except RecipeError as error:
            raise BadRequest(error.message, param="recipe") from None
        self._bounded(recipe)
        async with self._changing:
            mine = [hosted for hosted in self._runs.values() if hosted.kept.order.user == order.user]
            if len(mine) >= self._config.each:
                raise RateLimited(f"you have {len(mine)} corpora, this server keeps {self._config.each}: delete one")
            if (order.user, order.name) in self._runs:
                raise Conflict(f"you have a corpus {order.name!r} already; choose another name", param="name")
            kept = shelf.Kept(
                id=self._new_id(shelf.PREFIX),
                order=order,
                created_at=self._clock.wall(),
                linked=recipe.links is not None,
            )
            await asyncio.to_thread(shelf.keep, self._root / kept.id, kept)
            hosted = self._add(kept)
        self._begin(hosted)
        return await self._told(hosted)

    async def corpora(self, user: UserId) -> tuple[Corpus, ...]:
        mine = [hosted for hosted in self._runs.values() if hosted.kept.order.user == user]
        return tuple([await self._told(hosted) for hosted in reversed(mine)])

    async def corpus(self, user: UserId, name: str) -> Corpus:
        return await self._told(self._of(user, name))

    async def pause(self, user: UserId, name: str) -> Corpus:
        return await self._leave(user, name, CorpusState.PAUSED, "it was paused")

    async def stop(self, user: UserId, name: str) -> Corpus:
        return await self._leave(user, name, CorpusState.STOPPED, "it was told to stop")

    async def resume(self, user: UserId, name: str) -> Corpus:
        hosted = self._of(user, name)
        if hosted.kept.state is CorpusState.FINISHED:
            raise Conflict(f"corpus {name!r} has reached its target", param="name")
        if not hosted.wanted:
            await self._keep(hosted, CorpusState.WAITING, "")
            self._begin(hosted)
        return await self._told(hosted)

    async def delete(self, user: UserId, name: str) -> None:
        hosted = self._of(user, name)
        await self._keep(hosted, CorpusState.STOPPED, "it is being deleted")
        await self._halted(hosted, "it is being deleted", 0.0)
        self._runs.pop((user, name), None)
        await asyncio.to_thread(shelf.forget, hosted.folder)

    # What they hold ------------------------------------------------------------------------------------------------

    async def records(self, user: UserId, name: str, first: int | None, limit: int) -> CorpusRecords:
        return await asyncio.to_thread(shelf.records, self._of(user, name).folder, first, limit)

    async def rejected(self, user: UserId, name: str) -> tuple[Rejection, ...]:
        return await asyncio.to_thread(shelf.rejections, self._of(user, name).folder)

    async def page(self, user: UserId, name: str, path: str) -> Path:
        hosted = self._of(user, name)
        if hosted.wanted or hosted.task is not None:
            raise Conflict(f"corpus {name!r} is being written: pause it, or wait for its end, to see its pages")
        return await self._sites.page(hosted.kept.order, hosted.folder, path)

    # One run -------------------------------------------------------------------------------------------------------

    def _add(self, kept: shelf.Kept) -> _Hosted:
        hosted = _Hosted(kept, self._root / kept.id)
        self._runs[kept.order.user, kept.order.name] = hosted
        return hosted

    def _of(self, user: UserId, name: str) -> _Hosted:
        found = self._runs.get((user, name))
        if found is None:
            raise shelf.no_such(name)
        return found

    def _begin(self, hosted: _Hosted) -> None:
        """One task a run: one that is still stopping sees for itself that it is wanted again."""
        if hosted.task is None and not self._closing:
            hosted.task = asyncio.create_task(self._go_on(hosted))
            hosted.task.add_done_callback(lambda done: self._done(hosted, done))

    def _done(self, hosted: _Hosted, task: asyncio.Task[None]) -> None:
        hosted.task, hosted.run = None, None
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            hosted.kept.state = CorpusState.FAILED
            hosted.kept.reason = "it broke off; the server's log has more"
            said = "corpus %s broke off; a resume or the next start goes on"
            log.error(said, hosted.kept.id, exc_info=fault, extra={"action": "corpus"})
        elif hosted.wanted:  # again, since it was told to leave off
            self._begin(hosted)

    async def _go_on(self, hosted: _Hosted) -> None:
        while self._goes(hosted):
            hosted.idle = True
            async with self._places:
                hosted.idle = False
                if self._goes(hosted):
                    await self._once(hosted)
            if self._goes(hosted):  # there was no model
                hosted.idle = True
                await asyncio.sleep(AWAY_S)

    def _goes(self, hosted: _Hosted) -> bool:
        return hosted.wanted and not self._closing

    async def _once(self, hosted: _Hosted) -> None:
        if self._house is None:
            raise RuntimeError("the desk has not been started")
        run = hosted.run = HostedRun(hosted.kept.order, hosted.folder, self._house)
        try:
            outcome = await run.run()
        except RequestFault as fault:
            if fault.kind is not FaultKind.AWAY:
                await self._ended(hosted, CorpusState.FAILED, fault.message)
            else:
                hosted.kept.reason = fault.message
        except HubbubError as fault:
            await self._ended(hosted, CorpusState.FAILED, fault.message)
        else:
            if outcome.state is not State.STOPPED:
                await self._ended(hosted, CorpusState(outcome.state.value), outcome.reason)
        finally:
            hosted.last, hosted.run = None, None

    async def _ended(self, hosted: _Hosted, state: CorpusState, reason: str) -> None:
        """It came to an end by itself, which counts for more than what was wanted of it meanwhile."""
        await self._keep(hosted, state, reason)
        log.info("corpus %s is %s: %s", hosted.kept.id, state, reason, extra={"action": "corpus"})

    async def _leave(self, user: UserId, name: str, state: CorpusState, reason: str) -> Corpus:
        hosted = self._of(user, name)
        if hosted.kept.state in (CorpusState.FINISHED, CorpusState.FAILED):
            raise Conflict(f"corpus {name!r} has ended: it is {hosted.kept.state}", param="name")
        await self._keep(hosted, state, reason)
        if hosted.run is not None:
            hosted.run.stop(reason, STOP_S)
        elif hosted.idle and hosted.task is not None:
            hosted.task.cancel()
        return await self._told(hosted)

    async def _halted(self, hosted: _Hosted, reason: str, wait_s: float) -> None:
        task = hosted.task
        if task is None:
            return
        if hosted.run is not None:
            hosted.run.stop(reason, wait_s)
        elif hosted.idle:
            task.cancel()
        await asyncio.wait([task])

    async def _keep(self, hosted: _Hosted, state: CorpusState, reason: str) -> None:
        hosted.kept.state, hosted.kept.reason = state, reason
        async with hosted.writing:
            await asyncio.to_thread(shelf.keep, hosted.folder, hosted.kept)

    async def _told(self, hosted: _Hosted) -> Corpus:
        kept, run = hosted.kept, hosted.run
        state = kept.state
        last: tuple[str, dict[str, Any] | None]
        if run is not None and run.live is not None:
            last = run.model, msgspec.to_builtins(run.live)
        else:
            last = await asyncio.to_thread(shelf.last_of, hosted.folder) if hosted.last is None else hosted.last
            hosted.last = last
        if state is CorpusState.WAITING and run is not None:
            state = CorpusState.RUNNING
        return Corpus(kept.order, kept.created_at, state, kept.reason, kept.linked, *last)

    def _bounded(self, recipe: Recipe) -> None:
        """Raises BadRequest."""
        target = recipe.target
        amount = target.amount * (LEAST_BYTES if target.unit is Unit.RECORDS else 1)
        if amount > self._config.amount:
            raise BadRequest(
                f"the target of {target.amount:,} {target.unit} is more than this server takes: "
                f"{self._config.amount:,} bytes (limits.max_corpus_bytes)",
                param="bytes",
            )
