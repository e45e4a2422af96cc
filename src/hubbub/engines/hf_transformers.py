"""Hugging Face transformers as an engine: its continuous batching behind a small server of ours, with PEFT adapters.

Any model that transformers knows, at the price of its speed. Not on offer, and refused by the server with a clear
error: JSON schemas, tools, penalties.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.engines import transformers_server
from hubbub.engines.dialect import Limits
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import Model, dtype_on_cpu, isolated, model_of
from hubbub.engines.kinds import EngineSpec, Kind, Tunable, fewer_threads
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.lora_files import peft_folder
from hubbub.engines.machine import Machine, inspect_machine
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.openvino_server.sizing import RESERVE_BYTES, TYPICAL_TOKENS, free_bytes, usable_cores
from hubbub.ports import Engine

log = logging.getLogger(__name__)

DEFAULT_CHATS = 32
DTYPES = {"auto": 2, "bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of a number."""


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """Zero and empty mean: derived from the model and the machine."""

    python: str = field(default="", metadata=_help("with torch, transformers, peft, aiohttp; empty: its own"))
    context_window: int = field(default=0, metadata=_help("tokens of input and output of a chat; 0: the model's"))
    kv_tokens: int = field(default=0, metadata=_help("tokens of KV cache of all chats together; 0: derived"))
    batched_tokens: int = field(default=512, metadata=_help("tokens of prompts and answers in one step"))
    threads: int = field(default=0, metadata=_help("threads of inference; 0: the cores this process may use"))
    dtype: str = field(
        default="auto",
        metadata=_help(f"of weights and KV cache: {', '.join(DTYPES)}; auto: the model's, or a faster one"),
    )

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "kv_tokens", "threads"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be at least 1, or 0 to derive it")
        if self.batched_tokens < 1:
            raise ValueError(f"batched_tokens is {self.batched_tokens}: it must be at least 1")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}: it can be {', '.join(DTYPES)}")


def build(spec: EngineSpec) -> Engine:
    """Raises ConfigError or NotFound (no such model)."""
    options = spec.options or TransformersOptions()
    if spec.url:
        limits = Limits((spec.model,) if spec.model else (), adapters=tuple(spec.adapters))
        return OpenAIWireEngine(spec.id, WireConfig(spec.url, api_key=spec.api_key, limits=limits))
    model, machine = model_of(spec), inspect_machine()
    adapters = {adapter: peft_folder(adapter, source) for adapter, source in spec.adapters.items()}
    flags = arguments(model, spec.chats or DEFAULT_CHATS, options, machine)
    for adapter, folder in adapters.items():
        flags += ["--adapter", f"{adapter}={folder}"]
    python = options.python or str(environment_of(KIND.environment, spec.environments).python)
    # Without -P the modules beside the server's file would come before the environment's of the same name.
    argv = (python, "-P", transformers_server.__file__, *flags)
    return LaunchedEngine(spec.id, Launch(lambda port: (*argv, "--port", str(port)), isolated(model)), spec.logs)


def arguments(model: Model, chats: int, options: TransformersOptions, machine: Machine) -> list[str]:
    """The command line of the server, but for its port. Raises ConfigError where memory is short."""
    if not machine.gpus:
        options = replace(options, dtype=dtype_on_cpu(model, options.dtype, machine))
    # On a GPU transformers measures itself what is left (0).
    kv_tokens = options.kv_tokens or (0 if machine.gpus else _kv_tokens(model.path, chats, options))
    return [
        *("--model", model.path, "--served-name", model.name, "--host", HOST),
        *("--chats", str(chats), "--kv-tokens", str(kv_tokens), "--batched-tokens", str(options.batched_tokens)),
        *("--context-window", str(options.context_window), "--dtype", options.dtype),
        *("--threads", str(options.threads or usable_cores())),
    ]


def _kv_tokens(model: str, chats: int, options: TransformersOptions) -> int:
    wanted = chats * TYPICAL_TOKENS
    file = Path(model) / "config.json"
    if not file.is_file():
        return wanted
    config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    heads = int(config["num_attention_heads"])
    values = (
        2
        * int(config.get("num_key_value_heads") or heads)
        * (int(config.get("head_dim") or int(config["hidden_size"]) // heads))
    )
    each = int(config["num_hidden_layers"]) * values * DTYPES[options.dtype]
    window = min(options.context_window or 1 << 30, int(config.get("max_position_embeddings", TYPICAL_TOKENS)))
    weights = sum(path.stat().st_size for path in Path(model).glob("*.safetensors"))
    # Files hold 16 bits a number; loaded, and as much again while it loads.
    fits = max(0, free_bytes() - RESERVE_BYTES - DTYPES[options.dtype] * weights) // 2 // each
    if fits < TYPICAL_TOKENS:
        raise ConfigError(
            f"there is memory for {fits} tokens of KV cache; {TYPICAL_TOKENS} are the least", param="model"
        )
    return min(max(wanted, window), fits)


KIND = Kind(
    "transformers",
    "Hugging Face transformers with PEFT adapters: any model it knows",
    TransformersOptions,
    build,
    environment="transformers",
    tunables=(
        Tunable("batched_tokens", lambda _cores: (256, 1024)),
        Tunable("threads", fewer_threads),
    ),
)
