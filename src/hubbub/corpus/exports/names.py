"""File names for records, made of their titles: safe on every system, unique also where neither case nor the
form of an accent (composed, or a sign of its own) counts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import xxhash

from hubbub.corpus.record import Link, Record

LONGEST = 80
"""Characters."""
LONGEST_BYTES = 200
"""In UTF-8: 255 is the most that common file systems take, and the id and the ending come behind."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*#^\[\]]+')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Names:
    """Names of one corpus, without their ending. A title that cannot be a name as it is, or is another's, gets the
    record's id behind it."""

    def __init__(self, records: Iterable[Record]) -> None:
        """One pass; keeps 8 bytes (a hash) of each name."""
        seen: set[int] = set()
        self._again: set[str] = set()
        for record in records:
            plain = unicodedata.normalize("NFC", _plain(record.title))
            key = xxhash.xxh3_64_intdigest(plain.casefold().encode())
            if key in seen:
                self._again.add(record.id)
            seen.add(key)

    def of(self, id: str, title: str) -> str:
        plain = _plain(title)
        if not plain:
            return id
        return f"{plain} ({id})" if plain != title or id in self._again or _looks_numbered(plain) else plain

    def of_link(self, link: Link) -> str:
        return self.of(link.target, link.title)


def _plain(title: str) -> str:
    plain = _UNSAFE.sub(" ", title)[:LONGEST].encode()[:LONGEST_BYTES].decode(errors="ignore")
    plain = " ".join(plain.split()).strip(". ")
    return "" if _DEVICES.fullmatch(plain) else plain


def _looks_numbered(plain: str) -> bool:
    """It could be taken for a name that an id was put behind, or for an id."""
    return bool(re.search(r"\(\d+(-\d+)?\)$", plain) or re.fullmatch(r"\d+(-\d+)?", plain))
