"""Engines as whoever starts them by hand gets them, and the pairs that ``engines`` measures: own defaults, ours."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubbub.app import engine_of
from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineId
from hubbub.engines import vllm as vllm_kind
from hubbub.engines.dialect import Dialect, Limits
from hubbub.engines.environments import environment_of, installed
from hubbub.engines.fastchat import FastChatOptions
from hubbub.engines.hf_model import isolated, model_of
from hubbub.engines.hf_transformers import TransformersOptions
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.llamacpp import LlamaCppOptions, server_command
from hubbub.engines.llamacpp_dialect import LlamaCppDialect
from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino import OpenVINOConfig
from hubbub.engines.openvino_server.sizing import usable_cores
from hubbub.engines.vllm import VLLMOptions
from hubbub.engines.vllm_dialect import VLLMDialect
from hubbub.ports import Engine

Make = Callable[[EngineId], Engine]
"""May raise HubbubError, and block."""

CHATS = 200
WINDOW = 512
"""Tokens of a chat, of which two turns take some 100. With models' own windows two engines do not fit side by side."""
KV_TOKENS = CHATS * 256
"""Of one pool for all."""
VLLM_SEQUENCES = 128
"""Its default on a CPU (vllm/engine/arg_utils.py)."""
SERVING = ("fastapi==0.136.3", "uvicorn==0.54.0", "openai==3.54.0")
"""What ``transformers serve`` needs beside our environment (its extra ``serving``), which has no use for it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One engine twice: as it comes by itself, and as Hubbub starts it for ``CHATS`` chats."""

    name: str
    own: Make
    ours: Make


def kinds(options: argparse.Namespace, logs: Path) -> list[Kind]:
    """Those that can be had here, in the order of the table."""
    environments = Path(options.environments)

    def spec(kind: str, settings: Any = None, chats: int = CHATS, home: Path = environments) -> Make:
        return lambda name: engine_of(
            EngineSpec(name, kind, logs, BUNDLED, chats=chats, options=settings, environments=home)
        )

    # OpenVINO GenAI's SchedulerConfig() as it comes: 256 batched tokens, 256 sequences, no prefix cache.
    by_itself = OpenVINOConfig(prefix_cache=False, batched_tokens=256, max_sequences=256)
    found = [
        Kind("OpenVINO GenAI", spec("openvino", by_itself), spec("openvino", OpenVINOConfig())),
        Kind(
            "llama.cpp, wheel (AVX2)",
            lambda name: llama_server(name, logs, ""),
            # A folder without environments: what was compiled for this CPU would be taken first.
            spec("llamacpp", LlamaCppOptions(context_window=WINDOW), home=logs),
        ),
        Kind(
            "vLLM, CPU",
            lambda name: vllm_server(name, logs, options),
            spec("vllm", VLLMOptions(kv_gib=options.kv_gib, eager=options.eager)),
        ),
        Kind(
            "transformers",
            lambda name: transformers_serve(name, logs, environments),
            spec("transformers", TransformersOptions(kv_tokens=KV_TOKENS)),
        ),
    ]
    compiled = options.llama_server or compiled_server(environments)
    if compiled:
        ours = LlamaCppOptions(binary=compiled, context_window=WINDOW)
        built = Kind(
            "llama.cpp, built for this CPU", lambda name: llama_server(name, logs, compiled), spec("llamacpp", ours)
        )
        found.insert(2, built)
    if installed("fastchat", environments) is not None:
        # By itself a worker takes 5 chats at once.
        found.append(
            Kind("FastChat", spec("fastchat", FastChatOptions(), chats=0), spec("fastchat", FastChatOptions()))
        )
    return [one for one in found if options.only.lower() in one.name.lower()]


def compiled_server(environments: Path) -> str:
    """What ``hubbub engine install llamacpp`` made, empty for none."""
    there = installed("llamacpp", environments) is not None
    return server_command("", environments)[0] if there else ""


def llama_server(name: EngineId, logs: Path, binary: str) -> LaunchedEngine:
    """As it comes: 4 slots of one pool of the model's window, RAM prompt cache on. The wheel is told these defaults of
    llama-server, since it has others as a library."""
    model = resolve_model(BUNDLED)
    flags = ["--model", str(model.path), "--alias", model.name, "--metrics", "--slots", "--jinja", "--host", HOST]
    if not binary:
        flags += ["--parallel", "4", "--kv-unified", "--cache-ram", "8192", "--cache-idle-slots"]
        flags += ["--threads", str(usable_cores())]
    server = server_command(binary, logs / "none")
    launch = Launch(lambda port: (*server, *flags, "--port", str(port)))
    return LaunchedEngine(name, launch, logs, LlamaCppDialect((model.name,)), Limits((model.name,)))


def vllm_server(name: EngineId, logs: Path, options: argparse.Namespace) -> LaunchedEngine:
    """As it comes, but for the room of its KV cache: by itself it takes 92 % of all memory."""
    environments = Path(options.environments)
    python = str(environment_of("vllm", environments).python)
    model = model_of(EngineSpec(name, "vllm", logs, BUNDLED, environments=environments))
    flags = ["--model", model.path, "--served-model-name", model.name, "--enable-prompt-tokens-details"]
    flags += ["--kv-cache-memory-bytes", str(int(options.kv_gib * (1 << 30)))]
    if options.eager:
        flags.append("--enforce-eager")
    command = (python, "-m", vllm_kind.MODULE, *flags, "--host", HOST)
    env = isolated(model) | {"VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": HOST}
    limits = Limits((model.name,), max_sequences=VLLM_SEQUENCES)
    launch = Launch(lambda port: (*command, "--port", str(port)), env=env)
    return LaunchedEngine(name, launch, logs, VLLMDialect(priorities=False), limits)


def transformers_serve(name: EngineId, logs: Path, environments: Path) -> LaunchedEngine:
    """``transformers serve`` as it comes, which batches nothing. Raises EngineUnavailable where its extra packages
    cannot be had."""
    python = environment_of("transformers", environments).python
    extra = logs / "serving"
    command = (str(python), "-m", "pip", "install", "-q", "--target", str(extra), *SERVING)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise EngineUnavailable(f"pip could not install {', '.join(SERVING)}: {done.stderr.strip()[-300:]}")
    model = model_of(EngineSpec(name, "transformers", logs, BUNDLED, environments=environments))
    hub = logs / "hub"  # it lists what is in this cache, and fails where there is none
    hub.mkdir(exist_ok=True)
    env = isolated(model) | {"PYTHONPATH": str(extra), "HF_HUB_CACHE": str(hub)}
    server = (str(python), str(python.parent / "transformers"), "serve", "--host", HOST)
    launch = Launch(lambda port: (*server, "--port", str(port)), env=env)
    return LaunchedEngine(name, launch, logs, Dialect(), Limits((model.path,), max_sequences=CHATS))
