"""One run of a recipe in the server, from where its folder stands to its end, a stop or a fault."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hubbub import __version__
from hubbub.core.corpora import CorpusOrder
from hubbub.core.errors import HubbubError
from hubbub.corpus.asking import Patience
from hubbub.corpus.board import Board, Live
from hubbub.corpus.client import FaultKind, RequestFault, Served
from hubbub.corpus.hosted.endpoint import InHouse
from hubbub.corpus.hosted.worked import guest_recipe
from hubbub.corpus.items import Said, WorkItem
from hubbub.corpus.journal import Journal
from hubbub.corpus.judge import Judge, Screened
from hubbub.corpus.producing import Intake, LocalProducer, Producer, RunnerConfig
from hubbub.corpus.runner import Outcome, Runner
from hubbub.corpus.session import Session, opened
from hubbub.ports import AskRow

JOURNAL_S = 10.0
PATIENCE = Patience(stall_s=math.inf, give_up_s=math.inf, straggler_s=math.inf)
"""The server itself watches its engines, gives an answer up or brings it to its end; a run waits for it."""


@dataclass(frozen=True, slots=True)
class House:
    """What all runs of a server share. ``models``: those that are served now. ``places``: requests of one run in
    flight. ``filters``: where texts are judged, beside the event loop."""

    ask: AskRow
    models: Callable[[], tuple[str, ...]]
    places: int
    filters: Executor


class Beside:
    """Filters in the house's thread, one item after the other."""

    def __init__(self, house: House, judge: Judge) -> None:
        self._house, self._judge = house, judge

    async def screen(self, item: WorkItem, said: Sequence[Said]) -> Screened:
        return await asyncio.get_running_loop().run_in_executor(self._house.filters, self._judge.screen, item, said)


class HostedRun:
    """``live``: how it goes, from its first second on."""

    def __init__(self, order: CorpusOrder, folder: Path, house: House) -> None:
        self.live: Live | None = None
        self.model = ""
        self._order, self._folder, self._house = order, folder, house
        self._runner: Runner | None = None
        self._told_to: tuple[str, float] | None = None
        self._journal_at = 0.0

    def stop(self, reason: str, wait_s: float) -> None:
        """Let what is in flight end, for ``wait_s`` at most. What is done is kept."""
        self._told_to = (reason, wait_s)
        if self._runner is not None:
            self._runner.stop(reason, wait_s=wait_s)

    async def run(self) -> Outcome:
        """Raises HubbubError: RequestFault of the kind AWAY where there is no model now."""
        recipe = await asyncio.to_thread(guest_recipe, self._order.recipe, self._order.target, self._order.seed)
        with contextlib.ExitStack() as stack:
            session = await asyncio.to_thread(stack.enter_context, opened(recipe, self._folder))
            journal = stack.enter_context(Journal.opened(self._folder))
            journal.write("start", hubbub=__version__, recipe=recipe.digest, item=session.judge.next_place)
            try:
                outcome = await self._run(session, journal)
            except HubbubError as fault:
                journal.write("fault", code=fault.code, message=fault.message)
                raise
            await asyncio.to_thread(session.finish)
            journal.write("end", state=outcome.state, reason=outcome.reason)
            return outcome

    async def _run(self, session: Session, journal: Journal) -> Outcome:
        served = self._served(session)
        await asyncio.to_thread(session.serve, served)
        self.model = served.model
        endpoint = InHouse(self._house.ask, self._order, served)
        screener = Beside(self._house, session.judge)
        config = RunnerConfig(self._house.places, patience=PATIENCE)

        def producer(intake: Intake, board: Board) -> Producer:
            return LocalProducer(intake, board, session.items, screener, endpoint, config)

        runner = session.runner(producer, config, lambda live: self._told(live, journal))
        self._runner = runner
        if self._told_to is not None:
            self.stop(*self._told_to)
        try:
            return await runner.run()
        finally:
            self._runner = None

    def _served(self, session: Session) -> Served:
        models = self._house.models()
        wanted = session.recipe.model or session.model
        if not models:
            raise RequestFault(FaultKind.AWAY, "no model is there yet")
        if wanted and wanted not in models:
            there = ", ".join(models[:5])
            raise RequestFault(FaultKind.FATAL, f"model: {wanted!r} is not served here; there is {there}")
        return Served(wanted or models[0], models, hubbub=True, version=__version__)

    def _told(self, live: Live, journal: Journal) -> None:
        self.live = live
        if time.monotonic() >= self._journal_at:
            self._journal_at = time.monotonic() + JOURNAL_S
            journal.write("progress", **msgspec.to_builtins(live))
