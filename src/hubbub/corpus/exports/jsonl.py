"""JSON lines, and the edges between records as a list of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from hubbub.corpus.exports.corpus import Corpus, file_at, whole_file
from hubbub.corpus.record import encode


def export_jsonl(corpus: Corpus, to: Path) -> Path:
    """One record a line. For a linked corpus, ``NAME.edges.jsonl`` beside it has one {source, target, kind} a line. A
    folder takes both as records.jsonl and records.edges.jsonl."""
    path = file_at(to, "records.jsonl")
    with whole_file(path) as part, part.open("wb") as out:
        out.writelines(encode(record) + b"\n" for record in corpus.finished())
    if corpus.recipe.links:
        with whole_file(path.with_suffix(".edges.jsonl")) as part, part.open("wb") as out:
            for record in corpus.finished():
                for link in record.links:
                    edge = {"source": record.id, "target": link.target, "kind": link.kind}
                    out.write(msgspec.json.encode(edge) + b"\n")
    return path


def print_jsonl(corpus: Corpus) -> None:
    """To standard output. Whoever reads may go away: that ends it quietly."""
    try:
        for record in corpus.finished():
            sys.stdout.buffer.write(encode(record) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stderr.close()
