"""Weights of cells from what an epoch showed."""

from __future__ import annotations

from hubbub.corpus.diversity import EXCERPT, SAMPLE, EpochStats, measured
from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge
from hubbub.corpus.recipe import SteeringSpec
from hubbub.corpus.steering import ENOUGH_TEXTS, LAG, EpochWeights, Steering
from support.corpus_recipes import HEAD, STEP, TOPICS, prose, recipe

SPEC = SteeringSpec(columns=("tone",), every=100)


def epoch(**cells: tuple[int, int]) -> EpochStats:
    """Cell -> (texts, duplicates among them)."""
    stats = EpochStats()
    for cell, (texts, duplicates) in cells.items():
        for number in range(texts):
            stats.add(cell, prose(hash(cell) % 1000 * 1000 + number), number < duplicates)
    return stats


def test_a_cell_of_duplicates_retires_for_good_and_a_fresh_one_gains() -> None:
    steering = Steering(SPEC, cells=3)
    first = steering.next_epoch(0, epoch(tired=(40, 30), dull=(40, 15), fresh=(40, 0)), EpochWeights(1))
    assert (first.epoch, first.stop, first.cells["tired"]) == (LAG, "", 0.0)
    assert first.cells["dull"] < first.cells["fresh"]
    later = steering.next_epoch(1, epoch(tired=(40, 0), fresh=(40, 0)), first)
    assert later.cells["tired"] == 0.0


def test_a_cell_with_few_texts_keeps_its_weight() -> None:
    weights = Steering(SPEC, cells=2).next_epoch(0, epoch(rare=(5, 5), usual=(95, 0)), EpochWeights(1))
    assert "rare" not in weights.cells


def test_a_cell_with_few_texts_an_epoch_is_judged_once_it_has_enough() -> None:
    made = recipe(HEAD + STEP + TOPICS + '[steering]\ncolumns = ["topic"]\nevery = 10\n')
    items, judge = Items(made), Judge(made)
    decided = []
    for place in range(200):
        verdict = judge.consider(items.item(place), [Said(prose(place))])
        if verdict.epoch is not None:
            decided.append(verdict.epoch)
            items.learn(verdict.epoch)
    assert not decided[0].cells
    assert decided[-1].cells


def test_cells_that_have_enough_begin_anew_and_the_others_are_counted_on() -> None:
    rest = epoch(rare=(5, 5), usual=(95, 0)).short_of(ENOUGH_TEXTS)
    assert {cell: (counted.texts, counted.duplicates) for cell, counted in rest.cells.items()} == {"rare": (5, 5)}
    rest.add("rare", prose(7), False)
    assert len(rest.cells["rare"].excerpts) == 6


def test_a_run_that_repeats_itself_stops() -> None:
    weights = Steering(SPEC).next_epoch(0, epoch(one=(100, 90)), EpochWeights(1))
    assert "90% of 100 texts were duplicates" in weights.stop


def test_a_run_whose_cells_are_all_retired_stops() -> None:
    weights = Steering(SPEC, cells=2).next_epoch(0, epoch(one=(50, 30), two=(50, 30)), EpochWeights(1))
    assert "all 2 cells are exhausted" in weights.stop


def test_texts_that_are_one_text_stop_the_run() -> None:
    stats = EpochStats()
    for number in range(200):
        stats.add(f"cell {number % 8}", prose(1) + str(number), False)
    assert "compress" in Steering(SPEC).next_epoch(0, stats, EpochWeights(1)).stop


def test_without_columns_it_only_watches() -> None:
    assert Steering(SteeringSpec()).next_epoch(4, epoch(one=(50, 40)), EpochWeights(1)) == EpochWeights(6)


def test_memory_of_an_epoch_is_bounded() -> None:
    stats = EpochStats()
    for number in range(6000):
        stats.add(f"cell {number}", "x" * 1000, False)
        stats.add("one", "y" * 1000, False)
    assert len(stats.cells) == 4097
    assert stats.cells["one"].excerpts == ["y" * EXCERPT] * SAMPLE


def test_measures_tell_varied_texts_from_alike_ones() -> None:
    varied = measured([prose(number) for number in range(30)])
    alike = measured([prose(1)] * 30)
    assert varied.distinct_2 > 0.9
    assert alike.distinct_2 < 0.1
    assert alike.compression > 4 * varied.compression
    assert measured([]).compression == 0
