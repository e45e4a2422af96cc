"""The filters that look at one text."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError
from hubbub.corpus.quality.screen import Screen
from support.corpus_recipes import HEAD, STEP, TOPICS, prose, recipe

RUSSIAN = "Старый мост через реку стоит здесь двести лет, и каждую весну лёд проверяет его каменные опоры на прочность."
ENGLISH = "The old bridge has stood over the river for two hundred years, and every spring ice tries its stone piers."
BAD = [
    ("foreign_script", RUSSIAN + " Это 桥 из камня."),
    ("mixed_script", RUSSIAN.replace("мост", "моcт").replace("реку", "рeку")),
    ("latin_share", "Мост: " + ENGLISH),
    ("language", "Старий міст через річку стоїть тут двісті років, і щовесни крига перевіряє його кам'яні опори."),
    ("short_chars", "Мост."),
    ("long_words", "мост стоит " * 200),
    ("repetition", "Старый мост стоит над рекой. " * 8),
    ("repetition", "а" * 80),
    ("line_repeats", "\n".join(["Старый мост стоит", RUSSIAN, "Старый мост стоит", "Старый мост стоит"])),
    ("refusal", "Извините, но я не могу писать об этом. " + RUSSIAN),
    ("refusal", RUSSIAN + " Как языковая модель, я не видел мостов."),
    ("template_leak", RUSSIAN + "<|im_end|>"),
    ("template_leak", RUSSIAN + "\nUser: ещё"),
    ("prompt_echo", RUSSIAN + " Пиши спокойно и точно, без вступлений и обращений к читателю."),
    ("forbidden", RUSSIAN + " Запретное."),
    ("lacks_required", RUSSIAN.replace("мост", "дом")),
    ("custom:too loud", RUSSIAN + "!!!"),
]


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    (tmp_path / "mine.py").write_text("def calm(text, columns):\n    return 'too loud' if '!!!' in text else None\n")
    filters = """
    [filters]
    chars = [20, 5000]
    words = {max = 300}
    forbid = ["Запретное"]
    require = ["(?i)мост|моcт"]
    custom = "mine.py:calm"
    """
    made = recipe(HEAD + 'languages = ["ru"]\n' + STEP + TOPICS + filters, tmp_path)
    return Screen(made, ["Пиши спокойно и точно, без вступлений и обращений к читателю."])


def test_a_good_text_passes_and_its_language_is_told(screen: Screen) -> None:
    assert screen.reason(RUSSIAN, RUSSIAN.split(), 0, {}) == (None, "ru")


@pytest.mark.parametrize(("reason", "text"), BAD, ids=[reason for reason, _ in BAD])
def test_a_bad_text_is_rejected_for_its_reason(screen: Screen, reason: str, text: str) -> None:
    if reason == "language":
        text += " мост"
    assert screen.reason(text, text.split(), 0, {})[0] == reason


def test_the_language_is_the_items_own_where_a_column_says_it() -> None:
    made = recipe(
        HEAD
        + 'languages = ["ru", "en"]\n'
        + STEP
        + TOPICS
        + '[columns.lang]\nvalues = ["ru", "en"]\n[filters]\nlanguage_column = "lang"\n'
    )
    screen = Screen(made, ())
    assert screen.reason(ENGLISH, ENGLISH.split(), 0, {"lang": "en"}) == (None, "en")
    assert screen.reason(ENGLISH, ENGLISH.split(), 0, {"lang": "ru"})[0] == "latin_share"
    assert screen.reason("Дождь идёт.", ["Дождь", "идёт."], 0, {"lang": "en"})[0] == "foreign_script"
    with pytest.raises(ConfigError, match="no language code"):
        screen.reason(ENGLISH, ENGLISH.split(), 0, {"lang": "english"})


def test_without_languages_any_text_passes() -> None:
    screen = Screen(recipe(HEAD + STEP + TOPICS), ())
    for text in (RUSSIAN, ENGLISH, "桥在河上" * 5, prose(1)):
        assert screen.reason(text, text.split(), 0, {}) == (None, "")


def test_a_custom_filter_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(text, columns):\n    return columns['none']\n")
    made = recipe(HEAD + STEP + TOPICS + '[filters]\ncustom = "mine.py:broken"\n', tmp_path)
    with pytest.raises(ConfigError, match=r"mine\.py:broken failed: KeyError"):
        Screen(made, ()).reason(ENGLISH, ENGLISH.split(), 0, {})
