"""What a kind of engine is, and what one engine is asked to be. All kinds stand in ``catalog.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubbub.core.types import EngineId
from hubbub.ports import Engine

ENVIRONMENTS = Path("~/.local/share/hubbub/engines")
"""Where ``hubbub engine install`` makes environments, if nothing else is configured."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine as asked for. ``options`` are an instance of its kind's ``options`` class.

    ``model``: Hugging Face name, folder, GGUF file or ``smollm2``; empty lets the kind choose. ``served_name``: what
    the API calls it, empty: the model's own name. ``url``: a server that runs already; nothing is launched then.
    ``chats``: requests to decode together, 0: the kind's choice. ``adapters``: LoRA adapters by name, each a folder
    or a Hugging Face name. ``environments``: the folder of what ``hubbub engine install`` has made.
    """

    id: EngineId
    kind: str
    logs: Path
    model: str = ""
    served_name: str = ""
    url: str = ""
    api_key: str = field(default="", repr=False)
    chats: int = 0
    adapters: Mapping[str, str] = field(default_factory=dict)
    options: Any = None
    environments: Path = ENVIRONMENTS


@dataclass(frozen=True, slots=True)
class Tunable:
    """A field of the options that changes the speed, and neither what is said nor how much a chat can hold. ``values``:
    from the cores that may be used to what is worth trying beside the default, the likeliest first."""

    name: str
    values: Callable[[int], Sequence[Any]]


def fewer_threads(cores: int) -> Sequence[int]:
    """The cores themselves are the default of every kind."""
    return sorted({max(1, cores // 2), cores - 1} - {0, cores}, reverse=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of engine. ``options``: a frozen dataclass of what only this kind has, each field with a ``help``;
    its ``__post_init__`` raises ValueError naming the field. ``build`` raises ConfigError or NotFound (no such model)
    and may block. ``environment``: what ``hubbub engine install`` must have made, empty for none. ``tunables``: what
    ``hubbub engine tune`` tries, what matters most first; ``meanwhile``: from the chats asked for to options that hold
    for its measurements where nothing is set, so that two engines fit side by side.
    """

    name: str
    summary: str
    options: type[Any]
    build: Callable[[EngineSpec], Engine]
    environment: str = ""
    tunables: tuple[Tunable, ...] = ()
    meanwhile: Callable[[int], Mapping[str, Any]] = lambda _chats: {}
