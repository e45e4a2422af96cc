"""The files themselves, each under its id in one folder.

A file is written as ``*.part``, forced to the disk and renamed before the log names it; it is out of the log before it
goes. So what the log names is whole, and what it does not name after a kill is swept away by the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from hubbub.core.batches import FileId, StoredFile, Upload
from hubbub.core.errors import BodyTooLarge
from hubbub.core.types import UserId
from hubbub.corpus.batches.log import BatchLog
from hubbub.corpus.shards import storage_error, sync_folder
from hubbub.ports import Draft, FileQuery, Page

T = TypeVar("T")
P = ParamSpec("P")

PART = ".part"
PREFIX = "file-"


class LogThread:
    """The one thread that the log is used on."""

    def __init__(self, log: BatchLog) -> None:
        self.log = log
        self._thread = ThreadPoolExecutor(1, "batches")

    async def run(self, work: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments, **more))

    async def close(self) -> None:
        await self.run(self.log.close)
        self._thread.shutdown()


class FileDraft:
    """A file that is being written. ``most``: bytes it may have."""

    def __init__(self, path: Path, file: BinaryIO, most: int) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._most = most

    async def write(self, data: bytes) -> None:
        """Raises BodyTooLarge, StorageFull, StorageError."""
        self.size += len(data)
        if self.size > self._most:
            raise BodyTooLarge(
                f"the file has more than {self._most} bytes; split it, or raise limits.max_file_bytes", param="file"
            )
        await asyncio.to_thread(self.append, data)

    def append(self, data: bytes) -> None:
        """Blocks. Raises StorageFull, StorageError."""
        with _our_errors(self.path):
            self._file.write(data)

    def settle(self, path: Path) -> None:
        """Make it durable under ``path``. Blocks. Raises StorageFull, StorageError."""
        with _our_errors(path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.replace(path)
            sync_folder(path.parent)


class Shelf:
    def __init__(
        self, folder: Path, thread: LogThread, new_id: Callable[[str], str], *, file_bytes: int, files: int
    ) -> None:
        """``file_bytes``: of one file; ``files``: of one user."""
        self.folder = folder
        self.thread = thread
        self._new_id = new_id
        self._file_bytes = file_bytes
        self._files = files

    def path(self, file: FileId) -> Path:
        return self.folder / file

    def new_id(self) -> FileId:
        return FileId(self._new_id(PREFIX))

    @contextlib.asynccontextmanager
    async def draft(self, user: UserId) -> AsyncIterator[FileDraft]:
        """Raises Conflict for a user who has too many files already, StorageError."""
        log = self.thread.log
        await self.thread.run(log.check_room, user, self._files)
        with self.part(self._file_bytes) as draft:
            yield draft

    @contextlib.contextmanager
    def part(self, most: int) -> Iterator[FileDraft]:
        """A new file, gone at the end unless it was settled. Blocks briefly. Raises StorageError."""
        path = self.folder / (self._new_id(PREFIX) + PART)
        with _our_errors(path):
            file = path.open("xb")
        try:
            path.chmod(0o600)
            yield FileDraft(path, file, most)
        finally:
            with contextlib.suppress(OSError):  # closing writes what is left, and this file is given up
                file.close()
            path.unlink(missing_ok=True)

    async def keep(self, draft: Draft, file: StoredFile) -> None:
        """Raises Conflict, StorageFull, StorageError."""
        if not isinstance(draft, FileDraft):
            raise TypeError("a draft of another desk")
        path = self.path(file.id)
        await asyncio.to_thread(draft.settle, path)
        try:
            await self.thread.run(self.thread.log.add_upload, file, self._files)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def stored(self, user: UserId, draft: Draft, upload: Upload, now: float) -> StoredFile:
        """What a draft is to be once it is kept."""
        if not isinstance(draft, FileDraft):
            raise TypeError("a draft of another desk")
        return StoredFile(self.new_id(), user, upload, draft.size, now)

    async def file(self, user: UserId, file: FileId) -> StoredFile:
        return await self.thread.run(self.thread.log.file, user, file)

    async def files(self, user: UserId, query: FileQuery) -> Page[StoredFile]:
        return await self.thread.run(self.thread.log.files, user, query)

    async def delete(self, user: UserId, file: FileId) -> None:
        await self.thread.run(self.thread.log.drop_file, user, file)
        self.path(file).unlink(missing_ok=True)

    async def sweep(self, now: float) -> None:
        """Delete the files whose time is over."""
        for file in await self.thread.run(self.thread.log.drop_expired, now):
            self.path(file).unlink(missing_ok=True)

    async def tidy(self) -> None:
        """Delete what a kill left behind."""
        known = await self.thread.run(self.thread.log.file_ids)
        for path in self.folder.glob(f"{PREFIX}*"):
            if path.name not in known:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise storage_error(fault, path) from fault
