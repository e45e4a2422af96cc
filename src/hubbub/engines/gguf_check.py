"""Is this a whole GGUF file: magic, version, and as long as its own list of tensors says.

Read without ``gguf.GGUFReader``, which takes seconds for a vocabulary of 150,000 tokens. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from hubbub.core.errors import ConfigError

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_HTML = b"<"
_LFS = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class GgufSummary:
    """``architecture`` like ``qwen3``; ``tensors``: how many."""

    architecture: str
    name: str
    tensors: int
    size_bytes: int


def check_gguf(path: Path) -> GgufSummary:
    """Raises ConfigError with what is wrong and the way out."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            size = path.stat().st_size
            if head[:4] != _MAGIC:
                raise ConfigError(f"{path} is not a GGUF file: {_what(head, size)}", param="model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).summary(size)
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror}", param="model") from fault
    except (struct.error, IndexError) as fault:
        raise ConfigError(
            f"{path} is cut off inside its header ({size} bytes); download or copy it again", param="model"
        ) from fault
    except (ValueError, KeyError) as fault:
        raise ConfigError(f"{path} is not a GGUF file this version can read: {fault}", param="model") from fault


def _what(head: bytes, size: int) -> str:
    if size == 0:
        return "it is empty; download or copy it again"
    if head.startswith(_LFS):
        return "it is a Git LFS pointer; run 'git lfs pull' in its repository"
    if head.lstrip().startswith(_HTML):
        return "it is a web page; download the file itself (its address has /resolve/, not /blob/)"
    return f"it begins with {head[:4]!r}, not {_MAGIC!r}"


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def summary(self, size: int) -> GgufSummary:
        _magic, version, tensors, pairs = self._take("4sIQQ")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}; 2 and 3 are supported")
        wanted: dict[str, object] = {}
        for _ in range(pairs):
            key = self._text()
            (kind,) = self._take("I")
            if key in ("general.architecture", "general.name", _ALIGNMENT):
                wanted[key] = self._text() if kind == _STRING else self._take(_SCALARS[kind])[0]
            else:
                self._skip(kind)
        end = self._end_of_tensors(tensors, int(str(wanted.get(_ALIGNMENT, _DEFAULT_ALIGNMENT))))
        if end > size:
            raise ValueError(f"it is cut off: {size} bytes of {end}; download or copy it again")
        architecture, name = wanted.get("general.architecture", ""), wanted.get("general.name", "")
        return GgufSummary(str(architecture), str(name), tensors, size)

    def _end_of_tensors(self, count: int, alignment: int) -> int:
        """Where the last tensor ends, in bytes from the start of the file."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # brings numpy along

        furthest = 0
        for _ in range(count):
            self._text()
            (dimensions,) = self._take("I")
            shape = self._take(f"{dimensions}Q")
            kind, offset = self._take("IQ")
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            elements = 1
            for length in shape:
                elements *= length
            furthest = max(furthest, offset + elements // block * block_bytes)
        return -(-self._at // alignment) * alignment + furthest

    def _take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += struct.calcsize("<" + layout)
        return values

    def _text(self) -> str:
        (length,) = self._take("Q")
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise IndexError("text beyond the end")
        return self._data[start : self._at].decode("utf-8")

    def _skip(self, kind: int) -> None:
        if kind == _STRING:
            (length,) = self._take("Q")
            self._at += length
        elif kind == _ARRAY:
            item, count = self._take("IQ")
            if item in _SCALARS:
                self._at += count * struct.calcsize("<" + _SCALARS[item])
            elif item == _STRING:
                self._skip_texts(count)
            else:
                for _ in range(count):
                    self._skip(item)
        else:
            self._at += struct.calcsize("<" + _SCALARS[kind])

    def _skip_texts(self, count: int) -> None:
        data, at, unpack = self._data, self._at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
        self._at = at
