"""The simulated engine's continuous batching: who runs, who waits, how long a step takes. Pure, no clock inside.

Theory of operation. The driver calls ``begin`` for the length of the next step, lets that much time pass, and calls
``end`` for what was said in it. A sequence waits until there is a place and KV room for all it will ever need (its
length is known here, so nothing is ever preempted), then prefills in chunks, then says one token a step. As in real
engines a step holds all decoding sequences and, in what the token budget leaves, pieces of prompts.

``kv_held`` is the sum of the room of all running sequences; it is zero when nothing runs.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from hubbub.core.errors import ContextTooLong
from hubbub.core.types import Chunk, RequestId, ToolDelta, Usage
from hubbub.engines.sim_prompt import Speech

BLOCK = 16
"""Tokens a prefix-cache block; vLLM's default."""
EARLY_S = 0.002
"""A timer of an event loop may fire this much before its time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the simulated machine is. Seconds, except where told.

    A step takes ``base + per_sequence * decoding + per_context_token * context + per_prefill_token * prefilled``, times
    a log-normal ``jitter`` (the standard deviation of its logarithm). The defaults are like a 7B model on a mid-range
    GPU. With ``itl`` set, steps take exactly that long whatever they hold, and a first token comes ``ttft`` after its
    request: the mode for load tests. With ``steps`` (of a profile), a step's first two terms are read off these points
    instead: decoding sequences and seconds, in order; in between on a straight line, and beyond as from the last two.
    """

    base: float = 0.015
    per_sequence: float = 0.0001
    per_context_token: float = 1e-7
    per_prefill_token: float = 5e-5
    jitter: float = 0.05
    max_sequences: int = 256
    kv_tokens: int = 1_000_000
    batch_tokens: int = 2048
    prefix_cache: bool = True
    itl: float | None = None
    ttft: float = 0.0
    steps: tuple[tuple[int, float], ...] = ()

    def decode(self, sequences: int) -> float:
        """Seconds of a step without regard to what it reads."""
        if not self.steps:
            return self.base + self.per_sequence * sequences
        if sequences <= self.steps[0][0] or len(self.steps) == 1:
            return self.steps[0][1]
        above = min(max(1, bisect_left(self.steps, (sequences, 0.0))), len(self.steps) - 1)
        (low, fast), (high, slow) = self.steps[above - 1 : above + 1]
        return fast + (slow - fast) * (sequences - low) / (high - low)


@dataclass(slots=True, eq=False)
class Flight:
    """One sequence. ``said`` counts its tokens so far."""

    key: RequestId
    speech: Speech
    arrived: float
    room: int
    prefill_left: int = 0
    cached: int = 0
    said: int = 0
    blocks: list[int] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        return Usage(len(self.speech.prompt), self.said, self.cached)

    def next_chunk(self) -> Chunk:
        speech, place = self.speech, self.said
        text = ""
        if place < len(speech.pieces):
            text = speech.pieces[place]
            self.said = place + 1
        ends = self.said >= len(speech.pieces)
        if not ends and speech.tool is None:
            return Chunk(text, 1)
        return Chunk(
            text if speech.tool is None else "",
            self.said - place,
            self._tool_delta(place, text),
            speech.finish if ends else None,
            self.usage if ends else None,
        )

    def _tool_delta(self, place: int, text: str) -> ToolDelta | None:
        tool = self.speech.tool
        if tool is None:
            return None
        return ToolDelta(0, tool[0], tool[1], text) if place == 0 else ToolDelta(0, arguments=text)


