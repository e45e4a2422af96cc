"""Whether a run's folder holds what its log says: every shard, frame, record and count."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.errors import StorageError
from hubbub.corpus.converting import parquet_path
from hubbub.corpus.exports.parquet import made_from
from hubbub.corpus.reading import Reading, Shard
from hubbub.corpus.record import Record, decode
from hubbub.corpus.shards import Done, done_path, unpack
from hubbub.corpus.steering import EpochWeights

MANIFEST = "manifest.json"


class _Told(msgspec.Struct):
    """A shard, as the manifest has it."""

    name: str
    sha256: str
    closed: bool


class _Manifest(msgspec.Struct):
    shards: list[_Told]


@dataclass(slots=True)
class Report:
    """``faults``: one line each, empty when sound. ``notes``: what is odd and does no harm."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: int = 0
    bytes: int = 0
    shards: int = 0


def verify(folder: Path) -> Report:
    """Read everything, in flat memory. Raises StorageError where there is no run."""
    with Reading.open(folder) as reading:
        reading.database.execute("BEGIN")  # one view, whatever is committed meanwhile
        report = Report()
        order = _Order(report, _salvaged(reading))
        for shard in reading.shards():
            report.shards += 1
            lengths = [*reading.frames(shard.number), *([(shard.ending, 0)] if shard.ending else [])]
            for line in _lines(folder, shard, lengths, report):
                order.see(line, shard.name)
        known = not any(shard.ending for shard in reading.shards())
        for line in reading.tail() if known else ():
            order.see(line, "the tail in run.sqlite3")
        _counts(reading, order, report)
        _markers(folder, reading.shards(), report)
        _strangers(folder, reading.shards(), report)
        _converted(folder, reading.shards(), report)
        _described(folder, reading, report)
        return report


def _salvaged(reading: Reading) -> set[int]:
    """Items that came back in a later epoch."""
    epochs = (msgspec.json.decode(weights, type=EpochWeights) for weights in reading.epochs().values())
    return {index for epoch in epochs for index, _ in epoch.salvage}


class _Order:
    """Records come by rising index and part, but for those of ``salvaged`` items: so none is there twice, in memory
    that grows with the failures alone."""

    def __init__(self, report: Report, salvaged: set[int]) -> None:
        self._report = report
        self._last = (-1, -1)
        self._salvaged = salvaged
        self._came: set[tuple[int, int]] = set()
        self.counts: Counter[str] = Counter()
        self.highest = -1

    def see(self, line: bytes, where: str) -> None:
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            self._report.faults.append(f"{where}: a line that is no record after {self._last[0]} ({fault})")
            return
        self._check(record, where)
        self._report.records += 1
        self._report.bytes += record.bytes
        self.counts["records"] += 1
        self.counts["bytes"] += record.bytes
        self.counts["tokens"] += record.tokens

    def _check(self, record: Record, where: str) -> None:
        node = (record.index, record.part)
        if record.index in self._salvaged:
            if node in self._came:
                self._report.faults.append(f"{where}: record {record.id} is there twice")
            self._came.add(node)
        else:
            if node <= self._last:
                self._report.faults.append(
                    f"{where}: record {record.id} stands after {self._last[0]}: doubled or moved"
                )
            self._last = node
        self.highest = max(self.highest, record.index)
        if len(record.text.encode()) != record.bytes:
            self._report.faults.append(
                f"{where}: record {record.id} has {len(record.text.encode())} bytes of text, not {record.bytes}"
            )


