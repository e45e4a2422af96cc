"""CPU of the pure half of the corpus pipeline, a record: work item, prompt, filters, signature, dedup, statistics.

    python -m benchmarks.corpus_pipeline --records 20000

Answers are made up here (random words, 1 kB), so nothing is rejected and every filter runs to its end; one in ten is a
near-copy. Process CPU time, one process, no engine.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge
from hubbub.corpus.recipe_check import load
from hubbub.corpus.record import encode

WINDOW = 256
Result = TypeVar("Result")
RUSSIAN = [
    "вода",
    "ветер",
    "дорога",
    "город",
    "река",
    "мост",
    "старый",
    "новый",
    "большой",
    "тихий",
    "идёт",
    "стоит",
    "помнит",
    "знает",
    "человек",
    "время",
    "дом",
    "лес",
    "гора",
    "снег",
    "зима",
    "лето",
    "вечер",
    "утро",
    "рассказ",
    "песня",
    "слово",
    "письмо",
    "окно",
    "свет",
    "тень",
    "камень",
    "море",
    "берег",
    "лодка",
    "рыба",
    "птица",
    "зверь",
    "трава",
]
ENGLISH = [
    "water",
    "wind",
    "road",
    "town",
    "river",
    "bridge",
    "old",
    "new",
    "large",
    "quiet",
    "walks",
    "stands",
    "remembers",
    "knows",
    "person",
    "time",
    "house",
    "forest",
    "hill",
    "snow",
    "winter",
    "summer",
    "evening",
    "morning",
    "story",
    "song",
    "word",
    "letter",
    "window",
    "light",
    "shade",
    "stone",
    "sea",
    "shore",
    "boat",
    "fish",
    "bird",
    "grass",
]


def answers(words: list[str], size: int, count: int) -> list[str]:
    """Texts of about ``size`` bytes; every tenth repeats the one before with one word changed."""
    draw = random.Random(7)
    texts: list[str] = []
    for number in range(count):
        if number % 10 == 9:
            texts.append(texts[-1].replace(words[3], words[4], 1))
            continue
        text = ""
        while len(text.encode()) < size:
            text += " ".join(f"{draw.choice(words)}{draw.choice(words)[:3]}" for _ in range(12)).capitalize() + ". "
        texts.append(text.strip())
    return texts


class Stopwatch:
    """CPU time of this process by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[[], Result]) -> Result:
        began = time.process_time()
        result = work()
        self.spent[stage] = self.spent.get(stage, 0.0) + time.process_time() - began
        return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", type=Path, default=Path("recipes/ru-encyclopedia.toml"))
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=1000)
    options = parser.parse_args()
    recipe = load(options.recipe)
    texts = answers(ENGLISH if recipe.languages == ("en",) else RUSSIAN, options.bytes, options.records)
    items, judge, watch = Items(recipe), Judge(recipe), Stopwatch()
    notes: list[bytes] = []
    for first in range(0, options.records, WINDOW):
        window = range(first, min(first + WINDOW, options.records))
        made = watch("work item", lambda: [items.item(index) for index in window])  # noqa: B023  # called at once
        watch("prompt", lambda: [items.next_call(item, ()) for item in made])  # noqa: B023
        said = [[Said(texts[index], tokens=len(texts[index]) // 4)] for index in window]
        screened = watch("screen", lambda: list(map(judge.screen, made, said)))  # noqa: B023
        verdicts = watch("admit", lambda: list(map(judge.admit, screened)))  # noqa: B023
        watch("encode", lambda: [encode(record) for verdict in verdicts for record in verdict.records])  # noqa: B023
        notes.append(watch("drain", judge.drain))
        for verdict in verdicts:
            if verdict.epoch:
                items.learn(verdict.epoch)
    again = Judge(recipe)
    watch("replay", lambda: [again.replay(note) for note in notes])
    print("| stage | us a record |\n| --- | --- |")
    for stage, spent in watch.spent.items():
        print(f"| {stage} | {spent / options.records * 1e6:.0f} |")
    totals = judge.totals
    print(f"\n{totals.records:,} records, rejected {dict(totals.rejected)}")
    print(f"notes {sum(map(len, notes)) / totals.texts:.0f} bytes a text")
    print(f"index {judge.deduper.bytes_held / max(1, totals.records):.0f} bytes a record")
    print(judge.stopped or "not stopped")
    assert again.totals == totals, "a replayed judge stands where the first one does"


if __name__ == "__main__":
    main()
