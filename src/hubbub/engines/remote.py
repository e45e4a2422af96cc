"""Any OpenAI-compatible server that runs already, here or far away."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubbub.core.errors import ConfigError
from hubbub.engines.dialect import DEFAULT_SEQUENCES, Limits
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What the server can hold, where it does not say so itself."""

    context_window: int = field(default=0, metadata={"help": "tokens of input and output; 0: what it says"})
    kv_tokens: int = field(default=0, metadata={"help": "tokens of KV cache; 0: full windows for all chats"})

    def __post_init__(self) -> None:
        for key in ("context_window", "kv_tokens"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")


def build(spec: EngineSpec) -> OpenAIWireEngine:
    """Raises ConfigError."""
    if not spec.url:
        raise ConfigError(f"engine {spec.id}: a server that runs already needs its url", param="url")
    options = spec.options or RemoteOptions()
    limits = Limits(
        models=(spec.model,) if spec.model else (),
        context_window=options.context_window,
        max_sequences=spec.chats or DEFAULT_SEQUENCES,
        kv_tokens=options.kv_tokens,
        adapters=tuple(spec.adapters),
    )
    return OpenAIWireEngine(spec.id, WireConfig(spec.url, api_key=spec.api_key, limits=limits))


KIND = Kind("openai", "any OpenAI-compatible server that runs already, by its url", RemoteOptions, build)
