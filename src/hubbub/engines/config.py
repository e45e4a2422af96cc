"""One ``[engines.NAME]`` table, and what engines it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubbub.core.types import EngineId
from hubbub.engines.kinds import EngineSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""An engine's id names its log file and stands in paths of the API."""
MOST_REPLICAS = 64


def _help(text: str, **more: object) -> dict[str, object]:
    return {"help": text, **more}


@dataclass(frozen=True, slots=True)
class EngineTable:
    """Raises ValueError that begins with the key. ``api_key`` is what all three ways to give it come to."""

    kind: str = field(
        default="", metadata=_help("`hubbub engine list` names them; empty: openai with a url, else openvino")
    )
    model: str = field(default="", metadata=_help("Hugging Face name, folder, GGUF file or smollm2; empty: the kind's"))
    served_name: str = field(default="", metadata=_help("what the API calls the model; empty: its own name"))
    url: str = field(default="", metadata=_help("address of a server that runs already; nothing is launched then"))
    api_key: str = field(default="", repr=False, metadata=_help("key for that server", secret=True))
    api_key_env: str = field(default="", metadata=_help("or the environment variable that has it"))
    api_key_file: str = field(default="", metadata=_help("or the file that has it"))
    chats: int = field(default=0, metadata=_help("requests decoded together by each replica; 0: the kind's choice"))
    replicas: int = field(default=1, metadata=_help("processes of the same: NAME, NAME-2, NAME-3, ..."))
    adapters: dict[str, str] = field(
        default_factory=dict, metadata=_help("LoRA adapters by name: a folder or a Hugging Face name each")
    )
    options: Any = field(default=None, metadata=_help("a table of what only this kind has"))

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}; it must begin with http:// or https://")
        if not self.url and self.kind_name == "openai":
            raise ValueError("url is missing: where does the server run?")
        if self.url and self.replicas != 1:
            raise ValueError(f"replicas is {self.replicas} for one url; give each server a table of its own")
        if not 1 <= self.replicas <= MOST_REPLICAS:
            raise ValueError(f"replicas is {self.replicas}; it must be from 1 to {MOST_REPLICAS}")
        if self.chats < 0:
            raise ValueError(f"chats is {self.chats}; it must be 1 or more, or 0 for the kind's choice")
        for name, path in self.adapters.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"adapters has {name!r}: a name is letters, digits, '.', '_' and '-', at most 64")
            if not path:
                raise ValueError(f"adapters.{name} is empty: give a folder or a Hugging Face name")

    @property
    def kind_name(self) -> str:
        return self.kind or ("openai" if self.url else "openvino")

    def ids(self, name: str) -> list[EngineId]:
        return [EngineId(name if number == 1 else f"{name}-{number}") for number in range(1, self.replicas + 1)]


def specs(tables: Mapping[str, EngineTable], logs: Path, environments: Path) -> Iterator[EngineSpec]:
    """All engines that the tables ask for, in their order. ``environments``: the folder of those installed."""
    for name, table in tables.items():
        for engine_id in table.ids(name):
            yield EngineSpec(
                engine_id,
                table.kind_name,
                logs,
                model=table.model,
                served_name=table.served_name,
                url=table.url,
                api_key=table.api_key,
                chats=table.chats,
                adapters=table.adapters,
                options=table.options,
                environments=environments,
            )


def check_names(tables: Mapping[str, EngineTable]) -> None:
    """Raises ValueError for a name that is none, or that two engines would have."""
    seen: dict[str, str] = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"engines has {name!r}: a name is letters, digits, '.', '_' and '-', at most 64")
        for engine_id in table.ids(name):
            if engine_id in seen:
                raise ValueError(
                    f"engines.{name} and engines.{seen[engine_id]} both make an engine {engine_id}; rename one"
                )
            seen[engine_id] = name
