"""What the generated chats say: varied, English and Russian, the same for the same seed."""

from __future__ import annotations

from random import Random

_PLACES = (
    "a small bakery",
    "a night train",
    "a school library",
    "an island lighthouse",
    "a repair shop",
    "a city farm",
)
_TOPICS = (
    "how tides work",
    "why bread rises",
    "how a heat pump warms a house",
    "what makes a good password",
    "how bees find flowers",
    "why the sky turns red at sunset",
    "how vaccines train the body",
    "what a mortgage is",
    "how a bicycle stays upright",
    "why old bridges hum in the wind",
)
_THINGS = ("rye bread", "a used camera", "herbal tea", "a folding bike", "woollen socks", "a chess set", "a desk lamp")
_NAMES = ("Anna", "Boris", "Chen", "Dilara", "Emeka", "Freya", "Goran", "Hana")
_ENGLISH = (
    "Explain {topic} to a curious ten-year-old.",
    "{name} runs {place}. Write the first lines of a story about a strange customer.",
    "Give me three reasons to buy {thing} and one reason not to.",
    "Write a short, friendly email from {name} asking to move a meeting to {day}.",
    "I have {number} minutes before a guest arrives at {place}. What should I tidy first?",
    "List five questions I should ask before I buy {thing}.",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_RUSSIAN_TOPICS = (
    "почему тает лёд",
    "как устроен маяк",
    "зачем нужны пчёлы",
    "как работает холодильник",
    "откуда берётся ветер",
)
_RUSSIAN_NAMES = ("Ольга", "Пётр", "Мария", "Тимур", "Нина")
_RUSSIAN_PLACES = ("маленькой пекарне", "ночном поезде", "школьной библиотеке", "старой мастерской")
_RUSSIAN = (
    "Объясни простыми словами, {topic}.",
    "{name} работает в {place}. Напиши начало рассказа о странном посетителе.",
    "Составь список из {number} вещей, которые стоит взять в поход.",
    "Напиши короткое письмо: {name} просит перенести встречу на вечер.",
)
_FOLLOW_UPS = (
    "Say the same in one sentence.",
    "Which part of that matters most, and why?",
    "Now give one concrete example of it.",
    "Rewrite your answer for an expert.",
    "What did you leave out of that answer?",
)
_RUSSIAN_FOLLOW_UPS = (
    "Скажи то же самое одним предложением.",
    "Что из этого самое важное и почему?",
    "Приведи один пример к своему ответу.",
    "А теперь объясни то же самое специалисту.",
)
_RUSSIAN_SHARE = 0.3


def questions(seed: int, chat: int, turns: int) -> list[str]:
    """What chat number ``chat`` asks: an opening question, then ``turns - 1`` that refer to the answer before."""
    dice = Random(f"{seed}/{chat}")  # noqa: S311 - prompts, not secrets
    russian = dice.random() < _RUSSIAN_SHARE
    opening = dice.choice(_RUSSIAN if russian else _ENGLISH).format(
        topic=dice.choice(_RUSSIAN_TOPICS if russian else _TOPICS),
        name=dice.choice(_RUSSIAN_NAMES if russian else _NAMES),
        place=dice.choice(_RUSSIAN_PLACES if russian else _PLACES),
        thing=dice.choice(_THINGS),
        day=dice.choice(_DAYS),
        number=dice.randint(3, 40),
    )
    follow_ups = _RUSSIAN_FOLLOW_UPS if russian else _FOLLOW_UPS
    return [opening, *(dice.choice(follow_ups) for _ in range(turns - 1))]
