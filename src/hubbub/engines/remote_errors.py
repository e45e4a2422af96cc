"""What other servers say went wrong, as core errors, in one table: HTTP answers, errors in mid-stream, broken wires."""

from __future__ import annotations

import email.utils
import re
import time
from typing import Any

import aiohttp
import msgspec

from hubbub.core.errors import (
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    EngineError,
    EngineLost,
    EngineUnavailable,
    HubbubError,
    ModelNotFound,
    Overloaded,
    kinds,
)

MESSAGE_CHARS = 300
"""An engine's own words are kept to this length: some send a traceback."""

# Each engine words it in its own way; OpenAI and SGLang also have a code or type for it.
#   vLLM       "This model's maximum context length is 4096 tokens. However, you requested ..."
#              "The decoder prompt (length 5000) is longer than the maximum model length of 4096."
#   llama.cpp  "the request exceeds the available context size. ..." (type exceed_context_size_error)
#   SGLang     "The input (5000 tokens) is longer than the model's context length (4096 tokens)."
#   TGI        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: ..."
_CONTEXT = re.compile(
    r"context[ _]length|context[ _]size|context[ _]window|maximum model length|exceed_context_size"
    r"|max_model_len|tokens? \+ `?max_new_tokens|must have less than \d+ tokens",
    re.IGNORECASE,
)
_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_BY_STATUS: dict[int, type[HubbubError]] = {
    **dict.fromkeys(REDIRECTS, EngineError),
    400: BadRequest,
    # Our key, not the caller's: telling them 401 would send them to look in the wrong place.
    401: EngineError,
    402: EngineError,
    403: EngineError,
    404: EngineError,
    408: EngineUnavailable,
    413: BodyTooLarge,
    422: BadRequest,
    429: Overloaded,
    502: EngineUnavailable,
    503: EngineUnavailable,
    504: EngineUnavailable,
    529: Overloaded,
}
_OUT_OF_CREDIT = re.compile(r"insufficient[ _]balance|Arrearage")
"""DashScope's 400: no fault of the caller."""
_HINTS = {
    **dict.fromkeys(REDIRECTS, "the engine's url leads elsewhere, set it to where it leads: "),
    402: "the engine's account is out of credit: ",
    401: "the engine refuses the API key set for it: ",
    403: "the engine refuses the API key set for it: ",
    404: "the engine has no such address (its URL ends before /v1): ",
}


_BY_CODE = {kind.code: kind for kind in kinds()}


def error_of_code(code: str, message: str, param: str | None = None, retry_after: float | None = None) -> HubbubError:
    """An error that an engine of ours names by its code; EngineError for a code this version does not know."""
    return _BY_CODE.get(code, EngineError)(message, param=param, retry_after=retry_after)


class _Details(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


def error_of_payload(error: object, status: int, retry_after: float | None = None) -> HubbubError:
    """``error``: the JSON value of an ``error`` key (an object, or a text), or the whole body where there is none."""
    details = _details(error)
    message = short(details.message or "")
    words = f"{details.type} {details.code} {message}"
    if 400 <= status < 500 and _OUT_OF_CREDIT.search(words):
        status = 402
    kind = _BY_STATUS.get(status, EngineError if status >= 500 else BadRequest)
    if kind is BadRequest and _CONTEXT.search(words):
        kind = ContextTooLong
    elif status == 404 and _MODEL.search(words):
        return ModelNotFound(message or "the engine does not serve that model", param="model")
    text = message or f"the engine answered {status}"
    param = details.param if issubclass(kind, BadRequest) else None
    return kind(_HINTS.get(status, "") + text, param=param, retry_after=retry_after)


def error_of_response(status: int, retry_after: str | None, body: bytes) -> HubbubError:
    """An HTTP answer other than 2xx. ``retry_after``: the header as it came."""
    payload: object
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        payload = body.decode("utf-8", "replace")
    if isinstance(payload, dict):
        # vLLM and OpenAI: {"error": {...}}; older vLLM: the object itself; FastAPI: {"detail": ...}.
        payload = payload.get("error") or payload.get("detail") or payload
    return error_of_payload(payload, status, retry_seconds(retry_after))


def error_of_stream(error: object) -> HubbubError:
    """An ``error`` object after a 200: its ``code``, where it is a status, says what it is, else the engine failed."""
    details = _details(error)
    if details.code in _BY_CODE:
        return error_of_code(str(details.code), short(details.message or ""), details.param)
    try:
        status = int(details.code or 500)
    except ValueError:
        status = 500
    return error_of_payload(error, status if 400 <= status < 600 else 500)


def error_of_transport(fault: BaseException, engine: str, *, begun: bool) -> HubbubError:
    """A broken wire. ``begun``: the answer had started, so that something was lost."""
    if begun:
        return EngineLost(f"engine {engine} broke off: {short(_reason(fault))}")
    return EngineUnavailable(f"engine {engine} does not answer: {short(_reason(fault))}", retry_after=1.0)


def _reason(fault: BaseException) -> str:
    if isinstance(fault, aiohttp.ClientConnectorError):
        return f"cannot connect to {fault.host}:{fault.port} ({fault.os_error.strerror or fault.os_error})"
    if isinstance(fault, TimeoutError):
        return "it took too long"
    return str(fault) or type(fault).__name__


def retry_seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds, from either of its two forms; None where there is none that can be read."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def short(message: str) -> str:
    """The first line with something on it, at most MESSAGE_CHARS long."""
    line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return line if len(line) <= MESSAGE_CHARS else line[: MESSAGE_CHARS - 1] + "…"


def _details(error: object) -> _Details:
    if isinstance(error, str):
        return _Details(message=error)
    try:
        return msgspec.convert(error, _Details, strict=False)
    except msgspec.ValidationError:
        return _Details(message=_text(error))


def _text(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return msgspec.json.encode(error).decode()
