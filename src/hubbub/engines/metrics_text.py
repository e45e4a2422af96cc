"""Values out of the Prometheus text of a server's ``/metrics``. A server has thousands of lines; only those of the
wanted names are parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


class Samples:
    """Samples by metric name."""

    def __init__(self, text: str, names: Iterable[str]) -> None:
        """Lines that are no samples are passed over."""
        self._found: dict[str, list[Sample]] = {name: [] for name in names}
        starts = tuple(self._found)
        for line in text.splitlines():
            if not line.startswith(starts):
                continue
            match = _LINE.match(line)
            if match is None or match[1] not in self._found:
                continue
            try:
                value = float(match[3])
            except ValueError:
                continue
            self._found[match[1]].append(Sample(dict(_LABEL.findall(match[2] or "")), value))

    def all(self, name: str) -> list[Sample]:
        return self._found[name]

    def total(self, name: str) -> float:
        """Over all label sets (ranks, engines); 0 where there is none."""
        return sum(sample.value for sample in self._found[name])

    def most(self, name: str) -> float:
        return max((sample.value for sample in self._found[name]), default=0.0)
