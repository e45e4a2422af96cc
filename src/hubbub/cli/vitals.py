"""What a running server says of itself, and what its processes weigh."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from hubbub.bench.memory import PeakMemory

LOOK_SECONDS = 1.0
_GAUGE = re.compile(r"^(hubbub_requests_(?:queued|running))\{[^}]*\} (\S+)$", re.MULTILINE)


class Vitals:
    """The last answers of /health and /metrics, and peak memory, looked at once a second."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.health: Mapping[str, Any] = {}
        self.queued = self.running = 0
        self.server = PeakMemory(children=False)
        self.engine = PeakMemory()
        self._ready = asyncio.Event()

    @property
    def model(self) -> str:
        return str(next(iter(self.health.get("models", ())), ""))

    @property
    def engines(self) -> list[Mapping[str, Any]]:
        return list(self.health.get("engines", ()))

    @property
    def restarts(self) -> int:
        return sum(engine.get("restarts") or 0 for engine in self.engines)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Vitals]:
        """Look until the context ends."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session:
            await self._look(session)
            task = asyncio.create_task(self._keep_looking(session))
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def ready(self) -> None:
        """Return when an engine is ready. To be called while watching."""
        await self._ready.wait()

    async def _keep_looking(self, session: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look(session)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        """A server that does not answer keeps its last values: whether it lives is seen by its process."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with session.get("/health") as response:
                self.health = await response.json(content_type=None)
            async with session.get("/metrics") as response:
                self._gauges(await response.text())
        if self.health.get("models"):
            self._ready.set()
        if pid := self.health.get("pid"):
            self.server.sample([pid])
        self.engine.sample(engine["pid"] for engine in self.engines if engine.get("pid"))

    def _gauges(self, text: str) -> None:
        totals = {"hubbub_requests_queued": 0.0, "hubbub_requests_running": 0.0}
        for name, value in _GAUGE.findall(text):
            totals[name] += float(value)
        self.queued = int(totals["hubbub_requests_queued"])
        self.running = int(totals["hubbub_requests_running"])
