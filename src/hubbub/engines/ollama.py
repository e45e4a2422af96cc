"""Ollama: launched by its binary, or one that runs already.

Read in ollama/ollama fb30760: envconfig/config.go, server/routes.go, openai/openai.go. It keeps its models itself; what
is served must have been pulled or created. An adapter is a model of its own there, made with ``ADAPTER`` in a
Modelfile: ``adapters`` maps Hubbub's names to Ollama's. A begun answer is gone on with where the model's template
leaves the last message open; seeds count, cached tokens are not told.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from hubbub.core.errors import ConfigError, EngineUnavailable, ModelNotFound
from hubbub.core.types import EngineState, Json, Message, Request
from hubbub.engines.dialect import DEFAULT_SEQUENCES, DEFAULT_WINDOW, Dialect, Limits, Site
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.probe import PROBE_TIMEOUT
from hubbub.engines.remote_errors import error_of_response, error_of_transport
from hubbub.engines.wire_body import chat_body
from hubbub.ports import Engine


@dataclass(frozen=True, slots=True)
class OllamaOptions:
    binary: str = field(default="ollama", metadata={"help": "the program"})
    context_window: int = field(default=DEFAULT_WINDOW, metadata={"help": "tokens of input and output of each chat"})
    models: str = field(default="", metadata={"help": "the folder of its models; empty: Ollama's own"})
    kv_type: str = field(default="", metadata={"help": "of keys and values: f16, q8_0, q4_0; empty: f16"})

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        if self.context_window < 1:
            raise ValueError(f"context_window is {self.context_window}; it must be at least 1")
        if self.kv_type not in ("", "f16", "q8_0", "q4_0"):
            raise ValueError(f"kv_type is {self.kv_type!r}: it can be f16, q8_0 or q4_0")


class _Version(msgspec.Struct):
    version: str


class OllamaDialect(Dialect):
    """``names``: Hubbub's names of the model and of its adapters, to Ollama's."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def body(self, request: Request) -> dict[str, Json]:
        """Raises ModelNotFound for a name that is not served here, which Ollama might otherwise load."""
        asked = request.adapter or request.model
        if asked not in self._names:
            there = ", ".join(self._names)
            raise ModelNotFound(f"model {asked!r} is not served here; there is {there}", param="model")
        body = chat_body(request)
        body["model"] = self._names[asked]
        for key in ("continue_final_message", "add_generation_prompt"):
            body.pop(key, None)
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        status, body = await site.get("/api/version")
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, body).message, retry_after=1.0)
        if known is not None:
            return known
        for name in self._names.values():
            await self._check(site, name)
        limits = site.limits
        return EngineState(
            models=limits.models,
            context_window=limits.context_window,
            max_sequences=limits.max_sequences,
            kv_tokens=limits.max_sequences * limits.context_window,
            prefix_cache=True,
            adapters=limits.adapters,
            # Each is a process of its own, with the model in memory once more.
            mixes_adapters=True,
            details={"url": site.base, "ollama": msgspec.json.decode(body, type=_Version).version},
        )

    async def _check(self, site: Site, name: str) -> None:
        """Raises EngineUnavailable where Ollama has no such model."""
        try:
            async with site.session.post(
                site.base + "/api/show", data=msgspec.json.encode({"model": name}), timeout=PROBE_TIMEOUT
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            words = error_of_transport(fault, site.engine, begun=False).message
            raise EngineUnavailable(words, retry_after=1.0) from fault
        if response.status == 404:
            raise EngineUnavailable(
                f"Ollama has no model {name!r}: get it with `ollama pull {name}`, or `ollama create`"
            )
        if response.status != 200:
            raise EngineUnavailable(error_of_response(response.status, None, body).message)

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        return None


def environment(options: OllamaOptions, chats: int, port: int) -> dict[str, str]:
    """Ollama is told by its environment. Its own defaults: 1 chat at a time, a model let go after 5 minutes."""
    told = {
        "OLLAMA_HOST": f"{HOST}:{port}",
        "OLLAMA_NUM_PARALLEL": str(chats),
        "OLLAMA_CONTEXT_LENGTH": str(options.context_window),
        "OLLAMA_MAX_QUEUE": str(2 * chats),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
    }
    if options.models:
        told["OLLAMA_MODELS"] = os.path.expanduser(options.models)  # noqa: PTH111 -- a text for another process
    if options.kv_type:
        told |= {"OLLAMA_KV_CACHE_TYPE": options.kv_type, "OLLAMA_FLASH_ATTENTION": "1"}
    return told


def build(spec: EngineSpec) -> Engine:
    """Raises ConfigError."""
    options = spec.options or OllamaOptions()
    if not spec.model:
        raise ConfigError(f"engine {spec.id}: name the model as Ollama knows it, like qwen3:0.6b", param="model")
    name, chats = spec.served_name or spec.model, spec.chats or DEFAULT_SEQUENCES
    dialect = OllamaDialect({name: spec.model, **spec.adapters})
    limits = Limits((name,), options.context_window, chats, adapters=tuple(spec.adapters))
    if spec.url:
        return OpenAIWireEngine(spec.id, WireConfig(spec.url, api_key=spec.api_key, limits=limits), dialect)
    binary = shutil.which(os.path.expanduser(options.binary))  # noqa: PTH111
    if binary is None:
        raise ConfigError(
            f"engine {spec.id}: there is no {options.binary!r}; Ollama is on no package registry: install it from "
            "ollama.com, and name the program in binary, or a server that runs already in url",
            param="binary",
        )

    def argv(port: int) -> list[str]:
        # The port is known only here, and Ollama takes it from its environment alone.
        return ["env", *(f"{key}={value}" for key, value in environment(options, chats, port).items()), binary, "serve"]

    launch = Launch(argv, health="/api/version")
    return LaunchedEngine(spec.id, launch, spec.logs, dialect, limits)


KIND = Kind("ollama", "Ollama, with the models it has pulled or created", OllamaOptions, build)
