"""A finished corpus in the forms that people use. Links of every export are valid: see ``corpus.links``."""

from __future__ import annotations

from pathlib import Path

from hubbub.core.errors import BadRequest
from hubbub.corpus.exports.corpus import Corpus
from hubbub.corpus.exports.dataset import export_dataset
from hubbub.corpus.exports.jsonl import export_jsonl, print_jsonl
from hubbub.corpus.exports.obsidian import export_obsidian
from hubbub.corpus.exports.parquet import export_parquet
from hubbub.corpus.exports.site import export_site

__all__ = ["FORMATS", "Corpus", "export"]

_WRITERS = {
    "jsonl": export_jsonl,
    "parquet": export_parquet,
    "obsidian": export_obsidian,
    "html": export_site,
    "dataset": export_dataset,
}
FORMATS = tuple(_WRITERS)


def export(corpus: Corpus, format: str, to: Path | None) -> Path | None:
    """Writes the corpus as ``format`` to ``to``, whole or not at all; None is standard output, for jsonl alone.

    Answers with what was written. Raises BadRequest for a format or place that cannot be, StorageError where writing
    fails.
    """
    if format not in _WRITERS:
        raise BadRequest(f"format: there is no {format!r}; there is {', '.join(FORMATS)}", param="format")
    if to is None:
        if format != "jsonl":
            raise BadRequest(f"to: {format} is more than one file, and cannot go to standard output", param="to")
        print_jsonl(corpus)
        return None
    return _WRITERS[format](corpus, to)
