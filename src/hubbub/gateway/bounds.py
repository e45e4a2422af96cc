"""Holding a request against the bounds of the settings. Raises what the wire says, naming the field and the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from hubbub.core.errors import BadRequest, HeadTooLarge, UrlTooLong
from hubbub.gateway.limits import LimitsConfig
from hubbub.gateway.wire.base import texts

ITEM_FIELDS = ("input", "messages", "items")
FIELD_OVERHEAD = 4
"""Bytes of a header field beside its name and value: a colon, a space and the line's end."""


def check_head(request: web.Request, limits: LimitsConfig) -> None:
    """Raises UrlTooLong or HeadTooLarge."""
    url = len(request.raw_path)
    if url > limits.max_url_bytes:
        raise UrlTooLong(f"the address has {url} bytes; this server takes {limits.max_url_bytes}")
    if len(request.raw_headers) > limits.max_headers:
        raise HeadTooLarge(
            f"the request has {len(request.raw_headers)} header fields; this server takes {limits.max_headers}"
        )
    size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in request.raw_headers)
    if size > limits.max_header_bytes:
        raise HeadTooLarge(f"the header fields have {size} bytes; this server takes {limits.max_header_bytes}")


def check_body(body: Any, raw: bytes, limits: LimitsConfig) -> None:
    """``body`` is what ``raw`` was read as. Raises BadRequest."""
    for name in ITEM_FIELDS:
        given = getattr(body, name, None)
        if isinstance(given, list):
            _few(given, limits.max_items, name, "items")
    stop = getattr(body, "stop", None)
    if isinstance(stop, list):
        _few(stop, limits.max_stop, "stop", "sequences")
    title = getattr(body, "title", None)
    if isinstance(title, str):
        _short(title, limits.max_title, "title")
    _check_tools(getattr(body, "tools", None), raw, limits)
    _check_metadata(getattr(body, "metadata", None), limits)
    if len(raw) > limits.max_text:
        for path, text in texts(msgspec.json.decode(raw), ""):
            _short(text, limits.max_text, path)


def _check_tools(tools: Any, raw: bytes, limits: LimitsConfig) -> None:
    if not isinstance(tools, list):
        return
    _few(tools, limits.max_tools, "tools", "tools")
    if len(raw) <= limits.max_tool_bytes:
        return
    for place, tool in enumerate(tools):
        size = len(msgspec.json.encode(tool))
        if size > limits.max_tool_bytes:
            raise BadRequest(
                f"tools[{place}] has {size} bytes; this server takes {limits.max_tool_bytes}", param=f"tools[{place}]"
            )


def _check_metadata(metadata: Any, limits: LimitsConfig) -> None:
    if not isinstance(metadata, Mapping):
        return
    _few(tuple(metadata), limits.max_metadata_pairs, "metadata", "pairs")
    for key, value in metadata.items():
        _short(key, limits.max_metadata_key, "metadata", "a key of metadata")
        _short(value, limits.max_metadata_value, f"metadata.{key}")


def _few(given: Sequence[Any], most: int, name: str, what: str) -> None:
    if len(given) > most:
        raise BadRequest(f"{name} has {len(given)} {what}; this server takes {most}", param=name)


def _short(text: str, most: int, path: str, what: str = "") -> None:
    if len(text) > most:
        raise BadRequest(
            f"{what or path} has {len(text)} characters; this server takes {most}", param=path[:200] or None
        )
