"""How varied texts are: distinct n-grams, compression ratio, near-duplicates, for each template cell and for all.

Memory is bounded: of each cell and epoch, the first 16 texts leave an excerpt of 200 characters. Excerpts of one length
also keep the measures comparable: a compression ratio flatters short texts (arXiv 2507.15092). Texts are counted before
deduplication (it is the model and the prompts that are judged), after the filters.

Compression ratio and n-grams together tell nearly what the slower measures do (Shaib et al., arXiv 2403.00553).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

EXCERPT = 200
"""Characters."""
SAMPLE = 16
"""Excerpts of a cell in one epoch."""
MAX_CELLS = 4096
OTHERS = "(others)"
"""Where cells beyond the first 4,096 of an epoch are counted."""


@dataclass(frozen=True, slots=True)
class Measures:
    """``distinct_1`` and ``distinct_2``: different words and pairs of words, as a share of all. ``compression``: bytes
    before over bytes after zlib; higher is less varied. 0 where there is no text."""

    distinct_1: float = 0.0
    distinct_2: float = 0.0
    compression: float = 0.0


def measured(texts: Sequence[str]) -> Measures:
    """Over all ``texts`` together."""
    words: list[list[str]] = [text.lower().split() for text in texts]
    singles = [word for text in words for word in text]
    pairs = [pair for text in words for pair in pairwise(text)]
    whole = "\n".join(texts).encode()
    if not whole:
        return Measures()
    return Measures(
        len(set(singles)) / len(singles) if singles else 0.0,
        len(set(pairs)) / len(pairs) if pairs else 0.0,
        len(whole) / len(zlib.compress(whole, 6)),
    )


@dataclass(slots=True)
class CellStats:
    """One cell in one epoch, or in several until it has texts enough. ``texts`` passed the filters; ``duplicates`` of
    them were exact or near."""

    texts: int = 0
    duplicates: int = 0
    excerpts: list[str] = field(default_factory=list)

    @property
    def duplicate_rate(self) -> float:
        return self.duplicates / self.texts if self.texts else 0.0


@dataclass(slots=True)
class EpochStats:
    """All cells of one epoch."""

    cells: dict[str, CellStats] = field(default_factory=dict)

    def add(self, cell: str, text: str, duplicate: bool) -> str:
        """Counts one text. What is kept of it; "" where the cell has excerpts enough."""
        if cell not in self.cells and len(self.cells) >= MAX_CELLS:
            cell = OTHERS
        stats = self.cells.setdefault(cell, CellStats())
        stats.texts += 1
        stats.duplicates += duplicate
        if len(stats.excerpts) >= SAMPLE or not text:
            return ""
        stats.excerpts.append(text[:EXCERPT])
        return text[:EXCERPT]

    @property
    def texts(self) -> int:
        return sum(stats.texts for stats in self.cells.values())

    @property
    def duplicate_rate(self) -> float:
        return sum(stats.duplicates for stats in self.cells.values()) / max(1, self.texts)

    def short_of(self, texts: int) -> EpochStats:
        """The cells that have fewer than so many, to be counted on in the next epoch."""
        rest = {
            cell: CellStats(stats.texts, stats.duplicates, list(stats.excerpts))
            for cell, stats in self.cells.items()
            if stats.texts < texts
        }
        return EpochStats(rest)

    def sample(self, most: int = 512) -> list[str]:
        """Excerpts of all cells, from each in turn."""
        return list(_in_turns([stats.excerpts for stats in self.cells.values()], most))


def _in_turns(lists: Sequence[Sequence[str]], most: int) -> Iterable[str]:
    given = 0
    for place in range(max(map(len, lists), default=0)):
        for entries in lists:
            if place < len(entries):
                if given == most:
                    return
                given += 1
                yield entries[place]