def _lines(folder: Path, shard: Shard, frames: Sequence[tuple[int, int]], report: Report) -> Iterator[bytes]:
    """The lines of a shard; faults in it go to the report."""
    path = folder / shard.name
    if not path.is_file():
        if shard.size:
            report.faults.append(f"{shard.name}: the file is gone ({shard.records} records)")
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number, (length, records) in enumerate(frames):
            frame = file.read(length)
            digest.update(frame)
            if len(frame) < length:
                report.faults.append(
                    f"{shard.name}: cut short in frame {number}, at byte {file.tell()} of {shard.size}"
                )
                return
            try:
                lines = unpack(frame)
            except StorageError as fault:
                report.faults.append(f"{shard.name}: frame {number} is damaged: {fault.message}")
                continue
            if records and len(lines) != records:
                report.faults.append(f"{shard.name}: frame {number} has {len(lines)} records, not {records}")
            yield from lines
        beyond = len(file.read(1 << 20))
    if beyond and shard.sha256:
        report.faults.append(f"{shard.name}: bytes were added behind its end")
    elif beyond:
        report.notes.append(f"{shard.name}: a torn tail, which the next run cuts off")
    if shard.sha256 and digest.hexdigest() != shard.sha256:
        report.faults.append(f"{shard.name}: its SHA-256 is not the one it was closed with: it was edited")


def _counts(reading: Reading, order: _Order, report: Report) -> None:
    counters = reading.counters()
    for name in ("records", "bytes", "tokens"):
        if order.counts[name] != counters.get(name, 0):
            report.faults.append(f"{order.counts[name]} {name} are there, {counters.get(name, 0)} were counted")
    done, failed = reading.ranges("done"), reading.ranges("failed")
    if len(done) != counters.get("items", 0):
        report.faults.append(f"{len(done)} items are done, {counters.get('items', 0)} were counted")
    if order.highest >= 0 and done.first_gap() <= order.highest:
        report.faults.append(f"record of item {order.highest}, but items are done up to {done.first_gap()} only")
    if any(index not in done for index in failed.indices()):
        report.faults.append("items are both given up and not done")


def _markers(folder: Path, shards: Sequence[Shard], report: Report) -> None:
    for shard in shards:
        path = done_path(folder / shard.name)
        if not shard.sha256:
            continue
        if not path.exists():
            report.notes.append(f"{path.name} is missing; the next run puts it back")
            continue
        try:
            done = msgspec.json.decode(path.read_bytes(), type=Done)
        except msgspec.DecodeError as fault:
            report.faults.append(f"{path.name} cannot be read ({fault})")
            continue
        if done != Done(shard.name, shard.sha256, shard.size, shard.records):
            report.faults.append(f"{path.name} says something else than run.sqlite3")


def _strangers(folder: Path, shards: Sequence[Shard], report: Report) -> None:
    """A file that was begun by a group that was never committed, or that somebody put there."""
    known = {shard.name for shard in shards}
    for path in sorted(folder.glob("shard-*.jsonl.zst")):
        if path.name not in known:
            report.notes.append(f"{path.name}: not of this run's commits; a run that is going on replaces it")


def _converted(folder: Path, shards: Sequence[Shard], report: Report) -> None:
    """Parquet files that are of another state of their shard, where pyarrow is there to tell."""
    known = {parquet_path(folder, shard.name): shard.sha256 for shard in shards}
    for path in sorted(folder.glob("shard-*.parquet")) if find_spec("pyarrow") else ():
        if made_from(path) != known.get(path):
            report.notes.append(f"{path.name}: not of the shard that is there; a run with --parquet makes it anew")


def _described(folder: Path, reading: Reading, report: Report) -> None:
    """What is said of the run as a whole: how it was made, and the manifest, which follows the shards."""
    try:
        msgspec.json.decode(reading.meta("provenance") or "{}", type=dict[str, Any])
    except msgspec.DecodeError as fault:
        report.faults.append(f"run.sqlite3: how the run was made cannot be read ({fault})")
    path = folder / MANIFEST
    if not path.is_file():
        return
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        report.notes.append(f"{MANIFEST} cannot be read ({fault}); the next run writes it anew")
        return
    known = {shard.name: shard.sha256 for shard in reading.shards()}
    # one that was closed since this view of the run began is in the manifest alone
    other = [
        told.name for told in manifest.shards if told.closed and known.get(told.name) not in ("", None, told.sha256)
    ]
    if other:
        report.notes.append(f"{MANIFEST} is of other shards ({', '.join(other[:3])}); the next run writes it anew")
