"""Which settings are faster than the defaults: coordinate descent by paired measurements, within a time budget.

Theory of operation. The defaults are measured against a second copy of themselves first: how far that strays from 1 is
the noise. Then, choice by choice, each value is tried on top of the best so far, always in pairs with the defaults at
the same number of streams, in turn first and second, so that what else the machine does falls on both. A trial ends at
the first number of streams where it is clearly slower; one that looks faster is measured again. The best of all is then
measured anew (the best of many noisy trials is the luckiest, too), and only what that shows is believed and reported.

So what comes out is either empty, or faster over the streams weighed by more than the noise, in every round, and at no
number of streams slower by more than the noise, neither in tokens a second nor to the first token.

No clock and no I/O here: ``now`` and ``measure`` are given.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hubbub.core.errors import EngineUnavailable, HubbubError

Setting: TypeAlias = Mapping[str, Any]
"""What differs from the defaults; empty: the defaults themselves."""

LEAST_NOISE = 0.03
"""Of the speed: less than this is never called a difference."""
LEAST_TTFT_NOISE = 0.15
"""Of the time to the first token: a few samples of milliseconds stray more than speed does."""
NOISE_ROUNDS = 2
TRIAL_ROUNDS = 2
PROOF_ROUNDS = 2
MOST_SHARE = 0.1
"""Of the budget: a number of streams whose pair takes longer is left out."""


@dataclass(frozen=True, slots=True)
class Speed:
    """``seconds``: how long the measurement took, what it waited for included."""

    tokens_per_s: float
    ttft_s: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """``values``: to try beside the default."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work of one round."""

    base: Speed
    other: Speed

    @property
    def speed(self) -> float:
        """Above 1: the other is faster."""
        return self.other.tokens_per_s / self.base.tokens_per_s

    @property
    def ttft(self) -> float:
        """Above 1: the other is slower to its first token."""
        return self.other.ttft_s / self.base.ttft_s


@dataclass(slots=True)
class Compared:
    """A setting against the defaults. ``pairs`` by number of streams. ``trouble``: why it does not run."""

    setting: Setting
    pairs: dict[int, list[Pair]] = field(default_factory=dict)
    trouble: str = ""

    @property
    def rounds(self) -> list[float]:
        """Of each whole round, the geometric mean over all numbers of streams of how much faster it was."""
        whole = min((len(pairs) for pairs in self.pairs.values()), default=0)
        return [statistics.geometric_mean(pairs[n].speed for pairs in self.pairs.values()) for n in range(whole)]

    @property
    def gain(self) -> float:
        """Times as fast as the defaults, the median over rounds."""
        return statistics.median(self.rounds) if self.rounds else 0.0

    def gain_at(self, streams: int) -> float:
        return statistics.median(pair.speed for pair in self.pairs[streams])

    def ttft_at(self, streams: int) -> float:
        return statistics.median(pair.ttft for pair in self.pairs[streams])


@dataclass(frozen=True, slots=True)
class Noise:
    """How far the defaults stray from themselves: over all streams, and by number of streams."""

    overall: float
    speed: Mapping[int, float]
    ttft: Mapping[int, float]

    @classmethod
    def of(cls, again: Compared) -> Noise:
        def most(ratios: Sequence[float], least: float) -> float:
            return max([least, *(abs(math.log(ratio)) for ratio in ratios)])

        return cls(
            most(again.rounds, LEAST_NOISE),
            {n: most([pair.speed for pair in pairs], LEAST_NOISE) for n, pairs in again.pairs.items()},
            {n: most([pair.ttft for pair in pairs], LEAST_TTFT_NOISE) for n, pairs in again.pairs.items()},
        )

    def slower(self, compared: Compared) -> int | None:
        """A number of streams at which it is slower than the defaults, if there is one."""
        for streams, pairs in compared.pairs.items():
            if pairs and (
                compared.gain_at(streams) < 1 - self.speed[streams]
                or compared.ttft_at(streams) > 1 + self.ttft[streams]
            ):
                return streams
        return None

    def faster(self, compared: Compared, than: float = 1.0) -> bool:
        """Beyond the noise, in each round, and nowhere slower. ``than``: the gain to beat."""
        return (
            not compared.trouble
            and compared.gain > than * (1 + self.overall)
            and min(compared.rounds) > 1.0
            and self.slower(compared) is None
        )


@dataclass(frozen=True, slots=True)
class Tuned:
    """``setting``: empty keeps the defaults. ``proof``: the last measurement of it. ``present``: what the settings said
    before, where that was not the defaults. ``left_out``: numbers of streams that take too long. ``untried``:
    settings for which there was no time."""

    setting: Setting
    noise: Noise
    trials: Sequence[Compared]
    proof: Compared | None = None
    present: Compared | None = None
    left_out: tuple[int, ...] = ()
    untried: tuple[Setting, ...] = ()


Measure: TypeAlias = Callable[[Setting, int, int, int], Awaitable[Speed]]
"""(setting, copy, streams, round): copy 1 of the defaults is a second engine with the same settings. Raises HubbubError
where the engine does not run with them."""
Tell: TypeAlias = Callable[[str], None]


