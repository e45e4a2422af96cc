"""All parts below the gateway: the hub with its real scheduler, the memory store and the simulated engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import AnswerKind, ChatId, EngineId, Item, ItemId, ItemType, Role, UserId
from hubbub.engines.sim_batch import Pace
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.runtime.chats import Chats
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.dispatcher import Dispatcher, DispatcherConfig
from hubbub.runtime.hub import Ask, Hub, HubConfig, random_id
from hubbub.runtime.telemetry import Telemetry
from hubbub.store.memory import MemoryStore

ME, OTHER = UserId("me"), UserId("other")
FAST = Pace(base=0.002, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.0)


def says(text: str, role: Role = Role.USER) -> Item:
    return Item(ItemId(""), ItemType.MESSAGE, (text,), role)


class House:
    """All parts below the gateway."""

    def __init__(
        self,
        store: MemoryStore,
        engine: SimulatedEngine,
        scheduler: SchedulerConfig | None = None,
        hub: HubConfig | None = None,
        silence_seconds: float = 0.0,
    ) -> None:
        self.store, self.engine = store, engine
        clock, telemetry = SystemClock(), Telemetry()
        config = DispatcherConfig(watch_seconds=0.02, restart_seconds=0.02, silence_seconds=silence_seconds)
        self.dispatcher = Dispatcher([engine], Scheduler(scheduler or SchedulerConfig()), clock, telemetry, config)
        self.hub = Hub(store, self.dispatcher, clock, telemetry, hub)
        self.chats = Chats(store, clock, random_id, self.hub.busy, self.hub.feeds)

    async def start(self) -> None:
        self._others = asyncio.all_tasks()
        await self.dispatcher.start()
        await self.hub.start()

    async def stop(self) -> None:
        await self.hub.close()
        self.dispatcher.scheduler.validate()
        await self.dispatcher.close()

    async def kill(self) -> None:
        """As near to a kill as one process can: every task since the start ends where it stands, nothing is put in
        order."""
        mine = asyncio.all_tasks() - self._others
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    def ask(self, text: str, **more: object) -> Ask:
        return Ask(ME, AnswerKind.RESPONSE, (says(text),), **more)  # type: ignore[arg-type]

    async def texts(self, chat: ChatId) -> list[str]:
        return [node.item.text for node in await self.chats.items(ME, chat)]


@asynccontextmanager
async def house(
    *,
    store: MemoryStore | None = None,
    config: SimulatedConfig | None = None,
    scheduler: SchedulerConfig | None = None,
    hub: HubConfig | None = None,
    silence_seconds: float = 0.0,
) -> AsyncIterator[House]:
    engine = SimulatedEngine(EngineId("sim"), config or SimulatedConfig(pace=FAST))
    built = House(store or MemoryStore(), engine, scheduler, hub, silence_seconds)
    await built.start()
    try:
        yield built
        assert await built.store.verify() == ()
    finally:
        await built.stop()
