"""Whether a text is new: exactly (hash) and nearly (MinHash), among the texts accepted before it.

Theory of operation. A signature is 16 bytes of xxh3-128 over the normalised text (NFKC, case folded, white space as one
space) and, where near-duplicates are looked for, 128 bytes: the lowest byte of each of 128 R-MinHash values (rensa). It
is a pure function of the text, is kept in the run's notes, and is all that the index is made of.

Shingles are word 5-grams, and for texts shorter than 20 words (where 5-grams say nothing) character 4-grams. A text of
one kind is never near one of the other, so a bit of the text's kind goes into the shingles.

Near: the 128 bytes are cut into bands of 8 (of 4 for thresholds below 0.75); texts that agree on a whole band are
candidates, and are near if enough of their 128 bytes agree. Two values agree in their lowest byte by chance once in
256, which the threshold allows for. With bands of 8, two texts of Jaccard similarity 0.8 meet with probability 0.95, of
0.9 with 0.9999, and the estimate has a standard error of 0.035.

Memory. rensa's own index takes 1.4 kB a text, measured, which is 1.2 GB for a corpus of 1 GB. Here a text takes 128
bytes of signature, 160 to 320 of band tables and 16 to 32 of exact hash, up to twice that just after the arrays grew:
300 to 600 bytes, in a few numpy arrays. Beyond ``window`` texts the oldest are forgotten (by the near index alone;
exact hashes stay), so a run of any length fits.

A band table is an array of buckets of four places, each with a byte of the band's hash as its tag: in a full table a
bucket holds texts of other bands, and a tag tells most of them apart without their signatures, each of which would be
two misses of the cache (167 us a look-up before there were tags, at 200,000 texts). An insert takes the bucket's oldest
place. Tables grow by doubling, and are then filled again from the signatures, as they are on resume: both leave what
single inserts would have left, so a resumed run decides what an unbroken one would have.
"""

from __future__ import annotations

import sys
import unicodedata
from array import array
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import rensa
import xxhash
from numpy.typing import NDArray

from hubbub.corpus.recipe import DedupSpec

