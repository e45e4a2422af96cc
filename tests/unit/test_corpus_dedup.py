"""Duplicates: exact and near, and an index that stands the same however it was filled."""

from __future__ import annotations

import pytest

from hubbub.corpus.dedup import Deduper, Duplicate, normalised, shingles
from hubbub.corpus.recipe import DedupSpec
from support.corpus_recipes import prose


def filled(spec: DedupSpec, texts: list[str]) -> Deduper:
    deduper = Deduper(spec)
    for text in texts:
        deduper.add(deduper.signature(text))
    return deduper


def test_case_white_space_and_width_do_not_make_a_text_new() -> None:
    deduper = filled(DedupSpec(), ["Ёлка  стоит\nв лесу, ﬁn."])
    assert deduper.check(deduper.signature("ёлка стоит В ЛЕСУ, fin.")) is Duplicate.EXACT


def test_a_text_with_a_word_changed_is_near_and_another_is_new() -> None:
    text = prose(1, 150)
    deduper = filled(DedupSpec(), [text, prose(2, 150)])
    assert deduper.check(deduper.signature(text.replace(text.split()[40], "changed", 1))) is Duplicate.NEAR
    assert deduper.check(deduper.signature(prose(3, 150))) is None


def test_phrases_are_compared_by_their_characters() -> None:
    deduper = filled(DedupSpec(near=0.7), ["The rain has ruined the old letter again."])
    assert deduper.check(deduper.signature("The rain has ruined the old letters again.")) is Duplicate.NEAR
    assert deduper.check(deduper.signature("The dog sleeps under the kitchen table.")) is None


def test_what_is_turned_off_is_not_looked_for() -> None:
    text = prose(1)
    assert (
        filled(DedupSpec(exact=False, near=None), [text]).check(Deduper(DedupSpec(near=None)).signature(text)) is None
    )
    exact = filled(DedupSpec(near=None), [text])
    assert exact.signature_bytes == len(exact.signature(text)) == 16
    assert exact.check(exact.signature(text)) is Duplicate.EXACT


@pytest.mark.parametrize("near", [0.5, 0.9])
def test_found_at_any_size_with_either_width_of_band(near: float) -> None:
    texts = [prose(number, 45) for number in range(1100)]
    deduper = filled(DedupSpec(near=near), texts)
    near_copies = [deduper.signature(text + " Indeed.") for text in texts[::50]]
    found = sum(deduper.check(signature) is Duplicate.NEAR for signature in near_copies)
    assert found == len(near_copies)
    assert deduper.bytes_held / len(texts) < 1000


@pytest.mark.large
def test_restored_in_any_portions_it_decides_the_same() -> None:
    spec = DedupSpec(near=0.6, window=1200)
    texts = [prose(number, 24) for number in range(1300)]
    one = filled(spec, texts)
    signatures = [one.signature(text) for text in texts]
    asked = [one.signature(text.replace("a", "e", 2)) for text in texts]
    answers = [one.check(signature) for signature in asked]
    for portion in (1, 70, 1300):
        again = Deduper(spec)
        for first in range(0, len(signatures), portion):
            again.restore(signatures[first : first + portion])
        assert [again.check(signature) for signature in asked] == answers
    assert len(set(answers)) > 1


def test_beyond_the_window_only_exact_copies_are_known() -> None:
    texts = [prose(number, 30) for number in range(1300)]
    deduper = filled(DedupSpec(near=0.6, window=1000), texts)
    assert deduper.check(deduper.signature(texts[0] + " Yes.")) is None
    assert deduper.check(deduper.signature(texts[0])) is Duplicate.EXACT
    assert deduper.check(deduper.signature(texts[1200] + " Yes.")) is Duplicate.NEAR


@pytest.mark.parametrize("words", [21, 24, 60])
def test_shingles_of_a_long_text_are_its_five_word_runs(words: int) -> None:
    said = normalised(prose(3, words)).split(" ")
    assert shingles(" ".join(said)) == [" ".join(said[at : at + 5]) for at in range(len(said) - 4)]
