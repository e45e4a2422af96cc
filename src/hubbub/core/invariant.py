"""What the parts of the scheduler check of themselves."""

from __future__ import annotations


class InvariantError(AssertionError):
    """The scheduler's books do not balance: its own fault, never a caller's. The message tells the story."""


def require(sound: bool, story: str) -> None:
    if not sound:
        raise InvariantError(story)
