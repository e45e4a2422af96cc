"""Text to token ids and back, with the engine's own tokenizer for the first and a table for the second."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.model_info import ModelInfo

GGUF_ENCODE_LIMIT = 8192
"""The tokenizer that OpenVINO GenAI builds from a GGUF keeps the last 8,192 tokens and drops the rest without a word
(src/cpp/src/gguf_utils/gguf_tokenizer.cpp, MAX_LENGTH). Text of no more bytes than this cannot have more tokens."""

NFC_PRE_TOKENIZERS = ("qwen2",)
"""Models whose tokenizer.json normalizes to NFC, which a GGUF does not say and OpenVINO GenAI does not do for them."""

# After a letter and before something that is neither letter nor mark: every pre-tokenizer in use ends a piece there,
# so texts cut there encode to the same ids as the whole.
_CUT = re.compile(r"(?<=[^\W\d_])(?=[\s.,;:!?()\[\]{}\"\-_/<>，。！？；：、「」（）])")
_PROBE = "Hello, world! Привет, мир. 你好，世界 🦉 1234\n\tend"


class Codec:
    """``encode`` may be called by one thread at a time."""

    def __init__(self, tokenizer: Any, info: ModelInfo) -> None:
        """``tokenizer``: an ``openvino_genai.Tokenizer``. Raises ConfigError where its vocabulary cannot be read."""
        self.tokenizer = tokenizer
        self._limit = GGUF_ENCODE_LIMIT if info.is_gguf else self._seen_limit(info.context_window)
        self._normal = info.pre_tokenizer in NFC_PRE_TOKENIZERS
        names = sorted(info.special, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None
        self.table = self._table(info)

    @classmethod
    def load(cls, info: ModelInfo) -> Codec:
        """Raises ConfigError."""
        # Here, since all the rest is text alone, and loading OpenVINO takes half a second.
        import openvino_genai

        try:
            return cls(openvino_genai.Tokenizer(str(info.path)), info)
        except RuntimeError as fault:
            raise ConfigError(f"model {info.path}: its tokenizer cannot be loaded: {fault}", param="model") from fault

    def encode(self, text: str) -> list[int]:
        """Ids of the text, special tokens in it read as such, nothing added."""
        if not text:
            return []
        if self._normal:
            text = unicodedata.normalize("NFC", text)
        if self._limit is None or len(text) <= self._limit // 4 or len(text.encode()) <= self._limit:
            return self._encode(text)
        ids: list[int] = []
        for part in self._special.split(text) if self._special else [text]:
            for piece in cut(part, self._limit // 4):
                ids += self._encode(piece)
        return ids

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        return ids

    def _seen_limit(self, window: int) -> int | None:
        """Tokens that a converted tokenizer keeps of a text, where that is less than the window: the limit is part of
        its graph and stands in no file. GenAI's ``max_length`` does not lift it (2026.4.1)."""
        kept = len(self._encode("1 " * (window + 1)))
        return kept if kept <= window else None

    def _table(self, info: ModelInfo) -> list[bytes]:
        vocabulary: dict[bytes, int] = self.tokenizer.get_vocab()
        ids = self._encode(_PROBE)
        for read in (_byte_level, _sentence_piece):
            table = [b""] * (max(vocabulary.values()) + 1)
            for piece, token in vocabulary.items():
                table[token] = read(piece)
            for token in info.control_ids | info.stop_ids:
                if token < len(table):
                    table[token] = b""
            if b"".join(table[token] for token in ids).strip() == _PROBE.encode():
                return table
        raise ConfigError(f"model {info.path}: its vocabulary is of a kind that cannot be read back", param="model")


def cut(text: str, most: int) -> Iterable[str]:
    """``text`` in pieces of at most ``most`` characters, cut where a tokenizer would cut it, too."""
    while len(text) > most:
        at = max((match.start() for match in _CUT.finditer(text, 0, most)), default=0) or most
        yield text[:at]
        text = text[at:]
    yield text


def _byte_level(piece: bytes) -> bytes:
    return piece


def _sentence_piece(piece: bytes) -> bytes:
    if len(piece) == 6 and piece.startswith(b"<0x"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁".encode(), b" ")


class Detokenizer:
    """One answer's tokens to text, never half a character. Bytes that are no UTF-8 become U+FFFD."""

    __slots__ = ("_decoder", "_table")

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, tokens: Sequence[int]) -> str:
        table = self._table
        return self._decoder.decode(b"".join([table[token] if token < len(table) else b"" for token in tokens]))

    def end(self) -> str:
        """What is left: U+FFFD where the last character is not whole."""
        return self._decoder.decode(b"", final=True)
