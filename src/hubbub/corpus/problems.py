"""Reading a recipe's tables: every fault is noted with its line, its key and the fix, and all are shown at once."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.corpus.toml_lines import Lines, Path

_KINDS: dict[type | tuple[type, ...], str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    (int, float): "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """``line`` counts from 1; 0 where the file as a whole is meant."""

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.key + ': ' if self.key else ''}{self.message}"


class RecipeError(ConfigError):
    """The recipe is wrong. ``problems`` are all its faults, in the order of their lines."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        shown = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{name} cannot be used:\n{shown}", param=self.problems[0].key if self.problems else None)


class ItemFault(ConfigError):
    """A template that fails on the values of one item. ``path``: of its key in the recipe."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{dotted(path)}: {message}", param=dotted(path))
        self.path = path
        self.words = message


class Notes:
    """The faults found so far in one recipe. ``guest``: it is of somebody who may ask here, but is not to reach the
    machine: it names no file, no code, no address, and no pattern that could take for ever."""

    def __init__(self, lines: Lines, *, guest: bool = False) -> None:
        self.lines = lines
        self.guest = guest
        self.problems: list[Problem] = []

    def add(self, path: Path, message: str, *, text_line: int = 0) -> None:
        """``text_line``: the fault is in that line of the text at ``path``."""
        line = self.lines.within(path, text_line) if text_line else self.lines.of(path)
        self.problems.append(Problem(line, dotted(path), message))


def dotted(path: Path) -> str:
    """``steps[1].prompt``, as people write it."""
    shown = ""
    for part in path:
        shown += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if shown else ''}{part}"
    return shown


def is_number(value: Any) -> bool:
    """TOML also has ``inf``, ``nan`` and whole numbers beyond every float, with which nothing can be drawn."""
    most = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about a name that does not exist."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(names)}" if names else ""


class Table:
    """One table of the file. A getter notes a value of the wrong kind and answers with the default in its place;
    ``done`` notes the keys that no getter asked for."""

    def __init__(self, values: Mapping[str, Any], path: Path, notes: Notes) -> None:
        self.values = values
        self.path = path
        self.notes = notes
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)
        return key in self.values

    def wrong(self, key: str, message: str) -> None:
        self.notes.add((*self.path, key) if key else self.path, message)

    def raw(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self.values.get(key, default)

    def text(self, key: str, default: str = "", *, needed: str = "") -> str:
        """``needed``: what to write, where the key must be there and must not be empty."""
        value: str = self._typed(key, str, default)
        if needed and not value.strip() and (key not in self.values or isinstance(self.values[key], str)):
            self.wrong(key, f"is missing; {needed}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._typed(key, bool, default))

    def whole(self, key: str, default: int | None, *, low: int | None = None, high: int | None = None) -> Any:
        return self._bounded(key, int, default, low, high)

    def number(self, key: str, default: float | None, *, low: float | None = None, high: float | None = None) -> Any:
        value = self._bounded(key, (int, float), default, low, high)
        return None if value is None else float(value)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; one text alone stands for a list of one."""
        value = self.raw(key, list(default))
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            self.wrong(key, f"must be a list of texts, is {value!r}")
            return default
        return tuple(value)

    def one_of(self, key: str, choices: Iterable[str], default: str) -> str:
        value = self.text(key, default)
        names = list(choices)
        if value not in names:
            self.wrong(key, f"is {value!r}{nearest(value, names)}")
            return default
        return value

    def table(self, key: str) -> Table:
        return Table(self._typed(key, dict, {}), (*self.path, key), self.notes)

    def tables(self, key: str) -> list[Table]:
        """An array of tables; a single table stands for a list of one."""
        value = self.raw(key, [])
        if isinstance(value, dict):
            return [Table(value, (*self.path, key), self.notes)]
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.wrong(key, f"must be one or more tables, written [[{dotted((*self.path, key))}]]")
            return []
        return [Table(entry, (*self.path, key, number), self.notes) for number, entry in enumerate(value)]

    def done(self) -> None:
        for key in self.values:
            if key not in self._asked:
                self.wrong(key, f"there is no such key here{nearest(key, self._asked)}")

    def _typed(self, key: str, kind: Any, default: Any) -> Any:
        value = self.raw(key, default)
        if value is default or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        self.wrong(key, f"must be {_KINDS[kind]}, is {value!r}")
        return default

    def _bounded(self, key: str, kind: Any, default: Any, low: float | None, high: float | None) -> Any:
        value = self._typed(key, kind, default)
        if value is default:
            return value
        if not is_number(value):
            self.wrong(key, f"must be a number that can be counted with, is {value!s:.40}")
            return default
        if (low is not None and value < low) or (high is not None and value > high):
            ends = f"from {low:g} to {high:g}" if low is not None and high is not None else ""
            ends = ends or (f"{low:g} or more" if low is not None else f"{high:g} or less")
            self.wrong(key, f"must be {ends}, is {value:g}")
            return default
        return value
