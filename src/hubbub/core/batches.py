"""Files and batches, as the OpenAI contract has them: many questions in one file, answered when there is room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from hubbub.core.errors import HubbubError
from hubbub.core.types import Usage, UserId

FileId = NewType("FileId", str)
"""``file-...``."""
BatchId = NewType("BatchId", str)
"""``batch_...``."""


class FilePurpose(StrEnum):
    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, slots=True)
class Upload:
    """What a file is to be called. ``keep_seconds``: after which it is deleted; None: it is kept."""

    filename: str
    purpose: FilePurpose = FilePurpose.BATCH
    keep_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk. Times are Unix seconds."""

    id: FileId
    user: UserId
    upload: Upload
    size: int
    created_at: float

    @property
    def expires_at(self) -> float | None:
        keep = self.upload.keep_seconds
        return None if keep is None else self.created_at + keep


class BatchStatus(StrEnum):
    """::

    validating -> in_progress -> finalizing -> completed
         |             |------> expired
         |             `------> cancelling -> cancelled
         `-> failed
    """

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    FAILED = "failed"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (BatchStatus.FAILED, BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What a batch was made with. ``key``: the id of the key it is charged to, empty on a server without keys.
    ``keep_seconds``: how long its results are kept after they were made; None: until they are deleted."""

    user: UserId
    key: str
    input_file: FileId
    endpoint: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    keep_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class LineFault:
    """What is wrong with an input file. ``line`` counts from 1; None where it is no single line."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """``since``: when it came to each status it has been in, Unix seconds. ``completed`` and ``failed``: lines that
    were answered well or with an error; those of ``total`` that are neither have not been asked, or not to the end.
    ``model``: where all lines ask the same one."""

    id: BatchId
    order: BatchOrder
    created_at: float
    expires_at: float
    status: BatchStatus = BatchStatus.VALIDATING
    since: Mapping[BatchStatus, float] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    faults: tuple[LineFault, ...] = ()
    output_file: FileId | None = None
    error_file: FileId | None = None


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """How one line was answered: an HTTP status and the JSON beside it. ``again``: why asking again may fare better."""

    status: int
    body: bytes
    usage: Usage = field(default_factory=Usage)
    again: HubbubError | None = None
