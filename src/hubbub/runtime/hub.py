"""The hub: one a process. It accepts questions, has engines answer them, and keeps what was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hubbub.core.types import Answer, AnswerId, AnswerKind, ChatId, Item, Json, Priority, Sampling, UserId
from hubbub.runtime.live import Live


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, as a gateway hands it over.

    The path asked about is that of ``chat``, or of the answer ``previous``, or empty; ``items`` come after it.
    ``instructions`` is a system prompt for this answer alone; None takes the chat's style. Fields of ``sampling``
    that are None take the chat's style, then the model's defaults. ``params`` is what the wire echoes.
    """

    user: UserId
    kind: AnswerKind
    items: tuple[Item, ...]
    model: str = ""
    """Empty: the chat's model, else the server's first."""
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    chat: ChatId | None = None
    previous: AnswerId | None = None
    store: bool = True
    background: bool = False
    priority: Priority = Priority.CHAT
    metadata: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)


class Hub:
    def models(self) -> tuple[str, ...]:
        """The models that engines serve, first the default."""

    async def ask(self, ask: Ask) -> Live:
        """Accept the question: its items are durable when this returns, and generation is queued.

        Raises ModelNotFound, NotFound (chat or previous; ``param`` names it), ChatBusy, ContextTooLong, Overloaded,
        EngineUnavailable, StorageError.
        """

    def live(self, user: UserId, answer: AnswerId) -> Live | None:
        """The answer if it is being written now; else look in the store."""

    async def cancel(self, user: UserId, answer: AnswerId) -> Answer:
        """End it and return it in its final state; an answer that has ended already is returned as it is.

        Raises NotFound.
        """

    def leave(self, live: Live) -> None:
        """The client that asked is gone. Cancels the answer unless it is a stored background one."""
