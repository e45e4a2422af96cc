"""Engines kept running side by side while they are compared: as many as fit, the one asked longest ago makes room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hubbub.bench.descent import Speed
from hubbub.bench.drive import Work, drive
from hubbub.core.errors import EngineUnavailable
from hubbub.ports import Engine

ANSWER_TOKENS = {1: 48, 8: 24}
"""By number of streams, at most: where few speak, each says more, so that a measurement is not over at once."""
MANY_TOKENS = 16
WARM_UP = Work(streams=2, tokens=4, seed=-1)

Make = Callable[[Mapping[str, Any], str], Awaitable[Engine]]
"""An engine with these settings and this name, not yet started."""


class Stand:
    """State: ``_live`` are started engines, the one used last at the end; never more than ``_most``."""

    def __init__(self, make: Make, limit_s: float, fits: Callable[[Engine], bool] = lambda _engine: True) -> None:
        """``limit_s``: how long one measurement may take. ``fits``: asked once, with the first engine running, whether
        a second one has room beside it. If not, every turn starts one anew."""
        self._make = make
        self._limit_s = limit_s
        self._fits = fits
        self._most = 0
        self._live: dict[tuple[object, ...], Engine] = {}
        self._made = 0

    async def measure(self, setting: Mapping[str, Any], copy: int, streams: int, number: int) -> Speed:
        """Round ``number`` with so many streams. Raises HubbubError where the engine does not run, or is not done in
        time."""
        engine = await self._engine(setting, copy)
        began = time.perf_counter()
        tokens = next((tokens for most, tokens in ANSWER_TOKENS.items() if streams <= most), MANY_TOKENS)
        try:
            async with asyncio.timeout(self._limit_s):
                seen = await drive(engine, Work(streams, tokens, seed=1000 * number + streams))
        except TimeoutError:
            raise EngineUnavailable(
                f"{streams} streams take more than {self._limit_s:g} s: give more time, or fewer streams"
            ) from None
        ttft = seen.ttft.quantile(0.5) or seen.wall_s
        # An engine that says nothing is slower than any that speaks.
        return Speed(max(seen.tokens_per_s, 1e-6), ttft, time.perf_counter() - began)

    async def close(self) -> None:
        while self._live:
            _, engine = self._live.popitem()
            await engine.close()

    async def _engine(self, setting: Mapping[str, Any], copy: int) -> Engine:
        key = (copy, *sorted(setting.items()))
        engine = self._live.pop(key, None)
        if engine is None:
            if self._live and not self._most:
                self._most = 2 if self._fits(next(iter(self._live.values()))) else 1
            while self._live and len(self._live) >= self._most:
                oldest = next(iter(self._live))
                await self._live.pop(oldest).close()
            self._made += 1
            engine = await self._make(setting, f"tune-{self._made}")
            try:
                await engine.start()
                await drive(engine, WARM_UP)
            except BaseException:
                await engine.close()
                raise
        self._live[key] = engine
        return engine
