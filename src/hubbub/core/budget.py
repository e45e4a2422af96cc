"""What fits: the sequences and KV tokens of one engine, and who holds them.

Theory of operation. Every request an engine runs holds a lease: one sequence and a number of KV tokens. The lease is
taken at dispatch (prompt + the output to expect), grows when the request turns out longer, and is given back in one
piece at the end. Leases are kept by request, so that giving back twice or giving back another's is impossible, and
``validate`` can compare the sum with the counters at any time.

A lease may reach beyond what is free in two cases: a running request grew, or an engine reported less capacity than
before. Nothing is killed then; ``free`` goes negative and nothing new is admitted until it is positive again.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubbub.core.invariant import require
from hubbub.core.pace import Pace
from hubbub.core.steering import Steering
from hubbub.core.types import EngineId, EngineState, Priority, RequestId

CHAT = Priority.CHAT


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Read-only picture of one engine's budget. Tokens are KV tokens; ``max_kv_tokens`` is 0 where not reported."""

    sequences: int
    max_sequences: int
    kv_tokens: int
    max_kv_tokens: int


class EngineBudget:
    """The capacity of one engine and its leases.

    ``headroom`` is the fraction of the KV cache that reservations may fill, ``chat_reserve`` the fraction of sequences
    and of that KV room which bulk leaves free. An engine that reports ``kv_tokens`` 0 is bounded by sequences alone.
    ``steering`` bounds bulk further, by what the chats on the engine's ``pace`` would notice.
    """

    __slots__ = (
        "_bulk_kv",
        "_bulk_sequences",
        "_chat_reserve",
        "_headroom",
        "_kv",
        "held",
        "id",
        "kv_used",
        "leases",
        "pace",
        "sequences",
        "state",
        "steering",
        "voices",
    )

    def __init__(
        self, engine: EngineId, state: EngineState, headroom: float, chat_reserve: float, steering: Steering
    ) -> None:
        self.id = engine
        self.steering = steering
        self.pace: Pace = steering.pace
        self.leases: dict[RequestId, int] = {}
        self.kv_used = 0
        self.held: dict[Priority, RequestId] = {}
        """For whom room is being held, by class: nobody else of that class, or of a lower one, is admitted."""
        self.voices: dict[str, int] = {}
        """Leases by LoRA adapter; the empty name is the model itself."""
        self._headroom = headroom
        self._chat_reserve = chat_reserve
        self.resize(state)

    def resize(self, state: EngineState) -> None:
        """Take over what the engine now says it can hold. Leases stay."""
        self.state = state
        self.sequences = state.max_sequences
        self._kv = state.kv_tokens * self._headroom
        share = 1.0 - self._chat_reserve
        # One is always left for bulk: on an engine of one sequence a reserve would mean that bulk never runs at all.
        self._bulk_sequences = min(state.max_sequences, max(1, int(state.max_sequences * share)))
        self._bulk_kv = self._kv * share
        self.steering.most = max(1, self._bulk_sequences)

    def has_slot(self, priority: Priority, now: float) -> bool:
        if priority is CHAT:
            return len(self.leases) < self.sequences
        return len(self.leases) < self._bulk_sequences and self.steering.admits(now)

    def admits(self, request: RequestId, priority: Priority, tokens: int, now: float) -> bool:
        """Whether the request, needing that many KV tokens, may start here now."""
        chat = priority is CHAT
        running = len(self.leases)
        if running >= (self.sequences if chat else self._bulk_sequences):
            return False
        if not chat and not self.steering.admits(now):
            return False
        if self.held and not self._is_free_for(request, chat):
            return False
        # An idle engine takes anything: whether a request larger than the whole cache can run is for it to say.
        if not running or not self._kv:
            return True
        return self.kv_used + tokens <= (self._kv if chat else self._bulk_kv)

    def _is_free_for(self, request: RequestId, chat: bool) -> bool:
        if self.held.get(CHAT, request) != request:
            return False
        return chat or self.held.get(Priority.BULK, request) == request

    def free_share(self) -> float:
        """The fraction that is free of whichever is scarcer, sequences or KV room. Negative when overcommitted."""
        sequences = 1.0 - len(self.leases) / self.sequences if self.sequences > 0 else 0.0
        return min(sequences, 1.0 - self.kv_used / self._kv) if self._kv else sequences

    def speaks(self, adapter: str) -> bool:
        """Whether a request with this adapter can be decoded beside what runs here."""
        return self.state.mixes_adapters or not self.leases or (len(self.voices) == 1 and adapter in self.voices)

    def lease(self, request: RequestId, tokens: int, adapter: str = "") -> None:
        self.leases[request] = tokens
        self.kv_used += tokens
        self.voices[adapter] = self.voices.get(adapter, 0) + 1

    def grow(self, request: RequestId, tokens: int) -> None:
        """Raise the lease to ``tokens`` in all."""
        self.kv_used += tokens - self.leases[request]
        self.leases[request] = tokens

    def release(self, request: RequestId, adapter: str = "") -> None:
        self.kv_used -= self.leases.pop(request)
        self.voices[adapter] -= 1
        if not self.voices[adapter]:
            del self.voices[adapter]

    def load(self) -> EngineLoad:
        return EngineLoad(len(self.leases), self.state.max_sequences, self.kv_used, self.state.kv_tokens)

    def validate(self) -> None:
        leased = sum(self.leases.values())
        require(
            leased == self.kv_used,
            f"engine {self.id}: leases add up to {leased} KV tokens, the counter says {self.kv_used}",
        )
        require(
            all(tokens >= 0 for tokens in self.leases.values()), f"engine {self.id}: a lease is negative: {self.leases}"
        )
        voices = sum(self.voices.values())
        require(voices == len(self.leases), f"engine {self.id}: {len(self.leases)} leases, by adapter {self.voices}")
