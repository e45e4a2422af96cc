"""Files and batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from hubbub.core.batches import Batch, BatchId, BatchOrder, FileId, RowAnswer, StoredFile, Upload
from hubbub.core.types import UserId
from hubbub.ports.paging import Page


class Draft(Protocol):
    """A file on its way in. What is not kept is gone when its context ends."""

    async def write(self, data: bytes) -> None:
        """Raises BodyTooLarge, StorageFull, StorageError."""
        ...


@dataclass(frozen=True, slots=True)
class FileQuery:
    purpose: str = ""
    after: FileId | None = None
    limit: int = 20
    descending: bool = True


class Files(Protocol):
    """Files of all users. One of another user is as if it were not there."""

    def draft(self, user: UserId) -> AbstractAsyncContextManager[Draft]:
        """Raises RateLimited where the user has too many files already."""
        ...

    async def keep(self, user: UserId, draft: Draft, upload: Upload) -> StoredFile:
        """Durable when it returns. Raises StorageError."""
        ...

    async def file(self, user: UserId, file: FileId) -> StoredFile:
        """Raises NotFound."""
        ...

    async def files(self, user: UserId, query: FileQuery) -> Page[StoredFile]:
        """Raises NotFound (param ``after``)."""
        ...

    async def content(self, user: UserId, file: FileId) -> Path:
        """Where its bytes are. Raises NotFound."""
        ...

    async def delete(self, user: UserId, file: FileId) -> None:
        """Raises NotFound, Conflict while a batch reads it."""
        ...


class Batches(Protocol):
    """Batches of all users. One of another user is as if it were not there."""

    async def create(self, order: BatchOrder) -> Batch:
        """Durable when it returns, and begun. Raises NotFound (param ``input_file_id``), RateLimited, StorageError."""
        ...

    async def batch(self, user: UserId, batch: BatchId) -> Batch:
        """Raises NotFound."""
        ...

    async def batches(self, user: UserId, after: BatchId | None, limit: int) -> Page[Batch]:
        """Newest first. Raises NotFound (param ``after``)."""
        ...

    async def cancel(self, user: UserId, batch: BatchId) -> Batch:
        """What is done is kept. Raises NotFound, Conflict for one that has ended otherwise."""
        ...


class FilesAndBatches(Files, Batches, Protocol):
    """One desk for both: a batch reads a file and writes two."""


AskRow: TypeAlias = Callable[[BatchOrder, bytes], Awaitable[RowAnswer]]
"""Answers one line of a batch, whose ``body`` is given as JSON. Does not raise HubbubError."""
