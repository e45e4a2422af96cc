"""What becomes a record, and why not."""

from __future__ import annotations

import pytest

from hubbub.corpus.answers import RejectedAnswer
from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge
from support.corpus_recipes import HEAD, LINKED, STEP, TOPICS, accepted, prose, recipe

STEPS = """
[[steps]]
name = "plan"
prompt = "Plan a text about {{ topic }} as JSON."
keep = true
schema = {type = "object", required = ["title"], properties = {title = {type = "string"}}}
[[steps]]
name = "note"
prompt = "A note on {{ plan.title }}"
when = "topic == 'none'"
[[steps]]
name = "body"
prompt = "Write {{ plan.title }}{{ note }}."
[[steps]]
name = "grade"
prompt = "Grade from 1 to 10: {{ body }}"
judge = {min = 6}
[output]
step = "body"
"""


def test_steps_see_what_was_said_before_and_the_judge_step_decides() -> None:
    made = recipe(HEAD + STEPS + TOPICS)
    items, judge = Items(made), Judge(made)
    for index, (grade, reason) in enumerate([("I say 8 of 10", ""), ("4", "judge_score")]):
        item = items.item(index)
        said: list[Said] = []
        asked = []
        for answer in ('{"title": "Salt of the sea"}', prose(index), grade):
            call = items.next_call(item, said)
            assert call is not None
            asked.append((call.step, call.messages[-1].text))
            said.append(Said(answer, 10))
        assert items.next_call(item, said) is None
        assert [step for step, _ in asked] == ["plan", "body", "grade"]
        assert asked[1][1] == "Write Salt of the sea."
        verdict = judge.consider(item, said)
        assert [rejected.reason for rejected in verdict.rejected] == ([reason] if reason else [])
        for record in verdict.records:
            assert (record.fields, record.score) == ({"plan": {"title": "Salt of the sea"}}, 8.0)


@pytest.mark.parametrize(("answer", "reason"), [("{", "invalid_json"), ('{"titel": 1}', "schema"), (" ", "empty")])
def test_an_answer_that_cannot_be_used_is_told_before_the_next_step(answer: str, reason: str) -> None:
    items = Items(recipe(HEAD + STEPS + TOPICS))
    with pytest.raises(RejectedAnswer) as caught:
        items.next_call(items.item(0), [Said(answer)])
    assert caught.value.reason == reason


def test_packed_texts_are_judged_one_by_one() -> None:
    made = recipe(HEAD + "pack = 4\n" + STEP + TOPICS + '[columns.word]\nper = "text"\nvalues = ["a", "b"]\n')
    items, judge = Items(made), Judge(made)
    item = items.item(0)
    texts = [prose(1, 9), prose(2, 9), prose(1, 9), "Cut off in the"]
    answer = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    verdict = judge.consider(item, [Said(answer, tokens=100, finish="length", model="m", attempt=2)])
    assert [record.id for record in verdict.records] == ["0", "0-1"]
    assert [(rejected.part, rejected.reason) for rejected in verdict.rejected] == [(2, "duplicate"), (3, "cut_short")]
    assert verdict.records[1].columns == {**item.columns, "word": item.rows[1]["word"]}
    assert (verdict.records[0].model, verdict.records[0].attempt) == ("m", 2)
    assert judge.totals.bytes == sum(len(record.text.encode()) for record in verdict.records)
    assert 0 < judge.totals.tokens < 100


def test_items_are_judged_in_order_only() -> None:
    made = recipe(HEAD + STEP + TOPICS)
    items, judge = Items(made), Judge(made)
    with pytest.raises(ValueError, match="place 1 cannot be judged before place 0"):
        judge.consider(items.item(1), [Said(prose(1))])


def test_an_item_given_up_keeps_its_place_and_is_counted() -> None:
    judge = Judge(recipe(HEAD + STEP + TOPICS))
    verdict = judge.give_up(0, "engine_timeout")
    assert (verdict.records, verdict.rejected[0].reason, judge.next_place) == ((), "engine_timeout", 1)
    assert judge.totals.rejected == {"engine_timeout": 1}


def test_a_filter_that_rejects_everything_stops_the_run_with_samples() -> None:
    _, judge = accepted(
        recipe(HEAD + STEP + TOPICS + "[filters]\nstop_after = 12\nchars = {max = 9}\n"), [prose(1)] * 12
    )
    assert "the last 12 texts were all rejected" in judge.stopped
    assert "12 long_chars" in judge.stopped
    assert prose(1)[:30] in judge.stopped


def test_a_text_cut_short_ends_with_its_last_sentence() -> None:
    made = recipe(HEAD + STEP + TOPICS)
    verdict = Judge(made).consider(Items(made).item(0), [Said("One stands here. Two is", finish="length")])
    assert verdict.records[0].text == "One stands here."


def test_links_are_found_in_the_text_and_brackets_are_no_part_of_it() -> None:
    made = recipe(LINKED)
    items = Items(made)
    item = items.item(2)
    first, second = item.targets[:2]
    text = f"[[Nothing]] grows. Beside it [[{first.title}|an old tree]] stands. {second.title}s grow here too."
    record = Judge(made).screen(item, [Said(text)]).candidates[0].record
    assert record is not None
    assert "[[" not in record.text
    assert record.text.startswith("Nothing grows. Beside it an old tree stands.")
    spans = {link.target: record.text[link.start : link.end] for link in record.links if link.start >= 0}
    assert spans[first.target] == "an old tree"
    assert spans[second.target].startswith(second.title.split()[0])


def test_notes_of_another_place_are_refused() -> None:
    made = recipe(LINKED)
    _, judge = accepted(made, [prose(number) for number in range(5)])
    note = judge.drain()
    again = Judge(made)
    again.replay(note)
    with pytest.raises(ValueError, match="go on at place 0, not 5"):
        again.replay(note)
