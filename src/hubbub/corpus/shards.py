"""Shards: files of JSON lines in independent zstd frames, appended durably and cut back to what was committed.

::

    shard-00000.jsonl.zst         frames, each a group of whole lines with its own checksum
    shard-00000.jsonl.zst.done    JSON, once the shard is closed: sha256, bytes, records

A frame is on the disk (fsync) before its commit names it, and ``ShardFile.open`` cuts off whatever lies beyond the
committed length: so a torn tail is never read, and any committed length is the end of a valid file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from hubbub.core.errors import StorageError, StorageFull

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
"""zstd's own default. A frame of 256 records packs 3.5 to 1; higher levels gain a few percent for double the time."""
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}
READ_BYTES = 1 << 20


class Done(msgspec.Struct, frozen=True):
    """What the marker beside a closed shard says."""

    shard: str
    sha256: str
    bytes: int
    records: int


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.jsonl.zst"


def done_path(shard: Path) -> Path:
    return shard.with_name(shard.name + ".done")


def pack(lines: Sequence[bytes]) -> bytes:
    """One frame of these lines, which have no newline yet."""
    return bytes(zstd.compress(b"\n".join(lines) + b"\n", options=_OPTIONS))


def unpack(frame: bytes) -> list[bytes]:
    """The lines of one frame. Raises StorageError when it is damaged."""
    try:
        text = zstd.decompress(frame)
    except zstd.ZstdError as fault:
        raise StorageError(f"not a whole zstd frame ({fault})") from fault
    if not text.endswith(b"\n"):
        raise StorageError("its last line is cut")
    return bytes(text[:-1]).split(b"\n")


def storage_error(fault: OSError, path: Path) -> StorageError:
    """An error of the file system in our words."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return disk_full(path)
    return StorageError(f"cannot write {path}: {fault.strerror}")


def disk_full(path: Path) -> StorageFull:
    kept = "what was accepted is safe; make room and run the same command again"
    return StorageFull(f"the disk of {path.parent} is full: {kept}")


def sync_folder(folder: Path) -> None:
    """Make names in it durable, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Replace ``path``, all or nothing, durably. Raises StorageError or StorageFull."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as fault:
        with contextlib.suppress(OSError):  # a disk that only reads: there is nothing to take away
            temporary.unlink(missing_ok=True)
        raise storage_error(fault, path) from fault


class ShardFile:
    """One shard being written. ``length``: bytes that are on the disk; its hash goes along."""

    def __init__(self, path: Path, file: IO[bytes], length: int, digest: Any) -> None:
        self.path = path
        self.length = length
        self._file = file
        self._digest = digest

    @classmethod
    def open(cls, path: Path, length: int) -> ShardFile:
        """Go on after ``length`` committed bytes; what lies beyond is cut off. Raises StorageError when the file is
        shorter, or gone."""
        digest = hashlib.sha256()
        try:
            fresh = not path.exists()
            file = path.open("xb+" if fresh else "rb+", buffering=0)
            if fresh:
                sync_folder(path.parent)
            size = os.fstat(file.fileno()).st_size
            if size < length:
                file.close()
                check_size(path, length)
            if size > length:
                file.truncate(length)
                os.fsync(file.fileno())
            for chunk in iter(lambda: file.read(READ_BYTES), b""):
                digest.update(chunk)
        except OSError as fault:
            raise storage_error(fault, path) from fault
        return cls(path, file, length, digest)

    @property
    def sha256(self) -> str:
        return str(self._digest.hexdigest())

    def append(self, frame: bytes) -> None:
        """Durable when it returns. Raises StorageFull or StorageError, and then the file is as it was."""
        try:
            view = memoryview(frame)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        except OSError as fault:
            self._cut_back()
            raise storage_error(fault, self.path) from fault
        self.length += len(frame)
        self._digest.update(frame)

    def close(self) -> None:
        self._file.close()

    def _cut_back(self) -> None:
        try:
            self._file.truncate(self.length)
            self._file.seek(self.length)
        except OSError:
            return  # the next open does it


def frames_of(path: Path, lengths: Sequence[int]) -> Iterator[bytes]:
    """The frames of a shard, whose lengths are known. Raises StorageError for a file that ends early."""
    if not lengths:
        return
    try:
        with path.open("rb") as file:
            for number, length in enumerate(lengths):
                frame = file.read(length)
                if len(frame) < length:
                    raise StorageError(f"{path} is cut short in frame {number}")
                yield frame
    except FileNotFoundError as fault:
        raise StorageError(f"{path} is gone") from fault


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a whole shard, with their newlines. Raises StorageError for one that is gone or damaged."""
    try:
        with zstd.open(path, "rb") as lines:
            yield from lines
    except (OSError, EOFError, zstd.ZstdError) as fault:
        raise StorageError(f"{path} cannot be read ({fault}): restore it from a backup") from fault


def check_size(path: Path, length: int) -> None:
    """Raises StorageError for a file that is gone, or shorter than what was committed."""
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise StorageError(f"{path} has {size} bytes of {length} that were committed: restore it from a backup")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
