"""What can be made to go wrong in the simulated engine: told as rules, drawn for each request from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from hubbub.core.errors import BadRequest


class FaultKind(StrEnum):
    HANG = "hang"
    """The whole engine stops saying anything, while its health stays good, until the rules change."""
    CRASH = "crash"
    """The process dies with exit code 137; in-process, all that is in flight is lost."""
    UNAVAILABLE = "unavailable"
    """The request is refused with 503 and Retry-After."""
    CUT = "cut"
    """The stream ends without a last word."""
    GARBAGE = "garbage"
    """The stream says something that cannot be read."""


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rate``: share of requests that meet it. ``times``: how often it strikes at most; None: always.
    ``after_tokens``: how much of the answer is said first. ``retry_after``: seconds, for ``unavailable``."""

    kind: FaultKind
    rate: float = 1.0
    times: int | None = None
    after_tokens: int = 0
    retry_after: float = 1.0


class Faults:
    """The rules in force. ``draw`` is asked once a request; the first rule that strikes holds for it."""

    def __init__(self, rules: Iterable[FaultRule], seed: int) -> None:
        self._rng = random.Random(f"faults {seed}")  # noqa: S311
        self.rules: tuple[FaultRule, ...] = ()
        self._left: list[int | None] = []
        self.replace(rules)

    def replace(self, rules: Iterable[FaultRule]) -> None:
        self.rules = tuple(rules)
        self._left = [rule.times for rule in self.rules]

    def draw(self) -> FaultRule | None:
        for i, rule in enumerate(self.rules):
            left = self._left[i]
            if left == 0 or self._rng.random() >= rule.rate:
                continue
            if left is not None:
                self._left[i] = left - 1
            return rule
        return None


def parse_rule(text: str) -> FaultRule:
    """``kind`` or ``kind:field=value,...``, like ``cut:after_tokens=5,rate=0.1``. Raises BadRequest."""
    kind, _, rest = text.partition(":")
    fields = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    try:
        return msgspec.convert({"kind": kind, **fields}, FaultRule, strict=False)
    except msgspec.ValidationError as fault:
        kinds = ", ".join(FaultKind)
        raise BadRequest(
            f"fault {text!r}: {fault}; kinds are {kinds}, fields rate, times, after_tokens, retry_after"
        ) from fault
