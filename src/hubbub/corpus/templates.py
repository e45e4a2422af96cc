"""Templates of a recipe: Jinja2 in a sandbox, with bounds on what a template can be, do and become.

The bounds on the tree and the text are those of NVIDIA Data Designer (600 nodes, depth 10, 512k characters). Its size
alone does not bound a template, so here nothing that multiplies is left: loops nest twice at most and ``range`` stops
at 1,000; ``*``, ``**`` and ``%`` take numbers only, and what ``**`` makes is bounded, as is what ``join`` and
``replace`` make; of methods only those that cannot grow a text can be called; there is no set, with, macro, include,
import or block (a column with ``expr`` does what ``set`` would).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from hubbub.core.errors import ConfigError

MAX_NODES = 600
MAX_DEPTH = 10
MAX_CHARS = 512_000
MAX_RANGE = 1000
MAX_LOOPS = 2
MAX_BITS = 4096
"""Of a whole number that ``**`` makes."""
FILTERS = frozenset(
    {"abs", "capitalize", "count", "default", "d", "dictsort", "first", "float", "int", "items", "join", "last"}
    | {"length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select"}
    | {"selectattr", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper", "wordcount"}
)
METHODS = frozenset(
    {"upper", "lower", "title", "capitalize", "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "find"}
    | {"count", "index", "items", "keys", "values", "get", "isdigit", "isalpha", "isupper", "islower"}
)
_REFUSED: dict[type[jinja2.nodes.Node], str] = {
    jinja2.nodes.Macro: "macro",
    jinja2.nodes.CallBlock: "call",
    jinja2.nodes.Include: "include",
    jinja2.nodes.Import: "import",
    jinja2.nodes.FromImport: "import",
    jinja2.nodes.Extends: "extends",
    jinja2.nodes.Block: "block",
    jinja2.nodes.Assign: "set",
    jinja2.nodes.AssignBlock: "set",
    jinja2.nodes.With: "with",
}


_FAULTS = (jinja2.TemplateError, TypeError, LookupError, ValueError, ArithmeticError, AttributeError, AssertionError)
"""What Jinja2's filters raise for a value of the wrong kind."""


class TemplateFault(ConfigError):
    """A template that cannot be used, or that failed on its data. ``line`` counts from 1 within the template."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or (operator == "**" and (abs(right) > 64 or _bits(left) * abs(right) > MAX_BITS)):
            raise jinja2.exceptions.SecurityError(f"{operator} takes numbers only, and no great powers")
        return super().call_binop(context, operator, left, right)

    def is_safe_callable(self, obj: Any) -> bool:
        name = getattr(obj, "__name__", "")
        owner = getattr(obj, "__self__", None)
        if owner is None or obj is _short_range:
            return obj is _short_range
        return name in METHODS and isinstance(owner, str | dict | list | tuple)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    items = [str(entry[attribute] if attribute else entry) for entry in value]
    _bounded(sum(map(len, items)) + len(str(d)) * len(items))
    return str(d).join(items)


def _replace(value: Any, old: str, new: str) -> str:
    text = str(value)
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _bits(number: float) -> int:
    """Of a whole number; one with a fraction takes no more for being greater."""
    return number.bit_length() if isinstance(number, int) else 0


def _bounded(size: int) -> None:
    if size > MAX_CHARS:
        raise jinja2.exceptions.SecurityError(f"a text grows beyond {MAX_CHARS} characters")


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise jinja2.exceptions.SecurityError(f"range is longer than {MAX_RANGE}")
    return numbers


def _environment() -> _Sandbox:
    made = _Sandbox(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False)
    made.filters = {name: made.filters[name] for name in FILTERS}
    made.filters.update(join=_join, replace=_replace)
    made.globals.clear()
    made.globals["range"] = _short_range
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
    return made


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. ``names``: the variables it reads. ``literals``: its own long pieces of text, which an
    answer has no business to repeat."""

    source: str
    names: frozenset[str]
    literals: tuple[str, ...]
    _compiled: jinja2.Template
    constant: str = ""
    """What it comes to, where there is nothing in it but text."""

    def render(self, values: Mapping[str, Any]) -> str:
        """Raises TemplateFault where a value is missing or of the wrong kind, and beyond MAX_CHARS."""
        if self.constant:
            return self.constant
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._compiled.generate(values):
                size += len(piece)
                if size > MAX_CHARS:
                    raise TemplateFault(f"comes out longer than {MAX_CHARS} characters")
                pieces.append(piece)
        except _FAULTS as fault:
            raise TemplateFault(str(fault)) from fault
        return "".join(pieces)


