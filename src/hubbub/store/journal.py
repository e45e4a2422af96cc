"""The journal's batches, and where in its own journal each live answer stands.

One group of appends is one row, whatever the number of answers in it: 200 answers at 50 tokens/s are then a few dozen
small rows a second instead of 10,000. A batch is MessagePack: ``[[answer number, start, [delta, ...]], ...]``, a delta
being its text where that is one token, ``[text, tokens]`` where it is another number of them, or ``[text, index,
call_id, name, arguments, tokens]`` for a piece of a tool call (older rows have no tokens there).

Rows are numbered upwards. Each live answer knows the first row that may hold deltas of it, and the rows below the
lowest of these are of no use to anybody: truncating the journal is deleting a range. One slow answer would pin all rows
after its first; so the journal is rewritten, one row a live answer, when it grows past a limit, and when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from hubbub.core.errors import StorageError
from hubbub.core.types import AnswerId, Delta, ToolDelta
from hubbub.ports import JournalEntry

Wire = str | bytes | list[Any]
"""One delta in a batch. Bytes: a text with a lone surrogate, which MessagePack's strings cannot hold."""
Batch = list[tuple[int, int, list[Wire]]]

_encoder = msgspec.msgpack.Encoder()
# Any: a union of str and bytes is more than msgspec can check.
_decoder: msgspec.msgpack.Decoder[Batch] = msgspec.msgpack.Decoder(list[tuple[int, int, list[Any]]])


class Place(NamedTuple):
    """``number`` of the answer's row, the ``next`` delta expected, and the ``first`` journal row, 0 for none yet."""

    number: int
    next: int
    first: int


def to_wire(delta: Delta) -> Wire:
    tool = delta.tool
    if tool is None:
        return delta.text if delta.tokens == 1 else [delta.text, delta.tokens]
    return [delta.text, tool.index, tool.call_id, tool.name, tool.arguments, delta.tokens]


def _text(wire: Any) -> Any:
    return wire.decode("utf-8", "surrogatepass") if isinstance(wire, bytes) else wire


def from_wire(wire: Wire) -> Delta:
    if isinstance(wire, list):
        if len(wire) == 2:
            return Delta(_text(wire[0]), tokens=wire[1])
        text, *tool = map(_text, wire[:5])
        return Delta(text, ToolDelta(*tool), wire[5] if len(wire) > 5 else 0)
    return Delta(_text(wire), tokens=1)


def _raw(wire: Any) -> Any:
    if isinstance(wire, list):
        return [_raw(field) for field in wire]
    return wire.encode("utf-8", "surrogatepass") if isinstance(wire, str) else wire


def encode(batch: Batch) -> bytes:
    try:
        return _encoder.encode(batch)
    except UnicodeEncodeError:
        return _encoder.encode([(number, start, [_raw(wire) for wire in wires]) for number, start, wires in batch])


def decode(data: bytes) -> Batch:
    """Raises StorageError for a batch no store wrote."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StorageError(f"a row of the journal is damaged ({error}): run 'hubbub store verify'") from error


def out_of_place(entry: JournalEntry, expected: int | None) -> StorageError:
    """``expected``: the next delta of that answer, None if it is not being written."""
    if expected is None:
        return StorageError(f"answer {entry.answer} is not being written: its journal takes nothing")
    return StorageError(f"the journal of answer {entry.answer} goes on at {expected}, not at {entry.start}")


def gather(rows: Iterable[bytes], wanted: Mapping[int, AnswerId]) -> tuple[dict[int, list[Wire]], list[str]]:
    """All deltas of the wanted answers by number, in order, and one line a fault. What follows a fault is left out."""
    found: dict[int, list[Wire]] = {}
    faults: list[str] = []
    broken: set[int] = set()
    for data in rows:
        try:
            batch = decode(data)
        except StorageError as error:
            faults.append(str(error))
            continue
        for number, start, wires in batch:
            if number not in wanted or number in broken:
                continue
            kept = found.setdefault(number, [])
            if start == len(kept):
                kept.extend(wires)
            else:
                broken.add(number)
                faults.append(f"answer {wanted[number]}: its journal goes from {len(kept)} to {start}")
    return found, faults
