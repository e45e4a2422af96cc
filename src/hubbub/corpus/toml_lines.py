"""Where each key of a TOML text stands. ``tomllib`` keeps no positions; the errors of a recipe name the line."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import accumulate

Path = tuple[str | int, ...]
_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=\s*(.*)$"""
)
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""+|'{3}.*?'{3,}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]''', re.DOTALL
)
"""Of a value: texts, comments, brackets, ends of lines."""
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


class Lines:
    """Line numbers (from 1) of the keys of one text that is valid TOML."""

    def __init__(self, source: str) -> None:
        self._at: dict[Path, int] = {}
        self._text_starts: dict[Path, int] = {}
        table: Path = ()
        counts: dict[Path, int] = {}
        lines = source.split("\n")
        ends = list(accumulate(len(line) + 1 for line in lines))
        number = 0
        while number < len(lines):
            line = lines[number]
            number += 1
            header = _HEADER.match(line)
            if header:
                table = self._table(header.group(2), header.group(1) == "[[", counts)
                self._at.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key is None:
                continue
            path = table + _parts(key.group(1))
            for length in range(len(table) + 1, len(path) + 1):
                self._at.setdefault(path[:length], number)
            opened = key.group(2)[:3]
            self._text_starts[path] = number + (opened in ('"""', "'''") and not key.group(2)[3:].strip())
            start = ends[number - 1] - len(line) - 1 + key.start(2)
            number = bisect_left(ends, _end_of_value(source, start) + 1) + 1

    def of(self, path: Path) -> int:
        """The key's line, or that of the nearest table around it; 1 where nothing of it stands in the text."""
        while path:
            if path in self._at:
                return self._at[path]
            path = path[:-1]
        return 1

    def within(self, path: Path, line: int) -> int:
        """The line of the file that line ``line`` (from 1) of the text at ``path`` is."""
        return self._text_starts.get(path, self.of(path)) + line - 1

    @staticmethod
    def _table(name: str, many: bool, counts: dict[Path, int]) -> Path:
        path: Path = ()
        parts = _parts(name)
        for position, part in enumerate(parts):
            path += (part,)
            if many and position == len(parts) - 1:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path += (counts[path],)
        return path


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _end_of_value(source: str, start: int) -> int:
    """Where the line ends that ends the value which begins at ``start``: it may go over many."""
    depth = 0
    for token in _TOKEN.finditer(source, start):
        mark = token.group()
        depth += (mark in "[{") - (mark in "]}")
        if mark == "\n" and not depth:
            return token.start()
    return len(source)
