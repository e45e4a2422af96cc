"""Which texts become records. Filters judge a text alone; the rest is decided in index order.

Theory of operation. ``screen`` is pure and can run anywhere, in any order. ``admit`` is called with the screened items
in the order of their indexes, whatever order their answers came in, and decides against the texts admitted before:
duplicates, the steering's counts, a streak of rejections that ends the run. So the same answers make the same records,
whatever was killed and resumed in between.

``drain`` gives what was decided since the last drain, as bytes to be stored with the records; ``replay`` takes them in
the same order, and leaves a fresh judge in the very state of the one that was drained.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import msgspec

from hubbub.corpus.answers import RejectedAnswer, shares, whole_sentences
from hubbub.corpus.diversity import EpochStats, Measures, measured
from hubbub.corpus.items import Items, Outcome, Said, WorkItem
from hubbub.corpus.links import placed as with_places
from hubbub.corpus.places import Placed, Places, Waiting
from hubbub.corpus.quality.screen import Screen
from hubbub.corpus.recipe import Cut, Recipe, Tree, Values
from hubbub.corpus.record import Link, Record, record_id
from hubbub.corpus.sampler import plain
from hubbub.corpus.steering import ENOUGH_TEXTS, LAG, EpochWeights, Steering

SAMPLES = 5
"""Rejected texts kept to show why a run stopped."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text, screened. ``reason`` is why a filter rejected it. Where it is None there are record and signature."""

    part: int
    text: str
    reason: str | None
    record: Record | None = None
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Screened:
    """One work item's texts after the filters. ``place``: of the item. ``failed``: it was given up."""

    place: int
    cell: str
    candidates: tuple[Candidate, ...]
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """One text that became no record. ``reason``: a short stable key. ``part`` is -1 where the whole item failed."""

    index: int
    part: int
    reason: str
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the item at one place. ``epoch``: weights that this item, the last of its epoch, decided; record
    them in the same commit as the records."""

    place: int
    item: Placed
    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...] = ()
    failed: bool = False
    epoch: EpochWeights | None = None


@dataclass(slots=True)
class Totals:
    """Of the run so far. ``bytes`` and ``tokens`` are those of accepted texts."""

    items: int = 0
    records: int = 0
    bytes: int = 0
    tokens: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    @property
    def texts(self) -> int:
        return self.records + self.rejected.total()


class _Text(msgspec.Struct, array_like=True):
    """One text of a note. ``signature`` is that of a record; ``passed``: it was seen by the deduplication."""

    part: int
    reason: str
    passed: bool
    excerpt: str
    signature: bytes
    size: int
    tokens: int
    lang: str


class _Item(msgspec.Struct, array_like=True):
    place: int
    cell: str
    texts: list[_Text]
    failed: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Item])


class Judge:
    """The acceptance of one run."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises CustomFault for a custom filter that cannot be loaded."""
        from hubbub.corpus.dedup import Deduper  # brings numpy along, which a server without a corpus has no use for

        self.recipe = recipe
        self.next_place = 0
        self.totals = Totals()
        self.stopped = ""
        self.deduper = Deduper(recipe.dedup)
        self._items = Items(recipe)
        self._screen = Screen(recipe, self._items.literals)
        self._steering = Steering(recipe.steering, _cells(recipe))
        self._decided = EpochWeights(LAG - 1)
        self._places = Places(recipe.epoch)
        self._waiting = Waiting(recipe.salvage, recipe.epoch)
        self._stats = EpochStats()
        self._last_stats: EpochStats | None = None
        self._streak = 0
        self._recent: deque[Rejected] = deque(maxlen=SAMPLES)
        self._notes: list[_Item] = []

    def screen(self, item: WorkItem, said: Sequence[Said]) -> Screened:
        """The item's texts after the filters that judge a text alone. Pure. Raises ConfigError where a custom filter
        fails."""
        try:
            outcome = self._items.outcome(item, said)
        except RejectedAnswer as fault:
            return Screened(item.place, item.cell, (Candidate(-1, fault.sample, fault.reason),))
        tokens = shares(outcome.said.tokens, [text for text, _ in outcome.texts])
        candidates = tuple(self._candidate(item, outcome, part, tokens[part]) for part in range(len(outcome.texts)))
        return Screened(item.place, item.cell, candidates)

    def consider(self, item: WorkItem, said: Sequence[Said]) -> Verdict:
        """``admit`` of ``screen``."""
        return self.admit(self.screen(item, said))

    def give_up(self, place: int, reason: str, sample: str = "") -> Verdict:
        """An item that failed: counted by its reason, in its place, and asked for again in a later epoch where the
        recipe has a salvage round left for it."""
        return self.admit(Screened(place, "", (Candidate(-1, sample, reason),), failed=True))

    def admit(self, screened: Screened) -> Verdict:
        """The verdict on the next item. Raises ValueError for any other."""
        if screened.place != self.next_place:
            raise ValueError(f"place {screened.place} cannot be judged before place {self.next_place}")
        item = self._places.at(screened.place)
        records: list[Record] = []
        rejected: list[Rejected] = []
        note = _Item(screened.place, screened.cell, [], screened.failed)
        for candidate in screened.candidates:
            reason = candidate.reason or self.deduper.check(candidate.signature)
            if reason is None and candidate.record is not None:
                records.append(candidate.record)
                self.deduper.add(candidate.signature)
            else:
                rejected.append(Rejected(item.index, candidate.part, str(reason), candidate.text[:200]))
            note.texts.append(self._count(screened.cell, candidate, reason))
        self._recent.extend(rejected)
        self._notes.append(note)
        decided = self._advance(item, screened.failed)
        return Verdict(screened.place, item, tuple(records), tuple(rejected), screened.failed, decided)

    def drain(self) -> bytes:
        """What was decided since the last drain, for ``replay``; about 150 bytes a record, 20 a rejected text."""
        note = _encoder.encode(self._notes)
        self._notes = []
        return note

    def replay(self, note: bytes, recorded: Mapping[int, EpochWeights] | None = None) -> list[EpochWeights]:
        """Takes one drained note, after those before it. The weights that it decided: as they were ``recorded`` then,
        where they are given. Raises ValueError for a note out of order or of another recipe, msgspec.DecodeError for
        what is no note."""
        decided = []
        signatures: list[bytes] = []
        for item in _decoder.decode(note):
            if item.place != self.next_place:
                raise ValueError(f"the notes go on at place {item.place}, not {self.next_place}")
            placed = self._places.at(item.place)
            for text in item.texts:
                if text.signature:
                    if len(text.signature) != self.deduper.signature_bytes:
                        raise ValueError(f"place {item.place} has a signature of another recipe")
                    signatures.append(text.signature)
                self._counted(item.cell, text, text.excerpt)
                if text.reason:
                    self._recent.append(Rejected(placed.index, text.part, text.reason))
            weights = self._advance(placed, item.failed, recorded)
            if weights is not None:
                decided.append(weights)
        self.deduper.restore(signatures)
        return decided

    def diversity(self) -> Measures:
        """Of the last whole epoch, and of the running one before there is any."""
        stats = self._stats if self._last_stats is None else self._last_stats
        return measured(stats.sample())

    def _candidate(self, item: WorkItem, outcome: Outcome, part: int, tokens: int) -> Candidate:
        text, fields = outcome.texts[part]
        row: Mapping[str, Any] = item.rows[part] if item.rows else {}
        last_and_cut = outcome.said.finish == "length" and part == len(outcome.texts) - 1
        if last_and_cut and self.recipe.filters.cut is not Cut.KEEP:
            whole = whole_sentences(text) if self.recipe.filters.cut is Cut.TRIM else ""
            if not whole:
                return Candidate(part, text, "cut_short")
            text = whole
        links: tuple[Link, ...] = row.get("links", item.targets)
        if links or "[[" in text:
            text, links = with_places(text, links)
        columns = {**item.columns, **{name: value for name, value in row.items() if name not in ("title", "links")}}
        if outcome.score is not None and outcome.least_score is not None and outcome.score < outcome.least_score:
            return Candidate(part, text, "judge_score")
        reason, language = self._screen.reason(text, text.split(), tokens, columns)
        if reason:
            return Candidate(part, text, reason)
        record = Record(
            id=record_id(item.index, part),
            index=item.index,
            part=part,
            text=text,
            bytes=len(text.encode(errors="replace")),
            tokens=tokens,
            title=row.get("title", item.title),
            lang=language,
            columns={name: plain(value) for name, value in columns.items()},
            fields={**outcome.kept, **fields},
            links=links,
            cluster=self._items.graph.cluster(item.index) if self._items.graph else -1,
            score=outcome.score,
            seed=item.seed,
            attempt=outcome.said.attempt,
            model=outcome.said.model,
        )
        return Candidate(part, text, None, record, self.deduper.signature(text))

    def _count(self, cell: str, candidate: Candidate, reason: str | None) -> _Text:
        record = candidate.record
        text = _Text(
            part=candidate.part,
            reason=str(reason) if reason else "",
            passed=candidate.reason is None,
            excerpt="",
            signature=candidate.signature if reason is None else b"",
            size=record.bytes if record and not reason else 0,
            tokens=record.tokens if record and not reason else 0,
            lang=record.lang if record and not reason else "",
        )
        text.excerpt = self._counted(cell, text, candidate.text)
        return text

    def _counted(self, cell: str, text: _Text, said: str) -> str:
        """One text into the totals and the epoch's statistics. What these keep of it."""
        totals = self.totals
        if text.reason:
            totals.rejected[text.reason] += 1
            self._streak += 1
        else:
            totals.records += 1
            totals.bytes += text.size
            totals.tokens += text.tokens
            totals.languages[text.lang] += 1
            self._streak = 0
        return self._stats.add(cell, said, bool(text.reason)) if text.passed else ""

    def _advance(
        self, item: Placed, failed: bool, recorded: Mapping[int, EpochWeights] | None = None
    ) -> EpochWeights | None:
        """To the next place; closes an epoch at its end."""
        self.next_place += 1
        if failed:
            self._waiting.add(item)
        self.totals.items += 1
        if self._streak >= self.recipe.filters.stop_after and not self.stopped:
            self.stopped = self._all_rejected()
        if self.next_place % self.recipe.epoch:
            return None
        epoch = self.next_place // self.recipe.epoch - 1
        known = recorded.get(epoch + LAG) if recorded else None
        salvage = self._waiting.take()
        if known is None:
            known = replace(self._steering.next_epoch(epoch, self._stats, self._decided), salvage=salvage)
        self._decided = known
        self._places.learn(self._decided.epoch, self._decided.salvage)
        self._last_stats, self._stats = self._stats, self._stats.short_of(ENOUGH_TEXTS)
        self.stopped = self.stopped or self._decided.stop
        return self._decided

    def _all_rejected(self) -> str:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self.totals.rejected.most_common(5))
        samples = "; ".join(f"item {last.index} {last.reason}: {last.sample[:80]!r}" for last in self._recent)
        return f"the last {self._streak:,} texts were all rejected (in the whole run: {counts}). The last: {samples}"


def _cells(recipe: Recipe) -> int | None:
    """How many combinations the steered columns have; None where conditions or expressions make that unknown."""
    columns = [column for column in recipe.columns if column.name in recipe.steering.columns]
    if any(column.cases or not isinstance(column.source, Values | Tree) for column in columns):
        return None
    return prod(
        sum(1 for weight in source.weights if weight) or len(source.values)
        if isinstance(source := column.source, Values)
        else len(source.leaves)
        if isinstance(source, Tree)
        else 1
        for column in columns
    )
