"""What all wire models share: strict reading whose errors name the field, and the small types of many families."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from hubbub.core.errors import BadRequest
from hubbub.core.types import Json
from hubbub.gateway.wire.choices import choices

T = TypeVar("T")

Metadata = dict[str, str]
Order = Literal["asc", "desc"]
Limit = Annotated[int, Meta(ge=1, le=100)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]

METADATA_PAIRS, METADATA_KEY, METADATA_VALUE = 16, 64, 512
"""OpenAI's limits: pairs, characters of a key, characters of a value."""


class In(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Something a client sends. A field that is not named here is an error."""


class Out(msgspec.Struct, kw_only=True, frozen=True):
    """Something a client gets."""


class Listed(Out, Generic[T], frozen=True, kw_only=True):
    """One page, as the client's cursor pages read it. The ids are empty strings for an empty page."""

    data: list[T]
    first_id: str
    last_id: str
    has_more: bool
    object: Literal["list"] = "list"


_AT = re.compile(r" - at `(?:key in )?\$?\.?(.*?)`$")
_NAMED = re.compile(r"(unknown|missing required) field `(.*?)`")


FRACTION = "got `float`"
"""How msgspec complains of 1.0 where an integer belongs. To JSON Schema that is one, and some clients send it."""


def _whole(value: Json) -> Json:
    """The value with 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as ``kind``. Raises BadRequest that names the field, as in ``input[2].role``."""
    try:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            if FRACTION not in str(error):
                raise refused(error, kind) from None
            value = msgspec.json.decode(body)  # what comes after the fraction may be malformed
        return convert(value, kind, "")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, error) from None
    except RecursionError:
        raise BadRequest("the body is nested too deep; flatten it") from None


def convert(value: Json, kind: type[T], path: str, *, strict: bool = True) -> T:
    """A JSON value found at ``path`` as ``kind``. Raises BadRequest that names the field."""
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        if FRACTION not in str(error):
            raise refused(error, kind, path) from None
    try:
        return msgspec.convert(_whole(value), kind, strict=strict)
    except msgspec.ValidationError as error:
        raise refused(error, kind, path) from None


def refused(error: msgspec.ValidationError, kind: Any, path: str = "") -> BadRequest:
    """The wire's words for what msgspec found wrong in a ``kind`` below ``path``."""
    message = str(error)
    at = _AT.search(message)
    said = message[: at.start()] if at else message
    inner = at.group(1) if at else ""
    named = _NAMED.search(said)
    if named:
        inner = f"{inner}.{named.group(2)}" if inner else named.group(2)
    param = joined(path, inner)
    if named and named.group(1) == "unknown":
        return BadRequest(f"unknown parameter {param!r}; leave it out", param=param)
    if named:
        return BadRequest(f"missing required parameter {param!r}", param=param)
    allowed = choices(kind, inner) if said.startswith("Invalid ") else []
    hint = f"; give one of {', '.join(allowed)}" if allowed else ""
    return BadRequest(f"{param or 'the body'}: {said[:1].lower()}{said[1:]}{hint}", param=param or None)


def joined(path: str, inner: str) -> str:
    """``input[1]`` and ``role`` to ``input[1].role``; either may be empty."""
    return path + inner if not path or not inner or inner.startswith("[") else f"{path}.{inner}"


def _malformed(body: bytes, error: Exception) -> BadRequest:
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return BadRequest(f"the body is not UTF-8: byte {wrong.start} is 0x{body[wrong.start]:02x}; encode it as UTF-8")
    if re.search(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", body):
        return BadRequest(
            "the body is not valid JSON: a \\ud800-\\udfff escape is half of a surrogate pair; send the whole character"
        )
    return BadRequest(f"the body is not valid JSON: {error}")


def refuse_nul(value: Json) -> None:
    """Raises BadRequest for the first text with U+0000: engines end a text there and would drop the rest."""
    for path, text in texts(value, ""):
        if "\0" in text:
            raise BadRequest(f"{path or 'the body'} holds the character U+0000; remove it", param=path or None)


def texts(value: Json, path: str) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value with its place; keys, too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield path, key
            yield from texts(inner, joined(path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from texts(inner, f"{path}[{place}]")


def checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The pairs, or none. Raises BadRequest for more or longer ones than OpenAI takes."""
    pairs = dict(metadata or {})
    if len(pairs) > METADATA_PAIRS:
        raise BadRequest(f"metadata has {len(pairs)} pairs; at most {METADATA_PAIRS} are kept", param="metadata")
    for key, value in pairs.items():
        if not key or len(key) > METADATA_KEY:
            raise BadRequest(f"a metadata key has 1 to {METADATA_KEY} characters", param=f"metadata.{key[:80]}")
        if len(value) > METADATA_VALUE:
            raise BadRequest(
                f"metadata.{key} has {len(value)} characters; at most {METADATA_VALUE} are kept",
                param=f"metadata.{key}",
            )
    return pairs


def listed(rows: list[Any], ids: list[str], has_more: bool) -> Listed[Any]:
    """A page of ``rows`` whose ids are ``ids``."""
    return Listed(data=rows, first_id=ids[0] if ids else "", last_id=ids[-1] if ids else "", has_more=has_more)