class PrefixCache:
    """Which beginnings of prompts are still held: chained block hashes, the least recently used go first."""

    def __init__(self, blocks: int) -> None:
        self._room = blocks
        self._held: OrderedDict[int, None] = OrderedDict()

    def chain(self, prompt: tuple[str, ...]) -> list[int]:
        hashes: list[int] = []
        above = 0
        for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
            above = hash((above, prompt[start : start + BLOCK]))
            hashes.append(above)
        return hashes

    def hit(self, chain: list[int], prompt_tokens: int) -> int:
        """Tokens of the prompt that need no prefill. At least the last token is always computed."""
        count = 0
        for block in chain:
            if block not in self._held:
                break
            self._held.move_to_end(block)
            count += 1
        return min(count * BLOCK, max(0, prompt_tokens - 1) // BLOCK * BLOCK)

    def keep(self, chain: list[int]) -> None:
        for block in chain:
            self._held[block] = None
            self._held.move_to_end(block)
        while len(self._held) > self._room:
            self._held.popitem(last=False)

    def clear(self) -> None:
        self._held.clear()


class Batch:
    def __init__(self, pace: Pace, seed: int) -> None:
        self.pace = pace
        self.running: dict[RequestId, Flight] = {}
        self.waiting: deque[Flight] = deque()
        self.kv_held = 0
        self.read = 0
        """Tokens of prompts so far."""
        self._context = 0
        self._prefilling: list[Flight] = []
        self._cache = PrefixCache(pace.kv_tokens // BLOCK)
        self._rng = random.Random(seed)  # noqa: S311

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def add(self, key: RequestId, speech: Speech, now: float) -> None:
        """Raises ContextTooLong for what never fits the KV cache."""
        room = len(speech.prompt) + len(speech.pieces)
        if room > self.pace.kv_tokens:
            raise ContextTooLong(
                f"The request needs room for {room} tokens, more than the {self.pace.kv_tokens} of the KV cache.",
                param="messages",
            )
        self.waiting.append(Flight(key, speech, now, room))

    def remove(self, key: RequestId) -> bool:
        """Free its place; says whether it was there."""
        flight = self.running.get(key)
        if flight is not None:
            self._release(flight)
            return True
        for flight in self.waiting:
            if flight.key == key:
                self.waiting.remove(flight)
                return True
        return False

    def clear(self) -> None:
        self.running.clear()
        self.waiting.clear()
        self._prefilling.clear()
        self._cache.clear()
        self.kv_held = self._context = 0

    def begin(self) -> float:
        """Admit, deal out the prefill budget, and say how long the step takes."""
        pace = self.pace
        self._admit()
        if pace.itl is not None:
            return pace.itl
        decoding = len(self.running) - len(self._prefilling)
        budget = max(1, pace.batch_tokens - decoding)
        prefilled = 0
        for flight in self._prefilling:
            piece = min(flight.prefill_left, budget - prefilled)
            flight.prefill_left -= piece
            prefilled += piece
            if prefilled >= budget:
                break
        self.read += prefilled
        reading = pace.per_prefill_token * prefilled
        if pace.steps and not decoding:
            length = max(reading, pace.decode(1))  # fetching the weights hides behind the arithmetic
        else:
            length = pace.decode(decoding) + pace.per_context_token * self._context + reading
        return length * self._rng.lognormvariate(0.0, pace.jitter) if pace.jitter else length

    def end(self, now: float) -> list[tuple[Flight, Chunk]]:
        """What was said in the step; flights with a last chunk are gone from the batch."""
        self._prefilling = [flight for flight in self._prefilling if not self._prefilled(flight, now)]
        silent = set(map(id, self._prefilling))
        said: list[tuple[Flight, Chunk]] = []
        for flight in list(self.running.values()):
            if silent and id(flight) in silent:
                continue
            chunk = flight.next_chunk()
            self._context += chunk.tokens
            said.append((flight, chunk))
            if chunk.finish is not None:
                self._release(flight)
        return said

    def _prefilled(self, flight: Flight, now: float) -> bool:
        done = flight.prefill_left == 0 if self.pace.itl is None else now + EARLY_S >= flight.arrived + self.pace.ttft
        if done and self.pace.prefix_cache:
            self._cache.keep(flight.blocks)
        return done

    def _admit(self) -> None:
        pace = self.pace
        while self.waiting and len(self.running) < pace.max_sequences:
            flight = self.waiting[0]
            if self.kv_held + flight.room > pace.kv_tokens:
                return
            self.waiting.popleft()
            prompt = flight.speech.prompt
            if pace.prefix_cache:
                flight.blocks = self._cache.chain(prompt)
                flight.cached = self._cache.hit(flight.blocks, len(prompt))
            flight.prefill_left = len(prompt) - flight.cached
            self.running[flight.key] = flight
            self.kv_held += flight.room
            self._context += len(prompt)
            self._prefilling.append(flight)

    def _release(self, flight: Flight) -> None:
        del self.running[flight.key]
        self.kv_held -= flight.room
        self._context -= len(flight.speech.prompt) + flight.said
        if flight in self._prefilling:
            self._prefilling.remove(flight)
