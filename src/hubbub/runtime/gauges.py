"""How the server does, now and over the last ten minutes: what the engine room shows.

Theory of operation. Every ``STEP_S`` seconds one sample is taken of what scheduler, engines and counters say. Rates are
of that step. Times to the first token, between tokens, and hits of the prefix cache are of the answers that ended in
the last ``WINDOW_S`` seconds, and None where there were none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hubbub.core.types import EngineId, Priority, UserId
from hubbub.ports import Clock
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.telemetry import Ended, Telemetry

STEP_S = 2.0
KEPT_S = 600.0
WINDOW_S = 60.0

Sample = dict[str, float | None]
"""Values by name. Tokens and requests as numbers, fills and hits as shares from 0 to 1, times in seconds."""
RATES = ("input_tokens_s", "output_tokens_s")
ENDS = ("cache_hits", "ttft_p50_s", "ttft_p95_s", "itl_p50_s", "itl_p95_s")
WHOLE = (*RATES, "running_chat", "running_bulk", "waiting_chat", "waiting_bulk", "kv_fill", *ENDS)
ENGINE = (*RATES, "running", "waiting", "kv_fill", *ENDS)


@dataclass(frozen=True, slots=True)
class Moment:
    """``at`` is Unix seconds."""

    at: float
    whole: Sample
    engines: dict[EngineId, Sample]


@dataclass(frozen=True, slots=True)
class UserGauge:
    user: UserId
    priority: Priority
    running: int
    waiting: int


class Gauges:
    def __init__(self, dispatcher: Dispatcher, telemetry: Telemetry, clock: Clock) -> None:
        self._dispatcher, self._telemetry, self._clock = dispatcher, telemetry, clock
        self._moments: deque[Moment] = deque(maxlen=round(KEPT_S / STEP_S) + 1)
        self._before: tuple[float, dict[EngineId, int]] = (clock.now(), {})
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._sampling())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def engines(self) -> list[EngineId]:
        return list(self._dispatcher.engines)

    def moments(self) -> Sequence[Moment]:
        """Oldest first; there is always one."""
        if not self._moments:
            self.take()
        return tuple(self._moments)

    def users(self) -> list[UserGauge]:
        """Everyone who has something queued or running now."""
        scheduler = self._dispatcher.scheduler
        return [
            UserGauge(user, priority, load.running, load.queued)
            for priority in Priority
            for user, load in scheduler.users(priority).items()
        ]

    def take(self) -> None:
        """Take a sample now."""
        now, view = self._clock.now(), self._dispatcher.scheduler.view()
        recent = [ended for ended in self._telemetry.ends if ended.at > now - WINDOW_S]
        written = self._written(now)
        engines: dict[EngineId, Sample] = {}
        fills = []
        for engine in self._dispatcher.engines:
            state, load = self._dispatcher.states.get(engine), view.engines.get(engine)
            reserved = load.kv_tokens / load.max_kv_tokens if load is not None and load.max_kv_tokens else None
            fill = (state.kv_used or reserved) if state is not None else None
            if fill is not None and state is not None:
                fills.append((fill, max(1, state.kv_tokens)))
            engines[engine] = {
                **self._rates(recent, now, written.get(engine, 0.0), engine),
                "running": load.sequences if load is not None else 0,
                "waiting": state.waiting if state is not None else 0,
                "kv_fill": fill,
                **_ends(ended for ended in recent if ended.engine == engine),
            }
        whole: Sample = {
            **self._rates(recent, now, sum(written.values()), None),
            "running_chat": view.running.get(Priority.CHAT, 0),
            "running_bulk": view.running.get(Priority.BULK, 0),
            "waiting_chat": view.queued.get(Priority.CHAT, 0),
            "waiting_bulk": view.queued.get(Priority.BULK, 0),
            "kv_fill": sum(fill * room for fill, room in fills) / sum(room for _, room in fills) if fills else None,
            **_ends(recent),
        }
        self._moments.append(Moment(self._clock.wall(), whole, engines))

    def _written(self, now: float) -> dict[EngineId, float]:
        """Tokens a second of each engine since the last sample."""
        self._dispatcher.flush_progress()
        then, before = self._before
        counts = dict(self._telemetry.generated)
        self._before = (now, counts)
        span = now - then
        return {engine: (count - before.get(engine, 0)) / span for engine, count in counts.items()} if span > 0 else {}

    def _rates(self, recent: Iterable[Ended], now: float, written: float, engine: EngineId | None) -> Sample:
        """Prompts are counted by engines at an answer's end: their rate is of the answers of the last ten seconds."""
        span = 5 * STEP_S
        tokens = sum(ended.input_tokens for ended in recent if ended.at > now - span and engine in (None, ended.engine))
        return {"input_tokens_s": tokens / span, "output_tokens_s": written}

    async def _sampling(self) -> None:
        while True:
            self.take()
            await asyncio.sleep(STEP_S)


def _ends(ends: Iterable[Ended]) -> Sample:
    told = list(ends)
    first = sorted(ended.ttft for ended in told if ended.ttft is not None)
    between = sorted(ended.itl for ended in told if ended.itl is not None)
    prompt = sum(ended.input_tokens for ended in told)
    cached = sum(ended.cached_tokens for ended in told)
    return {
        "cache_hits": cached / prompt if prompt else None,
        "ttft_p50_s": _quantile(first, 0.5),
        "ttft_p95_s": _quantile(first, 0.95),
        "itl_p50_s": _quantile(between, 0.5),
        "itl_p95_s": _quantile(between, 0.95),
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
