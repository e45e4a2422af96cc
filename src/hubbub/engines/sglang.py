"""SGLang as a process of ours, from the environment that ``hubbub engine install sglang`` made; or one that runs
already.

It needs a GPU. Written after the source of 0.5.23 and tested against a twin of its wire, never run by us.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineState, Json, Priority, Request
from hubbub.engines.dialect import DEFAULT_SEQUENCES, Dialect, Limits, Site
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import Model, isolated, model_of
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.lora_files import peft_folder
from hubbub.engines.metrics_text import Sample, Samples
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body

MODULE = "sglang.launch_server"
HEALTH = "/ready"
"""Not /health, which generates a token and takes a second at least."""
RUNNING, WAITING, USED = "sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage"
PREEMPTED = "sglang:num_retracted_reqs"
_METRICS = (RUNNING, WAITING, USED, PREEMPTED)
_PRIORITY = {Priority.CHAT: 1, Priority.BULK: 0}
"""Higher goes first, the opposite of vLLM. So near each other that no running answer is thrown out for another, which
takes a difference of 10."""
_TOOL_PARSERS = {"llama": "llama3", "mistral": "mistral", "qwen3_coder": "qwen3_coder", "gpt_oss": "gpt-oss"}


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class SGLangOptions:
    """Zero and empty leave a value to SGLang."""

    context_window: int = field(default=0, metadata=_help("tokens of input and output; 0: the model's"))
    quantization: str = field(default="", metadata=_help("awq, gptq, fp8, ...; empty: what the model says"))
    kv_dtype: str = field(default="auto", metadata=_help("of keys and values; fp8_e4m3 holds twice as much"))
    memory: float = field(default=0.0, metadata=_help("share of GPU memory for weights and KV cache; 0: its choice"))
    offload_gib: int = field(default=0, metadata=_help("GB of memory to keep KV cache in that the GPU drops"))
    tensor_parallel: int = field(default=1, metadata=_help("GPUs to split the model over"))
    tool_parser: str = field(default="", metadata=_help("how the model writes tool calls; empty: by its family"))
    flags: str = field(default="", metadata=_help("more flags for SGLang's command"))

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "offload_gib"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}; it must be a share from 0 to 1")
        if self.tensor_parallel < 1:
            raise ValueError(f"tensor_parallel is {self.tensor_parallel}; it must be 1 or more")
        try:
            shlex.split(self.flags)
        except ValueError as fault:
            raise ValueError(f"flags cannot be split into words: {fault}") from None


def arguments(model: Model, spec: EngineSpec, options: SGLangOptions) -> list[str]:
    """The command line, without the address. Raises ConfigError."""
    parser = options.tool_parser or _TOOL_PARSERS.get(str(model.config.get("model_type", "")), "qwen25")
    flags = [
        *("--model-path", model.path, "--served-model-name", model.name),
        *("--max-running-requests", str(spec.chats or DEFAULT_SEQUENCES)),
        *("--enable-priority-scheduling", "--enable-cache-report", "--enable-metrics"),
        *("--log-level-http", "warning", "--tool-call-parser", parser),
    ]
    if options.context_window:
        flags += ["--context-length", str(options.context_window)]
    if options.quantization:
        flags += ["--quantization", options.quantization]
    if options.kv_dtype != "auto":
        flags += ["--kv-cache-dtype", options.kv_dtype]
    if options.memory:
        flags += ["--mem-fraction-static", f"{options.memory:g}"]
    if options.offload_gib:
        flags += ["--enable-hierarchical-cache", "--hicache-size", str(options.offload_gib)]
    if options.tensor_parallel > 1:
        flags += ["--tp-size", str(options.tensor_parallel)]
    if spec.adapters:
        folders = [f"{name}={peft_folder(name, source)}" for name, source in spec.adapters.items()]
        # Requests without an adapter need a place in the batch, too.
        flags += ["--enable-lora", "--max-loras-per-batch", str(len(folders) + 1), "--lora-paths", *folders]
    return [*flags, *shlex.split(options.flags)]


class _State(msgspec.Struct):
    effective_max_running_requests_per_dp: int = 0


class _Info(msgspec.Struct):
    max_total_num_tokens: int = 0
    disable_radix_cache: bool = False
    version: str = ""
    internal_states: list[_State] = []


class SGLangDialect(Dialect):
    """``priorities``: the server was started with ``--enable-priority-scheduling``."""

    def __init__(self, *, priorities: bool = True) -> None:
        self.priorities = priorities

    def body(self, request: Request) -> dict[str, Json]:
        body = chat_body(request)
        body["model"] = f"{request.model}:{request.adapter}" if request.adapter else request.model
        # It takes the beginning of the answer off the messages itself, and adds it behind the generation prompt.
        body.pop("add_generation_prompt", None)
        if self.priorities:
            body["priority"] = _PRIORITY[request.priority]
        # Prefixes are shared among the chats of one user alone, as with vLLM.
        body["cache_salt"] = hashlib.sha256(request.user.encode()).hexdigest()
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        state = known or await self._capacity(site)
        status, text = await site.get("/metrics")
        if status == 404:  # started without --enable-metrics
            await self.healthy(site, "/model_info")
            return state
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, text).message, retry_after=1.0)
        samples = Samples(text.decode("utf-8", "replace"), _METRICS)
        return replace(
            state,
            running=int(_sum(samples.all(RUNNING))),
            waiting=int(_sum(samples.all(WAITING))),
            kv_used=samples.most(USED),
            details={**state.details, "preemptions": str(int(_sum(samples.all(PREEMPTED))))},
        )

    async def _capacity(self, site: Site) -> EngineState:
        state = await self.listed(site)
        status, body = await site.get("/server_info")
        if status != 200:
            return state
        try:
            info = msgspec.json.decode(body, type=_Info)
        except msgspec.DecodeError as fault:
            raise EngineUnavailable(f"{site.base}/server_info cannot be read ({fault})") from fault
        replicas = max(1, len(info.internal_states))
        sequences = sum(each.effective_max_running_requests_per_dp for each in info.internal_states)
        return replace(
            state,
            max_sequences=sequences or state.max_sequences,
            kv_tokens=site.limits.kv_tokens or info.max_total_num_tokens * replicas or state.kv_tokens,
            prefix_cache=not info.disable_radix_cache,
            details={**state.details, "sglang": info.version},
        )


def _sum(samples: Iterable[Sample]) -> float:
    """Over data-parallel replicas. Tensor-parallel ranks repeat each other; a number by priority is part of the one
    whose priority is empty."""
    by_replica: dict[str, float] = {}
    for sample in samples:
        if not sample.labels.get("priority"):
            replica = sample.labels.get("dp_rank", "")
            by_replica[replica] = max(by_replica.get(replica, 0.0), sample.value)
    return sum(by_replica.values())


def build(spec: EngineSpec) -> LaunchedEngine | OpenAIWireEngine:
    """Raises ConfigError, or NotFound (no such model, no environment)."""
    options = spec.options or SGLangOptions()
    limits = Limits(
        models=(spec.served_name,) if spec.served_name else (),
        max_sequences=spec.chats or DEFAULT_SEQUENCES,
        adapters=tuple(spec.adapters),
    )
    if spec.url:
        config = WireConfig(spec.url, api_key=spec.api_key, limits=limits)
        return OpenAIWireEngine(spec.id, config, SGLangDialect(priorities=False))
    environment = environment_of("sglang", spec.environments)
    model = model_of(spec)
    command = (str(environment.python), "-m", MODULE, *arguments(model, spec, options))
    launch = Launch(lambda port: (*command, "--host", HOST, "--port", str(port)), env=isolated(model), health=HEALTH)
    return LaunchedEngine(spec.id, launch, spec.logs, SGLangDialect(), limits)


KIND = Kind("sglang", "SGLang: GPUs; Hugging Face models, LoRA adapters mixed", SGLangOptions, build, "sglang")
