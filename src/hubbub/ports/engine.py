"""Engines, as the runtime drives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from hubbub.core.types import Chunk, EngineId, EngineState, Message, Request, RequestId

Sink: TypeAlias = Callable[[RequestId, Chunk], None]
"""Takes chunks from an engine. Called on the event loop, never blocks, never raises."""


@runtime_checkable
class Killable(Protocol):
    """What an engine is beside its port where its process is ours."""

    @property
    def up(self) -> bool:
        """Whether its process has been ready and still runs, so that it should answer; not while it is brought back."""
        ...

    def kill(self) -> None:
        """End it at once, for it hangs. It is brought back like one that crashed."""
        ...


class Engine(Protocol):
    """One engine, ready or not. Every ``submit`` is answered by chunks and at the end exactly one last chunk."""

    id: EngineId

    async def start(self) -> EngineState:
        """Connect (and launch, where the engine is ours). Raises EngineUnavailable with the way out."""
        ...

    async def state(self) -> EngineState:
        """Capacity and gauges now. Raises EngineUnavailable when the engine does not answer."""
        ...

    def submit(self, request: Request, sink: Sink) -> None:
        """Start the request. Errors, too, come through the sink, as a last chunk."""
        ...

    def cancel(self, request: RequestId) -> None:
        """Stop it and free its slot; the sink gets a last chunk with finish CANCELLED. Unknown ids are ignored."""
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """Tokens of the rendered prompt, or None where the engine cannot say."""
        ...

    async def close(self) -> None: ...
