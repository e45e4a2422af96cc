"""What can be set about the HTTP side."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Raises ValueError for a value that makes no sense."""

    max_body_bytes: int = field(default=8 * MIB, metadata={"help": "largest request body taken, in bytes"})
    ping_seconds: float = field(
        default=15.0, metadata={"help": "a stream that said nothing for so long sends a comment, in seconds"}
    )

    def __post_init__(self) -> None:
        if self.max_body_bytes < 1024:
            raise ValueError(f"max_body_bytes is {self.max_body_bytes}; give at least 1024")
        if self.ping_seconds <= 0:
            raise ValueError(f"ping_seconds is {self.ping_seconds}; give a time above 0")
