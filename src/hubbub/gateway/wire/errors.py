"""The error body."""

from __future__ import annotations

from hubbub.gateway.wire.base import Out


class ErrorDetail(Out, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Out, frozen=True, kw_only=True):
    error: ErrorDetail
