"""Reading ``[columns.*]``: what each column draws from, and that it reads only the columns before it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hubbub.corpus.guests import NO_FILES
from hubbub.corpus.problems import Table, is_number, nearest
from hubbub.corpus.recipe import Case, Column, Expression, Per, Personas, Range, SeedFile, Source, Tree, Values
from hubbub.corpus.record import Value
from hubbub.corpus.templates import TemplateFault, compiled, condition, line_of, nests

RESERVED = frozenset({"index", "cluster", "title", "links", "rows", "count", "range", "loop", "text"})
"""Names a prompt has anyway."""
KINDS = ("values", "int", "float", "file", "personas", "tree", "expr")
_WIDEST_FIRST = (Per.CLUSTER, Per.RECORD, Per.TEXT)
"""A column reads those that are drawn as often as itself, or less."""
MAX_SEED_BYTES = 1_000_000_000


def read_columns(table: Table, folder: Path) -> tuple[Column, ...]:
    """The columns in the file's order. ``folder``: where the names of seed files start."""
    columns: list[Column] = []
    visible = {per: {"index", "cluster"} for per in Per}
    for name, given in table.values.items():
        table.raw(name)
        path = (*table.path, name)
        if not isinstance(given, dict):
            table.wrong(name, f"must be a table with one of {', '.join(KINDS)}; for a constant, values = [{given!r}]")
            continue
        if not name.isidentifier() or name in RESERVED:
            table.wrong(name, "cannot be a column's name: a prompt has its own, or it is no plain word; choose another")
        column = _column(name, Table(given, path, table.notes), visible, folder)
        columns.append(column)
        for per in _WIDEST_FIRST[_WIDEST_FIRST.index(column.per) :]:
            visible[per].add(name)
    return tuple(columns)


def _column(name: str, table: Table, before: Mapping[Per, set[str]], folder: Path) -> Column:
    """``before``: what a column that is drawn for each of these may read."""
    per = Per(table.one_of("per", Per, Per.RECORD))
    visible, known = before[per], before[_WIDEST_FIRST[-1]]
    cases = []
    for case in table.tables("case"):
        test = case.text("if", needed="write the test, like if = \"style == 'tale'\"")
        check_expression(case, "if", test, visible, known)
        cases.append(Case(test, _source(case, visible, known, folder)))
        case.done()
    source = _source(table, visible, known, folder)
    each = table.flag("each", False)
    if each and (cases or not isinstance(source, Values | SeedFile | Tree)):
        table.wrong("each", "goes with values, a file or a tree, and without case")
    if each and isinstance(source, Values) and source.weights:
        table.wrong("each", "takes every value in turn, so weights have no meaning; leave one of them out")
    table.done()
    return Column(name, source, tuple(cases), per, each)


def _source(table: Table, visible: set[str], known: set[str], folder: Path) -> Source:
    given = [kind for kind in KINDS if kind in table]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "says nothing to draw from"
        table.wrong(given[-1] if given else "", f"{said}; write exactly one of {', '.join(KINDS)}")
        return Values(("",))
    kind = given[0]
    if kind == "values":
        return _values(table)
    if kind in ("int", "float"):
        return _range(table, kind)
    if kind == "file":
        return _seeds(table, folder)
    if kind == "personas":
        traits = table.table("personas")
        return Personas({name: _trait(traits, name) for name in traits.values} or {"name": Values(("",))})
    if kind == "tree":
        leaves = tuple(_leaves(table.raw("tree"), ()))
        if not leaves:
            table.wrong("tree", "has no leaf; write lists or nested tables of topics")
        return Tree(leaves or (("",),))
    expression = table.text("expr")
    check_template(table, "expr", expression, visible, known)
    return Expression(expression)


def _values(table: Table, key: str = "values") -> Values:
    given = table.raw(key)
    weights: Any = table.raw("weights", [])
    if isinstance(given, dict):
        weights = list(given.values())
        given = list(given)
    if not isinstance(given, list) or not given:
        table.wrong(key, "must be a list with at least one value, or a table of value = weight")
        return Values(("",))
    if weights and (not isinstance(weights, list) or len(weights) != len(given)):
        table.wrong("weights", f"must be a list as long as {key} ({len(given)})")
        return Values(tuple(given))
    where = "weights" if "weights" in table.values else key
    if not all(is_number(weight) and weight >= 0 for weight in weights):
        table.wrong(where, "each weight must be a number, 0 or more")
        return Values(tuple(given))
    if not is_number(sum(weights)):
        table.wrong(where, "the weights sum to more than can be counted; make them smaller")
        return Values(tuple(given))
    if weights and not sum(weights):
        table.wrong(where, "the weights sum to 0, so nothing could be drawn; give at least one a weight above 0")
        return Values(tuple(given))
    return Values(tuple(given), tuple(float(weight) for weight in weights))


