"""Time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time as the runtime sees it. ``wall`` is Unix seconds for people; ``now`` only ever rises and orders events."""

    def now(self) -> float: ...

    def wall(self) -> float: ...
