"""Batches."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hubbub.gateway.wire.base import In, Metadata, Out
from hubbub.gateway.wire.files import KeepSeconds
from hubbub.gateway.wire.responses import ResponseUsage

Endpoint = Literal["/v1/responses", "/v1/chat/completions"]


class ExpiresAfter(In, frozen=True, kw_only=True):
    anchor: Literal["created_at"]
    seconds: KeepSeconds


class BatchCreate(In, frozen=True, kw_only=True):
    input_file_id: Annotated[str, Meta(min_length=1)]
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class BatchErrorOut(Out, frozen=True, kw_only=True):
    code: str
    message: str
    line: int | None
    param: str | None


class BatchErrors(Out, frozen=True, kw_only=True):
    data: list[BatchErrorOut]
    object: Literal["list"] = "list"


class RequestCounts(Out, frozen=True, kw_only=True):
    """``total`` is 0 until the input has been read. Lines that are neither were not asked, or not to the end."""

    total: int
    completed: int
    failed: int


class BatchOut(Out, frozen=True, kw_only=True):
    """Times are Unix seconds; null for a status it has not been in."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: ResponseUsage
    metadata: Metadata | None
