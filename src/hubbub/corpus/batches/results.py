"""The output and error files of a batch that has ended: one line in one of them for each line of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from hubbub.core.batches import Batch, BatchStatus, FileId, FilePurpose, StoredFile, Upload
from hubbub.corpus.batches.lines import NOT_RUN, not_run, numbered, read_line
from hubbub.corpus.batches.log import finished_rows
from hubbub.corpus.batches.shelf import FileDraft, Shelf

BUFFER_BYTES = 1 << 20


class _Side:
    """One of the two files; it comes to be with its first line."""

    def __init__(self, shelf: Shelf, stack: ExitStack) -> None:
        self._shelf = shelf
        self._stack = stack
        self._pending = bytearray()
        self._draft: FileDraft | None = None
        self.size = 0

    def add(self, line: bytes) -> None:
        self._pending += line + b"\n"
        self.size += len(line) + 1
        if len(self._pending) >= BUFFER_BYTES:
            self._flush()

    def settle(self, batch: Batch, name: str, now: float) -> StoredFile | None:
        if not self.size:
            return None
        draft = self._flush()
        file = self._shelf.new_id()
        draft.settle(self._shelf.path(file))
        upload = Upload(f"{batch.id}_{name}.jsonl", FilePurpose.BATCH_OUTPUT, batch.order.keep_seconds)
        return StoredFile(file, batch.order.user, upload, self.size, now)

    def _flush(self) -> FileDraft:
        if self._draft is None:
            self._draft = self._stack.enter_context(self._shelf.part(self.size))
        self._draft.append(bytes(self._pending))
        self._pending.clear()
        return self._draft


def write_results(
    shelf: Shelf, batch: Batch, ending: BatchStatus, now: float, new_id: Callable[[str], str]
) -> tuple[Batch, list[StoredFile]]:
    """The batch as it ended, and its files, which are on the disk but not in the log yet. Lines that were not asked
    to the end say so in the error file. Blocks. Raises StorageFull, StorageError."""
    with ExitStack() as stack:
        good, bad = _Side(shelf, stack), _Side(shelf, stack)
        rows = stack.enter_context(finished_rows(shelf.thread.log.path, batch.id))
        for is_good, line in _lines(shelf, batch, ending, rows, new_id):
            (good if is_good else bad).add(line)
        output, errors = good.settle(batch, "output", now), bad.settle(batch, "error", now)
    ended = replace(
        batch,
        status=ending,
        since={**batch.since, ending: now},
        output_file=_id(output),
        error_file=_id(errors),
    )
    return ended, [file for file in (output, errors) if file is not None]


def _lines(
    shelf: Shelf,
    batch: Batch,
    ending: BatchStatus,
    rows: Iterator[tuple[int, bool, bytes]],
    new_id: Callable[[str], str],
) -> Iterator[tuple[bool, bytes]]:
    """All lines in the order of the input; whether each is good."""
    path = shelf.path(batch.order.input_file)
    # Without a total the input was never found good.
    if ending not in NOT_RUN or not batch.total or not path.exists():
        yield from ((good, line) for _, good, line in rows)
        return
    row = next(rows, None)
    with path.open("rb") as file:
        for number, text in numbered(file, path.stat().st_size):
            if row is not None and row[0] == number:
                yield row[1], row[2]
                row = next(rows, None)
            else:
                yield False, not_run(new_id("batch_req_"), read_line(text).custom_id, ending)


def _id(file: StoredFile | None) -> FileId | None:
    return None if file is None else file.id