@dataclass(slots=True)
class Descent:
    """``seconds``: all the time there is, from the first ``now()``."""

    choices: Sequence[Choice]
    streams: Sequence[int]
    seconds: float
    measure: Measure
    now: Callable[[], float]
    tell: Tell = lambda _line: None
    _ends: float = 0.0
    _round: int = 0
    _cost: dict[int, float] = field(default_factory=dict)
    _left_out: list[int] = field(default_factory=list)
    _start_s: float = 0.0
    _noise: Noise | None = None
    _trials: list[Compared] = field(default_factory=list)
    _untried: list[Setting] = field(default_factory=list)

    async def run(self, present: Setting | None = None) -> Tuned:
        """``present``: what is set now, if not the defaults; tried first. Raises HubbubError where the defaults do not
        run."""
        self._ends = self.now() + self.seconds
        await self._calibrate()
        again = Compared({})
        for _ in range(NOISE_ROUNDS):
            if not await self._pair_up(again, 1):
                raise EngineUnavailable(f"a second engine with the same settings does not run: {again.trouble}")
        noise = self._noise = Noise.of(again)
        self.tell(f"noise: the defaults stray from themselves by {noise.overall:.0%}")
        first = await self._try(present) if present else None
        best = first if first is not None and noise.faster(first) else Compared({})
        best = await self._descend(best)
        proof = await self._prove(best) if best.setting else None
        kept = best.setting if proof is not None and noise.faster(proof) else {}
        left = tuple(self._left_out)
        return Tuned(kept, noise, self._trials, proof, first, left, tuple(self._untried))

    async def _calibrate(self) -> None:
        """How long each number of streams takes; those that take too long are left out, but never the least."""
        for streams in sorted(self.streams):
            before = max(self._cost, default=0)
            guess = self._cost[before] / before * streams if before else 0.0
            # Many together are decoded faster than one after the other: a guess is too high, and is doubted so far.
            if before and guess / 4 > MOST_SHARE * self.seconds:
                self._left_out.append(streams)
                continue
            began = self.now()
            self._round += 1
            try:
                speed = await self.measure({}, 0, streams, self._round)
            except HubbubError:
                if not before:
                    raise
                self._left_out.append(streams)
                continue
            spent = self.now() - began
            if not before:
                self._start_s = max(0.0, spent - speed.seconds)
            if before and 2 * speed.seconds > MOST_SHARE * self.seconds:
                self._left_out.append(streams)
                continue
            self._cost[streams] = speed.seconds
            self.tell(f"{streams} streams: {speed.tokens_per_s:,.0f} tokens/s with the defaults")
        for streams in self._left_out:
            self.tell(f"{streams} streams: left out, they take too long; give more --minutes")

    async def _descend(self, best: Compared) -> Compared:
        tried = [{}, *(trial.setting for trial in self._trials)]
        gain, moved = best.gain or 1.0, True
        while moved:
            moved = False
            for choice in self.choices:
                for value in choice.values:
                    setting = {**best.setting, choice.name: value}
                    if setting in tried or not self._has_time(setting, bool(best.setting)):
                        continue
                    tried.append(setting)
                    trial = await self._try(setting)
                    if self._noise is not None and self._noise.faster(trial, gain):
                        best, gain, moved = trial, trial.gain, True
        return best

    def _has_time(self, setting: Setting, proving: bool) -> bool:
        """For a round of it and, if it wins, the proof."""
        pair = 2 * sum(self._cost.values())
        needed = self._start_s + (TRIAL_ROUNDS + PROOF_ROUNDS) * pair
        needed += self._start_s if proving else 0.0
        enough = self.now() + needed <= self._ends
        if not enough and setting not in self._untried:
            self._untried.append(setting)
        return enough

    async def _try(self, setting: Setting) -> Compared:
        trial = Compared(setting)
        self._trials.append(trial)
        for _ in range(TRIAL_ROUNDS):
            whole = await self._pair_up(trial)
            if not whole or trial.gain <= 1:
                break
        self.tell(self._words(trial))
        return trial

    def _words(self, trial: Compared) -> str:
        noise = self._noise
        if trial.trouble:
            return f"{shown(trial.setting)}: does not run: {trial.trouble.splitlines()[0]}"
        slower = noise.slower(trial) if noise is not None else None
        if slower is not None:
            slow = noise is not None and trial.gain_at(slower) < 1 - noise.speed[slower]
            what = f"slower at {slower} streams ({trial.gain_at(slower):.2f} x)"
            late = f"later to the first token at {slower} streams ({trial.ttft_at(slower):.2f} x)"
            return f"{shown(trial.setting)}: {what if slow else late}"
        return f"{shown(trial.setting)}: {trial.gain:.2f} x the defaults"

    async def _prove(self, best: Compared) -> Compared:
        """Two rounds at least, and as many more as there is time for, up to twice that."""
        self.tell(f"measuring again: {shown(best.setting)}")
        proof = Compared(best.setting)
        for number in range(2 * PROOF_ROUNDS):
            if number >= PROOF_ROUNDS and self.now() + 2 * sum(self._cost.values()) > self._ends:
                break
            if not await self._pair_up(proof):
                break
        return proof

    async def _pair_up(self, compared: Compared, copy: int = 0) -> bool:
        """One round over all numbers of streams. False: it does not run, or was clearly slower somewhere; the rest is
        not needed then."""
        self._round += 1
        for streams in self._cost:
            work = streams, self._round
            first = await self.measure({}, 0, *work) if self._round % 2 else None
            try:
                other = await self.measure(compared.setting, copy, *work)
            except HubbubError as error:
                compared.trouble = error.message
                return False
            # In turn first and second: what the first warms up, the second may find warm.
            base = first or await self.measure({}, 0, *work)
            compared.pairs.setdefault(streams, []).append(Pair(base, other))
            if self._noise is not None and self._noise.slower(compared) is not None:
                return False
        return True


def shown(setting: Setting) -> str:
    """For people."""
    return ", ".join(f"{name} = {value}" for name, value in setting.items()) or "the defaults"
