"""Parquet, by pyarrow: the extra ``corpus``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from hubbub.core.errors import ConfigError
from hubbub.corpus.exports.corpus import Corpus, file_at, whole_file
from hubbub.corpus.record import Record

SOURCE = "hubbub.sha256"
GROUP = 10_000
"""Rows of one row group: about 10 MB of text of 1 kB a record, which is what is held in memory."""


def export_parquet(corpus: Corpus, to: Path) -> Path:
    """One file. ``columns`` and ``fields`` are JSON texts, since they differ from record to record."""
    path = file_at(to, "records.parquet")
    with whole_file(path) as part:
        write_parquet(corpus.finished(), part)
    return path


def write_parquet(records: Iterable[Record], path: Path, *, source: str = "") -> int:
    """How many rows were written. ``source``: the SHA-256 of what they are made from. Raises ConfigError without
    pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'hubbub[corpus]'") from None
    schema = _schema(pyarrow).with_metadata({SOURCE: source} if source else {})
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _groups(map(_row, records)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def made_from(path: Path) -> str:
    """The ``source`` that a file was written with; "" for what is no Parquet of ours."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
    except pyarrow.ArrowInvalid:
        return ""
    return bytes(metadata.get(SOURCE.encode(), b"")).decode()


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(rows, GROUP)):
        yield group


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__}
    row["columns"] = msgspec.json.encode(record.columns).decode()
    row["fields"] = msgspec.json.encode(record.fields).decode()
    row["links"] = [msgspec.structs.asdict(link) for link in record.links]
    return row


def _schema(pa: Any) -> Any:
    link = pa.struct(
        [
            ("kind", pa.string()),
            ("target", pa.string()),
            ("title", pa.string()),
            ("start", pa.int32()),
            ("end", pa.int32()),
        ]
    )
    return pa.schema(
        [
            ("id", pa.string()),
            ("index", pa.int64()),
            ("part", pa.int32()),
            ("text", pa.large_string()),
            ("bytes", pa.int64()),
            ("tokens", pa.int64()),
            ("title", pa.string()),
            ("lang", pa.string()),
            ("columns", pa.string()),
            ("fields", pa.string()),
            ("links", pa.list_(link)),
            ("cluster", pa.int64()),
            ("score", pa.float64()),
            ("seed", pa.int64()),
            ("attempt", pa.int32()),
            ("model", pa.string()),
        ]
    )
