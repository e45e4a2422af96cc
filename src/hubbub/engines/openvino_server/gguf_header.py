"""The key-value part of a GGUF file, read without its tensors.

``gguf.GGUFReader`` maps every tensor and makes a Python object of every array element: 2.3 s for a vocabulary of 49,152
tokens, 7 s for Qwen's. An engine that starts in 6 s needs it in a tenth of a second. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError

_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_header(path: Path) -> dict[str, Any]:
    """Keys to scalars, texts (str) or lists of them. Raises ConfigError if it is not a whole GGUF file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Cursor(data).header()
    except (OSError, ValueError, struct.error, KeyError, UnicodeDecodeError) as fault:
        raise ConfigError(f"model {path}: not a readable GGUF file ({fault})", param="model") from fault


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self) -> dict[str, Any]:
        magic, version, _tensors, pairs = self._take("4sIQQ")
        if magic != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}; 2 and 3 are supported")
        return {self._text(): self._value(self._take("I")[0]) for _ in range(pairs)}

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _text(self) -> str:
        (length,) = self._take("Q")
        start, self._at = self._at, self._at + length
        return self._data[start : self._at].decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            item, count = self._take("IQ")
            if item in _SCALARS:
                return list(self._take(f"{count}{_SCALARS[item]}"))
            return self._texts(count) if item == _STRING else [self._value(item) for _ in range(count)]
        return self._take(_SCALARS[kind])[0]

    def _texts(self, count: int) -> list[str]:
        """As ``_text`` each, at a third of its time: vocabularies and merges are hundreds of thousands."""
        data, at, unpack = self._data, self._at, _LENGTH.unpack_from
        texts = []
        for _ in range(count):
            start = at + _LENGTH.size
            at = start + unpack(data, at)[0]
            texts.append(data[start:at].decode("utf-8"))
        self._at = at
        return texts
