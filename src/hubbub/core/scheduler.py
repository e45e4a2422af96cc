"""Which request runs next, on which engine: events in, commands out, no clock and no I/O.

Theory of operation. A request that arrives gets a ``Ticket`` and stands in the ``WaitingRoom`` of its lane (its class,
model and adapter). After every event ``_fill`` gives out what room there is, and only then it is known what the event
means for the request: ``Dispatch``, or ``Wait`` where it still stands in line, or ``Refuse`` where the line is too
long. From the moment it is accepted a ticket is in exactly one of two places, the waiting room of its lane or the
leases of one engine, until exactly one ``Close`` takes it out of both. ``validate`` counts all of it again.

- Order: chats before bulk; the least served user, then the least served chat, then arrival (``core.fairness``).
  Prefill is charged at dispatch, decode as it progresses, and both are corrected by what the engine reports.
- Room: sequences and KV tokens of each engine (``core.budget``). Bulk goes to an engine only while no chat waits for
  any of its models, leaves the chats' reserve free, and is held to what chats do not notice (``core.steering``).
- Admission: a chat whose first token is foreseen too late is told when to come back (``core.forecast``).
- Where the next request does not fit, smaller ones behind it may pass, ``max_bypass`` times. Then one engine is held
  for it: nobody of its class or a lower one enters there until the request fits (at the latest when the engine is
  idle, as an idle engine takes anything).
- Where: a conversation returns to the replica that has its beginning (``core.affinity``). Adapters: a request waits for
  an engine that has its adapter, and on one that cannot mix them for those of another to end; it is passed meanwhile,
  and so comes to a hold. A draining engine is given nothing, as if it did not serve, and ends what it runs.
- A lost request goes back to its place by arrival, without being charged for the second prefill. It is the engine's
  fault until it has been tried ``max_attempts`` times.
- Events about requests that are not running (late words of an attempt that was given up) change nothing.

A line that nobody serves is not a failure at once: engines restart. After ``max_queue_seconds`` it is, on a ``Ticked``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from typing import Any

from hubbub.core import forecast
from hubbub.core.budget import EngineBudget, EngineLoad
from hubbub.core.config import SchedulerConfig
from hubbub.core.errors import EngineLost, EngineUnavailable
from hubbub.core.events import (
    Abort,
    Arrived,
    Close,
    Command,
    Dispatch,
    EngineDown,
    EngineDraining,
    EngineUp,
    Event,
    Failed,
    Finished,
    Outcome,
    Progressed,
    Queueing,
    Ticked,
    Wait,
    Withdrawn,
)
from hubbub.core.fairness import Fairness
from hubbub.core.invariant import InvariantError, require
from hubbub.core.lane import output_of
from hubbub.core.pace import Pace
from hubbub.core.placement import CLASSES, Placement
from hubbub.core.pool import Pool
from hubbub.core.ticket import Ticket
from hubbub.core.types import EngineId, Priority, RequestId, Usage, UserId

__all__ = ["InvariantError", "Scheduler", "SchedulerConfig", "UserLoad", "View"]


@dataclass(frozen=True, slots=True)
class View:
    """Numbers for telemetry, as they were when it was taken."""

    queued: dict[Priority, int]
    running: dict[Priority, int]
    engines: dict[EngineId, EngineLoad]
    bulk_limits: dict[EngineId, int]
    """Bulk requests that each engine may be given now."""
    promised: int
    """Refused chats that are to be let in when they come back as told."""


@dataclass(frozen=True, slots=True)
class UserLoad:
    """``attained``: weighted tokens per weight that count against the user's chats now. Only differences mean
    something: who comes back is lifted to the level of the others."""

    queued: int
    running: int
    attained: float


class Scheduler:
    def __init__(self, config: SchedulerConfig | None = None) -> None:
        self.config = config = config or SchedulerConfig()
        self._now = -inf
        self._arrivals = 0
        self._tickets: dict[RequestId, Ticket] = {}
        self._fairness = {c: Fairness(config.half_life_s, config.max_debt, config.user_weights) for c in CLASSES}
        self._placement = Placement(config)
        self._doors = forecast.Doors(config)
        self._running = dict.fromkeys(CLASSES, 0)
        self._handlers: dict[type[Any], Callable[[Any, float, list[Command]], None]] = {
            Arrived: self._arrived,
            Progressed: self._progressed,
            Finished: self._finished,
            Failed: self._failed,
            Withdrawn: self._withdrawn,
            EngineUp: self._engine_up,
            EngineDown: self._engine_down,
            Queueing: self._queueing,
            EngineDraining: self._engine_draining,
            Ticked: self._ticked,
        }

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about the event, in order. ``now``: seconds of any clock that does not run backwards.

        Raises ValueError for a request whose id is already queued or running.
        """
        self._now = max(self._now, now)
        commands: list[Command] = []
        self._handlers[type(event)](event, self._now, commands)
        return commands

    # Events --------------------------------------------------------------------------------------------------------

    def _arrived(self, event: Arrived, now: float, out: list[Command]) -> None:
        request = event.request
        if request.id in self._tickets:
            raise ValueError(f"request {request.id} has already arrived")
        lane = self._placement.lane(request.priority, Pool(request.model, request.adapter), now)
        account = self._fairness[request.priority].enter(request.user, request.chat, now)
        self._arrivals += 1
        most = request.sampling.max_tokens
        ticket = Ticket(request, self._arrivals, account, lane, now, inf if most is None else most)
        self._tickets[request.id] = ticket
        ticket.prefill = forecast.to_read(ticket)
        engine = self._placement.at_once(ticket, now)
        if engine is not None:
            refusal = None if event.accepted or event.patient else self._doors.at_once(ticket, engine, now)
            if refusal is None:
                self._start(ticket, engine, now, out)
            else:
                self._drop(ticket, now)
                out.append(refusal)
            return
        self._placement.enqueue(ticket)
        self._fill(now, out)
        if ticket.engine is not None:
            return
        waiting, lanes = self._placement.queued[lane.priority], self._placement.lanes[lane.priority].values()
        wait, refusal = self._wait(ticket, now), None
        if not event.accepted:
            refusal = self._doors.in_line(ticket, wait.seconds, waiting, lanes, now, patient=event.patient)
        if refusal is None:
            out.append(wait)
            return
        self._placement.dequeue(ticket)
        self._drop(ticket, now)
        out.append(refusal)

    def _progressed(self, event: Progressed, now: float, out: list[Command]) -> None:
        cost = {c: self.config.decode_cost * self._fairness[c].rate(now) for c in CLASSES}
        spoke = False
        for request_id, tokens in event.tokens.items():
            ticket = self._tickets.get(request_id)
            if ticket is None or ticket.engine is None:
                continue
            request, pace = ticket.request, ticket.engine.pace
            if not ticket.spoke:
                pace.spoke(ticket, now)
                spoke = True
            pace.heard(tokens)
            ticket.produced += tokens
            held = request.prompt_tokens + ticket.before + ticket.produced
            if held > ticket.reserved:
                ticket.reserved = held
                ticket.engine.grow(request_id, held)
            self._fairness[request.priority].charge(ticket.account, tokens * cost[request.priority])
        if spoke:  # bulk may be read
            self._fill(now, out)

    def _finished(self, event: Finished, now: float, out: list[Command]) -> None:
        ticket = self._tickets.get(event.request)
        if ticket is None or ticket.engine is None:
            return
        self._correct(ticket, event.usage, now)
        forecast.learn(ticket, event.usage)
        ticket.lane.learn(output_of(ticket, event.usage))
        self._stop(ticket, ticket.engine, now, counts=True)
        self._drop(ticket, now)
        out.append(Close(event.request, Outcome.FINISHED))
        self._fill(now, out)

    def _failed(self, event: Failed, now: float, out: list[Command]) -> None:
        ticket = self._tickets.get(event.request)
        if ticket is None or ticket.engine is None:
            return
        if event.retryable:
            ticket.engine.steering.trouble(now)
            self._lost(ticket.engine, [ticket], (event.code, event.message), now, out)
            return
        self._stop(ticket, ticket.engine, now, counts=True)
        self._drop(ticket, now)
        out.append(Close(event.request, Outcome.FAILED, event.code, event.message, event.param))
        self._fill(now, out)

    def _withdrawn(self, event: Withdrawn, now: float, out: list[Command]) -> None:
        ticket = self._tickets.get(event.request)
        if ticket is None:
            return
        if ticket.engine is None:
            self._placement.dequeue(ticket)
        else:
            out.append(Abort(event.request, ticket.engine.id))
            self._stop(ticket, ticket.engine, now, counts=True)
        self._drop(ticket, now)
        out.append(Close(event.request, Outcome.CANCELLED))
        self._fill(now, out)

    def _engine_up(self, event: EngineUp, now: float, out: list[Command]) -> None:
        self._placement.up(event.engine, event.state, now)
        self._fill(now, out)

    def _engine_down(self, event: EngineDown, now: float, out: list[Command]) -> None:
        engine = self._placement.down(event.engine, now)
        if engine is not None:
            tickets = [self._tickets[request] for request in engine.leases]
            self._lost(engine, tickets, (EngineLost.code, f"engine {engine.id} was lost"), now, out)

    def _queueing(self, event: Queueing, now: float, out: list[Command]) -> None:
        engine = self._placement.engines.get(event.engine)
        if engine is not None:
            engine.steering.trouble(now)

    def _engine_draining(self, event: EngineDraining, now: float, out: list[Command]) -> None:
        self._placement.drain(event.engine, event.draining, now)
        self._fill(now, out)

    def _ticked(self, event: Ticked, now: float, out: list[Command]) -> None:
        patience = self.config.max_queue_seconds
        for lane in self._placement.unserved():
            for ticket in list(lane.room.tickets()):
                if now - max(ticket.queued_at, lane.unserved_since) >= patience:
                    self._placement.dequeue(ticket)
                    self._drop(ticket, now)
                    story = f"no engine has served {lane.pool} for {patience:g} s"
                    out.append(Close(ticket.request.id, Outcome.FAILED, EngineUnavailable.code, story))
        for engine in self._placement.engines.values():
            engine.pace.tick(now)
            engine.steering.tick(now)
        self._fill(now, out)
        for lane in self._placement.waiting() if event.told else ():
            outlook = forecast.Outlook(lane, now)
            out += [outlook.wait(ticket) for ticket in lane.room.tickets()]

    # From one place to another -------------------------------------------------------------------------------------

    def _fill(self, now: float, out: list[Command]) -> None:
        """Start all that have room."""
        while (choice := self._placement.next(now)) is not None:
            self._placement.dequeue(choice[0])
            self._start(*choice, now, out)

    def _start(self, ticket: Ticket, engine: EngineBudget, now: float, out: list[Command]) -> None:
        request, lane = ticket.request, ticket.lane
        if not ticket.attempts:
            fairness = self._fairness[lane.priority]
            ticket.booked_at = now
            fairness.charge(ticket.account, request.prompt_tokens * self.config.prefill_cost * fairness.rate(now))
        ticket.attempts += 1
        ticket.engine = engine
        ticket.reserved = ticket.need(lane.expected)
        engine.lease(request.id, ticket.reserved, request.adapter)
        engine.pace.began(ticket, now)
        self._placement.sent(ticket, engine)
        lane.began(now)
        self._running[lane.priority] += 1
        out.append(Dispatch(request.id, engine.id))

    def _stop(self, ticket: Ticket, engine: EngineBudget, now: float, counts: bool) -> None:
        """Give its room back. ``counts``: as an end in the rate of ends."""
        engine.release(ticket.request.id, ticket.request.adapter)
        engine.pace.left(ticket, now)
        ticket.failed_on, ticket.engine = engine, None
        ticket.lane.ended(now, counts, now - ticket.sent_at)
        self._running[ticket.lane.priority] -= 1

    def _drop(self, ticket: Ticket, now: float) -> None:
        del self._tickets[ticket.request.id]
        self._fairness[ticket.lane.priority].leave(ticket.account, now)

    def _lost(
        self, engine: EngineBudget, tickets: list[Ticket], why: tuple[str, str], now: float, out: list[Command]
    ) -> None:
        """Attempts that came to nothing: back to the queue, or, tried often enough, to their end. ``why``: code and
        message."""
        code, message = why
        again = []
        for ticket in sorted(tickets, key=lambda ticket: ticket.number):
            self._stop(ticket, engine, now, counts=False)
            if ticket.attempts >= self.config.max_attempts:
                self._drop(ticket, now)
                story = f"{message} (attempt {ticket.attempts} of {self.config.max_attempts})"
                out.append(Close(ticket.request.id, Outcome.FAILED, code or EngineLost.code, story))
                continue
            ticket.before += ticket.produced
            ticket.produced = ticket.reserved = 0
            ticket.queued_at = now
            ticket.prefill = forecast.to_read(ticket)
            self._placement.enqueue(ticket)
            again.append(ticket)
        self._fill(now, out)
        out += [self._wait(ticket, now) for ticket in again if ticket.engine is None]

    def _wait(self, ticket: Ticket, now: float) -> Wait:
        return forecast.Outlook(ticket.lane, now).wait(ticket)

    def _correct(self, ticket: Ticket, usage: Usage, now: float) -> None:
        """Charge what the engine says it was instead of what we took it for. An engine that says nothing is ignored."""
        if not usage.total_tokens:
            return
        # What earlier attempts said came back as prompt; it was charged as output then, and is not charged twice.
        prompt = max(0, usage.input_tokens - usage.cached_tokens - ticket.before)
        prefill = (prompt - ticket.request.prompt_tokens) * self.config.prefill_cost
        decode = (usage.output_tokens - ticket.produced) * self.config.decode_cost
        fairness = self._fairness[ticket.lane.priority]
        # Decay has made an older token worth less: what is given back is worth what it was when it was charged.
        amount = prefill * fairness.rate(now if prefill > 0 else ticket.booked_at)
        fairness.charge(ticket.account, amount + decode * fairness.rate(now if decode > 0 else ticket.booked_at))

    # Views ---------------------------------------------------------------------------------------------------------

    def pace_of(self, engine: EngineId) -> Pace | None:
        """What was learnt of an engine's pace; None for one that was never up."""
        return self._placement.pace_of(engine)

    def view(self) -> View:
        engines = {engine.id: engine.load() for engine in self._placement.engines.values()}
        limits = {engine.id: engine.steering.room(self._now) for engine in self._placement.engines.values()}
        promised = len(self._doors.promises)
        return View(dict(self._placement.queued), dict(self._running), engines, limits, promised)

    def users(self, priority: Priority) -> dict[UserId, UserLoad]:
        """Users of the class that have something queued or running."""
        fairness = self._fairness[priority]
        queued: Counter[UserId] = Counter()
        running: Counter[UserId] = Counter()
        for ticket in self._tickets.values():
            if ticket.lane.priority is priority:
                (queued if ticket.engine is None else running)[ticket.request.user] += 1
        return {
            user: UserLoad(queued[user], running[user], fairness.attained(user, self._now))
            for user in sorted(queued | running)
        }

    @property
    def draining(self) -> AbstractSet[EngineId]:
        """Engines that are given nothing new."""
        return self._placement.draining

    def position(self, request: RequestId) -> int | None:
        """Its place in line, from 1, as if all that wait cost alike; None if it does not wait."""
        ticket = self._tickets.get(request)
        return ticket.lane.position(ticket) if ticket is not None and ticket.engine is None else None

    def completion_rate(self, priority: Priority, model: str) -> float:
        """Requests a second that end and make room for the class, 0 before the first."""
        lane = self._placement.lanes[priority].get(Pool(model))
        return lane.rate.per_second(self._now) if lane else 0.0

    def known_accounts(self) -> int:
        """Users and chats whose service is remembered: what memory grows with."""
        users = [user for fairness in self._fairness.values() for user in fairness.users.values()]
        return len(users) + sum(len(user.chats) for user in users)

    def validate(self) -> None:
        """Count everything again. Raises InvariantError with what does not add up."""
        self._placement.validate(self._tickets.values())
        self._doors.promises.validate()
        for priority in CLASSES:
            fairness = self._fairness[priority]
            fairness.validate()
            mine = [ticket for ticket in self._tickets.values() if ticket.lane.priority is priority]
            running = sum(ticket.engine is not None for ticket in mine)
            counted = self._running[priority]
            require(running == counted, f"{running} {priority} requests run, {counted} are counted")
            live = Counter(ticket.account for ticket in mine)
            active = {c: c.active for user in fairness.users.values() for c in user.chats.values() if c.active}
            require(live == active, f"{len(mine)} {priority} requests live, accounts say {sum(active.values())}")
