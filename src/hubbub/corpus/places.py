"""Salvage rounds: items that were given up get further places in the run, recorded with the weights of an epoch.

Theory of operation. A run decides places 0, 1, 2 ... in order. Without failures, place p is item p. An item that was
given up in epoch e gets a place in epoch e + LAG, with seeds of its own for that round, and the items behind it move on
by one: none is dropped for it. Which items come back in an epoch is decided when the epoch LAG before it is fully
judged, and recorded in the same commit: so what stands at a place is a pure function of (recipe, run seed, place,
recorded epochs), like everything else.

The places are spread over the epoch, so that items which fail again do not fail in a row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from hubbub.corpus.steering import LAG

SHARE = 4
"""At most one place in so many of an epoch is for items that come back; the rest wait for the next."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What stands at a place. ``round``: 0, and from 1 on for an item that was given up so many times before."""

    index: int
    round: int = 0


@dataclass(slots=True)
class _Epoch:
    before: int
    """Places of earlier epochs that items which came back took."""
    places: list[int] = field(default_factory=list)
    items: list[Placed] = field(default_factory=list)


class Places:
    """Which item stands at which place. ``size``: places of an epoch."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._epochs = [_Epoch(0) for _ in range(LAG)]

    def learn(self, epoch: int, salvage: Sequence[tuple[int, int]]) -> None:
        """The (index, round) of what comes back in ``epoch``, which follows those that are known. Raises ValueError
        for any other."""
        if epoch != len(self._epochs):
            raise ValueError(f"epoch {epoch} does not follow {len(self._epochs) - 1}")
        last = self._epochs[-1]
        start, count = epoch * self._size, len(salvage)
        places = [start + number * self._size // count for number in range(count)]
        self._epochs.append(_Epoch(last.before + len(last.places), places, [Placed(*one) for one in salvage]))

    def at(self, place: int) -> Placed:
        """Raises LookupError for a place of an epoch that is not known yet."""
        number = place // self._size
        if number >= len(self._epochs):
            raise LookupError(f"what stands in epoch {number} is not decided yet")
        epoch = self._epochs[number]
        earlier = bisect_left(epoch.places, place)
        if earlier < len(epoch.places) and epoch.places[earlier] == place:
            return epoch.items[earlier]
        return Placed(place - epoch.before - earlier)


class Waiting:
    """Items that were given up and may come back. ``rounds``: how often; ``size``: places of an epoch."""

    def __init__(self, rounds: int, size: int) -> None:
        self._rounds = rounds
        self._most = max(1, size // SHARE)
        self._items: list[tuple[int, int]] = []

    def add(self, item: Placed) -> None:
        if item.round < self._rounds:
            self._items.append((item.index, item.round + 1))

    def take(self) -> tuple[tuple[int, int], ...]:
        """Those of the next epoch that is to be decided, longest given up first."""
        taken, self._items = self._items[: self._most], self._items[self._most :]
        return tuple(taken)
