"""An engine on a virtual clock: admission, chunked prefill, KV blocks, preemption, a prefix cache.

Theory of operation. Requests wait first come first served. A step serves the running sequences (one token each) and
fills what is left of its token budget with prompt chunks, as vLLM's V1 scheduler does; a slots engine (llama.cpp) is
the same with its own limits, a static one admits only when it is empty. A sequence takes KV tokens as it grows. When
none are free, the one admitted last is preempted: its tokens become prompt again. While nobody reads a prompt, steps
are alike but for the growing context, so many of them are taken in one jump, up to the next end or a time limit.

The prefix cache keeps the tokens of chats that have answered, least recently used first out, in whatever KV room the
running ones leave.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from hubbub.planner.setup import StepModel

HALF_BLOCK = 8
"""Tokens of a sequence's last block of 16 that are empty on average."""


@dataclass(slots=True)
class Sequence:
    """One request in the engine. ``todo``: prompt tokens not yet read; ``done``: tokens answered."""

    key: str
    chat: str
    prompt: int
    answer: int
    arrived: float
    todo: int = 0
    cached: int = 0
    held: int = 0
    done: int = 0
    first: float | None = None
    alone: float = 0.0
    """What the engine's ``alone`` stood at when the first token came."""
    last: float = 0.0
    worst_gap: float = 0.0
    preemptions: int = 0


@dataclass(slots=True)
class EngineLimits:
    max_sequences: int
    kv_tokens: int
    budget: int
    admission: str = "continuous"
    prefix_cache: bool = True
    prefill_first: bool = False
    """Prompts are read in steps of their own, while those that decode wait (no chunked prefill)."""
    reserves: bool = False
    """Room for the whole answer is kept from the start, so that nothing is ever preempted."""


