"""Everything that can go wrong, as one tree. Each has a stable ``code``, an HTTP status and says if a retry can help.

::

    HubbubError                       500 internal_error
    |-- BadRequest                    400 invalid_request_error   (param names the field)
    |   |-- Unsupported               400 unsupported_parameter
    |   |-- ContextTooLong            400 context_length_exceeded
    |   |-- BodyTooLarge              413 body_too_large
    |   |-- TooSlow                   408 request_timeout         (the body came too slowly)
    |   `-- HeadTooLarge              431 head_too_large
    |       `-- UrlTooLong            414 url_too_long
    |-- Unauthorized                  401 invalid_api_key
    |-- Forbidden                     403 insufficient_permissions
    |   |-- WrongHost                 403 host_not_allowed
    |   `-- WrongOrigin               403 origin_not_allowed
    |-- NotFound                      404 not_found
    |   `-- ModelNotFound             404 model_not_found
    |-- Conflict                      409 conflict
    |   `-- ChatBusy                  409 conversation_locked
    |-- Overloaded                    429 queue_full              (retry_after says when)
    |-- RateLimited                   429 rate_limit_exceeded     (a key's quota; retry_after says when)
    |-- Cancelled                     499 cancelled
    |-- EngineError                   502 engine_error
    |   |-- EngineLost                503 engine_lost
    |   `-- EngineUnavailable         503 engine_unavailable
    |-- Interrupted                   503 server_restarted
    |-- StorageError                  500 storage_error
    |   `-- StorageFull               507 storage_full
    `-- ConfigError                   500 config_error            (a setting; the message names it)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class HubbubError(Exception):
    """Something went wrong inside Hubbub."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, param: str | None = None, retry_after: float | None = None) -> None:
        """``param``: the field at fault, as the caller wrote it. ``retry_after``: seconds, where a retry can help."""
        super().__init__(message or (type(self).__doc__ or type(self).__name__).strip())
        self.message: str = str(self)
        self.param = param
        self.retry_after = retry_after


class BadRequest(HubbubError):
    """The request cannot be understood."""

    code = "invalid_request_error"
    http_status = 400


class Unsupported(BadRequest):
    """This server does not offer what a field asks for."""

    code = "unsupported_parameter"


class ContextTooLong(BadRequest):
    """The prompt and the tokens asked for do not fit the model's context window."""

    code = "context_length_exceeded"


class BodyTooLarge(BadRequest):
    """The request body is larger than this server takes."""

    code = "body_too_large"
    http_status = 413


class TooSlow(BadRequest):
    """The request body came too slowly."""

    code = "request_timeout"
    http_status = 408


class HeadTooLarge(BadRequest):
    """The header fields are more or longer than this server takes."""

    code = "head_too_large"
    http_status = 431


class UrlTooLong(HeadTooLarge):
    """The address is longer than this server takes."""

    code = "url_too_long"
    http_status = 414


class Unauthorized(HubbubError):
    """The API key is missing or wrong."""

    code = "invalid_api_key"
    http_status = 401


class Forbidden(HubbubError):
    """The API key does not allow this."""

    code = "insufficient_permissions"
    http_status = 403


class WrongHost(Forbidden):
    """The request names a host that this server is not."""

    code = "host_not_allowed"


class WrongOrigin(Forbidden):
    """A page of another site asked for this."""

    code = "origin_not_allowed"


class NotFound(HubbubError):
    """There is nothing by that name here."""

    code = "not_found"
    http_status = 404


class ModelNotFound(NotFound):
    """No engine serves that model."""

    code = "model_not_found"


class Conflict(HubbubError):
    """Somebody else changed this in the meantime."""

    code = "conflict"
    http_status = 409


class ChatBusy(Conflict):
    """Another answer is being written in this conversation."""

    code = "conversation_locked"
    retryable = True


class Overloaded(HubbubError):
    """The queue is full, or the wait would be too long."""

    code = "queue_full"
    http_status = 429
    retryable = True


class RateLimited(HubbubError):
    """The API key has used up its quota for now."""

    code = "rate_limit_exceeded"
    http_status = 429
    retryable = True


class Cancelled(HubbubError):
    """The request was cancelled."""

    code = "cancelled"
    http_status = 499


class EngineError(HubbubError):
    """The engine failed to answer."""

    code = "engine_error"
    http_status = 502


class EngineLost(EngineError):
    """The engine died while it was answering."""

    code = "engine_lost"
    http_status = 503
    retryable = True


class EngineUnavailable(EngineError):
    """No engine is ready."""

    code = "engine_unavailable"
    http_status = 503
    retryable = True


class Interrupted(HubbubError):
    """The server was stopped while this answer was being written; what was said until then is kept."""

    code = "server_restarted"
    http_status = 503
    retryable = True


class StorageError(HubbubError):
    """The store could not keep this."""

    code = "storage_error"


class StorageFull(StorageError):
    """The disk is full; nothing was changed."""

    code = "storage_full"
    http_status = 507
    retryable = True


class ConfigError(HubbubError):
    """A setting is wrong."""

    code = "config_error"


def kinds(root: type[HubbubError] = HubbubError) -> Iterator[type[HubbubError]]:
    """Every class of this tree, parents first. Not what other modules derive from it for themselves."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            yield from kinds(child)
