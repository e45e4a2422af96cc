"""How the file of a chat that was brought is kept: zlib, about a third of a text."""

from __future__ import annotations

import zlib


def packed(data: bytes) -> bytes:
    return zlib.compress(data, 6)


def unpacked(data: bytes) -> bytes:
    return zlib.decompress(data)
