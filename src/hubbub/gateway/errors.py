"""core.errors to the wire: a status with a body before the stream began, an event after."""

from __future__ import annotations

import math

import msgspec

from hubbub.core.errors import HubbubError, kinds
from hubbub.core.types import Answer, AnswerStatus
from hubbub.gateway.wire.errors import ErrorBody, ErrorDetail
from hubbub.gateway.wire.responses import ResponseError, ResponseErrorCode

MOST_RETRY_AFTER = 120
"""Seconds. The official client gives up on a longer Retry-After."""


def error_type(status: int) -> str:
    """OpenAI's coarse word for a status."""
    if status >= 500:
        return "server_error"
    return {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error"
    )


def body_of(error: HubbubError) -> ErrorBody:
    return ErrorBody(
        error=ErrorDetail(message=error.message, type=error_type(error.http_status), param=error.param, code=error.code)
    )


def headers_of(error: HubbubError) -> dict[str, str]:
    """What tells the official client whether and when to try again."""
    soon = error.retry_after is None or error.retry_after <= MOST_RETRY_AFTER
    headers = {"x-should-retry": "true" if error.retryable and soon else "false"}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.http_status in (429, 503) and error.retryable:
        seconds = 1.0 if error.retry_after is None else error.retry_after
        headers["Retry-After"] = str(max(1, math.ceil(min(MOST_RETRY_AFTER, seconds))))
    return headers


def event_of(error: HubbubError) -> bytes:
    """The error as one event of a chat-completion stream: the official client raises it."""
    return b"data: " + msgspec.json.encode(body_of(error)) + b"\n\n"


def error_of(answer: Answer) -> HubbubError | None:
    """Why an ended answer has no good end, as the error it would have been; None if it has one."""
    if answer.status is AnswerStatus.CANCELLED:
        return _by_code("cancelled", "the answer was cancelled")
    if answer.status is AnswerStatus.FAILED:
        return _by_code(answer.error_code, answer.error_message, answer.error_param)
    return None


def _by_code(code: str, message: str, param: str | None = None) -> HubbubError:
    kind = next((kind for kind in kinds() if kind.code == code), HubbubError)
    return kind(message, param=param)


def response_error(answer: Answer) -> ResponseError | None:
    """The ``error`` field of a failed response."""
    if answer.status is not AnswerStatus.FAILED:
        return None
    status = _by_code(answer.error_code, answer.error_message).http_status
    code: ResponseErrorCode = "server_error"
    if status < 500:
        code = "rate_limit_exceeded" if status == 429 else "invalid_prompt"
    return ResponseError(code=code, message=answer.error_message, type=answer.error_code)


class AfterAcceptance(Exception):
    """An accepted request failed. ``again``: whether to ask the same once more cannot say anything twice."""

    def __init__(self, error: HubbubError, *, again: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
