"""One request until it is answered: a place among those in flight, faults, a second copy of a straggler.

State: ``_flights`` holds every request that is out, oldest first. A flight ends with the first answer of its copies, or
when all of them have failed. What is the endpoint's fault (busy, away) is tried again with the same seed for as long as
there is patience, so that the same item has the same answer whatever happened on the way; what is the request's fault
ends in ``GivenUp``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from hubbub.corpus.board import Board
from hubbub.corpus.client import Answered, Answering, FaultKind, RequestFault
from hubbub.corpus.items import Call
from hubbub.corpus.slots import Slots

TRIES = 3
"""How often one request may fail or time out before its item is given up."""
WATCH_S = 0.5
HEDGE_FACTOR = 3.0
"""A request out for this many times the 95th percentile of latency is sent a second time."""
HEDGE_SHARE = 0.05
"""At most this share of the requests in flight is sent twice."""
_PROGRESS = re.compile(
    rb"^(?:hubbub_generated_tokens_total|hubbub_engine_output_tokens_total|vllm:generation_tokens_total"
    rb"|sglang:generation_tokens_total|llamacpp:tokens_predicted_total)(?:\{[^}]*\})? (\S+)$",
    re.MULTILINE,
)


class GivenUp(Exception):
    """An item cannot be done. ``reason``: a short key; ``detail``: in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it can be sent to another process
        self.reason = reason
        self.detail = detail


@dataclass(slots=True, eq=False)
class _Flight:
    call: Call
    began: float
    answer: asyncio.Future[Answered]
    copies: list[asyncio.Task[None]] = field(default_factory=list)
    open: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """``stall_s``: without a token for so long, though requests are in flight, the engine is taken to hang (where it
    counts its tokens for us to see). ``give_up_s``: without an answer for so long, the run stops. ``straggler_s``: no
    request is sent a second time before it is out for so long."""

    stall_s: float = 120.0
    give_up_s: float = 600.0
    straggler_s: float = 10.0


class Asker:
    """``hangs`` is called when the engine is taken to hang: whoever runs it may restart it."""

    def __init__(
        self, endpoint: Answering, slots: Slots, board: Board, patience: Patience, hangs: Callable[[], None] | None
    ) -> None:
        self.endpoint = endpoint
        self.slots = slots
        self.board = board
        self.patience = patience
        self._hangs = hangs
        self._flights: dict[_Flight, None] = {}
        self._good_at = self._now()
        self._moved_at = self._good_at
        self._progress: bytes | None = None

    async def ask(self, index: int, call: Call) -> Answered:
        """Raises GivenUp, and RequestFault when there is no use in going on."""
        tries = 0
        while True:
            async with self.slots.one(index):
                began = self._now()
                try:
                    answered = await self._fly(call)
                except RequestFault as fault:
                    last = fault
                else:
                    self._good_at = self._now()
                    self.board.latencies.append(self._good_at - began)
                    self.slots.pressure.answered()
                    return answered
            tries += last.kind in (FaultKind.FAILED, FaultKind.TIMEOUT)
            self._take(last, tries)

    async def watch(self) -> None:
        """Send stragglers a second time, and see a standstill. Raises RequestFault when patience has run out."""
        while True:
            await asyncio.sleep(WATCH_S)
            self._hedge()
            if not self._flights:
                self._moved_at = self._now()
            elif self._quiet() > min(self.patience.stall_s, self.patience.give_up_s):
                still = await self._stands_still()
                stalled = still and self._quiet() > self.patience.stall_s
                if stalled or self._quiet() > self.patience.give_up_s:
                    self._require_patience(f"{len(self._flights)} requests are in flight and nothing comes")
                if stalled:
                    self._send_again()

    async def close(self) -> None:
        tasks = [copy for flight in self._flights for copy in flight.copies]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Flights -------------------------------------------------------------------------------------------------------

    async def _fly(self, call: Call) -> Answered:
        flight = _Flight(call, self._now(), asyncio.get_running_loop().create_future())
        self._flights[flight] = None
        self._launch(flight)
        try:
            return await flight.answer
        finally:
            del self._flights[flight]
            for copy in flight.copies:
                copy.cancel()

    def _launch(self, flight: _Flight) -> None:
        self.board.counts["requests"] += 1
        flight.open += 1
        work: Coroutine[None, None, None] = self._copy(flight)
        flight.copies.append(asyncio.get_running_loop().create_task(work))

    async def _copy(self, flight: _Flight) -> None:
        call = flight.call
        try:
            answered = await self.endpoint.ask(call.model, call.messages, call.sampling)
        except RequestFault as fault:
            flight.open -= 1
            if not flight.answer.done() and not flight.open:
                flight.answer.set_exception(fault)
        else:
            if not flight.answer.done():
                flight.answer.set_result(answered)

    def _hedge(self) -> None:
        p95 = self.board.p95_latency()
        if p95 is None:
            return
        late = self._now() - max(self.patience.straggler_s, HEDGE_FACTOR * p95)
        room = max(1, int(HEDGE_SHARE * len(self._flights))) - sum(len(f.copies) > 1 for f in self._flights)
        for flight in list(self._flights):
            if flight.began > late or room <= 0:
                return
            if len(flight.copies) == 1:
                self.board.counts["hedged"] += 1
                self._launch(flight)
                room -= 1

    # Faults --------------------------------------------------------------------------------------------------------

    def _take(self, fault: RequestFault, tries: int) -> None:
        self.board.counts[f"fault:{fault.kind}"] += 1
        if fault.kind is FaultKind.FATAL:
            raise fault
        if fault.kind is FaultKind.REFUSED:
            raise GivenUp("refused", fault.message)
        if tries >= TRIES:
            raise GivenUp(str(fault.kind), fault.message)
        self._require_patience(fault.message)
        self.slots.pressure.refused(self._now(), self.slots.in_flight + 1, fault.retry_after)
        self.slots.serve()

    def _require_patience(self, why: str) -> None:
        quiet = self._now() - self._good_at
        if quiet > self.patience.give_up_s:
            raise RequestFault(
                FaultKind.AWAY,
                f"no answer from {self.endpoint.name} for {quiet:.0f} s: {why}. What was accepted is safe; run "
                "the same command again when the engine answers",
            )

    async def _stands_still(self) -> bool:
        """Whether no token came for ``stall_s``, by the endpoint's own count; where it has none, only time can tell."""
        counts = b" ".join(_PROGRESS.findall(await self.endpoint.get("/metrics") or b""))
        before, self._progress = self._progress, counts
        if counts != before:
            self._moved_at = self._now()
        return bool(counts) and counts == before

    def _send_again(self) -> None:
        """All in flight hang: their connections are given up, and each is asked again."""
        self.board.counts["standstills"] += 1
        self._moved_at = self._now()
        if self._hangs is not None:
            self._hangs()
        words = "the engine hangs: it takes requests, and no token comes"
        for flight in list(self._flights):
            if not flight.answer.done():
                flight.answer.set_exception(RequestFault(FaultKind.AWAY, words))

    def _quiet(self) -> float:
        """For how long nothing has come, though something is in flight."""
        oldest = min((flight.began for flight in self._flights), default=self._now())
        return self._now() - max(self._good_at, self._moved_at, oldest)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
