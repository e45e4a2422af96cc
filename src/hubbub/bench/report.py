"""What a load run was asked to do, and what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hubbub.bench.histogram import Durations

Api = Literal["responses", "chat"]


@dataclass(frozen=True, slots=True)
class Plan:
    """``url``: the server, without ``/v1``. ``api``: ``responses`` keeps every turn in a conversation of the server and
    afterwards checks that it is there; ``chat`` sends the whole history each turn and works with any server.

    ``patience_seconds``: how long a turn that is refused is tried again. ``silence_seconds``: how long a stream may
    stay silent before it is given up. ``spread_seconds``: the chats begin evenly over so long; 0: all at once.
    ``extra`` goes into every request body as it is.
    """

    url: str
    api: Api = "responses"
    model: str = ""
    """Empty: the first that ``/v1/models`` lists."""
    chats: int = 200
    turns: int = 2
    max_tokens: int = 64
    seed: int = 0
    api_key: str = ""
    patience_seconds: float = 600.0
    silence_seconds: float = 300.0
    spread_seconds: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}: it starts with http:// or https://")
        for name in ("chats", "turns", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")


@dataclass(frozen=True, slots=True)
class Result:
    """``turns`` is turns a chat; ``ok + failed + lost == chats * turns``. A turn is lost when its stream ended without
    a terminal event, or when the server afterwards no longer had what was said.

    ``ttft``: from the first try of a turn, refusals included, to its first text. ``itl``: between the moments at which
    new text of a stream arrived. ``wall_s``: from the first question to the last answer. ``failures`` counts by error
    code, ``examples`` has one message each. ``refused``: tries answered by "come back later".
    """

    chats: int
    turns: int
    ok: int
    failed: int
    lost: int
    output_tokens: int
    input_tokens: int
    cached_tokens: int
    wall_s: float
    ttft: Durations
    itl: Durations
    refused: int
    failures: Mapping[str, int]
    examples: Mapping[str, str]
    model: str
    verify_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.output_tokens / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def sound(self) -> bool:
        return self.failed == 0 and self.lost == 0

    def as_json(self) -> dict[str, Any]:
        return {
            "chats": self.chats,
            "turns": self.turns,
            "ok": self.ok,
            "failed": self.failed,
            "lost": self.lost,
            "output_tokens": self.output_tokens,
            "tokens_per_s": round(self.tokens_per_s, 2),
            "ttft_s": self.ttft.summary(),
            "itl_s": self.itl.summary(),
            "wall_s": round(self.wall_s, 3),
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "refused": self.refused,
            "failures": dict(self.failures),
            "examples": dict(self.examples),
            "model": self.model,
            "verify_s": round(self.verify_s, 3),
        }
