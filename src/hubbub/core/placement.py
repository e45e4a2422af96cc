"""Which waiting request goes to which engine next.

Theory of operation. ``next`` asks the lanes in order, chats before bulk, for the first request that has room
somewhere. One that is next but does not fit is passed by those behind it, and that is counted; passed too often, it is
given a hold on one engine. Nobody of its class or a lower one enters a held engine, so its room can only grow, at the
latest until the engine is idle and takes anything. A hold ends when its request leaves the line, wherever it goes.

``place`` is about one request: of the engines with room for it, the one where its conversation belongs. Where it
belongs never keeps it waiting, so it has no part in holds. Another adapter in flight, on an engine that cannot mix, is
no room, and a request that only that keeps out is passed and comes to a hold like any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubbub.core.affinity import Affinity, thread_of
from hubbub.core.budget import EngineBudget
from hubbub.core.config import SchedulerConfig
from hubbub.core.invariant import require
from hubbub.core.lane import Lane
from hubbub.core.pace import Pace
from hubbub.core.pool import Pool
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
        self.lanes: dict[Priority, dict[Pool, Lane]] = {c: {} for c in CLASSES}
        self.queued = dict.fromkeys(CLASSES, 0)
        self._backlog: dict[Priority, dict[Pool, Lane]] = {c: {} for c in CLASSES}  # lanes where somebody waits
        self._holding: list[Ticket] = []
        self._affinity = Affinity(config.affinity_bound)
        self.draining: set[EngineId] = set()

    def pace_of(self, engine_id: EngineId) -> Pace | None:
        steering = self._steering.get(engine_id)
        return steering.pace if steering is not None else None

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
            self._affinity.met(engine_id)
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

    def drain(self, engine_id: EngineId, draining: bool, now: float) -> None:
        """From now on nothing new goes to the engine, or it does again."""
        (self.draining.add if draining else self.draining.discard)(engine_id)
        engine = self.engines.get(engine_id)
        if engine is not None:
            self._release_holds(engine)
        self._serve(now)

    def lane(self, priority: Priority, pool: Pool, now: float) -> Lane:
        lane = self.lanes[priority].get(pool)
        if lane is None:
            chats = None if priority is CHAT else self.lane(CHAT, pool, now)
            lane = self.lanes[priority][pool] = Lane(priority, pool, self._config.expected_output, now, chats)
            lane.serve(self._serving(pool), now)
        return lane

    def _serve(self, now: float) -> None:
        for lanes in self.lanes.values():
            for lane in lanes.values():
                lane.serve(self._serving(lane.pool), now)

    def _serving(self, pool: Pool) -> list[EngineBudget]:
        return [e for e in self.engines.values() if pool.has(e.state) and e.id not in self.draining]

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
        self._backlog[lane.priority][lane.pool] = lane

    def dequeue(self, ticket: Ticket) -> None:
        lane = ticket.lane
        lane.room.remove(ticket)
        lane.tokens -= ticket.prefill
        self.queued[lane.priority] -= 1
        if not lane.room.size:
            del self._backlog[lane.priority][lane.pool]
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
        """The engine for the request: of those with room for it, the one where its conversation belongs. Not the one
        of its last attempt, if there is another."""
        lane, request = ticket.lane, ticket.request
        priority = lane.priority
        need = ticket.need(lane.expected)
        free = [
            engine
            for engine in lane.engines
            if engine.admits(request.id, priority, need, now)
            and engine.speaks(request.adapter)
            and (priority is CHAT or not self._chat_waits(engine))
        ]
        if len(free) > 1 and ticket.failed_on in free:
            free.remove(ticket.failed_on)
        if len(free) < 2:
            return free[0] if free else None
        if ticket.thread is None:
            ticket.thread = thread_of(request)
        return self._affinity.choose(ticket.thread, lane.engines, free)

    def sent(self, ticket: Ticket, engine: EngineBudget) -> None:
        """The request was given to the engine: what it says next is best asked there."""
        if self._affinity.useful:
            if ticket.thread is None:
                ticket.thread = thread_of(ticket.request)
            self._affinity.remember(ticket.thread, engine.id)

    def _chat_waits(self, engine: EngineBudget) -> bool:
        return any(pool.has(engine.state) for pool in self._backlog[CHAT])

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
                require(tokens == lane.tokens, f"{tokens} tokens wait for {lane.pool}, {lane.tokens} are counted")
                queued += lane.room.size
                found.update(lane.room.tickets())
                listed = lane.pool in self._backlog[priority]
                require(listed == bool(lane.room.size), f"{lane.room.size} wait for {lane.pool}, in backlog: {listed}")
                require(lane.engines == self._serving(lane.pool), f"the engines of {lane.pool} are out of date")
            require(queued == self.queued[priority], f"{queued} {priority} wait, {self.queued[priority]} are counted")
        require(found == waiting, f"{len(waiting)} requests should wait, {len(found)} stand in line")
        holds = {(e.id, request) for e in self.engines.values() for request in e.held.values()}
        known = {(t.holds.id, t.request.id) for t in self._holding if t.holds is not None}
        require(holds == known, f"engines are held for {holds}, the holding requests say {known}")
        require(waiting.issuperset(self._holding), "an engine is held for a request that does not wait")
