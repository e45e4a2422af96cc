"""The scheduler's record of one accepted request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubbub.core.types import Priority, Request

if TYPE_CHECKING:
    from hubbub.core.affinity import Thread
    from hubbub.core.budget import EngineBudget
    from hubbub.core.fairness import ChatAccount
    from hubbub.core.lane import Lane


@dataclass(slots=True, eq=False)
class Ticket:
    """``number`` counts arrivals. Seconds are the scheduler's; tokens are output tokens."""

    request: Request
    number: int
    account: ChatAccount
    lane: Lane
    queued_at: float
    limit: float
    """Most output it may have: ``max_tokens``, or infinity."""
    engine: EngineBudget | None = None
    """Where it runs; None while it waits."""
    attempts: int = 0
    """How often it was given to an engine."""
    produced: int = 0
    """Tokens of this attempt."""
    before: int = 0
    """Tokens of earlier attempts, part of the prompt of this one."""
    reserved: int = 0
    booked_at: float = 0.0
    """When its prefill was charged: what was too much of it is given back at the rate of that time."""
    passed: int = 0
    """Smaller requests dispatched while this was next and did not fit."""
    failed_on: EngineBudget | None = None
    """The engine of its last attempt: another one is better, if there is one."""
    holds: EngineBudget | None = None
    """Where room is being held for it."""
    prefill: int = 0
    """Tokens of its prompt that an engine is expected to read, as no cache has them."""
    ahead: int = 0
    """Tokens that the engine had to read when it got this one, its own with them."""
    beside: int = 0
    """Bulk requests that were there."""
    bulk_ahead: int = 0
    """Of those, what bulk had to read."""
    sent_at: float = 0.0
    sent_step: float = 0.0
    """Steps that the engine had done then."""
    spoke: bool = False
    """Whether this attempt has had its first token."""
    thread: Thread | None = None
    """Where it belongs; worked out when there is a choice."""

    def need(self, expected: float) -> int:
        """KV tokens to reserve when an answer has ``expected`` tokens."""
        left = max(0.0, self.limit - self.before)
        return self.request.prompt_tokens + self.before + int(min(left, expected))

    @property
    def is_chat(self) -> bool:
        return self.request.priority is Priority.CHAT
