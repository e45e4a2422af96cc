"""Readable text from a seed, in several scripts, and the simulated engine's tokenizer.

Several scripts, because mistakes between bytes and characters only show outside ASCII.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

# One token: a CJK character, up to 12 letters of any other script, a sign, or a blank; one blank before goes with it.
_TOKEN = re.compile(
    r"\s?[\u3040-\u30ff\u3400-\u9fff]|\s?[^\W\u3040-\u30ff\u3400-\u9fff]{1,12}|\s?[^\w\s]|\s",
)

_LATIN = """
a small engine holds many talks at once and every stream goes its own way while memory is shared by all who begin alike
so that one model loaded once can answer hundreds of people without losing a word or mixing two of them
"""
_CYRILLIC = """
одна модель отвечает сотням людей сразу и каждый разговор идёт своим путём пока память делят те кто начал одинаково
поэтому слова не теряются а ответы не смешиваются даже ночью когда ёлка шумит под окном
"""
_GERMAN = """
ein kleines Modell führt viele Gespräche zugleich und jedes behält seinen eigenen Faden für später größer
"""
_CJK = "一个模型同时回答几百个人的问题每次对话都保留自己的线索内存由开头相同的人共享所以不会丢失任何一个字"

_SENTENCES: tuple[tuple[float, tuple[str, ...], str, str], ...] = (
    # cumulative weight, words, between words, end of sentence
    (0.50, tuple(_LATIN.split()), " ", "."),
    (0.75, tuple(_CYRILLIC.split()), " ", "."),
    (0.90, tuple(_CJK), "", "。"),
    (0.98, tuple(_GERMAN.split()), " ", "!"),
    (1.00, tuple(_LATIN.split()), " ", " 🙂"),
)


def tokenize(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _TOKEN.findall(text)


def sentences(rng: random.Random) -> Iterator[str]:
    """Sentences without end, each with what separates it from the one before."""
    separator = ""
    while True:
        draw = rng.random()
        _, words, between, end = next(kind for kind in _SENTENCES if draw <= kind[0])
        said = rng.choices(words, k=rng.randint(5, 14))
        yield separator + said[0].capitalize() + between + between.join(said[1:]) + end
        separator = "\n" if rng.random() < 0.1 else " "


def tokens_of(rng: random.Random, count: int) -> list[str]:
    """The first ``count`` tokens of the text that ``rng`` tells."""
    tokens: list[str] = []
    for sentence in sentences(rng):
        if len(tokens) >= count:
            break
        tokens.extend(tokenize(sentence))
    del tokens[count:]
    return tokens