def _range(table: Table, kind: str) -> Range:
    ends = table.raw(kind)
    numbers = isinstance(ends, list) and len(ends) == 2
    numbers = numbers and all(map(is_number, ends))
    if not numbers or ends[0] > ends[1] or (kind == "int" and not all(isinstance(end, int) for end in ends)):
        table.wrong(kind, f"must be [lowest, highest], is {ends!r}")
        return Range(0, 1, kind == "int")
    if not is_number(ends[1] - ends[0]):
        table.wrong(kind, "is wider than can be counted; bring the ends nearer")
        return Range(0, 1, kind == "int")
    return Range(ends[0], ends[1], kind == "int")


def _trait(traits: Table, name: str) -> Values | Range:
    """A list is values; a table has ``int`` or ``float`` ends, or value = weight."""
    given = traits.raw(name)
    if isinstance(given, dict) and set(given) & {"int", "float", "values"}:
        inner = traits.table(name)
        kind = next(key for key in ("int", "float", "values") if key in inner)
        source = _values(inner) if kind == "values" else _range(inner, kind)
        inner.done()
        return source
    return _values(traits, name)


def _leaves(tree: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from _leaves(below, (*above, name))
        if not tree and above:
            yield above
    elif isinstance(tree, list):
        for below in tree:
            yield from _leaves(below, above)
        if not tree and above:
            yield above
    elif tree == "" or tree is True:
        if above:
            yield above
    else:
        yield (*above, str(tree))


def _seeds(table: Table, folder: Path) -> SeedFile:
    path = folder / table.text("file")
    field = table.text("field")
    if table.notes.guest:
        table.wrong("file", f"{NO_FILES}; write the lines as values")
        return SeedFile(path, field, ("",))
    try:
        rows = _rows(path)
    except OSError as error:
        table.wrong("file", f"{path} cannot be read: {error.strerror or error}")
        return SeedFile(path, field, ("",))
    except ValueError as error:
        table.wrong("file", f"{path}: {error}")
        return SeedFile(path, field, ("",))
    if not rows:
        table.wrong("file", f"{path} has no rows")
        return SeedFile(path, field, ("",))
    if field:
        lacking = next((row for row in rows if not isinstance(row, dict) or field not in row), None)
        if lacking is not None:
            names = lacking if isinstance(lacking, dict) else ()
            table.wrong("field", f"a row of {path.name} has no {field!r}{nearest(field, names)}")
            return SeedFile(path, field, ("",))
        rows = [row[field] for row in rows if isinstance(row, dict)]
    return SeedFile(path, field, tuple(rows))


def _rows(path: Path) -> list[Value]:
    """Raises OSError, and ValueError naming the line of a row that cannot be read."""
    if path.suffix not in (".txt", ".csv", ".jsonl"):
        raise ValueError("seeds are .txt (a line each), .csv (with a header) or .jsonl")
    if path.stat().st_size > MAX_SEED_BYTES:
        raise ValueError(f"is larger than {MAX_SEED_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start})") from None
    if path.suffix == ".txt":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix == ".csv":
        return list(_csv_rows(text))
    rows: list[Value] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                raise ValueError(f"line {number} is no JSON: {error}") from None
    return rows


def _csv_rows(text: str) -> Iterator[Value]:
    """Raises ValueError."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                fields = len(reader.fieldnames or ())
                raise ValueError(f"line {reader.line_num} has more or fewer fields than the {fields} of the header")
            yield row
    except csv.Error as error:
        raise ValueError(f"line {reader.reader.line_num}: {error}") from None


def check_template(table: Table, key: str, source: str, visible: set[str], known: set[str] | None = None) -> None:
    """Notes a template that cannot be used. ``visible``: the names it may read; ``known``: those that exist at all."""
    try:
        names = compiled(source).names
        nested = table.notes.guest and nests(source)
    except TemplateFault as fault:
        table.notes.add((*table.path, key), str(fault), text_line=fault.line)
        return
    if nested:
        table.wrong(key, "has a loop within a loop, which takes too long in the server; use a column with expr")
    for name in sorted(names - visible):
        table.notes.add((*table.path, key), _undefined(name, visible, known), text_line=line_of(source, name))


def check_expression(table: Table, key: str, source: str, visible: set[str], known: set[str] | None = None) -> None:
    """The same for a test, which stands without braces."""
    try:
        names, _ = condition(source)
    except TemplateFault as fault:
        table.wrong(key, f"{fault}; a test is an expression without braces, like style == 'tale'")
        return
    for name in sorted(names - visible):
        table.wrong(key, _undefined(name, visible, known))


def _undefined(name: str, visible: set[str], known: set[str] | None) -> str:
    if known and name in known:
        return f"{name!r} is drawn for each record or text, which is more often than this; move it to per = ..."
    return f"{name!r} is not defined at this point{nearest(name, visible)}"


def reads_of(columns: Mapping[str, Column], name: str) -> frozenset[str]:
    """Every column that ``name`` depends on, itself included."""
    if name not in columns:
        return frozenset()
    column = columns[name]
    sources = [column.source, *(case.source for case in column.cases)]
    names = frozenset().union(
        *(compiled(source.template).names for source in sources if isinstance(source, Expression)),
        *(condition(case.test)[0] for case in column.cases),
    )
    return frozenset({name}).union(*(reads_of(columns, read) for read in names if read != name))
