"""Which waiting request goes to which engine next.

Theory of operation. ``next`` asks the lanes in order, chats before bulk, for the first request that has room
somewhere. One that is next but does not fit is passed by those behind it, and that is counted; passed too often, it is
given a hold on one engine. Nobody of its class or a lower one enters a held engine, so its room can only grow, at the
latest until the engine is idle and takes anything. A hold ends when its request leaves the line, wherever it goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from hubbub.core.budget import EngineBudget
from hubbub.core.config import SchedulerConfig
from hubbub.core.invariant import require
from hubbub.core.lane import Lane
from hubbub.core.pace import Pace
from hubbub.core.steering import Steering
from hubbub.core.ticket import Ticket
from hubbub.core.types import EngineId, EngineState, Priority

CHAT, BULK = Priority.CHAT, Priority.BULK
CLASSES = (CHAT, BULK)
"""In the order in which they are served."""


class Placement:
    def __init__(self, config: SchedulerConfig) -> None:
        self._config = config
        self.engines: dict[EngineId, EngineBudget] = {}
        self._steering: dict[EngineId, Steering] = {}  # what was learnt of an engine outlives its restarts
        self.lanes: dict[Priority, dict[str, Lane]] = {c: {} for c in CLASSES}
        self.queued = dict.fromkeys(CLASSES, 0)
        self._backlog: dict[Priority, dict[str, Lane]] = {c: {} for c in CLASSES}  # lanes where somebody waits
        self._holding: list[Ticket] = []

    # Engines and lanes ---------------------------------------------------------------------------------------------

    def up(self, engine_id: EngineId, state: EngineState, now: float) -> None:
        engine = self.engines.get(engine_id)
        if engine is None:
            config = self._config
            steering = self._steering.get(engine_id)
            if steering is None:
                steering = Steering(Pace(), config)
                self._steering[engine_id] = steering
            self.engines[engine_id] = EngineBudget(engine_id, state, config.kv_headroom, config.chat_reserve, steering)
        else:
            self._release_holds(engine)
            engine.resize(state)
        self._serve(now)

    def down(self, engine_id: EngineId, now: float) -> EngineBudget | None:
        """Its budget with the leases that were lost, None if it was not up."""
        engine = self.engines.pop(engine_id, None)
        if engine is not None:
            self._release_holds(engine)
            self._serve(now)
        return engine

    def lane(self, priority: Priority, model: str, now: float) -> Lane:
        lane = self.lanes[priority].get(model)
        if lane is None:
            chats = None if priority is CHAT else self.lane(CHAT, model, now)
            lane = self.lanes[priority][model] = Lane(priority, model, self._config.expected_output, now, chats)
            lane.serve(self._serving(model), now)
        return lane

    def _serve(self, now: float) -> None:
        for lanes in self.lanes.values():
            for lane in lanes.values():
                lane.serve(self._serving(lane.model), now)

    def _serving(self, model: str) -> list[EngineBudget]:
        return [engine for engine in self.engines.values() if model in engine.state.models]

    # The line ------------------------------------------------------------------------------------------------------

    def at_once(self, ticket: Ticket, now: float) -> EngineBudget | None:
        """Where a newcomer starts without standing in line: only where there is no line to be before."""
        backlog = self._backlog
        return None if backlog[CHAT] or backlog[ticket.lane.priority] else self.place(ticket, now)

    def enqueue(self, ticket: Ticket) -> None:
        lane = ticket.lane
        lane.room.push(ticket)
        lane.tokens += ticket.prefill
        self.queued[lane.priority] += 1
        self._backlog[lane.priority][lane.model] = lane

    def dequeue(self, ticket: Ticket) -> None:
        lane = ticket.lane
        lane.room.remove(ticket)
        lane.tokens -= ticket.prefill
        self.queued[lane.priority] -= 1
        if not lane.room.size:
            del self._backlog[lane.priority][lane.model]
        if ticket.holds is not None:
            self._release_hold(ticket, ticket.holds)

    def waiting(self) -> list[Lane]:
        """Lanes where somebody waits."""
        return [lane for lanes in self._backlog.values() for lane in lanes.values()]

    def unserved(self) -> Iterable[Lane]:
        """Lanes where somebody waits and no engine is up."""
        return [lane for lane in self.waiting() if not lane.engines]

    def next(self, now: float) -> tuple[Ticket, EngineBudget] | None:
        """Who starts now, and where; None when nobody who waits has room."""
        for ticket in self._holding:
            engine = self.place(ticket, now)
            if engine is not None:
                return ticket, engine
        for lanes in self._backlog.values():
            if not lanes:
                continue
            stuck: list[Ticket] = []
            for lane in lanes.values() if len(lanes) < 2 else self._by_service(lanes.values()):
                found = self._next_in(lane, stuck, now)
                if found is not None:
                    return found
        return None

    def _by_service(self, lanes: Iterable[Lane]) -> list[Lane]:
        return sorted(lanes, key=lambda lane: lane.room.rank())

    def _next_in(self, lane: Lane, stuck: list[Ticket], now: float) -> tuple[Ticket, EngineBudget] | None:
        """``stuck``: requests that were next in their lanes and did not fit; this lane's is added."""
        if not lane.has_slot(now):
            return None
        ticket = lane.room.first()
        engine = self.place(ticket, now)
        if engine is None:
            stuck.append(ticket)
            for ticket in lane.room.candidates(self._config.lookahead):
                engine = self.place(ticket, now)
                if engine is not None:
                    break
            else:
                return None
        for other in stuck:
            if engine in other.lane.engines:
                self._pass(other)
        return ticket, engine

    def place(self, ticket: Ticket, now: float) -> EngineBudget | None:
        """The engine for the request: of those with room for it, the one with the largest free share."""
        lane = ticket.lane
        priority = lane.priority
        need = ticket.need(lane.expected)
        best, best_share = None, -inf
        for engine in lane.engines:
            if engine.admits(ticket.request.id, priority, need, now) and (
                priority is CHAT or not self._chat_waits(engine)
            ):
                share = engine.free_share() - (engine is ticket.failed_on)
                if share > best_share:
                    best, best_share = engine, share
        return best

    def _chat_waits(self, engine: EngineBudget) -> bool:
        chats = self._backlog[CHAT]
        return bool(chats) and any(model in chats for model in engine.state.models)

    # Holds ---------------------------------------------------------------------------------------------------------

    def _pass(self, ticket: Ticket) -> None:
        ticket.passed += 1
        if ticket.passed < self._config.max_bypass or ticket.holds is not None:
            return
        priority = ticket.lane.priority
        # Never empty: the engine that was just given to another is held for nobody of this class.
        free = [engine for engine in ticket.lane.engines if priority not in engine.held]
        ticket.holds = max(free, key=EngineBudget.free_share)
        ticket.holds.held[priority] = ticket.request.id
        self._holding.append(ticket)
        self._holding.sort(key=lambda ticket: (not ticket.is_chat, ticket.number))

    def _release_hold(self, ticket: Ticket, engine: EngineBudget) -> None:
        del engine.held[ticket.lane.priority]
        ticket.holds = None
        self._holding.remove(ticket)

    def _release_holds(self, engine: EngineBudget) -> None:
        for ticket in [ticket for ticket in self._holding if ticket.holds is engine]:
            self._release_hold(ticket, engine)

    # Books ---------------------------------------------------------------------------------------------------------

    def validate(self, tickets: Iterable[Ticket]) -> None:
        """``tickets``: all that were accepted and have not ended."""
        leases, waiting, tickets = {}, set(), list(tickets)
        for ticket in tickets:
            if ticket.engine is None:
                waiting.add(ticket)
            else:
                leases[ticket.engine.id, ticket.request.id] = ticket.reserved
        held = {(e.id, request): tokens for e in self.engines.values() for request, tokens in e.leases.items()}
        require(held == leases, f"engines have leases {held}, running requests are {leases}")
        for engine in self.engines.values():
            engine.validate()
            engine.pace.validate(ticket for ticket in tickets if ticket.engine is engine)
        found: set[Ticket] = set()
        for priority, lanes in self.lanes.items():
            queued = 0
            for lane in lanes.values():
                lane.room.validate()
                tokens = sum(ticket.prefill for ticket in lane.room.tickets())
                require(tokens == lane.tokens, f"{tokens} tokens wait for {lane.model}, {lane.tokens} are counted")
                queued += lane.room.size
                found.update(lane.room.tickets())
                listed = lane.model in self._backlog[priority]
                require(listed == bool(lane.room.size), f"{lane.room.size} wait for {lane.model}, in backlog: {listed}")
                require(lane.engines == self._serving(lane.model), f"the engines of {lane.model} are out of date")
            require(queued == self.queued[priority], f"{queued} {priority} wait, {self.queued[priority]} are counted")
        require(found == waiting, f"{len(waiting)} requests should wait, {len(found)} stand in line")
        holds = {(e.id, request) for e in self.engines.values() for request in e.held.values()}
        known = {(t.holds.id, t.request.id) for t in self._holding if t.holds is not None}
        require(holds == known, f"engines are held for {holds}, the holding requests say {known}")
        require(waiting.issuperset(self._holding), "an engine is held for a request that does not wait")
