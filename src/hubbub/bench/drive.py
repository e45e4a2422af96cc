"""Streams straight at an Engine port, without a server between: how fast an engine is by itself.

``streams`` chats begin together, each asks its questions one after the other with all that was said before, greedily;
the next question is asked when all have their answer, so that each turn is the same burst. As many are in flight as
the engine says it decodes together; the others wait here, as they would in Hubbub's queue.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from hubbub.bench.histogram import Durations
from hubbub.bench.prompts import questions
from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import ChatId, Chunk, FinishReason, Message, Request, RequestId, Role, Sampling, Usage, UserId
from hubbub.ports import Engine

SYSTEM = "You are a helpful assistant. Answer briefly, in plain words, and say so where you are not sure."
"""Shared by all chats, as a system prompt is."""
USER = UserId("bench")
"""One for all chats: an engine by itself knows no users, and shares what it has read among all."""
TRIES = 3
"""Of a request that the engine has not begun: some servers close a connection just when it is used again."""


@dataclass(frozen=True, slots=True)
class Work:
    """``tokens``: of each answer, at most. ``seed`` chooses the questions: the same for runs that are compared, another
    for the next pair, so that no prefix cache remembers."""

    streams: int
    tokens: int
    seed: int
    turns: int = 1


@dataclass(slots=True)
class Turn:
    """All chats' turn of one number. ``wanted``: how many have begun it. ``ttft``: from that moment on, the wait for a
    place included."""

    wanted: int = 0
    ttft: Durations = field(default_factory=Durations)
    input_tokens: int = 0
    cached_tokens: int = 0


@dataclass(slots=True)
class Driven:
    """``itl``: seconds between the moments at which new text of a stream arrived."""

    turns: list[Turn] = field(default_factory=list)
    itl: Durations = field(default_factory=Durations)
    output_tokens: int = 0
    wall_s: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        return self.output_tokens / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def ttft(self) -> Durations:
        """Of all turns."""
        together = Durations()
        for turn in self.turns:
            together.merge(turn.ttft)
        return together


async def drive(engine: Engine, work: Work, seen: Driven | None = None) -> Driven:
    """``seen``: filled as it goes, for who breaks it off and wants what came until then. Raises the first error an
    answer ends with, and EngineUnavailable for an engine that serves no model; nothing of it is in flight then."""
    state = await engine.state()
    if not state.models:
        raise EngineUnavailable(f"engine {engine.id} serves no model")
    seen = Driven() if seen is None else seen
    seen.turns.extend(Turn() for _ in range(work.turns))
    places = asyncio.Semaphore(max(1, state.max_sequences))
    together = asyncio.Barrier(work.streams)
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(work.streams):
                group.create_task(_Chat(engine, state.models[0], work, number, seen).run(places, together))
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from None
    finally:
        seen.wall_s = time.perf_counter() - began
    return seen


@dataclass(slots=True)
class _Chat:
    engine: Engine
    model: str
    work: Work
    number: int
    seen: Driven

    async def run(self, places: asyncio.Semaphore, together: asyncio.Barrier) -> None:
        said = [Message(Role.SYSTEM, SYSTEM)]
        for place, question in enumerate(questions(self.work.seed, self.number, self.work.turns)):
            said.append(Message(Role.USER, question))
            await together.wait()
            wanted = time.perf_counter()
            self.seen.turns[place].wanted += 1
            async with places:
                said.append(Message(Role.ASSISTANT, await self._ask(place, tuple(said), wanted)))

    async def _ask(self, place: int, messages: tuple[Message, ...], wanted: float) -> str:
        request = Request(
            RequestId(f"bench-{self.work.seed}-{self.number}-{place}"),
            USER,
            ChatId(f"bench-{self.work.seed}-{self.number}"),
            self.model,
            prompt_tokens=sum(len(message.text) for message in messages) // 4 + 1,
            messages=messages,
            sampling=Sampling(temperature=0.0, max_tokens=self.work.tokens, seed=0),
        )
        for left in reversed(range(TRIES)):
            listening = _Listening(wanted, self.seen.turns[place].ttft, self.seen.itl)
            self.engine.submit(request, listening.sink)
            try:
                await listening.ended.wait()
            except asyncio.CancelledError:
                self.engine.cancel(request.id)
                self.seen.output_tokens += listening.tokens
                raise
            error = listening.last.error
            if error is None:
                break
            if not isinstance(error, EngineUnavailable) or listening.words or not left:
                raise error
        # Without a usage, pieces count as tokens, though some engines say several at once (FastChat).
        full = listening.last.finish is FinishReason.LENGTH
        usage = listening.last.usage or Usage(output_tokens=self.work.tokens if full else listening.tokens)
        self.seen.output_tokens += usage.output_tokens
        self.seen.turns[place].input_tokens += usage.input_tokens
        self.seen.turns[place].cached_tokens += usage.cached_tokens
        return "".join(listening.words)


class _Listening:
    """One request's sink."""

    def __init__(self, wanted: float, ttft: Durations, itl: Durations) -> None:
        self.ended = asyncio.Event()
        self.last = Chunk()
        self.tokens = 0
        self.words: list[str] = []
        self._since, self._into, self._itl = wanted, ttft, itl

    def sink(self, _request: RequestId, chunk: Chunk) -> None:
        if chunk.tokens or chunk.text:
            now = time.perf_counter()
            self._into.add(now - self._since)
            self._since, self._into = now, self._itl
            self.tokens += chunk.tokens
            self.words.append(chunk.text)
        if chunk.last:
            self.last = chunk
            self.ended.set()
