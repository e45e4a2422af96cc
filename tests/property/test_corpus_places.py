"""Salvage: an item that was given up comes back, none is dropped for it, and what comes back is recorded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge, Verdict
from hubbub.corpus.places import Places
from hubbub.corpus.steering import LAG
from support.corpus_recipes import HEAD, STEP, TOPICS, prose, recipe

EPOCH = 20
PLACES = 8 * EPOCH
MADE = recipe("salvage = 2\n" + HEAD + STEP + TOPICS + f"[steering]\nevery = {EPOCH}\n")


def decided(judge: Judge, items: Items, failing: dict[int, int], stop: int) -> list[Verdict]:
    """``failing``: index -> in how many rounds the item fails."""
    verdicts = []
    for place in range(judge.next_place, stop):
        item = items.item(place)
        if item.round < failing.get(item.index, 0):
            verdict = judge.give_up(place, "timeout")
        else:
            verdict = judge.consider(item, [Said(prose(item.index), tokens=9)])
        if verdict.epoch is not None:
            items.learn(verdict.epoch)
        verdicts.append(verdict)
    return verdicts


@pytest.mark.large
@settings(max_examples=10)
@given(st.dictionaries(st.integers(0, 4 * EPOCH), st.integers(1, 4), max_size=30), st.integers(1, PLACES - 1))
def test_what_fails_comes_back_and_nothing_is_dropped(failing: dict[int, int], killed: int) -> None:
    judge, items = Judge(MADE), Items(MADE)
    verdicts = decided(judge, items, failing, PLACES)
    first = [verdict.item.index for verdict in verdicts if verdict.item.round == 0]
    assert first == list(range(len(first))), "every item has its own first place"
    made = [record.index for verdict in verdicts for record in verdict.records]
    assert len(set(made)) == len(made)
    # What fails in two rounds of three comes back in time; the last epochs have not been salvaged yet.
    assert {index for index in range(EPOCH) if failing.get(index, 0) <= MADE.salvage} <= set(made)
    assert not {index for index, rounds in failing.items() if rounds > MADE.salvage} & set(made)

    # Killed anywhere: the notes make the same judge, which decides the same.
    again, items = Judge(MADE), Items(MADE)
    begun = decided(again, items, failing, killed)
    note = again.drain()
    resumed, items = Judge(MADE), Items(MADE)
    for weights in resumed.replay(note):
        items.learn(weights)
    assert begun + decided(resumed, items, failing, PLACES) == verdicts
    assert resumed.totals == judge.totals


def test_places_are_spread_and_the_others_move_on() -> None:
    places = Places(EPOCH)
    places.learn(LAG, [(3, 1), (5, 1)])
    places.learn(LAG + 1, [])
    epoch = [places.at(LAG * EPOCH + number) for number in range(EPOCH)]
    assert [(number, one.index) for number, one in enumerate(epoch) if one.round] == [(0, 3), (EPOCH // 2, 5)]
    assert [one.index for one in epoch if not one.round] == list(range(LAG * EPOCH, (LAG + 1) * EPOCH - 2))
    assert places.at((LAG + 1) * EPOCH).index == (LAG + 1) * EPOCH - 2
    with pytest.raises(ValueError, match="does not follow"):
        places.learn(LAG + 3, [])
    with pytest.raises(LookupError):
        places.at((LAG + 2) * EPOCH)


def test_another_round_has_other_seeds_and_the_same_prompt() -> None:
    judge, items = Judge(MADE), Items(MADE)
    decided(judge, items, {7: 1}, (LAG + 1) * EPOCH)
    back = next(item for place in range(LAG * EPOCH, (LAG + 1) * EPOCH) if (item := items.item(place)).round)
    first = items.item(7)
    assert (back.index, back.title, back.columns, back.seed) == (7, first.title, first.columns, first.seed)
    one, other = items.next_call(first, (), 0), items.next_call(back, (), 3)
    assert one is not None
    assert other is not None
    assert one.messages == other.messages
    assert one.sampling.seed != other.sampling.seed
