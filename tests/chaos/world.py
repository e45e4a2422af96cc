"""One round: a world is made, goes wrong as often as told, becomes quiet, and is looked over."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import Random

from hubbub.core.errors import HubbubError
from hubbub.core.scheduler import SchedulerConfig
from hubbub.core.types import AnswerId, AnswerStatus, EngineId
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig
from hubbub.runtime.hub import HubConfig

from .disk import Disk
from .engine import ChaoticEngine
from .fate import ChaosClock, Fate
from .ledger import Ledger, Reader, check_stream, check_text
from .loop import VirtualLoop
from .people import Person
from .server import Gone, Server

VOICE = Voice(output_median=14, output_sigma=0.7, seed=3)
CALM_S = 3600.0
"""Virtual time after the last fault in which everything has to end."""
STROKES = (("kill", 6), ("stop", 2), ("crash", 3), ("hang", 1), ("full", 1), ("wall", 2), ("leap", 1))


@dataclass(frozen=True)
class Size:
    people: int = 60
    turns: int = 2


class World:
    def __init__(self, loop: VirtualLoop, fate: Fate, size: Size) -> None:
        self.fate = fate
        self.ledger = Ledger()
        self.readers: list[Reader] = []
        self.deleted: set[AnswerId] = set()
        self.cancelled: set[AnswerId] = set()
        self.server: Server | None = None
        self._loop = loop
        self._size = size
        self._up = asyncio.Event()
        self._lives = 0
        rng = fate.rng
        fate.now = loop.time
        self.disk = Disk(fate)
        self.clock = ChaosClock(loop.time)
        pace = Pace(base=0.03, per_sequence=0.0, per_context_token=0.0, per_prefill_token=1e-5, jitter=0.1,
                    max_sequences=rng.choice([16, 40]), prefix_cache=False)  # fmt: skip
        config = SimulatedConfig(voice=VOICE, pace=pace, restart_s=rng.choice([0.5, 3.0]))
        self.engines = [ChaoticEngine(EngineId(f"sim{n}"), config, fate) for n in range(rng.choice([1, 1, 2]))]
        self._limits = (
            SchedulerConfig(max_attempts=rng.choice([3, 1000]), max_queued=rng.choice([30, 1000])),
            HubConfig(max_interruptions=rng.choice([3, 1000]), store_patience_seconds=2.0),
        )

    async def up(self) -> Server:
        """The server that answers, as soon as one does."""
        while self.server is None:
            await self._up.wait()
        return self.server

    async def run(self) -> None:
        rng = self.fate.rng
        for engine in self.engines:
            await engine.start()
        await self._start()
        people = [Person(self, n, Random(rng.random())) for n in range(self._size.people)]
        lives = [asyncio.create_task(person.live(self._size.turns)) for person in people]
        fate = asyncio.create_task(self._strike())
        await fate
        _, late = await asyncio.wait(lives, timeout=CALM_S)
        for task in late:
            self.ledger.blame("unfinished", f"somebody still waits after {CALM_S:g} s: {task}")
        for task in lives:
            if task.done():
                task.result()
        await self._look_over(people)

    # What goes wrong --------------------------------------------------------------------------------------------------

    async def _strike(self) -> None:
        rng, fate = self.fate.rng, self.fate
        names, weights = [name for name, _ in STROKES], [weight for _, weight in STROKES]
        while not fate.quiet:
            await asyncio.sleep(rng.expovariate(1 / 1.5))
            [kind] = rng.choices(names, weights)
            if fate.strikes(kind):
                await getattr(self, f"_{kind}")()
        if self.server is None:
            await self._start()

    async def _kill(self) -> None:
        await self._down(orderly=False)

    async def _stop(self) -> None:
        await self._down(orderly=True)

    async def _down(self, *, orderly: bool) -> None:
        server, self.server = self.server, None
        self._up.clear()
        if server is not None:
            await (server.stop() if orderly else server.kill())
        await asyncio.sleep(self.fate.rng.random() * 2)
        await self._start()

    async def _start(self) -> None:
        """As whoever keeps the server up does: again and again."""
        while self.server is None:
            self._lives += 1
            server = Server(self._lives, self.disk, self.engines, self.clock, self.fate, self._limits)
            try:
                await server.start()
            except (Gone, HubbubError):
                await asyncio.sleep(0.5)
            else:
                self.server = server
                self._up.set()

    async def _crash(self) -> None:
        self.fate.rng.choice(self.engines).lose()

    async def _hang(self) -> None:
        self.fate.rng.choice(self.engines).hang()

    async def _full(self) -> None:
        self.disk.full_until = self._loop.time() + self.fate.rng.random() * 8

    async def _wall(self) -> None:
        self.clock.off += self.fate.rng.choice([-3600.0, -1.0, 1.0, 86_400.0])

    async def _leap(self) -> None:
        self.clock.ahead += self.fate.rng.random() * 30

    # When it is quiet -------------------------------------------------------------------------------------------------

    async def _look_over(self, people: list[Person]) -> None:
        server = await self.up()
        deadline = self._loop.time() + CALM_S
        while not (server.hub.idle() and server.dispatcher.idle()) and self._loop.time() < deadline:
            await asyncio.sleep(1.0)
        await asyncio.sleep(10.0)
        await self._leaks(server)
        kept = self.disk.kept
        for line in await kept.verify():
            self.ledger.blame("lost", line)
        for answer in await kept.unfinished():
            self.ledger.blame("unfinished", f"{answer.id} is {answer.status}")
        for person in people:
            await person.check()
        for reader in self.readers:
            await self._check_reader(reader)
        await server.stop()
        self.fate.note("over")

    async def _check_reader(self, reader: Reader) -> None:
        kept = self.disk.kept
        answer = await kept.answer(reader.user, reader.answer)
        if answer is None:
            if reader.answer not in self.deleted:
                self.ledger.blame("lost", f"{reader.answer} is not in the store")
            return
        if not answer.status.final or (not reader.over and reader.answer not in self.deleted):
            self.ledger.blame("unfinished", f"{reader.answer} is {answer.status}, its reader has {len(reader.events)}")
            return
        if answer.status is AnswerStatus.CANCELLED and answer.id not in self.cancelled:
            self.ledger.blame("lost", f"{answer.id} was cancelled by nobody")
        check_stream(self.ledger, reader, answer)
        await check_text(self.ledger, reader, answer, kept, VOICE)
        self.fate.note(f"{answer.id} {answer.status} {answer.usage.output_tokens}")

    async def _leaks(self, server: Server) -> None:
        if not server.hub.idle():
            self.ledger.blame("leaked", "the hub keeps runs or busy chats")
        if not server.dispatcher.idle():
            self.ledger.blame("leaked", "the dispatcher keeps requests")
        server.dispatcher.scheduler.validate()
        view = server.dispatcher.scheduler.view()
        if any(view.queued.values()) or any(view.running.values()) or any(e.kv_tokens for e in view.engines.values()):
            self.ledger.blame("leaked", f"the scheduler has {view}")
        for engine in self.engines:
            state = await engine.state()
            if state.running or state.waiting:
                self.ledger.blame("leaked", f"{engine} works for nobody")
        if (deltas := (await self.disk.kept.counts())["journal"]) > 0:
            self.ledger.blame("leaked", f"the journal has {deltas} deltas")
        expected = 2 + len(self.engines)  # the pump, the tick, a watch an engine
        mine = self._loop.tasks.get(server.number, {})
        if len(mine) != expected:
            self.ledger.blame("leaked", f"{len(mine)} tasks run, not {expected}: {list(mine)}")
        for life, tasks in self._loop.tasks.items():
            if life not in (0, server.number) and tasks:
                self.ledger.blame("leaked", f"life {life} left {list(tasks)}")


@dataclass(frozen=True)
class Outcome:
    ledger: Ledger
    fate: Fate


def play(seed: int, number: int, faults: int, size: Size | None = None, *, trace: bool = False) -> Outcome:
    """One round, from its own seed."""
    logging.getLogger("hubbub").setLevel(logging.CRITICAL)
    loop = VirtualLoop()
    fate = Fate(Random(f"{seed}/{number}"), faults, lines=[] if trace else None)
    asyncio.set_event_loop(loop)
    try:
        world = World(loop, fate, size or Size())
        loop.run_until_complete(world.run())
        return Outcome(world.ledger, fate)
    finally:
        asyncio.set_event_loop(None)
        for tasks in list(loop.tasks.values()):
            for task in list(tasks):
                task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
