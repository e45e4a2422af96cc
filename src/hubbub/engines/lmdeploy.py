"""LMDeploy as a process of ours, from the environment that ``hubbub engine install lmdeploy`` made; or one that runs
already.

It needs a GPU. Written after the source of 0.18.0 and tested against a twin of its wire, never run by us. It tells
neither its KV cache nor its context length, has no priorities, and counts no tokens of chats.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace

from hubbub.core.errors import ConfigError, EngineUnavailable
from hubbub.core.types import EngineState, Json, Request
from hubbub.engines.dialect import DEFAULT_SEQUENCES, DEFAULT_WINDOW, Dialect, Limits, Site
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import Model, isolated, model_of
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.lora_files import peft_folder
from hubbub.engines.metrics_text import Samples
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body

RUNNING, WAITING = "lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting"
QUEUED, USED = "lmdeploy:num_api_requests_waiting", "lmdeploy:gpu_cache_usage_perc"
STEPS = "lmdeploy:iteration_tokens_total_count"
_METRICS = (RUNNING, WAITING, QUEUED, USED, STEPS)
BACKENDS = ("turbomind", "pytorch")
QUANTIZED = (0, 4, 8)
_TOOL_PARSERS = {"llama": "llama3", "internlm2": "internlm", "qwen3": "qwen3", "qwen2": "qwen"}


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class LMDeployOptions:
    """Zero and empty leave a value to LMDeploy, but where the help says otherwise."""

    context_window: int = field(default=0, metadata=_help("tokens of input and output; 0: the model's, else 8192"))
    kv_tokens: int = field(default=0, metadata=_help("tokens of KV cache; 0: full windows for all chats"))
    backend: str = field(default="turbomind", metadata=_help("turbomind or pytorch; adapters need pytorch"))
    memory: float = field(default=0.0, metadata=_help("share of the free GPU memory for KV cache; 0: its choice"))
    kv_bits: int = field(default=0, metadata=_help("of keys and values: 8 or 4; 0: not quantized"))
    tensor_parallel: int = field(default=1, metadata=_help("GPUs to split the model over"))
    tool_parser: str = field(default="", metadata=_help("how the model writes tool calls; empty: by its family"))
    flags: str = field(default="", metadata=_help("more flags for LMDeploy's command"))

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "kv_tokens"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}: it can be {' or '.join(BACKENDS)}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}; it must be a share from 0 to 1")
        if self.kv_bits not in QUANTIZED:
            raise ValueError(f"kv_bits is {self.kv_bits}: it can be 8, 4 or 0")
        if self.tensor_parallel < 1:
            raise ValueError(f"tensor_parallel is {self.tensor_parallel}; it must be 1 or more")
        try:
            shlex.split(self.flags)
        except ValueError as fault:
            raise ValueError(f"flags cannot be split into words: {fault}") from None


def arguments(model: Model, spec: EngineSpec, options: LMDeployOptions) -> list[str]:
    """The command line behind the module, without the address. Raises ConfigError."""
    if spec.adapters and options.backend != "pytorch":
        raise ConfigError("engine lmdeploy takes adapters with options.backend = 'pytorch' alone", param="adapters")
    flags = [
        *("serve", "api_server", model.path, "--model-name", model.name, "--backend", options.backend),
        *("--max-batch-size", str(spec.chats or DEFAULT_SEQUENCES), "--session-len", str(window(model, options))),
        # Off by default; without it, every turn of a chat is read from its beginning.
        "--enable-prefix-caching",
    ]
    if parser := options.tool_parser or _TOOL_PARSERS.get(str(model.config.get("model_type", "")), ""):
        flags += ["--tool-call-parser", parser]
    if options.memory:
        flags += ["--cache-max-entry-count", f"{options.memory:g}"]
    if options.kv_bits:
        flags += ["--quant-policy", str(options.kv_bits)]
    if options.tensor_parallel > 1:
        flags += ["--tp", str(options.tensor_parallel)]
    if spec.adapters:
        flags += ["--adapters", *(f"{name}={peft_folder(name, source)}" for name, source in spec.adapters.items())]
    return [*flags, *shlex.split(options.flags)]


def window(model: Model, options: LMDeployOptions) -> int:
    """Tokens. Said to LMDeploy, since it would not say its own."""
    return options.context_window or model.window or DEFAULT_WINDOW


class LMDeployDialect(Dialect):
    def body(self, request: Request) -> dict[str, Json]:
        body = chat_body(request)
        # A last message of the assistant is continued; no field asks for it.
        body.pop("continue_final_message", None)
        body.pop("add_generation_prompt", None)
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        state = known or replace(await self.listed(site), prefix_cache=True)
        status, text = await site.get("/metrics")
        if status == 404:  # started with --disable-metrics
            await self.healthy(site)
            return state
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, text).message, retry_after=1.0)
        samples = Samples(text.decode("utf-8", "replace"), _METRICS)
        return replace(
            state,
            running=int(samples.total(RUNNING)),
            waiting=int(samples.total(WAITING) + samples.total(QUEUED)),
            kv_used=samples.most(USED),
            steps=int(samples.total(STEPS)),
        )


def build(spec: EngineSpec) -> LaunchedEngine | OpenAIWireEngine:
    """Raises ConfigError, or NotFound (no such model, no environment)."""
    options = spec.options or LMDeployOptions()
    limits = Limits(
        models=(spec.served_name,) if spec.served_name else (),
        context_window=options.context_window,
        max_sequences=spec.chats or DEFAULT_SEQUENCES,
        kv_tokens=options.kv_tokens,
        adapters=tuple(spec.adapters),
    )
    if spec.url:
        return OpenAIWireEngine(spec.id, WireConfig(spec.url, api_key=spec.api_key, limits=limits), LMDeployDialect())
    environment = environment_of("lmdeploy", spec.environments)
    model = model_of(spec)
    limits = replace(limits, context_window=window(model, options))
    command = (str(environment.python), "-m", "lmdeploy", *arguments(model, spec, options))
    launch = Launch(lambda port: (*command, "--server-name", HOST, "--server-port", str(port)), env=isolated(model))
    return LaunchedEngine(spec.id, launch, spec.logs, LMDeployDialect(), limits)


KIND = Kind("lmdeploy", "LMDeploy: GPUs; Hugging Face models", LMDeployOptions, build, "lmdeploy")
