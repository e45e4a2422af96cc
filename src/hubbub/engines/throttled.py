"""An engine behind an API that is throttled and costs money: used at its limit and no faster, and every token counted.

State: ``_held`` has every request that was submitted and has not ended. Those that are still to be sent stand in
``_line`` too, chats first, then by age; they go out one by one as the throttle lets them, by one timer for all. What
the API refuses as too much goes back in line, at its old place; the scheduler hears of it only after ``MOST_REFUSALS``.

The scheduler is told a capacity of what can begin soon, so that it, and not this line, decides who is next. A line
that waits for the API's permission is at work, not hung: it counts as a step.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from hubbub.core.errors import BadRequest, EngineLost, EngineUnavailable, HubbubError
from hubbub.core.types import (
    Chunk,
    EngineState,
    FinishReason,
    Message,
    Priority,
    Request,
    RequestId,
    Usage,
)
from hubbub.engines.openai_wire import OpenAIWireEngine
from hubbub.engines.rate_limits import Header, read
from hubbub.engines.remote_dialect import Continues, RemoteDialect, cannot_go_on
from hubbub.engines.throttle import Refusal, Throttle
from hubbub.ports import Sink

REFUSALS = {429: Refusal.LIMIT, 503: Refusal.OVERLOAD, 529: Refusal.OVERLOAD}
MOST_REFUSALS = 8
SOON_S = 2.0
"""Twice as long as the scheduler hears nothing of an engine."""
EXPECTED_OUTPUT = 256.0
"""Tokens, before answers were seen."""
LEARN = 0.05
"""Weight of one more answer in the mean output."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a million tokens."""

    input: float = 0.0
    output: float = 0.0

    def of(self, usage: Usage) -> float:
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1e6


@dataclass(slots=True, eq=False)
class _Held:
    request: Request
    sink: Sink
    tokens: float
    status: int = 0
    said: int = 0
    refusals: int = 0
    sent: bool = False

    def may_go_again(self, error: HubbubError) -> bool:
        """Refused as too much, not broken off, and not too often yet."""
        refused = self.status in REFUSALS and error.retryable and not isinstance(error, EngineLost)
        return refused and self.refusals < MOST_REFUSALS


@dataclass(order=True, slots=True)
class _Place:
    """In line. ``number``: by age."""

    bulk: bool
    number: int
    held: _Held = field(compare=False)


