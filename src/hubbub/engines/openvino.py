"""The embedded engine as an adapter: ``openvino_server`` as a supervised process, spoken to by frames or by SSE.

This module is light: it imports no OpenVINO, so that settings and ``--help`` do not load an engine.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.core.types import EngineId, EngineState, Request, RequestId
from hubbub.engines.kinds import EngineSpec, Kind, Tunable, fewer_threads
from hubbub.engines.launched import free_port
from hubbub.engines.lora_files import GGUF_ADAPTERS, peft_folder
from hubbub.engines.models import ModelKind, ResolvedModel, resolve_model
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.process_engine import ProcessEngine
from hubbub.engines.supervisor import Command
from hubbub.ports import Sink

log = logging.getLogger(__name__)

READY_S = 600.0
"""A model of many gigabytes is read and repacked before the first answer."""
WIRES = ("frames", "sse")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class OpenVINOConfig:
    """Zero and empty mean: derived from the model and the machine (``openvino_server/sizing.py``), and printed."""

    max_sequences: int = field(default=0, metadata=_help("requests decoded together; 0: derived"))
    kv_bytes: int = field(default=0, metadata=_help("bytes of KV cache; 0: derived"))
    batched_tokens: int = field(default=0, metadata=_help("tokens of prompts and answers in one step; 0: derived"))
    threads: int = field(default=0, metadata=_help("threads of inference; 0: the cores this process may use"))
    context_window: int = field(default=0, metadata=_help("tokens of input and output; 0: the model's"))
    kv_precision: str = field(default="u8", metadata=_help("of keys and values: u8, f16, bf16 or f32"))
    precision: str = field(default="", metadata=_help("of inference: f32, bf16, f16; empty: the engine's choice"))
    prefix_cache: bool = field(default=True, metadata=_help("keep keys and values of prompts for the next turn"))
    wire: str = field(default="frames", metadata=_help("frames (one message a step for all chats) or sse"))

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("max_sequences", "kv_bytes", "batched_tokens", "threads", "context_window"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be at least 1, or 0 to derive it")
        if self.wire not in WIRES:
            raise ValueError(f"wire is {self.wire!r}: it can be {' or '.join(WIRES)}")
        if self.kv_precision not in ("u8", "f16", "bf16", "f32"):
            raise ValueError(f"kv_precision is {self.kv_precision!r}: it can be u8, f16, bf16 or f32")


def arguments(model: Path, name: str, config: OpenVINOConfig, port: int = 0) -> list[str]:
    """The command line of the server."""
    flags = ["--model", str(model), "--served-name", name, "--port", str(port)]
    for key in ("max_sequences", "kv_bytes", "batched_tokens", "threads", "context_window"):
        if value := getattr(config, key):
            flags += [f"--{key.replace('_', '-')}", str(value)]
    flags += ["--kv-precision", config.kv_precision]
    if config.precision:
        flags += ["--precision", config.precision]
    if not config.prefix_cache:
        flags.append("--no-prefix-cache")
    return flags


class OpenVINOEngine(ProcessEngine):
    """Engine port over the embedded engine; its log is ``<id>.log`` in the folder ``logs``."""

    def __init__(
        self,
        engine_id: EngineId,
        model: ResolvedModel,
        config: OpenVINOConfig,
        logs: Path,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        """``adapters``: PEFT folders by name. Raises ConfigError for a model of a kind that the engine does not read,
        or that adapters cannot be used with."""
        if model.kind is ModelKind.HUGGING_FACE:
            raise ConfigError(
                f"engine.model: {model.path} holds safetensors; convert it with "
                f"`optimum-cli export openvino --model {model.path} OUT` and give OUT, or take a GGUF",
                param="engine.model",
            )
        if adapters and model.kind is ModelKind.GGUF:
            raise ConfigError(f"engine {engine_id}: {GGUF_ADAPTERS.format(model.path)}", param="adapters")
        flags = [flag for name, path in (adapters or {}).items() for flag in ("--adapter", f"{name}={path}")]
        # SSE needs an address that outlives a restart; frames connect anew.
        port = free_port() if config.wire == "sse" else 0
        argv = (sys.executable, "-m", "hubbub.engines.openvino_server")
        super().__init__(
            engine_id,
            Command(
                (*argv, *arguments(model.path, model.name, config, port), *flags),
                log_path=logs / f"{engine_id}.log",
                announces=True,
                ready_s=READY_S,
            ),
        )
        self._sse: OpenAIWireEngine | None = None
        if config.wire == "sse":
            self._sse = OpenAIWireEngine(engine_id, WireConfig(f"http://127.0.0.1:{port}"))

    async def start(self) -> EngineState:
        state = await super().start()
        if self._sse is not None:
            await self._sse.start()
        return state

    def submit(self, request: Request, sink: Sink) -> None:
        if self._sse is None:
            super().submit(request, sink)
        else:
            self._sse.submit(request, sink)

    def cancel(self, request: RequestId) -> None:
        if self._sse is None:
            super().cancel(request)
        else:
            self._sse.cancel(request)

    async def close(self) -> None:
        if self._sse is not None:
            await self._sse.close()
        await super().close()


def build(spec: EngineSpec) -> OpenVINOEngine:
    """Raises ConfigError or NotFound (no such model)."""
    options = spec.options or OpenVINOConfig()
    if spec.chats and not options.max_sequences:
        options = replace(options, max_sequences=spec.chats)
    model = resolve_model(spec.model)
    log.warning("model %s: %s", model.name, model.why, extra={"action": "model"})
    if spec.served_name:
        model = replace(model, name=spec.served_name)
    adapters = {name: peft_folder(name, source) for name, source in spec.adapters.items()}
    return OpenVINOEngine(spec.id, model, options, spec.logs, adapters)


KIND = Kind(
    "openvino",
    "embedded: OpenVINO GenAI, on CPUs and Intel GPUs; IR models and GGUF",
    OpenVINOConfig,
    build,
    tunables=(
        Tunable("batched_tokens", lambda _cores: (512, 1024)),
        Tunable("threads", fewer_threads),
        Tunable("max_sequences", lambda _cores: (128, 64)),
        Tunable("precision", lambda _cores: ("f32",)),
    ),
)
