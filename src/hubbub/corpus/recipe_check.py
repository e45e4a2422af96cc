"""``recipe.toml`` -> Recipe, with every fault told at once: the line, the key, the fix."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from hubbub.corpus.guests import excesses
from hubbub.corpus.items import Items
from hubbub.corpus.problems import ItemFault, Notes, Problem, RecipeError, Table, dotted, nearest
from hubbub.corpus.recipe import (
    Card,
    Column,
    DedupSpec,
    LinkKind,
    LinkSpec,
    Output,
    Pack,
    PackFormat,
    Per,
    Range,
    Recipe,
    SeedFile,
    ShardFormat,
    Shards,
    SteeringSpec,
    Target,
    Tree,
    Unit,
    Values,
)
from hubbub.corpus.recipe_columns import check_template, read_columns
from hubbub.corpus.recipe_filters import read_filters
from hubbub.corpus.recipe_steps import read_sampling, read_steps
from hubbub.corpus.toml_lines import Lines

TRIED = 3
"""Items made to check a recipe."""
MAX_FILE_BYTES = 4_000_000
MAX_NESTING = 100
"""Tables and lists within one another."""
MAX_TARGET = 2**63
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_SIZE = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*(ki|mi|gi|ti|k|m|g|t)?\s*(b|bytes|tokens?|records?)?", re.IGNORECASE)
_SIZE_HELP = "write bytes like '20MB' or '1GiB', or '5M tokens', or '1000 records'"


def load(path: Path, *, target: str | None = None, seed: int | None = None, model: str | None = None) -> Recipe:
    """The recipe of a file. ``target``, ``seed`` and ``model`` override what it says. Raises RecipeError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RecipeError(str(path), [Problem(0, "", f"is larger than {MAX_FILE_BYTES:,} bytes: no recipe")])
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(str(path), [Problem(0, "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [Problem(0, "", f"is not UTF-8 (byte {error.start})")]) from None
    return parse(source, path, target=target, seed=seed, model=model)


def parse(
    source: str,
    path: Path,
    *,
    target: str | None = None,
    seed: int | None = None,
    model: str | None = None,
    guest: bool = False,
) -> Recipe:
    """The same for a text; ``path`` names it in errors, and its folder is where seed files are looked for. ``guest``:
    see ``guests``."""
    source = source.removeprefix("\ufeff")
    try:
        values = tomllib.loads(source)
    except ValueError as error:  # tomllib's own, and Python's of a number with thousands of digits
        found = re.search(r"line (\d+)", str(error))
        raise RecipeError(str(path), [Problem(int(found.group(1)) if found else 0, "", f"no TOML: {error}")]) from None
    except RecursionError:
        raise _too_deep(path) from None
    if _deep(values):
        raise _too_deep(path)
    notes = Notes(Lines(source), guest=guest)
    recipe = _read(Table(values, (), notes), source, path, target)
    _check_whole(recipe, notes)
    for key, words in excesses(recipe) if guest else ():
        notes.add(key, words)
    if notes.problems:
        raise RecipeError(str(path), notes.problems)
    recipe = replace(recipe, seed=recipe.seed if seed is None else seed, model=model or recipe.model)
    recipe = replace(recipe, digest=_digest(values, recipe))
    _try(recipe)
    return recipe


def _deep(values: Any) -> bool:
    """Whether there are more than MAX_NESTING tables and lists within one another."""
    level = [values]
    for _ in range(MAX_NESTING):
        within = [value.values() if isinstance(value, dict) else value for value in level]
        level = [inner for value in within for inner in value if isinstance(inner, dict | list)]
    return bool(level)


def _too_deep(path: Path) -> RecipeError:
    words = f"nests far too deep for a recipe: more than {MAX_NESTING} tables and lists within one another"
    return RecipeError(str(path), [Problem(0, "", words)])


def _try(recipe: Recipe) -> None:
    """Makes the first items and prompts: what only shows on real values is told now. Raises RecipeError."""
    items = Items(recipe)
    try:
        for index in range(TRIED):
            items.first_call(items.item(index))
    except ItemFault as fault:
        line = Lines(recipe.source).of(fault.path)
        raise RecipeError(str(recipe.path), [Problem(line, dotted(fault.path), fault.words)]) from fault


def parse_target(text: str) -> Target:
    """``1GB``, ``20MB``, ``1GiB``, ``5M tokens``, ``1000 records``; a bare number is bytes. Raises ConfigError."""
    try:
        return _target(text)
    except ValueError as error:
        raise RecipeError("the target", [Problem(0, "target", str(error))]) from None


def _target(text: Any) -> Target:
    found = _SIZE.fullmatch(str(text).strip()) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if found is None:
        raise ValueError(f"{text!r} is no amount; {_SIZE_HELP}")
    number, scale, unit = found.groups()
    size = float(number.replace("_", "")) * _UNITS[(scale or "").lower()]
    if size >= MAX_TARGET:
        raise ValueError(f"is more than any disk holds; {_SIZE_HELP}")
    amount = math.ceil(size)
    if amount <= 0:
        raise ValueError(f"must be more than 0; {_SIZE_HELP}")
    named = (unit or "b").lower()
    kind = Unit.TOKENS if named.startswith("token") else Unit.RECORDS if named.startswith("record") else Unit.BYTES
    return Target(amount, kind)


def _read(top: Table, source: str, path: Path, target: str | None) -> Recipe:
    given = top.raw("target")
    goal = Target(1)
    try:
        goal = parse_target(target) if target is not None else _target(given)
    except ValueError as error:
        top.wrong("target", f"is missing; {_SIZE_HELP}" if given is None else str(error))
    columns = read_columns(top.table("columns"), path.parent)
    pack = _pack(top) if "pack" in top else None
    sampling = read_sampling(top.table("sampling"))
    linked = "links" in top
    steps = read_steps(top, columns, sampling, packed=pack is not None, linked=linked)
    recipe = Recipe(
        name=_name(top),
        target=goal,
        seed=top.whole("seed", 0, low=0, high=2**63 - 1),
        description=top.text("description"),
        model=top.text("model"),
        languages=top.texts("languages"),
        sampling=sampling,
        columns=columns,
        steps=steps,
        output=_output(top, [step.name for step in steps if step.judge is None], columns),
        pack=pack,
        salvage=top.whole("salvage", 2, low=0, high=10),
        filters=read_filters(top.table("filters"), path.parent),
        dedup=_dedup(top.table("dedup")),
        steering=_steering(top.table("steering"), columns),
        links=_links(top.table("links")) if linked else None,
        shards=_shards(top.table("shards")),
        card=_card(top.table("card")),
        digest="",
        path=path,
        source=source,
    )
    top.done()
    return recipe


def _name(top: Table) -> str:
    name = top.text("name", needed="give the corpus a name, like name = 'fables'")
    if name and not re.fullmatch(r"[\w][\w .-]{0,99}", name):
        top.wrong("name", "must be letters, digits, spaces, dots and dashes, 100 at most: it names files")
    return name


def _output(top: Table, steps: list[str], columns: tuple[Column, ...]) -> Output:
    table = top.table("output")
    step = table.text("step", steps[-1] if steps else "")
    if steps and step not in steps:
        table.wrong("step", f"there is no step {step!r}{nearest(step, steps)}")
    title = table.text("title")
    if title:
        seen = {column.name for column in columns if column.per is not Per.TEXT} | {"index", "cluster"}
        check_template(table, "title", title, seen, {column.name for column in columns})
    field = table.text("field")
    table.done()
    return Output(step, field, title)


def _pack(top: Table) -> Pack:
    """``pack = 10`` is short for a table with that count."""
    if isinstance(top.raw("pack"), int):
        return Pack(top.whole("pack", 2, low=2, high=100))
    table = top.table("pack")
    made = Pack(
        table.whole("count", 10, low=2, high=100),
        PackFormat(table.one_of("format", PackFormat, PackFormat.NUMBERED)),
    )
    table.done()
    return made


def _dedup(table: Table) -> DedupSpec:
    near = table.raw("near", 0.8)
    if near is not False:
        near = table.number("near", 0.8, low=0.3, high=1.0)
    made = DedupSpec(
        table.flag("exact", True),
        None if near is False else near,
        table.whole("window", 1_000_000, low=1000, high=2**31 - 1),
    )
    table.done()
    return made


def _steering(table: Table, columns: tuple[Column, ...]) -> SteeringSpec:
    by_name = {column.name: column for column in columns}
    names = table.texts("columns")
    for name in names:
        if name not in by_name:
            table.wrong("columns", f"there is no column {name!r}{nearest(name, by_name)}")
        elif isinstance(by_name[name].source, Range | SeedFile) or by_name[name].per is Per.TEXT or by_name[name].each:
            table.wrong("columns", f"{name!r} cannot be steered: use a column of values, a tree or expr, not per text")
    if len({by_name[name].per for name in names if name in by_name}) > 1:
        table.wrong("columns", "must all be drawn per record, or all per cluster")
    made = SteeringSpec(
        names,
        table.whole("every", 2000, low=10),
        table.number("retire", 0.5, low=0.01, high=1.0),
        table.number("collapse", 0.8, low=0.01, high=1.0),
    )
    table.done()
    return made


def _links(table: Table) -> LinkSpec:
    size = table.whole("cluster", 20, low=2, high=10_000)
    kinds = []
    for kind in table.tables("kind"):
        count = kind.raw("count", 1)
        ends = [count, count] if isinstance(count, int) else count
        good = isinstance(ends, list) and len(ends) == 2 and all(type(end) is int for end in ends)
        if not good or not 0 <= ends[0] <= ends[1] <= 50:
            kind.wrong("count", f"must be a number, or [least, most], from 0 to 50; is {count!r}")
            ends = [1, 1]
        name = kind.text("name", needed="give this kind of link a name, like name = 'related'")
        to = kind.one_of("to", ("cluster", "far", "next", "hub"), "cluster")
        if to in ("next", "hub") and ends[1] > 1:
            kind.wrong("count", f"there is only one {to}; write count = 1 or [0, 1]")
        if to == "cluster" and ends[1] >= size:
            kind.wrong(
                "count", f"a page has only {size - 1} others in its cluster; ask for fewer or raise links.cluster"
            )
        kinds.append(LinkKind(name, to, (ends[0], ends[1])))
        kind.done()
    if not kinds:
        table.wrong("kind", "is missing; write one or more [[links.kind]] with name, to and count")
    table.done()
    return LinkSpec(size, tuple(kinds))


def _shards(table: Table) -> Shards:
    size = Shards().size
    if "size" in table:
        given = table.raw("size")
        try:
            goal = _target(given)
        except ValueError as error:
            table.wrong("size", str(error))
        else:
            size = goal.amount
            if goal.unit is not Unit.BYTES or not 64_000 <= size <= 16 * 10**9:
                table.wrong("size", f"must be bytes from '64KB' to '16GB', is {given!r}")
    made = Shards(size, ShardFormat(table.one_of("format", ShardFormat, ShardFormat.JSONL_ZST)))
    table.done()
    return made


def _card(table: Table) -> Card:
    made = Card(table.text("title"), table.text("license", "other"), table.texts("tags"))
    table.done()
    return made


def _check_whole(recipe: Recipe, notes: Notes) -> None:
    """What no table can see alone."""
    if recipe.links and not recipe.output.title:
        notes.add(("output", "title"), "is missing: pages link by title; write one, like title = '{{ topic }}'")
    if recipe.links is None:
        for column in recipe.columns:
            if column.per is Per.CLUSTER:
                notes.add(("columns", column.name, "per"), "there are no clusters without [links]; leave per out")
    if recipe.pack is None:
        for column in recipe.columns:
            if column.per is Per.TEXT:
                notes.add(("columns", column.name, "per"), "there is one text a record without pack; leave per out")
    finite = [column for column in recipe.columns if column.name in recipe.steering.columns]
    cells = math.prod(
        len(column.source.values if isinstance(column.source, Values) else column.source.leaves)
        for column in finite
        if isinstance(column.source, Values | Tree)
    )
    if cells > 4096:
        notes.add(("steering", "columns"), f"make {cells:,} cells, too many to tell apart; 4,096 is the most")
    chosen = recipe.filters.language_column
    if chosen and chosen not in {column.name for column in recipe.columns}:
        notes.add(
            ("filters", "language_column"),
            f"there is no column {chosen!r}{nearest(chosen, [column.name for column in recipe.columns])}",
        )
    check_languages(recipe, notes)


def check_languages(recipe: Recipe, notes: Notes) -> None:
    from hubbub.corpus.quality.scripts import SCRIPTS_OF

    column = next((column for column in recipe.columns if column.name == recipe.filters.language_column), None)
    sources = (column.source, *(case.source for case in column.cases)) if column else ()
    said = {str(value) for source in sources if isinstance(source, Values) for value in source.values}
    for language in sorted(said - SCRIPTS_OF.keys()):
        words = f"column {recipe.filters.language_column!r} can be {language!r}, which is no language code known here"
        notes.add(("filters", "language_column"), f"{words}; use codes like ru and en")
    for language in recipe.languages:
        if language not in SCRIPTS_OF:
            notes.add(("languages",), f"{language!r} is no language known here{nearest(language, SCRIPTS_OF)}")


def _digest(values: Mapping[str, Any], recipe: Recipe) -> str:
    """Covers what decides item i and its acceptance; a run may be given a further target and go on."""
    deciding = {key: value for key, value in values.items() if key not in ("target", "shards", "card", "description")}
    deciding |= {"seed": recipe.seed, "model": recipe.model}
    hasher = hashlib.sha256(msgspec.json.encode(deciding, order="deterministic"))
    for column in recipe.columns:
        for source in (column.source, *(case.source for case in column.cases)):
            if isinstance(source, SeedFile):
                hasher.update(msgspec.json.encode(source.rows, order="deterministic"))
    for step in recipe.steps:
        if step.schema is not None:
            hasher.update(msgspec.json.encode(step.schema, order="deterministic"))
    return hasher.hexdigest()
