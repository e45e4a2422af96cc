"""The elements of a JSON array that is too large to be held: their bytes one after the other, in flat memory.

Only brackets and strings are looked at; whether an element is JSON is for its reader to find. So one that is damaged
does not take the others with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

READ_BYTES = 1 << 18
BLANK = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
"""Up to the next bracket outside of strings. Nothing of it is tried twice."""


@dataclass(frozen=True, slots=True)
class Element:
    """``number`` counts from 1, ``offset`` is in bytes. Without ``raw``, ``fault`` says why."""

    number: int
    offset: int
    raw: bytes | None = None
    fault: str = ""


def elements(read: Callable[[int], bytes], most: int) -> Iterator[Element]:
    """The objects of the array that ``read`` gives piece by piece, or the one object instead of an array.

    ``most``: bytes of one element; a larger one is a fault, and the next is looked for. Also raises what ``read``
    raises.
    """
    return _Elements(read, most).all()


class _Elements:
    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self._read = read
        self._most = most
        self._held = bytearray()
        self._at = 0  # how far brackets have been seen
        self._before = 0  # bytes of the file before those held
        self._number = 0
        self._lost = False  # there is no next element to be found

    def all(self) -> Iterator[Element]:
        opening = self._opening()
        if opening not in (b"[", b"{"):
            yield self._fault(
                "this is not JSON with chats: it begins neither with [ nor with {" if opening else "empty"
            )
            return
        if opening == b"[":
            self._drop(1)
        while True:
            fault = self._gap()
            if fault is not None:
                if fault.fault:
                    yield fault
                return
            element = self._one()
            yield element
            if self._lost or opening == b"{":
                return

    def _opening(self) -> bytes:
        """The first byte that is not blank; it stays."""
        while len(self._held) < len(BOM) and self._more():
            pass
        while True:
            start = len(BOM) if self._held.startswith(BOM) else 0
            blank = len(self._held) - start - len(self._held[start:].lstrip(BLANK))
            if len(self._held) > start + blank:
                self._drop(start + blank)
                return bytes(self._held[:1])
            if len(self._held) > self._most or not self._more():
                return b""

    def _gap(self) -> Element | None:
        """Goes to the next object. Returns an element at the end: one with a fault, if that is not where it should."""
        while True:
            blank = len(self._held) - len(self._held.lstrip(BLANK + b","))
            self._drop(blank)
            first = bytes(self._held[:1])
            if first == b"{":
                return None
            if first == b"]":
                return Element(self._number, self._before)
            if first:
                return self._fault(f"here stands {first!r} where a chat or the end of the list should")
            if not self._more():
                return self._fault("the file ends amid the list: is the download whole?")

    def _one(self) -> Element:
        """The object that begins here."""
        self._number += 1
        number, offset, depth, dropped = self._number, self._before, 0, False
        while True:
            match = _BRACKET.match(self._held, self._at)
            if match is not None:
                self._at = match.end()
                depth += 1 if match[1] in b"{[" else -1
                if depth:
                    continue
                raw = None if dropped or self._at > self._most else bytes(self._held[: self._at])
                self._drop(self._at)
                return Element(number, offset, raw, "" if raw is not None else self._large())
            if len(self._held) > self._most:
                dropped = True
                self._drop(self._at)
                if len(self._held) > self._most:  # one string: where it ends cannot be told without holding it
                    self._lost = True
                    return Element(number, offset, None, f"{self._large()}; the rest of the file was not read")
            if not self._more():
                self._lost = True
                return Element(number, offset, None, "the file ends amid this chat: is the download whole?")

    def _large(self) -> str:
        return f"this chat has more than {self._most} bytes"

    def _fault(self, words: str) -> Element:
        return Element(self._number, self._before, None, f"{words} (byte {self._before})")

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._before += count
        self._at = max(self._at - count, 0)

    def _more(self) -> bool:
        # Twice as much each time, so that a long string is gone over a few times only.
        data = self._read(max(READ_BYTES, min(len(self._held), self._most)))
        self._held += data
        return bool(data)
