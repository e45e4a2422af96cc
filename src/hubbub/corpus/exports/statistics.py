"""What the dataset card says in numbers: one pass over the records, in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import xxhash

from hubbub.corpus.diversity import EXCERPT, Measures, measured
from hubbub.corpus.record import Record

SAMPLE = 2000
"""Records whose beginnings the diversity is measured on: those with the smallest hash of their id."""
MOST_VALUES = 1000


@dataclass(slots=True)
class Statistics:
    records: int = 0
    bytes: int = 0
    characters: int = 0
    tokens: int = 0
    links: int = 0
    in_text: int = 0
    """Links that the text itself names."""
    languages: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Characters, by the power of two below."""
    values: dict[str, Counter[str]] = field(default_factory=dict)
    """Column -> how often each value, for columns of at most 1,000 texts."""
    measures: Measures = field(default_factory=Measures)


def gathered(records: Iterable[Record]) -> Statistics:
    found = Statistics()
    sample: dict[int, str] = {}
    least = 2**64
    for record in records:
        _count(found, record)
        key = xxhash.xxh3_64_intdigest(record.id.encode())
        if key < least:
            sample[key] = record.text[:EXCERPT]
            if len(sample) > 2 * SAMPLE:
                kept = sorted(sample)[:SAMPLE]
                sample = {key: sample[key] for key in kept}
                least = kept[-1]
    found.measures = measured([sample[key] for key in sorted(sample)[:SAMPLE]])
    return found


def _count(found: Statistics, record: Record) -> None:
    found.records += 1
    found.bytes += record.bytes
    found.characters += len(record.text)
    found.tokens += record.tokens
    found.links += len(record.links)
    found.in_text += sum(link.start >= 0 for link in record.links)
    found.languages[record.lang or "unknown"] += 1
    found.models[record.model or "unknown"] += 1
    found.kinds.update(link.kind for link in record.links)
    found.lengths[max(0, len(record.text).bit_length() - 1)] += 1
    for name, value in record.columns.items():
        word = value[0] if isinstance(value, list) and value else value
        counts = found.values.setdefault(name, Counter())
        if isinstance(word, str) and (word in counts or len(counts) < MOST_VALUES):
            counts[word] += 1
