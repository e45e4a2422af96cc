"""Parquet beside the shards while a run goes on: a shard is converted when it is closed, in a process of its own.

``shard-00000.parquet`` appears whole, or not at all, and names in its metadata the SHA-256 of the shard it was made
from. So what a kill left out, or made of a shard that has grown since, is found at the next start and made anew. Links
are as the texts were given them: an export makes them valid (``corpus.links``).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import msgspec

from hubbub.core.errors import ConfigError, StorageError
from hubbub.corpus.exports.corpus import whole_file
from hubbub.corpus.exports.parquet import made_from, write_parquet
from hubbub.corpus.parents import ends_with_parent
from hubbub.corpus.reading import Shard
from hubbub.corpus.record import Record, decode
from hubbub.corpus.shards import lines_of

Sealed = tuple[str, str]
"""The name of a shard and its SHA-256."""


class Converter:
    """Of one run's folder. Raises ConfigError without pyarrow."""

    def __init__(self, folder: Path) -> None:
        if find_spec("pyarrow") is None:
            raise ConfigError("--parquet (shards.format) needs pyarrow: pip install 'hubbub[corpus]'")
        self._folder = folder
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=ends_with_parent, initargs=(os.getpid(),))
        self._work: list[Future[None]] = []

    def update(self, shards: Sequence[Shard]) -> None:
        """Begin to convert what is sealed and not converted yet. Raises StorageError, StorageFull where that failed
        before."""
        for done in [work for work in self._work if work.done()]:
            self._work.remove(done)
            done.result()
        sealed = [(shard.name, shard.sha256) for shard in shards if shard.sha256]
        if sealed or any(self._folder.glob("shard-*.parquet")):
            self._work.append(self._pool.submit(bring_up_to_date, self._folder, sealed))

    def finish(self) -> None:
        """Wait for what was begun. Raises as ``update``."""
        for work in self._work:
            work.result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def parquet_path(folder: Path, shard: str) -> Path:
    return folder / f"{shard.partition('.')[0]}.parquet"


def bring_up_to_date(folder: Path, sealed: Sequence[Sealed]) -> None:
    """Convert those that have no file, or one of another shard; remove files of shards that are open again."""
    wanted = {parquet_path(folder, name) for name, _ in sealed}
    for path in folder.glob("shard-*.parquet*"):
        if path not in wanted:  # also what a kill left half-written
            path.unlink()
    for name, sha256 in sealed:
        path = parquet_path(folder, name)
        if not path.exists() or made_from(path) != sha256:
            with whole_file(path) as part:
                write_parquet(_records(folder / name), part, source=sha256)


def _records(shard: Path) -> Iterator[Record]:
    """Raises StorageError."""
    for line in lines_of(shard):
        try:
            yield decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise StorageError(f"{shard} cannot be read ({fault}): restore it from a backup") from fault
