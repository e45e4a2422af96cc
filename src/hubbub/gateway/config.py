"""What can be set about the HTTP side."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Raises ValueError for a value that makes no sense."""

    max_body_bytes: int = field(default=8 * MIB, metadata={"help": "largest request body taken, in bytes"})
    ping_seconds: float = field(
        default=15.0, metadata={"help": "a stream that said nothing for so long sends a comment, in seconds"}
    )
    cors_origins: str = field(
        default="",
        metadata={"help": "sites whose pages may ask, as https://name:port, comma-separated; * with keys: all"},
    )

    def __post_init__(self) -> None:
        if self.max_body_bytes < 1024:
            raise ValueError(f"max_body_bytes is {self.max_body_bytes}; give at least 1024")
        for origin in self.origins - {"*"}:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"cors_origins has {origin!r}; write it as https://name or http://name:port")
        if self.ping_seconds <= 0:
            raise ValueError(f"ping_seconds is {self.ping_seconds}; give a time above 0")

    @property
    def origins(self) -> frozenset[str]:
        return words(self.cors_origins)


def words(text: str) -> frozenset[str]:
    """A comma-separated setting, in lower case."""
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())
