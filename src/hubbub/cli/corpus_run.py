"""``hubbub corpus run``: a recipe, a folder, an engine and the runner, put together and shown."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hubbub import __version__
from hubbub.cli.corpus_engine import MOST_IN_FLIGHT, SPARE, Place, placed, settings_for
from hubbub.cli.corpus_view import View, chat_p95
from hubbub.core.errors import HubbubError
from hubbub.corpus.asking import Patience
from hubbub.corpus.board import Board, Live
from hubbub.corpus.client import Endpoint, EndpointConfig
from hubbub.corpus.journal import Journal
from hubbub.corpus.producing import Intake, LocalProducer, Producer, RunnerConfig
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.recipe_check import load
from hubbub.corpus.runner import Outcome, Runner, State
from hubbub.corpus.screening import screening
from hubbub.corpus.session import Session, opened

JOURNAL_S = 10.0
METRICS_S = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line; kept in the run's folder, so that ``resume`` can ask for it again."""

    recipe: str
    target: str | None = None
    engine: str | None = None
    model: str | None = None
    seed: int | None = None
    concurrency: int | None = None
    key_file: str | None = None
    same_model: tuple[str, ...] = ()
    engine_flags: str | None = None
    patience: float = 600.0
    processes: int = 0

    @property
    def remote(self) -> bool:
        return self.engine is None or self.engine.startswith(("http://", "https://"))

    def read(self) -> Recipe:
        """The recipe. ``model`` names a served model only where an engine is asked that is there already; else it is
        the file that an engine of our own loads."""
        return load(Path(self.recipe), target=self.target, seed=self.seed, model=self.model if self.remote else None)


def execute(order: Order, folder: Path, *, json_lines: bool) -> int:
    """The exit code: 0 finished or stopped on request, 1 for a run that had to stop. Raises HubbubError."""
    with opened(order.read(), folder) as session, Journal.opened(folder) as journal:
        session.log.set_meta(order=msgspec.json.encode(order).decode())
        outcome = _in_loop(_run(order, session, journal, json_lines=json_lines))
    if outcome.state is State.FAILED:
        sys.stderr.write(f"hubbub: the run stopped: {outcome.reason}\n")
        with Reading.open(folder) as reading:
            for sample in reading.samples():
                sys.stderr.write(f"  {sample.reason}, item {sample.item}: {sample.text[:200]!r}\n")
        return 1
    return 0


def _in_loop(main: Coroutine[Any, Any, Outcome]) -> Outcome:
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


async def _run(order: Order, session: Session, journal: Journal, *, json_lines: bool) -> Outcome:
    folder = session.log.folder
    settings = settings_for(order.engine, order.model or "", order.engine_flags, _path(order.key_file))
    journal.write("start", hubbub=__version__, recipe=session.recipe.digest, item=session.judge.next_place)
    try:
        async with _endpoint(order, session, placed(order.engine, settings, folder)) as (place, endpoint):
            session.serve(endpoint.served)
            flight = order.concurrency or min(_in_flight(place, endpoint), MOST_IN_FLIGHT)
            journal.write("engine", url=endpoint.config.base, model=endpoint.served.model, in_flight=flight)
            with (
                View(session.recipe.name, json_lines=json_lines) as view,
                screening(session.recipe, session.judge, order.processes) as screener,
            ):
                config = RunnerConfig(flight, patience=Patience(give_up_s=order.patience))

                def producer(intake: Intake, board: Board) -> Producer:
                    return LocalProducer(intake, board, session.items, screener, endpoint, config, place.hangs)

                runner = session.runner(producer, config, _Told(view, journal))
                outcome = await _driven(runner, endpoint, view)
    except HubbubError as fault:
        journal.write("fault", code=fault.code, message=fault.message)
        raise
    session.keep_manifest(always=True)
    journal.write("end", state=outcome.state, reason=outcome.reason)
    return outcome


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _in_flight(place: Place, endpoint: Endpoint) -> int:
    return round(endpoint.served.max_sequences * SPARE) or place.in_flight


@contextlib.asynccontextmanager
async def _endpoint(
    order: Order, session: Session, where: AbstractAsyncContextManager[Place]
) -> AsyncIterator[tuple[Place, Endpoint]]:
    async with where as place:
        session.provenance |= place.provenance
        config = EndpointConfig(place.url, place.api_key, aliases=order.same_model)
        async with Endpoint.opened(config, session.recipe.model or session.model) as endpoint:
            yield place, endpoint


class _Told:
    """The view each second, the journal now and then."""

    def __init__(self, view: View, journal: Journal) -> None:
        self._view, self._journal = view, journal
        self._next = 0.0
        self._state = ""

    def __call__(self, live: Live) -> None:
        self._view.told(live)
        if time.monotonic() >= self._next or live.state != self._state:
            self._next, self._state = time.monotonic() + JOURNAL_S, live.state
            self._journal.write("progress", **msgspec.to_builtins(live))


async def _driven(runner: Runner, endpoint: Endpoint, view: View) -> Outcome:
    """Run it; the first signal stops it in order, the second at once."""
    loop = asyncio.get_running_loop()
    running = loop.create_task(runner.run())

    def told() -> None:
        if runner.state is State.STOPPED:
            running.cancel()
        runner.stop("it was interrupted")

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told)
    chats = loop.create_task(_chats(endpoint, view))
    try:
        return await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        chats.cancel()


async def _chats(endpoint: Endpoint, view: View) -> None:
    """How the chats beside it fare, where the server says."""
    while endpoint.served.hubbub:
        view.p95 = chat_p95((await endpoint.get("/metrics") or b"").decode())
        await asyncio.sleep(METRICS_S)
