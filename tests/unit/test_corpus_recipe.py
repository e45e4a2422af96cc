"""Reading a recipe: what is wrong is told with the line, the key and the fix."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import pytest

from hubbub.corpus.items import Items
from hubbub.corpus.problems import RecipeError
from hubbub.corpus.recipe import (
    Card,
    DedupSpec,
    Filters,
    Judging,
    LinkKind,
    LinkSpec,
    Output,
    Pack,
    SamplingSpec,
    SeedFile,
    Shards,
    Spread,
    SteeringSpec,
    Target,
    Unit,
)
from hubbub.corpus.recipe_check import load, parse_target
from support.corpus_recipes import HEAD, RECIPES, STEP, TOPICS, recipe

WRONG = [
    (HEAD + "sed = 3\n" + STEP + TOPICS, 5, "sed", "did you mean 'seed'?"),
    (HEAD + STEP.replace("topic", "topik") + TOPICS, 7, "steps[1].prompt", "'topik' is not defined"),
    (HEAD + STEP + TOPICS + "weights = [0, 0, 0, 0]\n", 11, "columns.topic.weights", "sum to 0"),
    (HEAD + STEP + TOPICS + "weights = [1]\n", 11, "columns.topic.weights", "as long as values (4)"),
    (HEAD.replace("1MB", "1 megabit") + STEP + TOPICS, 3, "target", "write bytes like '20MB'"),
    (HEAD.replace('target = "1MB"', "") + STEP + TOPICS, 1, "target", "is missing"),
    (HEAD + TOPICS, 1, "steps", "write at least one [[steps]]"),
    (HEAD + STEP + TOPICS + "[sampling]\ntemperature = 9\n", 12, "sampling.temperature", "from 0 to 2"),
    (HEAD + STEP + TOPICS + "[sampling]\ntemperatur = 1\n", 12, "sampling.temperatur", "'temperature'"),
    (HEAD + STEP + TOPICS + "[dedup]\nnear = 3\n", 12, "dedup.near", "from 0.3 to 1"),
    (HEAD + STEP + TOPICS + '[filters]\nforbid = ["("]\n', 12, "filters.forbid", "no regular expression"),
    (HEAD + STEP + TOPICS + "[filters]\nchars = [9, 2]\n", 12, "filters.chars", "no text is at least 9"),
    (HEAD + STEP + TOPICS + '[filters]\ncustom = "nowhere:f"\n', 12, "filters.custom", "cannot be loaded"),
    (HEAD + STEP + TOPICS + '[steering]\ncolumns = ["topics"]\n', 12, "steering.columns", "did you mean 'topic'?"),
    (HEAD + STEP + TOPICS + '[columns.seed]\nfile = "none.txt"\n', 12, "columns.seed.file", "cannot be read"),
    (HEAD + STEP + TOPICS + '[columns.x]\nvalues = ["a"]\nint = [1, 2]\n', 13, "columns.x.int", "exactly one of"),
    (HEAD + STEP + TOPICS + '[columns.x]\nexpr = "{{ y }}"\n', 12, "columns.x.expr", "'y' is not defined"),
    (HEAD + 'languages = ["rus"]\n' + STEP + TOPICS, 5, "languages", "no language known here"),
    (HEAD + STEP + TOPICS + "[links]\ncluster = 5\n", 11, "links.kind", "write one or more [[links.kind]]"),
    (HEAD + STEP + TOPICS + "[shards]\nsize = '1KB'\n", 12, "shards.size", "from '64KB'"),
    (HEAD + STEP + 'schema = "{"\n' + TOPICS, 8, "steps[1].schema", "no JSON"),
    (HEAD + "pack = 500\n" + STEP + TOPICS, 5, "pack", "from 2 to 100"),
    (HEAD + STEP + TOPICS + "weights = [1, nan, 1, 1]\n", 11, "columns.topic.weights", "each weight must be a number"),
    (HEAD + STEP + TOPICS + "[dedup]\nnear = nan\n", 12, "dedup.near", "must be a number"),
    (HEAD + STEP + TOPICS + "[columns.x]\nfloat = [0, inf]\n", 12, "columns.x.float", "[lowest, highest]"),
    (HEAD + STEP + TOPICS + "[sampling.temperature]\nchoice = [inf]\n", 12, "sampling.temperature.choice", "numbers"),
    (HEAD.replace("3", "9" * 400) + STEP + TOPICS, 4, "seed", "must be a number"),
    (HEAD.replace("1MB", "9" * 400) + STEP + TOPICS, 3, "target", "more than any disk"),
    (HEAD.replace("1MB", "_") + STEP + TOPICS, 3, "target", "write bytes like '20MB'"),
    (HEAD + STEP + TOPICS + "weights = [1e308, 1e308, 1, 1]\n", 11, "columns.topic.weights", "make them smaller"),
    (HEAD + STEP + TOPICS + f"[columns.x]\nint = [0, {'9' * 400}]\n", 12, "columns.x.int", "[lowest, highest]"),
    (HEAD + STEP + TOPICS + "[columns.x]\nfloat = [-1e308, 1e308]\n", 12, "columns.x.float", "bring the ends nearer"),
    (HEAD + STEP + TOPICS + '[columns.x]\ntree = ""\n', 12, "columns.x.tree", "has no leaf"),
    (HEAD + STEP + TOPICS + '[sampling]\nstop = [""]\n', 12, "sampling.stop", "leave it out"),
    (
        HEAD + STEP + TOPICS + "[sampling.temperature]\nuniform = [0, 1]\nmin = 1\nmax = 0\n",
        13,
        "sampling.temperature.min",
        "no temperature is",
    ),
    (HEAD + STEP + TOPICS + '[filters]\nlanguage_column = "topic"\n', 12, "filters.language_column", "can be 'bread'"),
    (HEAD + STEP + f"schema = '{'[' * 99_999}'\n" + TOPICS, 8, "steps[1].schema", "no JSON"),
]


@pytest.mark.parametrize(("text", "line", "key", "fix"), WRONG, ids=[f"{key}: {fix}" for _, _, key, fix in WRONG])
def test_a_fault_names_its_line_its_key_and_the_fix(text: str, line: int, key: str, fix: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(text)
    problem = next(problem for problem in caught.value.problems if problem.key == key)
    assert (problem.line, fix in problem.message) == (line, True), str(problem)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(HEAD + "sed = 3\n" + STEP + TOPICS + "weights = [0, 0, 0, 0]\n[dedup]\nneer = 1\n")
    assert [problem.key for problem in caught.value.problems] == ["sed", "columns.topic.weights", "dedup.neer"]


def test_the_line_within_a_long_prompt_is_told() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(HEAD + '[[steps]]\nprompt = """\nOne.\nTwo {{ topic }}.\nThree {{ missing }}.\n"""\n' + TOPICS)
    assert caught.value.problems[0].line == 9


def test_a_template_that_fails_on_real_values_is_told_with_the_recipe() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(HEAD + '[[steps]]\nprompt = "{{ topic.name }}"\n[columns.topic]\nvalues = [["a"], ["b"]]\n')
    problem = caught.value.problems[0]
    assert (problem.line, problem.key) == (5, "steps[1]")
    assert "its prompt fails for item 0: 'list object' has no attribute" in problem.message


def test_a_column_that_grows_without_bound_is_named_with_its_line() -> None:
    loops = "{% for a in range(900) %}{% for b in range(900) %}{{ topic }}{% endfor %}{% endfor %}"
    column = f'[columns.long]\nexpr = "{loops}"\n'
    with pytest.raises(RecipeError) as caught:
        recipe(HEAD + STEP + TOPICS + column)
    problem = caught.value.problems[0]
    assert (problem.line, problem.key) == (11, "columns.long")
    assert "longer than 512000 characters" in problem.message


def test_text_that_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(RecipeError, match=r"line 2: no TOML"):
        recipe('name = "x"\ntarget = = 3\n')


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["ru-encyclopedia", "en-encyclopedia", "phrases-ru-en"])
def test_the_recipes_that_come_with_hubbub_are_right(name: str) -> None:
    assert load(RECIPES / f"{name}.toml").name == name


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("1GB", Target(10**9)),
        ("20 MB", Target(20 * 10**6)),
        ("1GiB", Target(2**30)),
        ("1.5k", Target(1500)),
        ("5M tokens", Target(5 * 10**6, Unit.TOKENS)),
        ("1_000 records", Target(1000, Unit.RECORDS)),
    ],
)
def test_amounts(text: str, target: Target) -> None:
    assert parse_target(text) == target


def test_the_digest_covers_what_decides_items_and_not_how_far_a_run_goes() -> None:
    first = recipe(HEAD + STEP + TOPICS)
    assert recipe((HEAD + STEP + TOPICS).replace("1MB", "2MB") + "[shards]\nsize = '1MB'\n").digest == first.digest
    assert recipe(HEAD + STEP.replace("about", "on") + TOPICS).digest != first.digest


def test_the_digest_covers_the_rows_of_seed_files(tmp_path: Path) -> None:
    text = HEAD + STEP + '[columns.topic]\nfile = "seeds.txt"\n'
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("one\ntwo\n")
    first = recipe(text, tmp_path)
    seeds.write_text("one\nthree\n")
    assert recipe(text, tmp_path).digest != first.digest


def test_command_line_values_win(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(HEAD + STEP + TOPICS)
    made = load(path, target="7 records", seed=9, model="qwen")
    assert (made.target, made.seed, made.model) == (Target(7, Unit.RECORDS), 9, "qwen")


def test_a_step_takes_the_samplings_values_where_it_has_none() -> None:
    made = recipe(
        HEAD + "[sampling]\nmax_tokens = 7\ntemperature = {uniform = [0.5, 1]}\n" + STEP + "top_p = 0.5\n" + TOPICS
    )
    assert made.steps[0].sampling.max_tokens == 7
    assert made.steps[0].sampling.temperature == Spread(uniform=(0.5, 1.0))
    assert made.steps[0].sampling.top_p == 0.5


def test_the_docs_name_every_key_of_a_recipe() -> None:
    page = (RECIPES.parent / "docs" / "corpus-recipes.md").read_text(encoding="utf-8")
    tables = (Filters, DedupSpec, SteeringSpec, SamplingSpec, Shards, Card, Output, Judging, Pack, LinkSpec, LinkKind)
    keys = {field.name for table in tables for field in dataclasses.fields(table)} - {"kinds"}
    missing = [key for key in sorted(keys) if not re.search(rf"`{key}`|^{key} =|{{ {key} =", page, re.MULTILINE)]
    assert not missing


@pytest.mark.parametrize(
    "nested", ["x = " + "[" * 9000 + "]" * 9000, "x" + ".a" * 3000 + " = 1", "[x" + ".a" * 200 + "]"]
)
def test_a_recipe_without_bound_in_depth_is_refused(nested: str) -> None:
    with pytest.raises(RecipeError, match="within one another"):
        recipe(nested + "\n")


def test_a_number_of_thousands_of_digits_is_told() -> None:
    with pytest.raises(RecipeError, match="no TOML"):
        recipe(HEAD + STEP + TOPICS + f"weights = [{'9' * 5000}]\n")


@pytest.mark.large
def test_lines_are_told_behind_long_values() -> None:
    values = "".join(f'  "it\'s [{number} # a", # {{\n' for number in range(20_000))
    prompt = '"""\n' + 'One """ \\""" [[\n'.replace('"""', '""') * 20_000 + '"""""'
    text = HEAD + f"[columns.topic]\nvalues = [\n{values}]\n[[steps]]\nprompt = {prompt}\nwrong = 1\n"
    with pytest.raises(RecipeError) as caught:
        recipe(text)
    assert [problem.line for problem in caught.value.problems] == [text[: text.index("wrong")].count("\n") + 1]


@pytest.mark.large
def test_many_columns_are_read_at_once() -> None:
    """The server reads recipes of guests."""
    columns = "".join(f'[columns.c{number}]\nvalues = ["a"]\n' for number in range(4000))
    began = time.process_time()
    assert len(recipe(HEAD + STEP + TOPICS + columns).columns) == 4001
    assert time.process_time() - began < 10


def test_windows_files_and_a_single_step_are_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(("\ufeff" + HEAD + STEP.replace("[[steps]]", "[steps]") + TOPICS).replace("\n", "\r\n").encode())
    assert load(path).steps[0].name == "answer"


def test_an_item_whose_steps_are_all_left_out_asks_nothing() -> None:
    items = Items(recipe(HEAD + STEP + "when = \"topic == 'bread'\"\n" + TOPICS))
    calls = [items.first_call(items.item(index)) for index in range(30)]
    assert {call is None for call in calls} == {True, False}


@pytest.mark.parametrize(
    ("name", "seeds", "told"),
    [
        ("seeds.csv", "a,b\n1,2\n1,2,3\n", "line 3 has more or fewer fields than the 2 of the header"),
        ("seeds.csv", "a,b\n1\n", "line 2 has more or fewer fields"),
        ("seeds.csv", 'a\n"b\n', "line 2: unexpected end of data"),
        ("seeds.csv", "a\n" + "b" * 200_000, "line 2: field larger than field limit"),
        ("seeds.jsonl", "1\n" + "[" * 100_000 + "\n", "line 2 is no JSON"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_line(tmp_path: Path, name: str, seeds: str, told: str) -> None:
    (tmp_path / name).write_text(seeds)
    with pytest.raises(RecipeError, match=told):
        recipe(HEAD + STEP + f'[columns.topic]\nfile = "{name}"\n', tmp_path)


def test_a_table_with_a_nameless_column_is_read(tmp_path: Path) -> None:
    (tmp_path / "seeds.csv").write_text(",text\n0,one\n\n1,two\n")
    made = recipe(HEAD + STEP + '[columns.topic]\nfile = "seeds.csv"\nfield = "text"\n', tmp_path)
    assert made.columns[0].source == SeedFile(tmp_path / "seeds.csv", "text", ("one", "two"))
