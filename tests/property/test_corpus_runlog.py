"""The run log: whatever the groups, the same shards; what is torn or added behind a commit is not seen."""

from __future__ import annotations

import errno
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.errors import Conflict, StorageError
from hubbub.corpus import runlog
from hubbub.corpus.reading import Reading
from hubbub.corpus.runlog import Group, RunLog
from hubbub.corpus.session import manifest_of
from hubbub.corpus.shards import ShardFile, pack, write_whole

IDENTITY = {"recipe": "r", "seed": "1"}
SHARD_BYTES = 30_000
FEW = settings(max_examples=5, deadline=None)


def line(number: int) -> bytes:
    """JSON that hardly compresses."""
    return b'{"n":%d,"t":"%s"}' % (number, hashlib.sha256(b"%d" % number).hexdigest().encode())


def begin(folder: Path) -> RunLog:
    return RunLog.begin(folder, IDENTITY, shard_bytes=SHARD_BYTES)


def add(log: RunLog, start: int, count: int) -> None:
    lines = [line(n) for n in range(start, start + count)]
    log.commit(Group(done=((start, start + count),), lines=lines, counts={"records": count}, note=b"%d;" % count))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


@contextmanager
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.large
@FEW
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.data())
def test_the_shards_follow_from_the_records_alone(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    with temporary() as folder:
        with closing(begin(folder / "whole")) as log:
            add(log, 0, total)
            log.end()
        at = 0
        for size in sizes:
            with closing(begin(folder / "parts")) as log:  # a new process for each
                add(log, at, size)
                if data.draw(st.booleans()):
                    log.end()
                at += size
        with closing(begin(folder / "parts")) as log:
            log.end()
        assert files(folder / "parts") == files(folder / "whole")
        with Reading.open(folder / "parts") as reading:
            assert list(reading.lines()) == [line(n) for n in range(total)]
            assert list(reading.ranges("done")) == [(0, total)]
            assert reading.counters() == {"records": total}
            assert b"".join(reading.notes()) == b"".join(b"%d;" % size for size in sizes)


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    """A kill in the middle of a frame's write, at every byte of it: what was committed is there, and no more."""
    path = tmp_path / "shard"
    first, second = pack([line(n) for n in range(9)]), pack([line(n) for n in range(9, 12)])
    for torn in range(len(second) + 1):
        path.write_bytes(first + second[:torn])
        with closing(ShardFile.open(path, len(first))) as shard:
            assert (path.read_bytes(), shard.sha256) == (first, hashlib.sha256(first).hexdigest())
            if torn % 25 == 0:
                shard.append(second)
                assert (path.read_bytes(), shard.sha256) == (first + second, hashlib.sha256(first + second).hexdigest())


def test_a_kill_before_the_commit_of_a_frame_leaves_nothing_of_it(tmp_path: Path) -> None:
    with closing(begin(tmp_path)) as log:
        add(log, 0, 300)
    shard = tmp_path / "shard-00000.jsonl.zst"
    committed = shard.read_bytes()
    for leftover in (committed[:100], committed, pack([b"{}"])):
        shard.write_bytes(committed + leftover)
        with closing(begin(tmp_path)) as log:
            assert shard.read_bytes() == committed
            assert list(log.lines()) == [line(n) for n in range(300)]


def test_a_shard_that_was_begun_and_never_committed_goes(tmp_path: Path) -> None:
    with closing(begin(tmp_path)) as log:
        add(log, 0, 3)
        log.end()
    (tmp_path / "shard-00000.jsonl.zst").write_bytes(b"torn")
    with closing(begin(tmp_path)) as log:
        assert list(log.lines()) == [line(n) for n in range(3)]
        assert files(tmp_path) == {}
        log.end()
    assert set(files(tmp_path)) == {"shard-00000.jsonl.zst", "shard-00000.jsonl.zst.done"}


def test_a_shard_shorter_than_committed_is_told(tmp_path: Path) -> None:
    with closing(begin(tmp_path)) as log:
        add(log, 0, runlog.FRAME_RECORDS)
    shard = tmp_path / "shard-00000.jsonl.zst"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"shard-00000.* bytes of .* committed"):
        begin(tmp_path)


def test_a_closed_shard_that_is_gone_is_told(tmp_path: Path) -> None:
    with closing(begin(tmp_path)) as log:
        add(log, 0, 2 * runlog.FRAME_RECORDS)
    (tmp_path / "shard-00000.jsonl.zst").unlink()
    with pytest.raises(StorageError, match=r"shard-00000.* has 0 bytes of"):
        begin(tmp_path)


def test_one_runner_a_folder(tmp_path: Path) -> None:
    with closing(begin(tmp_path)), pytest.raises(Conflict, match="another runner is at work"):
        begin(tmp_path)
    begin(tmp_path).close()


def test_another_run_is_refused_with_what_differs_once_there_is_something(tmp_path: Path) -> None:
    RunLog.begin(tmp_path, IDENTITY | {"seed": "0"}).close()
    with closing(begin(tmp_path)) as log:
        log.commit(Group(done=((0, 1),), counts={"items": 1}))
    with pytest.raises(Conflict, match="seed was '1', now '2'"):
        RunLog.begin(tmp_path, IDENTITY | {"seed": "2"})


def test_a_folder_with_shards_of_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.jsonl.zst").write_bytes(b"precious")
    with pytest.raises(Conflict, match="has shards but no"):
        begin(tmp_path)
    assert (tmp_path / "shard-00000.jsonl.zst").read_bytes() == b"precious"


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "run.sqlite3")) as other:
        other.execute("CREATE TABLE mine (a)")
    with pytest.raises(Conflict, match="no corpus run's: name another"):
        begin(tmp_path)


@pytest.mark.parametrize("damage", [b"\xff", b"?"])
def test_a_damaged_database_is_told_whenever_it_shows(tmp_path: Path, damage: bytes) -> None:
    with closing(begin(tmp_path)) as log:
        log.set_meta(live="{}", provenance='{"model": "damaged here"}')
    path = tmp_path / "run.sqlite3"
    path.write_bytes(path.read_bytes().replace(b'{"model": "damaged', damage + b'"model": "damaged'))
    with pytest.raises(StorageError, match=r"run\.sqlite3 is damaged"), Reading.open(tmp_path) as reading:
        manifest_of(reading)


def test_a_disk_that_only_reads_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    begin(tmp_path).close()
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StorageError, match=r"cannot write .*: Read-only"):
        begin(tmp_path)
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(StorageError, match=r"cannot write .*: Read-only"):
        write_whole(tmp_path / "manifest.json", b"")


def test_a_lost_marker_comes_back(tmp_path: Path) -> None:
    with closing(begin(tmp_path)) as log:
        add(log, 0, 2 * runlog.FRAME_RECORDS)
    marker = tmp_path / "shard-00000.jsonl.zst.done"
    said = marker.read_bytes()
    marker.unlink()
    begin(tmp_path).close()
    assert marker.read_bytes() == said
    assert hashlib.sha256((tmp_path / "shard-00000.jsonl.zst").read_bytes()).hexdigest().encode() in said