class ThrottledEngine:
    """Engine port around a ``wire`` whose dialect is a RemoteDialect."""

    def __init__(
        self, wire: OpenAIWireEngine, dialect: RemoteDialect, throttle: Throttle, prices: Prices | None = None
    ) -> None:
        self.id = wire.id
        self.prices = prices or Prices()
        self.cost_usd = 0.0
        """Since the start. Of answers that were cut off, what they had come to by our own count."""
        self._wire = wire
        self._dialect = dialect
        self._throttle = throttle
        self._held: dict[RequestId, _Held] = {}
        self._line: list[_Place] = []
        self._numbers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._patience = 0
        self._mean_output = EXPECTED_OUTPUT
        dialect.heard = self._heard

    def __repr__(self) -> str:
        return f"ThrottledEngine({self._wire!r}, waiting={len(self._held) - self._throttle.under_way})"

    # The Engine port -----------------------------------------------------------------------------------------------

    async def start(self) -> EngineState:
        return self._told(await self._wire.start())

    async def state(self) -> EngineState:
        """Raises EngineUnavailable."""
        return self._told(await self._wire.state())

    def submit(self, request: Request, sink: Sink) -> None:
        self.cancel(request.id)  # a second attempt ends the first
        most = request.sampling.max_tokens
        output = self._mean_output if most is None else min(self._mean_output, most)
        held = self._held[request.id] = _Held(request, sink, request.prompt_tokens + output)
        self._queue(held)
        self._let_go()

    def cancel(self, request: RequestId) -> None:
        held = self._held.get(request)
        if held is None:
            return
        if held.sent:
            self._wire.cancel(request)
        else:
            del self._held[request]
            asyncio.get_running_loop().call_soon(held.sink, request, Chunk(finish=FinishReason.CANCELLED))

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        return await self._wire.count_tokens(messages)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._line.clear()
        for held in [held for held in self._held.values() if not held.sent]:
            del self._held[held.request.id]
            held.sink(held.request.id, Chunk(error=EngineLost(f"engine {self.id} was closed")))
        await self._wire.close()

    # The line ------------------------------------------------------------------------------------------------------

    def _queue(self, held: _Held) -> None:
        self._numbers += 1
        heapq.heappush(self._line, _Place(held.request.priority is not Priority.CHAT, self._numbers, held))

    def _let_go(self) -> None:
        """Send what may be sent now, and come back when there is more."""
        now = asyncio.get_running_loop().time
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line:
            held = self._line[0].held
            if self._held.get(held.request.id) is not held:
                heapq.heappop(self._line)  # cancelled
                continue
            wait = self._throttle.wait(held.tokens, now())
            if wait is None:
                return
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._let_go)
                return
            heapq.heappop(self._line)
            held.sent, held.status = True, 0
            self._throttle.sent(held, held.tokens, now())
            self._wire.submit(held.request, partial(self._hear, held))

    # What comes back -----------------------------------------------------------------------------------------------

    def _heard(self, request: RequestId, status: int, header: Header) -> None:
        held = self._held.get(request)
        if held is not None and held.sent:
            held.status = status
            told = read(header, time.time())
            self._throttle.answered(held, told, REFUSALS.get(status), asyncio.get_running_loop().time())
            self._let_go()

    def _hear(self, held: _Held, request: RequestId, chunk: Chunk) -> None:
        held.said += chunk.tokens
        if not chunk.last:
            held.sink(request, chunk)
            return
        self._landed(held, chunk)
        error = None if chunk.error is None else self._dialect.meant(chunk.error)
        if error is not None and held.may_go_again(error):
            held.refusals += 1
            held.sent = False
            self._queue_again(held)
        else:
            if self._held.get(request) is held:
                del self._held[request]
            held.sink(request, chunk if error is None else replace(chunk, error=self._meant(held, error)))
        self._let_go()

    def _queue_again(self, held: _Held) -> None:
        """Before all of its class that were not refused."""
        self._numbers += 1
        bulk = held.request.priority is not Priority.CHAT
        heapq.heappush(self._line, _Place(bulk, self._numbers - (1 << 40), held))

    def _landed(self, held: _Held, chunk: Chunk) -> None:
        """Count what it was: what the API says, else what was seen of it."""
        usage = chunk.usage
        refused = chunk.error is not None and not held.said
        if usage is None:
            usage = Usage() if refused or held.status != 200 else Usage(held.request.prompt_tokens, held.said)
        self.cost_usd += self.prices.of(usage)
        self._throttle.settle(held, held.tokens, float(usage.total_tokens))
        if chunk.finish is not None and chunk.finish is not FinishReason.CANCELLED:
            self._mean_output += LEARN * (usage.output_tokens - self._mean_output)

    def _meant(self, held: _Held, error: HubbubError) -> HubbubError:
        if isinstance(error, EngineUnavailable | EngineLost):
            self._dialect.doubt()
        flagged = held.request.partial and self._dialect.ways.continues is Continues.FLAG
        if flagged and isinstance(error, BadRequest) and "continue_final_message" in error.message:
            self._dialect.ways = replace(self._dialect.ways, continues=Continues.NO)
            return cannot_go_on()
        return error

    def _told(self, state: EngineState) -> EngineState:
        if not self._dialect.hosted:
            self._throttle.trust(state.max_sequences)
        waiting = len(self._held) - self._throttle.under_way
        self._patience += bool(waiting and not self._throttle.under_way)
        now = asyncio.get_running_loop().time()
        details = {**state.details, **self._throttle.shown(), "refusals": str(self._throttle.refusals)}
        return replace(
            state,
            max_sequences=min(state.max_sequences, self._throttle.room(SOON_S, now)),
            steps=state.steps + self._patience,
            details={**details, "held_back": str(waiting)},
        )
