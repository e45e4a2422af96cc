"""What a preview says the whole run takes: its band is no narrower than the few items allow."""

from __future__ import annotations

import random
from statistics import mean

from hubbub.cli.corpus_preview import UNKNOWN, Tried, spread


def drawn(count: int, dice: random.Random) -> list[Tried]:
    """Items of a run half of whose texts are rejected, the long ones more often."""
    tokens = [dice.randint(40, 220) for _ in range(count)]
    return [Tried(n, 0 if dice.random() < 0.2 + n / 400 else 4 * n) for n in tokens]


def test_the_band_of_few_items_holds_what_the_whole_run_makes() -> None:
    dice = random.Random(7)
    whole = drawn(40_000, dice)
    truth = sum(item.bytes for item in whole) / sum(item.tokens for item in whole)

    def held(count: int) -> bool:
        few = drawn(count, dice)
        ratio = sum(item.bytes for item in few) / sum(item.tokens for item in few)
        return truth / spread(few) <= ratio <= truth * spread(few)

    for count in (8, 30, 200):
        assert 0.8 < mean(held(count) for _ in range(400)) < 0.97


def test_more_items_narrow_it_and_none_say_nothing() -> None:
    dice = random.Random(7)
    assert 1 < spread(drawn(400, dice)) < spread(drawn(30, dice)) < UNKNOWN
    assert spread([]) == spread([Tried(100, 300)]) == spread([Tried(100), Tried(90)]) == UNKNOWN
    assert spread([Tried(100, 300), Tried(10, 30)]) == 1
