"""What the server knows of its corpus runs: one folder a run, with ``order.json`` beside what the runner keeps there.

Theory of operation. ``order.json`` says whose run it is, what was ordered, and what is wanted of it; it is replaced as
a whole whenever that changes. Everything else of a folder is the runner's (``corpus.runlog``). A folder without an
order was being made or deleted when the server was killed, and is swept away at the next start.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.corpora import CorpusOrder, CorpusRecords, CorpusState, Rejection
from hubbub.core.errors import NotFound, StorageError
from hubbub.core.types import Json
from hubbub.corpus.board import Live
from hubbub.corpus.reading import NotBegun, Reading
from hubbub.corpus.shards import storage_error, write_whole

ORDER = "order.json"
PREFIX = "corpus_"


class Kept(msgspec.Struct, kw_only=True):
    """``state``: as it was when it last changed for good; ``waiting`` for one that is to run."""

    id: str
    order: CorpusOrder
    created_at: float
    linked: bool = False
    state: CorpusState = CorpusState.WAITING
    reason: str = ""


def keep(folder: Path, kept: Kept) -> None:
    """Durable when it returns. Raises StorageError, StorageFull."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise storage_error(fault, folder) from fault
    write_whole(folder / ORDER, msgspec.json.encode(kept))


def kept_in(root: Path) -> Iterator[Kept]:
    """All orders, oldest first. Raises StorageError for one that cannot be read."""
    found = []
    for folder in root.glob(PREFIX + "*"):
        path = folder / ORDER
        if not path.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Kept))
        except (OSError, msgspec.DecodeError) as fault:
            raise StorageError(f"{path} cannot be read ({fault}): restore it, or remove {folder}") from fault
    yield from sorted(found, key=lambda kept: (kept.created_at, kept.id))


def forget(folder: Path) -> None:
    """Delete a run: its order first, so that a kill leaves nothing that would begin again."""
    (folder / ORDER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def last_of(folder: Path) -> tuple[str, dict[str, Any] | None]:
    """The model of a run, and how it went when it was last written."""
    try:
        with Reading.open(folder) as reading:
            said = reading.meta("live")
            model = str(reading.meta("model") or "")
    except StorageError:
        return "", None
    return model, msgspec.to_builtins(msgspec.json.decode(said, type=Live)) if said else None


def rejections(folder: Path) -> tuple[Rejection, ...]:
    """The newest of each reason."""
    try:
        with Reading.open(folder) as reading:
            return tuple(Rejection(sample.reason, sample.item, sample.text) for sample in reading.samples())
    except NotBegun:
        return ()


def records(folder: Path, first: int | None, limit: int) -> CorpusRecords:
    """``first``: where to begin, from 0; None: the newest. Raises StorageError for damage."""
    try:
        with Reading.open(folder) as reading:
            total = reading.counters().get("records", 0)
            start = max(0, total - limit) if first is None else first
            rows: list[Json] = [msgspec.json.decode(line) for line in reading.page(start, limit)]
    except NotBegun:
        return CorpusRecords((), 0, 0)
    return CorpusRecords(tuple(rows), start, max(total, start + len(rows)))


def no_such(name: str) -> NotFound:
    return NotFound(f"there is no corpus {name!r}", param="name")
