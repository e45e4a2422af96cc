"""``hubbub corpus run``: a recipe, a folder, an engine and the runner, put together and shown."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hubbub import __version__
from hubbub.cli.corpus_source import source
from hubbub.cli.corpus_view import View, chat_p95
from hubbub.cli.serve import settle
from hubbub.core.errors import HubbubError
from hubbub.corpus.board import Live
from hubbub.corpus.client import Endpoint
from hubbub.corpus.journal import Journal
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.recipe_check import load
from hubbub.corpus.runner import Outcome, Runner, State
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
    on: str | None = None
    parquet: bool = False

    @property
    def remote(self) -> bool:
        return self.engine is None or self.engine.startswith(("http://", "https://"))

    def read(self) -> Recipe:
        """The recipe. ``model`` names a served model only where an engine is asked that is there already; else it is
        the file that an engine of our own loads."""
        return load(Path(self.recipe), target=self.target, seed=self.seed, model=self.model if self.remote else None)


def execute(order: Order, folder: Path, *, json_lines: bool) -> int:
    """The exit code: 0 finished or stopped on request, 1 for a run that had to stop. Raises HubbubError."""
    with opened(order.read(), folder, parquet=order.parquet) as session, Journal.opened(folder) as journal:
        session.log.set_meta(order=msgspec.json.encode(order).decode())
        settle()
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
    journal.write("start", hubbub=__version__, recipe=session.recipe.digest, item=session.judge.next_place)
    try:
        async with source(order, session) as found:
            flight = found.config.concurrency
            journal.write("engine", url=found.url, model=session.model, in_flight=flight, on=order.on or "here")
            with View(session.recipe.name, json_lines=json_lines) as view:
                runner = session.runner(found.producer, found.config, _Told(view, journal))
                outcome = await _driven(runner, found.endpoint, view)
        await asyncio.to_thread(session.finish)
    except HubbubError as fault:
        journal.write("fault", code=fault.code, message=fault.message)
        raise
    journal.write("end", state=outcome.state, reason=outcome.reason)
    return outcome


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


async def _driven(runner: Runner, endpoint: Endpoint | None, view: View) -> Outcome:
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


async def _chats(endpoint: Endpoint | None, view: View) -> None:
    """How the chats beside it fare, where the server says."""
    while endpoint is not None and endpoint.served.hubbub:
        view.p95 = chat_p95((await endpoint.get("/metrics") or b"").decode())
        await asyncio.sleep(METRICS_S)
