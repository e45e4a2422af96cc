"""What goes on in a load run right now: written by the load, read by whoever draws it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from hubbub.bench.histogram import Durations
from hubbub.bench.report import Plan

TOKEN_CHARACTERS = 4.0
"""Characters a token, until finished answers tell better."""


class Phase(Enum):
    OPENING = "opening"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class Fate(Enum):
    OK = "ok"
    FAILED = "failed"
    LOST = "lost"


@dataclass(slots=True)
class Turn:
    """``accepted``: the server took the question, so it has to be in the store."""

    question: str
    answer: str = ""
    tokens: int = 0
    accepted: bool = False
    fate: Fate | None = None


@dataclass(slots=True)
class Talk:
    """One chat. ``pieces`` is the answer that comes in now."""

    number: int
    turns: list[Turn]
    id: str = ""
    phase: Phase = Phase.OPENING
    pieces: list[str] = field(default_factory=list)


class Board:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.talks: list[Talk] = []
        self.ttft, self.itl = Durations(), Durations()
        self.fates: Counter[Fate] = Counter()
        self.failures: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.refused = 0
        self.input_tokens = self.cached_tokens = self.output_tokens = 0
        self.began: float | None = None
        self.ended: float | None = None
        self._characters = 0
        self._counted_characters = 0

    @property
    def total(self) -> int:
        """Turns there are in all."""
        return self.plan.chats * self.plan.turns

    @property
    def most_tokens(self) -> int:
        """Output tokens if every answer were as long as it may be."""
        return self.total * self.plan.max_tokens

    def phases(self) -> Counter[Phase]:
        return Counter(talk.phase for talk in self.talks)

    def tokens(self) -> float:
        """Output tokens until now: counted ones, and those of open answers by their length."""
        size = self._counted_characters / self.output_tokens if self.output_tokens else TOKEN_CHARACTERS
        return self.output_tokens + (self._characters - self._counted_characters) / max(size, 0.1)

    def said(self, talk: Talk, text: str) -> None:
        talk.pieces.append(text)
        self._characters += len(text)

    def counted(self, turn: Turn) -> None:
        """An answer has ended and its tokens are known."""
        self.output_tokens += turn.tokens
        self._counted_characters += len(turn.answer)

    def settle(self, turn: Turn, fate: Fate, code: str = "", message: str = "") -> None:
        """The turn's fate, or a worse one than before."""
        if turn.fate is not None:
            self.fates[turn.fate] -= 1
        turn.fate = fate
        self.fates[fate] += 1
        if fate is not Fate.OK:
            self.failures[code] += 1
            self.examples.setdefault(code, message)
