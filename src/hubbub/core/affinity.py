"""Which replica of a pool a conversation goes to: the one whose cache has its beginning, unless that is too busy.

Theory of operation. Two things say where a conversation belongs. ``homes`` remembers where each of the last
conversations was sent, by its chat and by its prompt: the next turn of a stateless history is known by the prompt it
goes on from, a fork or a repeated question by the prompt itself. Who is not remembered is placed by rendezvous hashing
(Thaler and Ravishankar 1998) on the beginning of the conversation: every engine draws a number for it, weighted by its
size, and the smallest wins. So equal beginnings meet, and when an engine comes or goes only its own share moves.

Loads are bounded (Mirrokni, Thorup and Zadimoghaddam 2018): an engine takes what belongs to it only while it runs no
more than ``bound`` times its fair share of what the pool runs, itself included. Beyond that the next in the order is
asked, so that a popular beginning spreads over as many replicas as it needs. Nobody waits for its own replica while
another has room: a prefix can be computed again, a wait is lost.

Engines that cannot mix adapters gather: an adapter goes first where it is already spoken, then by its own hash instead
of the conversation's, so that each tends to a replica of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, inf, log

from hubbub.core.budget import EngineBudget
from hubbub.core.types import EngineId, Message, Request, Role

REMEMBERED = 1 << 15
"""Names of conversations kept, two for each; about 5 MB."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation at one turn. ``beginning``: a hash of its adapter, its system prompt and its first question.
    ``voice``: of the adapter alone. ``known_as``: names its home may be remembered by; ``names``: those to remember."""

    beginning: int
    voice: int
    adapter: str
    known_as: tuple[str, ...]
    names: tuple[str, ...]


def thread_of(request: Request) -> Thread:
    voice = _hash(request.adapter)
    chat = f"{request.chat}/{request.adapter}"
    if not request.messages:
        return Thread(_hash(chat), voice, request.adapter, (chat,), (chat,))
    beginning, whole, before = _digests(request.messages, request.adapter)
    known_as = (chat, whole) if before is None else (chat, whole, before)
    return Thread(int(beginning, 16), voice, request.adapter, known_as, (chat, whole))


def _digests(messages: Sequence[Message], adapter: str) -> tuple[str, str, str | None]:
    """Of the beginning, of the whole prompt, and of the prompt that the last answer in it was given to, if any."""
    said = blake2b(adapter.encode("utf-8", "surrogatepass"), digest_size=8)
    beginning = before = None
    for message in messages:
        if message.role is Role.ASSISTANT:
            before = said.hexdigest()
        text = "\x1f".join((message.text, *(part for c in message.tool_calls for part in (c.name, c.arguments))))
        raw = text.encode("utf-8", "surrogatepass")
        said.update(b"%s %d:" % (message.role.value.encode(), len(raw)))
        said.update(raw)
        if beginning is None and message.role is Role.USER:
            beginning = said.hexdigest()
    whole = said.hexdigest()
    return beginning or whole, whole, before


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def draw(key: int, seed: int, weight: float) -> float:
    """The number an engine draws for a conversation: exponential with rate ``weight``, the same for the same two."""
    mixed = (key ^ seed) & _MASK  # splitmix64's finalizer: every bit of the input moves half of the output
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return -log((mixed + 1) / (_MASK + 2)) / weight if weight > 0 else inf


class Affinity:
    """``bound``: times its fair share, 1 or more; infinity: a conversation never leaves a replica with room."""

    def __init__(self, bound: float, remembered: int = REMEMBERED) -> None:
        self._bound = bound
        self._remembered = remembered
        self._homes: OrderedDict[str, EngineId] = OrderedDict()
        self._seeds: dict[EngineId, int] = {}

    @property
    def useful(self) -> bool:
        """Whether there ever was a choice."""
        return len(self._seeds) > 1

    def met(self, engine: EngineId) -> None:
        """The engine exists."""
        if engine not in self._seeds:
            self._seeds[engine] = _hash(engine)

    def remember(self, thread: Thread, engine: EngineId) -> None:
        for name in thread.names:
            self._homes[name] = engine
            self._homes.move_to_end(name)
        while len(self._homes) > self._remembered:
            self._homes.popitem(last=False)

    def choose(self, thread: Thread, pool: Sequence[EngineBudget], free: Sequence[EngineBudget]) -> EngineBudget:
        """One of ``free``, those of ``pool`` that have room for it now; never none."""
        within = self._within(pool, free)
        if not within:
            return max(free, key=EngineBudget.free_share)
        spoken = [e for e in within if not e.state.mixes_adapters and e.voices.get(thread.adapter)]
        within = spoken or within
        here = {engine.id: engine for engine in within}
        for name in thread.known_as:
            home = here.get(self._homes.get(name, EngineId("")))
            if home is not None:
                return home
        gathers = any(not engine.state.mixes_adapters for engine in pool)
        key = thread.voice if gathers else thread.beginning
        return min(within, key=lambda e: draw(key, self._seeds[e.id], max(1, e.sequences)))

    def _within(self, pool: Iterable[EngineBudget], free: Sequence[EngineBudget]) -> list[EngineBudget]:
        """Those of ``free`` that may take one more within the bound."""
        if self._bound == inf:
            return list(free)
        running = size = 0
        for engine in pool:
            running += len(engine.leases)
            size += max(1, engine.sequences)
        share = self._bound * (running + 1) / size
        return [e for e in free if len(e.leases) < ceil(share * max(1, e.sequences))]
