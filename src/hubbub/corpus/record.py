"""One accepted text, as it stands in a shard: one JSON object a line, keys in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Value = Any
"""What a column or a field of a structured output can be. Any JSON value."""


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """An edge to another record. ``start`` and ``end`` are characters of the text that name the target, or -1 where
    the text does not: such a link belongs under "See also"."""

    kind: str
    target: str
    """The id of the record it points to."""
    title: str
    start: int = -1
    end: int = -1


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """``part`` counts the texts of one work item, from 0. ``bytes``: of the text in UTF-8. ``tokens``: of the text as
    the engine counted them, an equal share of the answer's where several texts came in one."""

    id: str
    index: int
    part: int = 0
    text: str
    bytes: int
    tokens: int = 0
    title: str = ""
    lang: str = ""
    columns: Mapping[str, Value] = {}
    fields: Mapping[str, Value] = {}
    """What a structured output said beside the text, and the outputs of earlier steps the recipe keeps."""
    links: tuple[Link, ...] = ()
    cluster: int = -1
    score: float | None = None
    """The judge step's, where the recipe has one."""
    seed: int = 0
    attempt: int = 0
    model: str = ""


def record_id(index: int, part: int = 0) -> str:
    """``"17"``, and ``"17-3"`` for the fourth text of a packed item: unique in a run, and in a link's target."""
    return f"{index}-{part}" if part else str(index)


def node_of(record: str) -> tuple[int, int]:
    """(index, part) of an id. Raises ValueError for what is none."""
    index, _, part = record.partition("-")
    return int(index), int(part or 0)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """One line of JSON, without the newline."""
    return _encoder.encode(record)


def decode(line: bytes) -> Record:
    """Raises msgspec.DecodeError for what is no record."""
    return _decoder.decode(line)
