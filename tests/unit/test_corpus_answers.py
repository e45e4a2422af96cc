"""Taking answers apart."""

from __future__ import annotations

import time

import msgspec
import pytest

from hubbub.corpus.answers import RejectedAnswer, cleaned, read_json, score_of, split, text_field, whole_sentences
from hubbub.corpus.client import MOST_TOKENS, answered_of
from hubbub.corpus.recipe import PackFormat

NUMBERED = [
    ("1. One\n2. Two\n3. Three", ["One", "Two", "Three"]),
    ("Here are some:\n\n1) «Один»\n2) Два\nи ещё строка\n", ["Один", "Два\nи ещё строка"]),
    ("Some:\n* one\n* two", ["one", "two"]),
    ("**1.** Bold\n**2.** Too", ["Bold", "Too"]),
    ("1. In 1945\n3. is out of turn\n2. Two", ["In 1945\n3. is out of turn", "Two"]),
    ('1. "Quoted"\n2. He said "no"', ["Quoted", 'He said "no"']),
]
JSON = [
    ('["a", "b"]', ["a", "b"]),
    ('Sure!\n```json\n{"texts": ["a", "b"]}\n```', ["a", "b"]),
    ('[{"text": "a"}, {"text": "b"}, {"te', [{"text": "a"}, {"text": "b"}]),
]


@pytest.mark.parametrize(("text", "parts"), NUMBERED)
def test_numbered(text: str, parts: list[str]) -> None:
    assert split(text, PackFormat.NUMBERED, 10) == parts


@pytest.mark.parametrize(("text", "parts"), JSON)
def test_json(text: str, parts: list[object]) -> None:
    assert split(text, PackFormat.JSON, 10) == parts


def test_lines_lose_their_bullets_and_no_more_come_than_were_asked_for() -> None:
    assert split("- one\n\n• two\n3) three\nfour", PackFormat.LINES, 3) == ["one", "two", "three"]


@pytest.mark.parametrize(("text", "form"), [("no numbers here", PackFormat.NUMBERED), ("{}", PackFormat.JSON)])
def test_an_answer_without_texts_is_rejected(text: str, form: PackFormat) -> None:
    with pytest.raises(RejectedAnswer) as caught:
        split(text, form, 10)
    assert caught.value.reason == "unpackable"


def test_json_is_found_among_prose() -> None:
    assert read_json('Of course: {"a": [1, "x\\u0000y"]} I hope it helps') == {"a": [1, "xy"]}
    with pytest.raises(RejectedAnswer, match="invalid_json"):
        read_json("{a: 1}")


def test_thoughts_and_control_characters_are_no_text() -> None:
    assert cleaned("<think>let me see</think>\n\nText\x00 \ud800here\r\n") == "Text here"
    with pytest.raises(RejectedAnswer, match="empty"):
        cleaned("<think>nothing</think> \n")


def test_a_preamble_is_cut_off() -> None:
    assert text_field("Here is the article:\n\nOaks are trees.", "") == ("Oaks are trees.", {})
    assert text_field("Here is where the oak grows.", "") == ("Here is where the oak grows.", {})


def test_the_text_of_a_structured_answer() -> None:
    assert text_field({"body": "long text", "tag": "x"}, "") == ("long text", {"tag": "x"})
    assert text_field({"body": "long text", "tag": "x"}, "tag") == ("x", {"body": "long text"})
    with pytest.raises(RejectedAnswer, match="no_text"):
        text_field({"body": 3}, "body")


def test_a_cut_text_ends_with_a_whole_sentence() -> None:
    assert whole_sentences("One is here. Two is he") == "One is here."
    assert whole_sentences("One. Two is never going to end and") == ""


def test_scores() -> None:
    assert score_of("Score: 7/10", r"(\d+)", "", "") == 7
    assert score_of("", "", "score", {"score": 4}) == 4
    for said in ("good", '{"score": NaN}', f'{{"score": {"9" * 400}}}'):
        with pytest.raises(RejectedAnswer, match="no_score"):
            score_of(said, r"(nope)", "score" if said[0] == "{" else "", read_json(said) if said[0] == "{" else "")


@pytest.mark.large
@pytest.mark.parametrize("noise", ["[" * 50_000, '{"a":' * 20_000, "[" * 900 + "]" * 900 + "x"])
def test_a_model_that_repeats_brackets_is_not_read_for_long(noise: str) -> None:
    began = time.process_time()
    with pytest.raises(RejectedAnswer, match="unpackable"):
        split(noise, PackFormat.JSON, 10)
    assert time.process_time() - began < 2


def test_counts_of_an_endpoint_stay_within_what_can_be() -> None:
    usage = {"prompt_tokens": -3, "completion_tokens": 10**30}
    body = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    answered = answered_of(msgspec.json.encode(body), "m")
    assert (answered.prompt_tokens, answered.tokens) == (0, MOST_TOKENS)
    body["usage"] = {"prompt_tokens": None, "completion_tokens": None}
    assert answered_of(msgspec.json.encode(body), "m").tokens == 0