@dataclass(slots=True)
class Counters:
    steps: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class EngineSim:
    model: StepModel
    limits: EngineLimits
    waiting: deque[Sequence] = field(default_factory=deque)
    reading: list[Sequence] = field(default_factory=list)
    running: list[Sequence] = field(default_factory=list)
    used: int = 0
    kept: OrderedDict[str, int] = field(default_factory=OrderedDict)
    kept_tokens: int = 0
    counters: Counters = field(default_factory=Counters)
    alone: float = 0.0
    """Seconds that all decode steps would have taken without prompts beside them."""
    promised: int = 0
    """Tokens that the sequences in the engine may yet grow by."""
    ready: list[Sequence] = field(default_factory=list)
    """Those whose prompt was read to its end in the last steps: they have said a token."""

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.reading or self.running)

    @property
    def fill(self) -> float:
        """Share of KV tokens held by requests in the engine."""
        return self.used / self.limits.kv_tokens

    def submit(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def advance(self, now: float, until: float) -> tuple[float, list[Sequence]]:
        """Run at least one step from ``now``, more while they are alike and end before ``until``; the time after
        them and the sequences that ended. A step that has begun is finished even past ``until``."""
        self._admit()
        self.ready = []
        if self.reading:
            return self._mixed_step(now)
        if not self.running:
            return now, []
        return self._decode_steps(now, until)

    # Admission -----------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        limits = self.limits
        if limits.admission == "static" and (self.running or self.reading):
            return
        while self.waiting and len(self.running) + len(self.reading) < limits.max_sequences:
            head = self.waiting[0]
            cached = self._reuse(head)
            need = head.prompt + head.done + 1
            inside = len(self.running) + len(self.reading)
            kept = self.promised + head.answer - head.done if limits.reserves else HALF_BLOCK * inside
            if self.used + need + kept > limits.kv_tokens and inside:
                return
            self.promised += head.answer - head.done
            self.waiting.popleft()
            head.cached = cached
            head.todo = max(need - 1 - cached, 1)
            head.held = need
            self.used += need
            self.counters.cached_tokens += cached
            self._evict()
            self.reading.append(head)

    def _reuse(self, sequence: Sequence) -> int:
        """Tokens of its prompt found in the cache; they then belong to the sequence."""
        held = self.kept.pop(sequence.chat, 0) if self.limits.prefix_cache else 0
        self.kept_tokens -= held
        return min(held, sequence.prompt - 1) // 16 * 16

    def _keep(self, sequence: Sequence) -> None:
        if not self.limits.prefix_cache:
            return
        size = sequence.prompt + sequence.done
        self.kept_tokens += size - self.kept.pop(sequence.chat, 0)
        self.kept[sequence.chat] = size
        self._evict()

    def _evict(self) -> None:
        while self.kept and self.used + self.kept_tokens > self.limits.kv_tokens:
            _, size = self.kept.popitem(last=False)
            self.kept_tokens -= size

    # Steps ---------------------------------------------------------------------------------------------------------

    def _mixed_step(self, now: float) -> tuple[float, list[Sequence]]:
        model, counters = self.model, self.counters
        room = max(self.limits.budget - (0 if self.limits.prefill_first else len(self.running)), 16)
        spent, ready = 0.0, self.ready
        for sequence in self.reading:
            chunk = min(sequence.todo, room)
            if chunk <= 0:
                break
            past = sequence.prompt + sequence.done - sequence.todo
            spent += model.prompt(chunk, max(past, 0))
            sequence.todo -= chunk
            room -= chunk
            counters.prompt_tokens += chunk
            if sequence.todo == 0:
                ready.append(sequence)
        beside = [] if self.limits.prefill_first else self.running
        context = self.used - sum(s.held for s in self.reading) if beside else 0
        length = model.mixed(len(beside) + len(ready), context, spent, len(ready))
        now += length
        self._count(1, length)
        ended = self._grow(self.running, 1, now, length) if beside else []
        self.alone += model.decode(len(beside), context) if beside else 0.0
        for sequence in ready:
            self.reading.remove(sequence)
            self._token(sequence, now)
            if sequence.done >= sequence.answer:
                ended.append(self._end(sequence))
            else:
                self.running.append(sequence)
        self._preempt_until_it_fits()
        return now, ended

    def _decode_steps(self, now: float, until: float) -> tuple[float, list[Sequence]]:
        running, model = self.running, self.model
        batch = len(running)
        context = float(self.used)
        steps = min(s.answer - s.done for s in running)
        free = self.limits.kv_tokens - self.used
        steps = max(1, min(steps, free // batch if free >= batch else 1))
        if until < now + model.run(batch, context, steps):
            steps = model.steps_within(batch, context, max(until - now, 0.0), steps)
        length = model.run(batch, context, steps)
        now += length
        self.alone += length
        self._count(steps, length)
        ended = self._grow(running, steps, now, length / steps)
        self._preempt_until_it_fits()
        self._evict()
        return now, ended

    def _count(self, steps: int, seconds: float) -> None:
        self.counters.steps += steps
        self.counters.busy_s += seconds

    def _grow(self, running: list[Sequence], steps: int, now: float, gap: float) -> list[Sequence]:
        """Give every running sequence ``steps`` tokens; take out and return those that end."""
        self.counters.output_tokens += steps * len(running)
        self.used += steps * len(running)
        self.promised -= steps * len(running)
        ended: list[Sequence] = []
        for sequence in running:
            sequence.done += steps
            sequence.held += steps
            sequence.last = now
            if gap > sequence.worst_gap:  # noqa: PLR1730 - a call for every one would cost as much again
                sequence.worst_gap = gap
            if sequence.done >= sequence.answer:
                ended.append(sequence)
        if ended:
            self.running = [s for s in running if s.done < s.answer]
            for sequence in ended:
                self._end(sequence)
        return ended

    def _token(self, sequence: Sequence, now: float) -> None:
        """The first token after a prompt was read."""
        if sequence.first is None:
            sequence.first, sequence.alone = now, self.alone
        elif sequence.last:
            sequence.worst_gap = max(sequence.worst_gap, now - sequence.last)
        sequence.done += 1
        self.promised -= 1
        sequence.last = now
        self.counters.output_tokens += 1

    def _end(self, sequence: Sequence) -> Sequence:
        self.used -= sequence.held
        sequence.held = 0
        self._keep(sequence)
        return sequence

    def _preempt_until_it_fits(self) -> None:
        """Whoever came last gives way, until the others' next tokens fit; a sequence alone may overflow."""
        while self.used + len(self.running) > self.limits.kv_tokens and len(self.running) > 1:
            victim = self.running.pop()
            self.used -= victim.held
            self.promised -= victim.answer - victim.done
            victim.held = 0
            victim.preemptions += 1
            self.counters.preemptions += 1
            self.waiting.appendleft(victim)