PERMUTATIONS = 128
_SEED = 42
_WAYS = 4
_FIRST = 1024
_PORTION = 1 << 15
"""Rows that are filled into the tables at once: what that needs beside them is some MB."""
EXACT_BYTES = 16
SHORT_WORDS = 20
"""Texts with fewer words are compared by characters."""
_LOWEST = slice(0 if sys.byteorder == "little" else 3, None, 4)
"""Of the bytes of 32-bit numbers, the lowest one of each."""
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplicative hashing (Knuth, TAOCP 6.4)."""


class Duplicate(StrEnum):
    EXACT = "duplicate"
    NEAR = "near_duplicate"


def normalised(text: str) -> str:
    if not (text.isascii() or unicodedata.is_normalized("NFKC", text)):
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def shingles(text: str) -> list[str]:
    """Of a normalised text."""
    words = text.split(" ")
    if len(words) < SHORT_WORDS:
        return ["#" + text[start : start + 4] for start in range(max(1, len(text) - 3))]
    return list(map(" ".join, zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))


class Deduper:
    """The texts accepted so far. ``signature`` is pure; ``check`` and ``add`` are called in index order."""

    def __init__(self, spec: DedupSpec) -> None:
        self.spec = spec
        self._exact = _Hashes()
        self._near = _Near(spec.near, spec.window) if spec.near is not None else None

    @property
    def signature_bytes(self) -> int:
        return EXACT_BYTES + (PERMUTATIONS if self._near else 0)

    def signature(self, text: str) -> bytes:
        """What tells this text from others; ``signature_bytes`` long."""
        plain = normalised(text)
        exact = xxhash.xxh3_128_digest(plain.encode())
        if self._near is None:
            return exact
        hashed = rensa.RMinHash(num_perm=PERMUTATIONS, seed=_SEED)
        hashed.update(shingles(plain))
        return exact + array("I", hashed.digest()).tobytes()[_LOWEST]

    def check(self, signature: bytes) -> Duplicate | None:
        """How the text is one that was added before, if it is."""
        if self.spec.exact and self._exact.has(_key(signature)):
            return Duplicate.EXACT
        if self._near is not None and self._near.has(_row(signature)):
            return Duplicate.NEAR
        return None

    def add(self, signature: bytes) -> None:
        if self.spec.exact:
            self._exact.add(_key(signature))
        if self._near is not None:
            self._near.add(_row(signature))

    def restore(self, signatures: Sequence[bytes]) -> None:
        """``add`` for many, in their order; faster, and the same in the end."""
        if not signatures:
            return
        if self.spec.exact:
            for signature in signatures:
                self._exact.add(_key(signature))
        if self._near is not None:
            table = np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(len(signatures), -1)
            self._near.add_many(np.ascontiguousarray(table[:, EXACT_BYTES:]))

    @property
    def bytes_held(self) -> int:
        """Memory of the index, in bytes."""
        return self._exact.slots.nbytes + (self._near.bytes_held if self._near else 0)


def _key(signature: bytes) -> int:
    return int.from_bytes(signature[:8], "little") or 1


def _row(signature: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(signature, dtype=np.uint8, offset=EXACT_BYTES)


class _Hashes:
    """A set of 64-bit numbers other than 0: open addressing, at most 5/8 full. In 10 million texts, the chance that
    any two different ones share 64 bits is 3 in a million."""

    def __init__(self) -> None:
        self.slots = np.zeros(_FIRST, dtype=np.uint64)
        self.count = 0

    def has(self, key: int) -> bool:
        return bool(self.slots[self._place(key)])

    def add(self, key: int) -> None:
        place = self._place(key)
        if self.slots[place]:
            return
        self.slots[place] = key
        self.count += 1
        if self.count * 8 > len(self.slots) * 5:
            self._grow()

    def _place(self, key: int) -> int:
        slots, mask = self.slots, len(self.slots) - 1
        place = key & mask
        while (held := slots.item(place)) and held != key:
            place = place + 1 & mask
        return place

    def _grow(self) -> None:
        """Every key moves to its place in a table twice as long: vectorised, the keys that collide one step further on
        each round."""
        keys = self.slots[self.slots != 0]
        slots = np.zeros(len(self.slots) * 2, dtype=np.uint64)
        mask = np.uint64(len(slots) - 1)
        places = keys & mask
        while len(keys):
            free = slots[places] == 0
            slots[places[free]] = keys[free]
            left = slots[places] != keys
            keys, places = keys[left], (places[left] + np.uint64(1)) & mask
        self.slots = slots


class _Near:
    """The last ``window`` rows of 128 bytes, and the tables that find those that share a band.

    The tables of all bands lie behind one another: a band's bucket is one index into ``_numbers`` (which row, from 1;
    0: none) and ``_tags``."""

    def __init__(self, threshold: float, window: int) -> None:
        width = 8 if threshold >= 0.75 else 4
        self._bands = PERMUTATIONS // width
        self._type = np.uint64 if width == 8 else np.uint32
        self._least = round((threshold + (1 - threshold) / 256) * PERMUTATIONS)
        self._window = window
        self._rows = np.zeros((_FIRST, PERMUTATIONS), dtype=np.uint8)
        self._count = 0
        self._empty(_FIRST // 2)

    def _empty(self, buckets: int) -> None:
        """Tables of so many buckets a band, a power of two."""
        self._numbers = np.zeros((self._bands * buckets, _WAYS), dtype=np.uint32)
        self._tags = np.zeros((self._bands * buckets, _WAYS), dtype=np.uint8)
        self._starts = np.arange(self._bands) * buckets
        self._shift = 64 - (buckets.bit_length() - 1)

    @property
    def bytes_held(self) -> int:
        return self._rows.nbytes + self._numbers.nbytes + self._tags.nbytes

    def has(self, row: NDArray[np.uint8]) -> bool:
        places, tags = self._places(row)
        alike = self._tags.take(places, axis=0) == tags[:, None]
        if not np.count_nonzero(alike):
            return False
        found = self._numbers.take(places, axis=0)[alike]
        found = found[found > max(0, self._count - self._window)]
        if not len(found):
            return False
        agreeing = (self._rows[(found - 1) % len(self._rows)] == row).sum(axis=1)
        return bool((agreeing >= self._least).any())

    def add(self, row: NDArray[np.uint8]) -> None:
        if self._count == len(self._rows) < self._window:
            self._grow(self._count + 1)
        self._rows[self._count % len(self._rows)] = row
        self._count += 1
        places, tags = self._places(row)
        ways = self._numbers.take(places, axis=0).argmin(axis=1)
        self._numbers[places, ways] = self._count
        self._tags[places, ways] = tags

    def add_many(self, rows: NDArray[np.uint8]) -> None:
        if len(rows) < 64 or self._count + len(rows) > self._window:
            for row in rows:
                self.add(row)
            return
        if self._count + len(rows) > len(self._rows):
            self._grow(self._count + len(rows))
        self._rows[self._count : self._count + len(rows)] = rows
        self._fill(self._count, self._count + len(rows))
        self._count += len(rows)

    def _grow(self, needed: int) -> None:
        size = len(self._rows)
        while size < needed:
            size *= 2
        size = min(size, self._window)
        rows = np.zeros((size, PERMUTATIONS), dtype=np.uint8)
        rows[: self._count] = self._rows[: self._count]
        self._rows = rows
        self._empty(1 << max(9, (size - 1).bit_length() - 1))
        for first in range(0, self._count, _PORTION):
            self._fill(first, min(first + _PORTION, self._count))

    def _fill(self, first: int, end: int) -> None:
        """Rows ``first`` to ``end`` into the tables, one band at a time, a place further for each in one bucket."""
        places, tags = self._places(self._rows[first:end])
        numbers = np.arange(first + 1, end + 1, dtype=np.uint32)
        for band in range(self._bands):
            order = np.argsort(places[:, band], kind="stable")
            in_order = places[order, band]
            starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
            rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
            ways = (self._numbers[in_order].argmin(axis=1) + rank) % _WAYS
            self._numbers[in_order, ways] = numbers[order]
            self._tags[in_order, ways] = tags[order, band]

    def _places(self, rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """(..., 128 bytes) -> (..., bands): the bucket of each band, and the tag it has there."""
        hashed = rows.view(self._type).astype(np.uint64, copy=False) * _SPREAD
        buckets = (hashed >> np.uint64(self._shift)).astype(np.int64) + self._starts
        return buckets, (hashed >> np.uint64(self._shift - 8)).astype(np.uint8)
