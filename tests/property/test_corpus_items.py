"""Items are a pure function of (seed, index, weights); links are valid; a judge resumed is the judge that stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.corpus.draws import in_turn, running_sums, weighted
from hubbub.corpus.items import EpochUnknown, Items, Said
from hubbub.corpus.judge import Judge
from hubbub.corpus.links import Accepted, resolve
from hubbub.corpus.record import Record, record_id
from hubbub.corpus.steering import EpochWeights
from support.corpus_recipes import LINKED, accepted, prose, recipe

MADE = recipe(LINKED)
EPOCH = MADE.epoch
WEIGHTS = [EpochWeights(2, {"dry": 0.0, "warm": 2.0}), EpochWeights(3, {"dry": 1.5, "warm": 0.25})]
STOPPED = 3 * EPOCH


def informed() -> Items:
    items = Items(MADE)
    for weights in WEIGHTS:
        items.learn(weights)
    return items


@settings(max_examples=30)
@given(st.integers(0, 2**63), st.integers(1, 150), st.integers(0, 5))
def test_taken_in_turn_every_place_comes_once_a_round(seed: int, size: int, turn: int) -> None:
    places = [in_turn(seed, "x", turn * size + number, size) for number in range(size)]
    assert sorted(places) == list(range(size))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(any), st.floats(0, 1, exclude_max=True))
def test_what_has_no_weight_is_never_drawn(weights: list[float], at: float) -> None:
    assert weights[weighted(running_sums(weights), at)] > 0


@settings(max_examples=8)
@given(st.lists(st.integers(0, 4 * EPOCH - 1), min_size=1, max_size=12))
def test_an_item_is_the_same_in_any_order_and_process(indexes: list[int]) -> None:
    one, other = informed(), informed()
    made = {index: (one.item(index), one.next_call(one.item(index), ())) for index in indexes}
    for index in sorted(set(indexes), reverse=True):
        assert (other.item(index), other.next_call(other.item(index), ())) == made[index]


def test_another_attempt_changes_the_seed_and_nothing_else() -> None:
    items = Items(MADE)
    first, second = (items.next_call(items.item(5), (), attempt) for attempt in (0, 1))
    assert first is not None
    assert second is not None
    assert first.messages == second.messages
    assert first.sampling.seed != second.sampling.seed
    assert replace(first.sampling, seed=second.sampling.seed) == second.sampling


def test_weights_steer_the_epoch_they_are_for() -> None:
    items = informed()
    assert {items.item(index).cell for index in range(2 * EPOCH, 3 * EPOCH)} == {"warm"}
    dry = sum(items.item(index).cell == "dry" for index in range(3 * EPOCH, 4 * EPOCH))
    assert dry > EPOCH // 2


def test_an_epoch_without_weights_is_not_ready() -> None:
    items = Items(MADE)
    assert items.ready(2 * EPOCH - 1)
    assert not items.ready(2 * EPOCH)
    with pytest.raises(EpochUnknown):
        items.item(2 * EPOCH)
    with pytest.raises(ValueError, match="other weights"):
        items.learn(EpochWeights(0, {"dry": 3.0}))


def test_titles_are_unique_and_links_never_point_ahead_of_the_cluster() -> None:
    items = informed()
    assert MADE.links is not None
    titles = [items.title(index) for index in range(4 * EPOCH)]
    assert len(set(titles)) == len(titles)
    for index in range(4 * EPOCH):
        targets = [int(link.target) for link in items.item(index).targets]
        assert len(set(targets)) == len(targets)
        assert index not in targets
        last = (index // MADE.links.cluster + 1) * MADE.links.cluster
        assert all(0 <= target < last for target in targets)
        assert all(link.title == titles[int(link.target)] for link in items.item(index).targets)


@settings(max_examples=8)
@given(st.sets(st.integers(0, STOPPED - 1), max_size=STOPPED))
def test_every_link_of_the_finished_set_is_valid(rejected: set[int]) -> None:
    items = informed()
    assert MADE.links is not None
    finished = Accepted()
    for index in set(range(STOPPED)) - rejected:
        finished.add(record_id(index))
    records, _ = CACHED
    for record in records:
        if record.index in rejected:
            continue
        links = resolve(record, finished, MADE.links.cluster, items.title).links
        assert all(link.target in finished and link.target != record.id for link in links)
        assert len({link.target for link in links}) == len(links)
        assert all(link.title == items.title(int(link.target)) for link in links)


ANSWERS = [prose(number // 7 if number % 7 == 0 else number, 40) if number % 5 else "" for number in range(STOPPED)]
CACHED = accepted(MADE, ANSWERS)


@settings(max_examples=5)
@given(st.lists(st.integers(1, STOPPED - 1), max_size=6))
def test_killed_and_resumed_anywhere_the_same_is_decided(stops: list[int]) -> None:
    records: list[Record] = []
    notes: list[bytes] = []
    recorded: list[EpochWeights] = []
    ends = sorted({*stops, STOPPED})
    first = 0
    for end in ends:
        judge, items = Judge(MADE), Items(MADE)
        replayed = [weights for note in notes for weights in judge.replay(note)]
        assert replayed == recorded
        assert judge.next_place == first
        for weights in recorded:
            items.learn(weights)
        for index in range(first, end):
            verdict = judge.consider(items.item(index), [Said(ANSWERS[index], tokens=len(ANSWERS[index]) // 4)])
            records += verdict.records
            if verdict.epoch:
                recorded.append(verdict.epoch)
                items.learn(verdict.epoch)
        notes.append(judge.drain())
        first = end
    assert records == CACHED[0]
    assert judge.totals == CACHED[1].totals
    assert judge.diversity() == CACHED[1].diversity()
