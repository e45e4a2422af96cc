"""What a request needs of an engine: its model, and the LoRA adapter it is to speak with."""

from __future__ import annotations

from typing import NamedTuple

from hubbub.core.types import EngineState


class Pool(NamedTuple):
    """Names the engines that serve ``model`` and have ``adapter`` loaded (empty: none is needed)."""

    model: str
    adapter: str = ""

    def __str__(self) -> str:
        return f"{self.model} with the adapter {self.adapter}" if self.adapter else self.model

    def has(self, state: EngineState) -> bool:
        return self.model in state.models and (not self.adapter or self.adapter in state.adapters)
