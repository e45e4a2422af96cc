"""The scheduler's settings. The layer that owns them checks them: settings.py only converts types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Raises ValueError naming the field and what it may be. "Weighted tokens" are tokens times their cost."""

    max_queued: int = field(default=1000, metadata={"help": "chat requests that may wait; more are refused with 429"})
    max_queued_bulk: int = field(default=1000, metadata={"help": "bulk requests that may wait"})
    max_predicted_ttft_s: float | None = field(
        default=120.0,
        metadata={"help": "seconds; a chat whose first token would take longer is refused with 429; none: never"},
    )
    max_queue_seconds: float = field(
        default=180.0, metadata={"help": "seconds a request waits while no engine serves its model"}
    )
    max_attempts: int = field(default=3, metadata={"help": "times a request is given to an engine before it fails"})
    kv_headroom: float = field(default=0.95, metadata={"help": "fraction of the KV cache that reservations may fill"})
    expected_output: float = field(
        default=256.0, metadata={"help": "output tokens to reserve before answers have been measured"}
    )
    max_bypass: int = field(
        default=16, metadata={"help": "smaller requests that may pass one that does not fit before room is held for it"}
    )
    lookahead: int = field(
        default=4, metadata={"help": "users, and chats of each, looked at behind a request that does not fit"}
    )
    chat_reserve: float = field(
        default=0.1, metadata={"help": "fraction of sequences and KV cache that bulk leaves free for chats"}
    )
    bulk_ttft_share: float = field(
        default=0.2, metadata={"help": "share by which bulk may lengthen the late times (p95) to a chat's first token"}
    )
    bulk_ttft_s: float = field(
        default=0.1,
        metadata={"help": "seconds up to which bulk may lengthen the time to a chat's first token, in any case"},
    )
    bulk_itl_s: float = field(
        default=0.2,
        metadata={"help": "seconds up to which bulk may lengthen the time between a chat's tokens, in any case"},
    )
    affinity_bound: float = field(
        default=1.25,
        metadata={"help": "times its fair share of a pool's requests up to which a replica takes back its own chats"},
    )
    prefill_cost: float = field(default=0.25, metadata={"help": "weight of a prompt token in fairness"})
    decode_cost: float = field(default=1.0, metadata={"help": "weight of an output token in fairness"})
    half_life_s: float = field(default=60.0, metadata={"help": "seconds after which service had counts half"})
    max_debt: float = field(
        default=4096.0, metadata={"help": "weighted tokens by which past service may set back who returns from idle"}
    )
    user_weights: dict[str, float] = field(
        default_factory=dict, metadata={"help": "share of a user against others, by user; 1 where not named"}
    )

    def __post_init__(self) -> None:
        checks: tuple[tuple[Callable[[float], bool], str, tuple[str, ...]], ...] = (
            (lambda v: v >= 0, "0 or more", ("max_queued", "max_queued_bulk", "max_bypass", "max_debt")),
            (lambda v: v >= 1, "1 or more", ("max_attempts", "lookahead", "affinity_bound")),
            (lambda v: 0 < v <= 1, "above 0, at most 1", ("kv_headroom",)),
            (lambda v: 0 <= v < 1, "0 or more, below 1", ("chat_reserve",)),
            (lambda v: 0 <= v < inf, "0 or more", ("prefill_cost", "max_queue_seconds", "expected_output")),
            (lambda v: 0 < v < inf, "above 0", ("decode_cost",)),
            (lambda v: v > 0, "above 0", ("half_life_s", "bulk_ttft_share")),
            (lambda v: v >= 0, "0 or more", ("bulk_ttft_s", "bulk_itl_s")),
        )
        for sound, wanted, names in checks:
            for name in names:
                if not sound(getattr(self, name)):
                    raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {wanted}")
        if self.max_predicted_ttft_s is not None and not self.max_predicted_ttft_s > 0:
            raise ValueError(f"max_predicted_ttft_s is {self.max_predicted_ttft_s!r}; it must be above 0, or left out")
        for user, weight in self.user_weights.items():
            if not (weight > 0 and isfinite(weight)):
                raise ValueError(f"user_weights has {weight!r} for {user!r}; it must be above 0")