@lru_cache(maxsize=1024)
def compiled(source: str) -> Template:
    """Raises TemplateFault for what is no Jinja2, or is out of bounds."""
    tree = _parsed(source)
    _check(tree)
    literals = tuple(
        line.strip()
        for node in tree.find_all(jinja2.nodes.TemplateData)
        for line in node.data.splitlines()
        if len(line.strip()) >= 40
    )
    names = frozenset(jinja2.meta.find_undeclared_variables(tree)) - {"range"}
    made = Template(source, names, literals, _ENVIRONMENT.from_string(source))
    return replace(made, constant=made.render({})) if "{" not in source else made


def nests(source: str) -> bool:
    """Whether it has a loop within a loop. Raises TemplateFault."""
    return any(loops > 1 for _, _, loops in _walk(_parsed(source)))


def condition(source: str) -> tuple[frozenset[str], Callable[[Mapping[str, Any]], bool]]:
    """A Jinja2 expression as a test: the names it reads, and the test. Raises TemplateFault as ``compiled`` does."""
    template = compiled("{% if " + source + " %}1{% endif %}")
    return template.names, lambda values: template.render(values) == "1"


def line_of(source: str, name: str) -> int:
    """The line of the template that first reads ``name``."""
    lines = [node.lineno for node in _parsed(source).find_all(jinja2.nodes.Name) if node.name == name]
    return min(lines, default=1)


def _parsed(source: str) -> jinja2.nodes.Template:
    try:
        return _ENVIRONMENT.parse(source)
    except jinja2.TemplateSyntaxError as fault:
        raise TemplateFault(f"is no Jinja2: {fault.message}", fault.lineno) from None
    except RecursionError:
        raise TemplateFault(f"nests deeper than {MAX_DEPTH}; move part of it to a column with expr") from None


def _check(tree: jinja2.nodes.Template) -> None:
    for count, (node, depth, loops) in enumerate(_walk(tree), 1):
        line = getattr(node, "lineno", 1)
        for refused, word in _REFUSED.items():
            if isinstance(node, refused):
                raise TemplateFault(f"{{% {word} %}} is not offered in a recipe", line)
        if isinstance(node, jinja2.nodes.For) and node.recursive:
            raise TemplateFault("a recursive loop has no bound", line)
        if isinstance(node, jinja2.nodes.Filter) and node.name not in FILTERS:
            raise TemplateFault(f"there is no filter {node.name!r}; there is {', '.join(sorted(FILTERS))}", line)
        if loops > MAX_LOOPS:
            raise TemplateFault(f"loops nest deeper than {MAX_LOOPS}: the prompt could grow without bound", line)
        if depth > MAX_DEPTH:
            raise TemplateFault(f"nests deeper than {MAX_DEPTH}; move part of it to a column with expr", line)
        if count > MAX_NODES:
            raise TemplateFault(f"has more than {MAX_NODES} nodes; split it over several steps or columns", line)


def _walk(node: jinja2.nodes.Node, depth: int = 0, loops: int = 0) -> Iterator[tuple[jinja2.nodes.Node, int, int]]:
    loops += isinstance(node, jinja2.nodes.For)
    yield node, depth, loops
    for child in node.iter_child_nodes():
        yield from _walk(child, depth + 1, loops)
