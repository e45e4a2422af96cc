"""Whatever is written twice, in whatever order, and however often the log is opened anew: one result a line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.batches import Batch, BatchId, BatchOrder, BatchStatus, FileId, StoredFile, Upload
from hubbub.core.types import Usage, UserId
from hubbub.corpus.batches.lines import Bounds, answered, check
from hubbub.corpus.batches.log import BatchLog, Row
from hubbub.corpus.batches.results import write_results
from hubbub.corpus.batches.run import always
from hubbub.corpus.batches.shelf import LogThread, Shelf
from hubbub.runtime.hub import random_id

USER, INPUT, BATCH = UserId("ann"), FileId("file-in"), BatchId("batch_x")
URL = "/v1/responses"
ENDINGS = (BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED, BatchStatus.FAILED)


@contextmanager
def opened(folder: Path) -> Iterator[BatchLog]:
    log = BatchLog.open(folder)
    yield log
    log.close()


def a_row(line: int, attempt: int) -> Row:
    """``attempt``: tells two answers to the same line apart."""
    good = line % 3 != 0
    output = answered(f"batch_req_{line}.{attempt}", f"id {line}", 200 if good else 400, b"{}")
    return Row(BATCH, line, good, output, Usage(input_tokens=2, output_tokens=line))


@pytest.mark.large
@settings(max_examples=12, deadline=None)
@given(
    blanks=st.lists(st.booleans(), min_size=1, max_size=12),
    groups=st.lists(st.lists(st.integers(0, 11), max_size=4), max_size=8),
    ending=st.sampled_from(ENDINGS),
)
def test_one_result_for_each_line(blanks: list[bool], groups: list[list[int]], ending: BatchStatus) -> None:
    lines = [number for number, blank in enumerate(blanks, start=1) if not blank]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = [
            "" if blank else json.dumps({"custom_id": f"id {n}", "method": "POST", "url": URL, "body": {}})
            for n, blank in enumerate(blanks, start=1)
        ]
        (folder / INPUT).write_text("\n".join(text))  # the last line may lack its end
        checked = check(folder / INPUT, URL, Bounds(line_bytes=200, lines=100))
        assert checked.total == len(lines)
        batch = Batch(BATCH, BatchOrder(USER, "", INPUT, URL), 1.0, 2.0, BatchStatus.IN_PROGRESS, total=len(lines))
        with opened(folder) as log:
            log.add_upload(StoredFile(INPUT, USER, Upload("in"), 0, 1.0), 1)
            log.add_batch(batch, 1)
        first: dict[int, Row] = {}
        for attempt, group in enumerate(groups):
            rows = [a_row(lines[pick % len(lines)], attempt) for pick in group if lines]
            with opened(folder) as log:  # as after a kill
                log.add_rows(rows)
                for row in rows:
                    first.setdefault(row.line, row)
                found = log.batch(USER, BATCH)
                assert found.completed == sum(row.good for row in first.values())
                assert found.failed == sum(not row.good for row in first.values())
                assert found.usage.output_tokens == sum(first)
                assert {line for lo, hi in log.done_lines(BATCH) for line in range(lo, hi)} == set(first)
        with opened(folder) as log:
            shelf = Shelf(folder, LogThread(log), random_id, file_bytes=1, files=1)
            ended, files = write_results(shelf, log.batch(USER, BATCH), ending, 3.0, random_id)
            log.change(BATCH, always(ended), files)
            log.add_rows([a_row(line, 99) for line in lines])  # late: the batch has ended
            told = log.batch(USER, BATCH)
            assert (told.status, told.completed + told.failed) == (ending, len(first))
            assert not log.done_lines(BATCH)
        good, bad = (
            [] if file is None else (folder / file).read_bytes().splitlines()
            for file in (told.output_file, told.error_file)
        )
        assert good == [first[line].output for line in lines if line in first and first[line].good]
        done = {row.output for row in first.values() if not row.good}
        assert done <= set(bad)
        rest = [json.loads(line) for line in bad if line not in done]
        unasked = ending in (BatchStatus.EXPIRED, BatchStatus.CANCELLED)
        assert [line["custom_id"] for line in rest] == [f"id {n}" for n in lines if unasked and n not in first]
        assert all(line["response"] is None and line["error"]["code"].startswith("batch_") for line in rest)
