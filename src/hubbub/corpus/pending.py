"""What is decided and not on the disk yet, gathered into the group of the next commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from hubbub.corpus.judge import Verdict
from hubbub.corpus.reading import Sample
from hubbub.corpus.record import encode
from hubbub.corpus.runlog import Group

SAMPLES_MOST = 64
SAMPLE_CHARS = 500


class Pending:
    """Of the indices from ``start`` on."""

    def __init__(self, start: int) -> None:
        self._told: Counter[str] = Counter()
        self._begin(start)

    def _begin(self, start: int) -> None:
        self._lo = self._hi = start
        self._lines: list[bytes] = []
        self._counts: Counter[str] = Counter()
        self._failed: list[int] = []
        self._salvaged: list[int] = []
        self._samples: list[Sample] = []
        self._epochs: dict[int, bytes] = {}

    @property
    def records(self) -> int:
        return len(self._lines)

    @property
    def empty(self) -> bool:
        return self._lo == self._hi

    def add(self, verdict: Verdict) -> None:
        self._hi = verdict.place + 1
        counts = self._counts
        counts["items"] += 1
        if verdict.item.round:
            counts["salvage_tries"] += 1
        if verdict.failed:
            self._failed.append(verdict.item.index)
            counts[f"failed:{verdict.rejected[0].reason}"] += 1
        elif verdict.item.round:
            self._salvaged.append(verdict.item.index)
            counts["salvaged"] += 1
        for record in verdict.records:
            self._lines.append(encode(record))
            counts["records"] += 1
            counts["bytes"] += record.bytes
            counts["tokens"] += record.tokens
        for rejected in verdict.rejected:
            counts[f"rejected:{rejected.reason}"] += 1
            self._sample(Sample(rejected.reason, rejected.index, rejected.sample))
        if verdict.epoch is not None:
            self._epochs[verdict.epoch.epoch] = msgspec.json.encode(verdict.epoch)

    def cut(self, note: bytes, counted: Mapping[str, int], live: bytes) -> Group:
        """The group of all that is gathered; then it is empty. ``counted``: counters of this process, ever rising."""
        for name, value in counted.items():
            self._counts[name] += value - self._told[name]
        self._told = Counter(counted)
        group = Group(
            done=((self._lo, self._hi),),
            lines=self._lines,
            counts=self._counts,
            failed=self._failed,
            salvaged=self._salvaged,
            samples=self._samples,
            epochs=self._epochs,
            note=note,
            live=live.decode(),
        )
        self._begin(self._hi)
        return group

    def _sample(self, sample: Sample) -> None:
        if len(self._samples) < SAMPLES_MOST:
            self._samples.append(Sample(sample.reason, sample.item, sample.text[:SAMPLE_CHARS]))
