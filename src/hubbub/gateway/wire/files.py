"""Files."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from hubbub.gateway.wire.base import In, Out

KEEP_SECONDS = (3600, 2_592_000)
"""How long a file that expires is kept: from an hour to 30 days, as OpenAI has it."""
KeepSeconds = Annotated[int, Meta(ge=KEEP_SECONDS[0], le=KEEP_SECONDS[1])]
Binary = Annotated[str, Meta(extra_json_schema={"format": "binary"})]


class FileForm(In, frozen=True, kw_only=True):
    """The parts of a ``multipart/form-data`` upload. ``file`` goes to the disk as it comes."""

    file: Binary
    purpose: Literal["batch"]
    anchor: Literal["created_at"] | UnsetType = field(default=UNSET, name="expires_after[anchor]")
    seconds: KeepSeconds | UnsetType = field(default=UNSET, name="expires_after[seconds]")


class FileOut(Out, frozen=True, kw_only=True):
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    expires_at: int | None
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileDeleted(Out, frozen=True, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True
