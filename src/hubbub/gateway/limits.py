"""Bounds on what a client can send and hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubbub.core.quota import Limits

KIB = 1024
MIB = 1024 * KIB
CONTRACT = {
    "max_title": 200,
    "max_metadata_pairs": 16,
    "max_metadata_key": 64,
    "max_metadata_value": 512,
    "max_stop": 4,
}
"""What the published schemas say: these bounds can be lowered, not raised. All but the title are OpenAI's."""


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Raises ValueError naming the field and what it may be."""

    max_items: int = field(default=4096, metadata={"help": "items or messages of one request"})
    max_text: int = field(default=2_000_000, metadata={"help": "characters of any one text in a request"})
    max_title: int = field(default=200, metadata={"help": "characters of a title; at most 200"})
    max_metadata_pairs: int = field(default=16, metadata={"help": "pairs of metadata; at most 16"})
    max_metadata_key: int = field(default=64, metadata={"help": "characters of a metadata key; at most 64"})
    max_metadata_value: int = field(default=512, metadata={"help": "characters of a metadata value; at most 512"})
    max_tools: int = field(default=128, metadata={"help": "tools of one request"})
    max_tool_bytes: int = field(default=64 * KIB, metadata={"help": "bytes of one tool's JSON"})
    max_stop: int = field(default=4, metadata={"help": "stop sequences of one request; at most 4"})
    max_url_bytes: int = field(default=8 * KIB, metadata={"help": "bytes of a request's path and query"})
    max_header_bytes: int = field(default=16 * KIB, metadata={"help": "bytes of all header fields of a request"})
    max_headers: int = field(default=64, metadata={"help": "header fields of a request"})
    max_connections: int = field(
        default=12_000,
        metadata={"help": "connections open at once; no more than half of the files the system lets a process open"},
    )
    max_streams: int = field(default=10_000, metadata={"help": "streams open at once"})
    max_streams_per_user: int = field(
        default=1_000, metadata={"help": "streams open at once of one user of a server with keys"}
    )
    max_file_bytes: int = field(default=200 * MIB, metadata={"help": "bytes of one uploaded file"})
    max_import_bytes: int = field(
        default=4096 * MIB, metadata={"help": "bytes of one file of chats that is brought (POST /v1/chats/import)"}
    )
    max_files_per_user: int = field(default=500, metadata={"help": "uploaded files kept of one user"})
    max_batch_lines: int = field(default=50_000, metadata={"help": "requests of one batch"})
    max_batches_per_user: int = field(default=50, metadata={"help": "batches of one user that have not ended"})
    max_keys_per_user: int = field(default=100, metadata={"help": "keys of one user that open something"})
    max_recipe_bytes: int = field(default=256 * KIB, metadata={"help": "bytes of one recipe"})
    max_corpora_per_user: int = field(default=50, metadata={"help": "corpora kept of one user"})
    max_corpora_at_once: int = field(default=4, metadata={"help": "corpora of all users written at once"})
    max_corpus_bytes: int = field(
        default=10_000_000_000, metadata={"help": "most text that a corpus may be asked for, in bytes"}
    )
    body_seconds: float = field(
        default=60.0, metadata={"help": "seconds a body may take to arrive; for a file, each next piece of it"}
    )
    keep_alive_seconds: float = field(
        default=75.0, metadata={"help": "seconds a connection may be idle, or take to send its header fields"}
    )
    max_backlog: int = field(
        default=1024 * KIB,
        metadata={"help": "characters that may wait for a reader that stopped reading; then it is dropped"},
    )
    stalled_seconds: float = field(
        default=120.0, metadata={"help": "seconds a reader may take nothing at all; then it is dropped"}
    )

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} is {value}; give a number above 0")
            if value > CONTRACT.get(name, value):
                raise ValueError(f"{name} is {value}; the interface allows at most {CONTRACT[name]}")


@dataclass(frozen=True, slots=True)
class QuotaConfig:
    """What a key may use that has no limits of its own; 0 is without limit. Raises ValueError."""

    requests_per_minute: int = field(default=0, metadata={"help": "requests a minute of a key; 0: any number"})
    tokens_per_minute: int = field(default=0, metadata={"help": "input and output tokens a minute of a key; 0: any"})
    tokens_per_day: int = field(default=0, metadata={"help": "input and output tokens a day (UTC) of a key; 0: any"})
    parallel_chats: int = field(default=0, metadata={"help": "chats of a key answered at once; 0: any number"})
    expected_output: int = field(
        default=256, metadata={"help": "output tokens that a request without a maximum is charged until it has ended"}
    )

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more")

    @property
    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.tokens_per_day, self.parallel_chats)
