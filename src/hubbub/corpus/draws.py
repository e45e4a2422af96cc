"""Numbers drawn from names: every draw is a hash of (run seed, what it is for, which one), so that any item of a run
can be made at any time, on any machine, without those before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import NormalDist

import xxhash

from hubbub.corpus.recipe import Spread

_STANDARD = NormalDist()
_TINY = 2.0**-53
_ALL = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: a multiplier that spreads small numbers (Knuth, TAOCP 6.4)."""


def bits(seed: int, *what: object) -> int:
    """64 bits."""
    return xxhash.xxh3_64_intdigest("|".join(map(str, (seed, *what))).encode())


def unit(seed: int, *what: object) -> float:
    """From 0 up to but not 1."""
    return (bits(seed, *what) >> 11) * _TINY


def request_seed(seed: int, index: int, attempt: int, step: str) -> int:
    """The seed that one request's sampling is given: 31 bits, which is what every engine takes."""
    return bits(seed, "request", index, attempt, step) >> 33


def weighted(sums: Sequence[float], at: float) -> int:
    """The place that ``at`` (from 0 to 1) falls to, given running sums of weights. Never one of weight 0."""
    return min(bisect_right(sums, at * sums[-1]), len(sums) - 1)


def running_sums(weights: Sequence[float]) -> tuple[float, ...]:
    """For ``weighted``; trailing zeros are cut, so that rounding cannot fall behind the last weight above 0."""
    last = max(place for place, weight in enumerate(weights) if weight > 0)
    return tuple(accumulate(weights[: last + 1]))


def in_turn(seed: int, name: str, number: int, size: int) -> int:
    """The place, below ``size``, of the ``number``-th thing taken: every round of ``size`` takes each place once, in
    an order of its own. A four-round Feistel network over an even power of two, walked until it is below ``size``."""
    turn, place = divmod(number, size)
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = bits(seed, name, turn)
    while True:
        left, right = place >> half, place & mask
        for shift in (0, 16, 32, 48):
            mixed = (right + 1) * (keys >> shift & 0xFFFF | 1) * _ODD & _ALL
            left, right = right, left ^ (mixed >> 32 ^ mixed >> 51) & mask
        place = left << half | right
        if place < size:
            return place


def spread_value(spread: Spread, seed: int, *what: object) -> float:
    """One draw of a number that the recipe gives as a distribution."""
    at = unit(seed, *what)
    if spread.fixed is not None:
        value = spread.fixed
    elif spread.uniform is not None:
        low, high = spread.uniform
        value = low + (high - low) * at
    elif spread.normal is not None:
        mean, deviation = spread.normal
        value = mean + deviation * _STANDARD.inv_cdf(max(at, _TINY))
        value = max(0.0, min(2.0, value))
    else:
        value = spread.choice[int(at * len(spread.choice))]
    value = value if spread.min is None else max(spread.min, value)
    value = value if spread.max is None else min(spread.max, value)
    return round(value, 4)
