"""The lines of a batch's input and output files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from hubbub.core.batches import BatchStatus, LineFault

CUSTOM_ID_CHARACTERS = 512
FAULTS_TOLD = 50
"""Of one file. Who made one line wrong made most of them wrong."""

NOT_RUN = {
    BatchStatus.EXPIRED: ("batch_expired", "This request could not be executed before the completion window expired."),
    BatchStatus.CANCELLED: ("batch_cancelled", "This request was not executed before the batch was cancelled."),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """``line_bytes``: of one line; ``lines``: of one file."""

    line_bytes: int
    lines: int


class InputLine(msgspec.Struct, frozen=True):
    """One line as it was checked. ``body`` stays as it came."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Response(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _Error(msgspec.Struct, frozen=True):
    code: str
    message: str


class _OutputLine(msgspec.Struct, frozen=True):
    id: str
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


def answered(row_id: str, custom_id: str, status: int, body: bytes) -> bytes:
    """The output line of a line that was asked, whatever came of it."""
    response = _Response(status, row_id.replace("batch_req_", "req_"), msgspec.Raw(body))
    return msgspec.json.encode(_OutputLine(row_id, custom_id, response=response))


def not_run(row_id: str, custom_id: str, ending: BatchStatus) -> bytes:
    """The output line of a line that was not asked, or not to the end."""
    code, message = NOT_RUN[ending]
    return msgspec.json.encode(_OutputLine(row_id, custom_id, error=_Error(code, message)))


def read_line(text: bytes) -> InputLine:
    """A line of a file that was found good."""
    return msgspec.json.decode(text, type=InputLine)


def numbered(file: BinaryIO, most: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their number from 1. Of one longer than ``most`` bytes only more than that."""
    number = 0
    while text := file.readline(most + 2):
        number += 1
        whole = text.endswith(b"\n")
        if text.strip():
            yield number, text.rstrip(b"\r\n")
        while not whole and (rest := file.readline(most)):
            whole = rest.endswith(b"\n")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a whole file came to. ``model``: the one that all lines ask."""

    total: int
    model: str | None
    faults: tuple[LineFault, ...]


def check(path: Path, endpoint: str, bounds: Bounds) -> Checked:
    """Read all of an input file. Blocks; memory goes with the number of lines. Raises OSError."""
    faults: list[LineFault] = []
    seen: dict[str, int] = {}
    models: set[str | None] = set()
    total = 0
    with path.open("rb") as file:
        for number, text in numbered(file, bounds.line_bytes):
            total += 1
            if total > bounds.lines:
                told = f"The batch input file has more than {bounds.lines} requests; split it."
                return Checked(total, None, (LineFault("too_many_tasks", told),))
            found = _line(number, text, endpoint, bounds)
            if isinstance(found, LineFault):
                faults.append(found)
            else:
                first = seen.setdefault(found.custom_id, number)
                models.add(_model(found.body))
                if first != number:
                    faults.append(_duplicate(found.custom_id, first, number))
            if len(faults) >= FAULTS_TOLD:
                break
    if not total:
        faults.append(LineFault("empty_file", "The batch input file is empty. Write one request a line."))
    return Checked(total, models.pop() if len(models) == 1 else None, tuple(faults))


def _duplicate(custom_id: str, first: int, number: int) -> LineFault:
    message = (
        f"The custom_id '{custom_id}' for this request is a duplicate of that of line {first}. The custom_id parameter "
        "must be unique for each request in a batch."
    )
    return LineFault("duplicate_custom_id", message, number, "custom_id")


def _line(number: int, text: bytes, endpoint: str, bounds: Bounds) -> InputLine | LineFault:
    if len(text) > bounds.line_bytes:
        return LineFault("line_too_large", f"This line has more than {bounds.line_bytes} bytes.", number)
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LineFault("invalid_json_line", "This line is not parseable as valid JSON.", number)
    if not isinstance(given, dict):
        return LineFault("invalid_json_line", "This line is not a JSON object.", number)
    for name in ("custom_id", "method", "url", "body"):
        if name not in given:
            return LineFault("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
    unknown = next((name for name in given if name not in InputLine.__struct_fields__), None)
    if unknown is not None:
        return LineFault("unknown_parameter", f"Unknown parameter: '{unknown[:80]}'.", number, unknown[:80])
    custom_id, method, url = given["custom_id"], given["method"], given["url"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= CUSTOM_ID_CHARACTERS:
        said = f"The custom_id must be a string of 1 to {CUSTOM_ID_CHARACTERS} characters."
        return LineFault("invalid_custom_id", said, number, "custom_id")
    if method != "POST":
        return LineFault("invalid_method", "The method must be 'POST'.", number, "method")
    if url != endpoint:
        said = f"The URL provided for this request does not match the batch endpoint {endpoint}."
        return LineFault("url_mismatch", said, number, "url")
    if not isinstance(given["body"], dict):
        return LineFault("invalid_body", "The body must be a JSON object.", number, "body")
    return read_line(text)


class _Model(msgspec.Struct, frozen=True):
    model: object = None


def _model(body: msgspec.Raw) -> str | None:
    named = msgspec.json.decode(body, type=_Model).model
    return named if isinstance(named, str) else None
