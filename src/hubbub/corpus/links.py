"""Hypertext: which records link to which, without any table of records.

Theory of operation. Items stand in clusters of consecutive indexes. The targets of a text are drawn from (run seed,
index, part, kind): others of its own cluster, pages of earlier clusters, the next one, the hub (the cluster's first).
Titles are made of columns, so a page's prompt knows the titles it must link to, also of pages that are not written yet.
No target lies in a later cluster, and a steering epoch is a whole number of clusters, so a title never needs weights
that are not decided yet.

A target may be rejected later, or the run may end before it. Links of the finished set are made valid in one pass over
the records once it is known which were accepted (one bit each): a link to a missing text goes to the nearest accepted
one of the same cluster, and where there is none it is dropped. A span of the text names the old target, so a link that
was moved gives its span up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from hubbub.corpus.draws import bits, in_turn, unit
from hubbub.corpus.recipe import LinkSpec
from hubbub.corpus.record import Link, Record, node_of, record_id

_WIKI = re.compile(r"\[\[([^\[\]|\n]{1,200})(?:\|([^\[\]\n]{1,200}))?\]\]")


class Graph:
    """Targets of one run's texts. Pure."""

    def __init__(self, spec: LinkSpec, seed: int, texts_per_item: int = 1) -> None:
        self.spec = spec
        self._seed = seed
        self._parts = texts_per_item

    def cluster(self, index: int) -> int:
        return index // self.spec.cluster

    def targets(self, index: int, part: int = 0) -> list[tuple[str, int, int]]:
        """(kind, index, part) of each target; none twice, never the text itself."""
        found: list[tuple[str, int, int]] = []
        taken = {(index, part)}
        for kind in self.spec.kinds:
            least, most = kind.count
            count = least + int(unit(self._seed, "links", kind.name, index, part) * (most - least + 1))
            for node in self._drawn(kind.to, kind.name, index, part, count):
                if node not in taken:
                    taken.add(node)
                    found.append((kind.name, *node))
        return found

    def _drawn(self, to: str, kind: str, index: int, part: int, count: int) -> Iterator[tuple[int, int]]:
        size = self.spec.cluster
        cluster, place = divmod(index, size)
        for number in range(count):
            draw = bits(self._seed, "target", kind, index, part, number)
            if to == "cluster":
                other = in_turn(self._seed, f"target {kind} {index} {part}", number, size - 1)
                yield cluster * size + other + (other >= place), draw % self._parts
            elif to == "far" and cluster:
                yield (draw >> 20) % (cluster * size), draw % self._parts
            elif to == "next" and place + 1 < size:
                yield index + 1, draw % self._parts
            elif to == "hub":
                yield cluster * size, 0


class Accepted:
    """Which texts are in the finished set: one bit for each text of the run."""

    def __init__(self, texts_per_item: int = 1) -> None:
        self.texts_per_item = texts_per_item
        self._bits = bytearray()

    def add(self, record: str) -> None:
        index, part = node_of(record)
        place = index * self.texts_per_item + part
        if place >> 3 >= len(self._bits):
            self._bits.extend(bytes(max(4096, (place >> 3) + 1 - len(self._bits))))
        self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, record: object) -> bool:
        return isinstance(record, str) and self.has(*node_of(record))

    def has(self, index: int, part: int = 0) -> bool:
        place = index * self.texts_per_item + part
        return place >> 3 < len(self._bits) and bool(self._bits[place >> 3] >> (place & 7) & 1)


def resolve(record: Record, accepted: Accepted, cluster: int, title_of: Callable[[int, int], str]) -> Record:
    """The record with links that are all valid in the finished set. ``cluster``: its size in items."""
    if all(link.target in accepted for link in record.links):
        return record
    taken = {record.id} | {link.target for link in record.links if link.target in accepted}
    links = []
    for link in record.links:
        if link.target in accepted:
            links.append(link)
            continue
        node = _nearest(*node_of(link.target), accepted, cluster, taken)
        if node is not None:
            target = record_id(*node)
            taken.add(target)
            links.append(Link(link.kind, target, title_of(*node)))
    return _with_links(record, tuple(links))


def _nearest(index: int, part: int, accepted: Accepted, cluster: int, taken: set[str]) -> tuple[int, int] | None:
    first = index - index % cluster
    near = sorted(range(first, first + cluster), key=lambda other: (abs(other - index), other))
    for other in near:
        for step in range(accepted.texts_per_item):
            node = (other, (part + step) % accepted.texts_per_item)
            if accepted.has(*node) and record_id(*node) not in taken:
                return node
    return None


def _with_links(record: Record, links: tuple[Link, ...]) -> Record:
    made = {name: getattr(record, name) for name in record.__struct_fields__}
    return Record(**{**made, "links": links})


def placed(text: str, links: tuple[Link, ...]) -> tuple[str, tuple[Link, ...]]:
    """The text without ``[[brackets]]``, and the links with the places where it names their targets.

    A bracket around a title that is none of the links' is plain text. Else the first place that says the title, also
    with another ending of its last word (Russian declines titles), that no other link has taken.
    """
    taken: list[tuple[int, int]] = []
    spans: dict[str, tuple[int, int]] = {}
    if "[[" in text:
        text = _unbracketed(text, {link.title.casefold(): link.target for link in links}, spans)
        taken.extend(spans.values())
    done = []
    low = text.lower()
    for link in sorted(links, key=lambda link: -len(link.title)):
        span = spans.get(link.target) or _named(text, low, link.title, taken)
        if span:
            taken.append(span)
        done.append(Link(link.kind, link.target, link.title, *span) if span else link)
    order = {link.target: place for place, link in enumerate(links)}
    return text, tuple(sorted(done, key=lambda link: order[link.target]))


def _unbracketed(text: str, known: dict[str, str], spans: dict[str, tuple[int, int]]) -> str:
    pieces: list[str] = []
    size = end = 0
    for match in _WIKI.finditer(text):
        said = (match.group(2) or match.group(1)).strip()
        before = text[end : match.start()]
        size += len(before)
        target = known.get(match.group(1).strip().casefold())
        if target and target not in spans:
            spans[target] = (size, size + len(said))
        pieces += [before, said]
        size += len(said)
        end = match.end()
    return "".join(pieces) + text[end:]


def _named(text: str, low: str, title: str, taken: list[tuple[int, int]]) -> tuple[int, int] | None:
    stems = _stems(title)
    if not stems or any(stem not in low for stem in stems):
        return None
    for match in _title_pattern(stems).finditer(text):
        if all(match.end() <= start or match.start() >= end for start, end in taken):
            return match.span()
    return None


@lru_cache(maxsize=8192)
def _stems(title: str) -> tuple[str, ...]:
    """The words of a title without the ends that change when it is declined."""
    words = title.lower().split()
    return tuple(word[:-2] if len(word) > 5 else word[:-1] if len(word) > 3 else word for word in words)


@lru_cache(maxsize=8192)
def _title_pattern(stems: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)" + r"\w{0,3}\s+".join(map(re.escape, stems)) + r"\w{0,3}(?!\w)", re.IGNORECASE)
