"""Answers come in any order; they are decided in the order of their indices, behind a window of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Reorder(Generic[T]):
    """``head`` is the next index to decide; indices from ``head`` up to ``head + size`` may be out."""

    def __init__(self, head: int, size: int) -> None:
        if size < 1:
            raise ValueError(f"a window of {size}")
        self.head = head
        self.size = size
        self._held: dict[int, T] = {}

    def __len__(self) -> int:
        """How many wait for one before them."""
        return len(self._held)

    @property
    def blocked(self) -> bool:
        """Whether nothing can be decided before another answer comes."""
        return self.head not in self._held

    def admits(self, index: int) -> bool:
        """Whether work on ``index`` may begin."""
        return index < self.head + self.size

    def put(self, index: int, value: T) -> None:
        """Raises ValueError for an index that is decided, held, or beyond the window."""
        if not self.head <= index < self.head + self.size or index in self._held:
            raise ValueError(f"index {index} is not awaited: the window begins at {self.head}")
        self._held[index] = value

    def ready(self) -> Iterator[T]:
        """What can be decided now, in order; each is gone from the window when it is given."""
        while self.head in self._held:
            self.head += 1
            yield self._held.pop(self.head - 1)
