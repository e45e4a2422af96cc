"""What the engines serve, and which of it a question is for: a model, and the LoRA adapter to speak with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hubbub.core.errors import BadRequest, ModelNotFound
from hubbub.core.pool import Pool
from hubbub.core.types import EngineState, Style


@dataclass(frozen=True, slots=True)
class Served:
    """``models``: the first is the default. ``adapters``: for each the models that can speak with it.
    ``absent``: engines that were never ready, with the reason: what they serve is not known."""

    models: tuple[str, ...] = ()
    adapters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    def model_not_found(self, wanted: str) -> ModelNotFound:
        there = ", ".join(self.models) or "none"
        if self.adapters:
            there += f", and the adapters {', '.join(self.adapters)}"
        absent = "".join(
            f"; engine {engine} is not ready: {why.splitlines()[0]}" for engine, why in self.absent.items()
        )
        return ModelNotFound(f"model {wanted!r} is not served here; there is {there}{absent}", param="model")

    def check_adapter(self, adapter: str, param: str, otherwise: str) -> None:
        """Raises BadRequest for one that no engine has loaded."""
        if adapter and adapter not in self.adapters:
            there = f"there is {', '.join(self.adapters)}" if self.adapters else "there are none"
            raise BadRequest(f"adapter {adapter!r} is not loaded here; {there}; {otherwise}", param=param)


def served_by(states: Iterable[EngineState], absent: Mapping[str, str]) -> Served:
    """Of engines in the order of their settings."""
    models: dict[str, None] = {}
    adapters: dict[str, dict[str, None]] = {}
    for state in states:
        models.update(dict.fromkeys(state.models))
        for adapter in state.adapters:
            adapters.setdefault(adapter, {}).update(dict.fromkeys(state.models))
    return Served(tuple(models), {name: tuple(parents) for name, parents in adapters.items()}, absent)


def pool_for(served: Served, model: str, adapter: str | None, style: Style) -> Pool:
    """What a question goes to. ``model`` may be an adapter's name; empty takes the chat's style, then the default.
    ``adapter`` None takes the chat's style, empty takes none.

    Raises ModelNotFound (param ``model``), BadRequest (param ``adapter``).
    """
    named = model or style.model or ""
    spoken = named if named in served.adapters and named not in served.models else ""
    if spoken and model and adapter not in (None, spoken):
        raise BadRequest(f"model {model!r} is an adapter itself; leave adapter out", param="adapter")
    if spoken:
        named = served.adapters[spoken][0]
    elif named and named not in served.models:
        raise served.model_not_found(named)
    if adapter is not None:
        wanted, otherwise = adapter, "leave it out"
    elif spoken and model:
        wanted, otherwise = spoken, ""
    else:
        wanted, otherwise = style.adapter or spoken, 'change the style of the chat, or send "adapter": ""'
    served.check_adapter(wanted, "adapter", otherwise)
    parents = served.adapters.get(wanted, served.models)
    if not named:
        if not served.models:
            raise served.model_not_found("")
        named = served.models[0] if served.models[0] in parents else parents[0]
    if named not in parents:
        raise BadRequest(
            f"adapter {wanted!r} is for {', '.join(parents)}, not for {named}; {otherwise}", param="adapter"
        )
    return Pool(named, wanted)
