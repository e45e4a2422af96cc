"""Recipes and made-up answers for tests of the corpus."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.recipe_check import parse
from hubbub.corpus.record import Record

RECIPES = Path(__file__).parents[2] / "recipes"
WORDS = [
    "river",
    "stone",
    "wind",
    "garden",
    "letter",
    "window",
    "captain",
    "lantern",
    "forest",
    "silver",
    "winter",
    "morning",
    "quiet",
    "bridge",
    "harbour",
    "music",
    "cloud",
    "paper",
    "mountain",
    "shadow",
    "summer",
    "candle",
    "village",
    "thunder",
    "orchard",
    "meadow",
    "feather",
    "copper",
    "island",
    "evening",
]

HEAD = """
name = "test"
target = "1MB"
seed = 3
"""
STEP = """
[[steps]]
prompt = "Write about {{ topic }}."
"""
TOPICS = """
[columns.topic]
values = ["bread", "rain", "iron", "salt"]
"""
LINKED = (
    HEAD
    + STEP
    + """
[output]
title = "{{ topic }}"
[columns.topic]
each = true
values = ["Oak", "Elm", "Ash", "Yew", "Fir"]
[columns.tone]
values = ["dry", "warm"]
[links]
cluster = 6
[[links.kind]]
name = "related"
to = "cluster"
count = [1, 3]
[[links.kind]]
name = "far"
to = "far"
count = [0, 2]
[[links.kind]]
name = "next"
to = "next"
[[links.kind]]
name = "hub"
to = "hub"
[steering]
columns = ["tone"]
every = 20
"""
)


def recipe(text: str, folder: Path = RECIPES) -> Recipe:
    return parse(text, folder / "recipe.toml")


def prose(seed: int, words: int = 60) -> str:
    """Sentences of random words; another seed makes another text."""
    draw = random.Random(seed)
    said = [f"{draw.choice(WORDS)} {draw.choice(WORDS)} {draw.randrange(10_000)}" for _ in range(words // 3)]
    return ". ".join(said).capitalize() + "."


def accepted(made: Recipe, answers: Sequence[str]) -> tuple[list[Record], Judge]:
    """The records of a run that was given these answers, one an item."""
    items, judge = Items(made), Judge(made)
    records: list[Record] = []
    for index, answer in enumerate(answers):
        verdict = judge.consider(items.item(index), [Said(answer, tokens=len(answer) // 4)])
        records += verdict.records
        if verdict.epoch:
            items.learn(verdict.epoch)
    return records, judge
