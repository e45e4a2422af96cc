"""When a chat that asks now will have its first token, and whether that is soon enough to let it in.

Theory of operation. Two things stand before a first token. A slot: its place in line divided by the rate at which
requests end; nothing while one is free. And reading: the prompt tokens in the engine, those of all before it in the
line, and its own, at the engine's measured pace; what the line has to read is read while it waits for slots, so the
longer of the two counts. Of a prompt, what the prefix cache is expected to have is left out: of a chat that has been
here, the share of its past that the engine last had; of a new one, the share that new ones had of late.

What was never measured is taken as nothing: nobody is refused on a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from hubbub.core.config import SchedulerConfig
from hubbub.core.events import Refuse, Wait
from hubbub.core.lane import Lane, clamp_retry
from hubbub.core.promises import Promises
from hubbub.core.types import Usage

if TYPE_CHECKING:
    from hubbub.core.budget import EngineBudget
    from hubbub.core.ticket import Ticket

CHAT_SHARE = 1 / 2
"""Weight of a chat's newest turn in what the engine keeps of it."""
NEW_SHARE = 1 / 16
"""Weight of the newest new chat in what is shared by them (a system prompt)."""
KEPT_PATIENCE = 1.25
"""Who comes back as told is let in also if it takes so many times the target: things were slower than foreseen."""


def to_read(ticket: Ticket) -> int:
    """Prompt tokens that no prefix cache is expected to have."""
    prompt, account, lane = ticket.request.prompt_tokens + ticket.before, ticket.account, ticket.lane
    if not any(engine.state.prefix_cache for engine in lane.engines):
        return prompt
    cached = account.kept * min(account.past, prompt) if account.past else lane.shared * prompt
    return max(1, prompt - int(cached))


def learn(ticket: Ticket, usage: Usage) -> None:
    """What the engine had of the prompt. Continued answers are left out: their past is another."""
    account, lane = ticket.account, ticket.lane
    if not usage.input_tokens or ticket.before:
        return
    if account.past:
        had = min(1.0, usage.cached_tokens / min(account.past, usage.input_tokens))
        account.kept += (had - account.kept) * CHAT_SHARE
    else:
        lane.shared += (usage.cached_tokens / usage.input_tokens - lane.shared) * NEW_SHARE
    account.past = usage.total_tokens


class Outlook:
    """What those who wait in a lane can be told now. What is the same for all of them is worked out once."""

    __slots__ = ("_lane", "_paces", "_rate")

    def __init__(self, lane: Lane, now: float) -> None:
        self._lane = lane
        self._paces = [engine.pace for engine in lane.engines]
        self._rate = inf if lane.has_slot(now) else lane.slots_per_second(now)

    def seconds(self, ticket: Ticket, position: int) -> float | None:
        """To the first token of the one at this place; None where nothing is known yet, or nobody serves its model."""
        lane, paces = self._lane, self._paces
        if not paces or not self._rate:
            return None
        before = lane.tokens * (position - 1) / max(1, lane.room.size)
        reading = min(pace.first_token(ticket.prefill + before / len(paces)) for pace in paces)
        own = min(pace.ttft.at((ticket.prefill, 0.0)) for pace in paces)
        return max(position / self._rate + own, reading) or None

    def wait(self, ticket: Ticket) -> Wait:
        position = self._lane.position(ticket)
        return Wait(ticket.request.id, position, self.seconds(ticket, position))


class Doors:
    """Lets in, or says when to come back."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.promises = Promises()
        self._config = config

    def at_once(self, ticket: Ticket, engine: EngineBudget, now: float) -> Refuse | None:
        """Why one for whom there is room is refused all the same: the engine has too much to read before it."""
        if not engine.leases:
            return None
        cost = engine.pace.per_token() * ticket.prefill
        return self._too_late(ticket, engine.pace.first_token(ticket.prefill), cost, now)

    def in_line(
        self,
        ticket: Ticket,
        seconds: float | None,
        waiting: int,
        lanes: Iterable[Lane],
        now: float,
        *,
        patient: bool = False,
    ) -> Refuse | None:
        """Why the newest in the line cannot stay there; None if it can. ``seconds``: foreseen to its first token.
        ``waiting``: all of its class, in ``lanes``. ``patient``: only the length of the line counts."""
        config, lane = self._config, ticket.lane
        most = config.max_queued if ticket.is_chat else config.max_queued_bulk
        if waiting > most:
            rate = sum(lane.rate.per_second(now) for lane in lanes if lane.engines)
            owed = self.promises.owed(now) if ticket.is_chat else 0.0
            after = (waiting - most) / rate + owed if rate else lane.stalled(now)
            reason = f"the queue is full: {waiting - 1} {lane.priority} requests wait, at most {most} may"
            return self._sent_away(ticket, reason, after, 1 / rate if rate else 0.0, now)
        if seconds is None or patient or not ticket.is_chat:
            return None
        rate = lane.slots_per_second(now)
        cost = max((engine.pace.per_token() * ticket.prefill for engine in lane.engines), default=0.0)
        return self._too_late(ticket, seconds, max(cost, 1 / rate if rate and not lane.has_slot(now) else 0.0), now)

    def _too_late(self, ticket: Ticket, seconds: float, cost: float, now: float) -> Refuse | None:
        limit = self._config.max_predicted_ttft_s
        if limit is None or not ticket.is_chat:
            return None
        owed = self.promises.owed(now)
        if seconds + owed <= limit:
            return None
        if seconds <= KEPT_PATIENCE * limit and self.promises.redeem(ticket.request.user, now):
            return None
        reason = f"the first word would take about {seconds + owed:.0f} s, at most {limit:g} s is allowed"
        return self._sent_away(ticket, reason, seconds + owed - limit, cost, now)

    def _sent_away(self, ticket: Ticket, reason: str, after: float, cost: float, now: float) -> Refuse:
        told = clamp_retry(after)
        if ticket.is_chat and cost and told >= after:  # what is longer than may be told cannot be promised
            self.promises.give(ticket.request.user, now, told, cost)
        return Refuse(ticket.request.id, reason, told)
