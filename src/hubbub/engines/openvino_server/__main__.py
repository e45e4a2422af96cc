"""``python -m hubbub.engines.openvino_server --model PATH``: prints one JSON line when it serves, then serves."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import web

if sys.platform != "win32":
    import uvloop

from hubbub.core.errors import ConfigError, EngineUnavailable
from hubbub.engines.lora_files import GGUF_ADAPTERS, WEIGHTS, peft_modules, peft_scale
from hubbub.engines.model_hub import IR_FILE
from hubbub.engines.openvino_server.codec import Codec
from hubbub.engines.openvino_server.http import build_app
from hubbub.engines.openvino_server.ir_names import missing
from hubbub.engines.openvino_server.lifetime import die_with_parent
from hubbub.engines.openvino_server.link import StepperLink
from hubbub.engines.openvino_server.model_info import ModelInfo, read_model_info
from hubbub.engines.openvino_server.protocol import Ready
from hubbub.engines.openvino_server.service import Service
from hubbub.engines.openvino_server.sizing import Sizing, Wishes, derive
from hubbub.engines.openvino_server.stepper import Config

HOST = "127.0.0.1"
SHUTDOWN_S = 2.0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hubbub.engines.openvino_server",
        description="Serve one model with OpenVINO GenAI. What is not given is derived from the model and the machine.",
    )
    parser.add_argument("--model", required=True, type=Path, help="a GGUF file or a folder with OpenVINO IR")
    parser.add_argument(
        "--served-name", action="append", default=[], help="what the model is called on the wire (may be repeated)"
    )
    parser.add_argument("--port", type=int, default=0, help="0 picks one")
    parser.add_argument("--max-sequences", type=int, help="requests decoded together")
    parser.add_argument("--kv-bytes", type=int, help="bytes of KV cache")
    parser.add_argument("--batched-tokens", type=int, help="tokens of prompts and answers in one step")
    parser.add_argument("--threads", type=int, help="threads of inference")
    parser.add_argument("--context-window", type=int, help="tokens of input and output, at most the model's")
    parser.add_argument("--kv-precision", default="u8", help="u8, f16, bf16 or f32")
    parser.add_argument("--precision", default="", help="of inference: f32, bf16, f16 (empty: the engine's choice)")
    parser.add_argument("--performance-hint", default="", help="LATENCY or THROUGHPUT (empty: the engine's choice)")
    parser.add_argument("--no-prefix-cache", dest="prefix_cache", action="store_false")
    parser.add_argument("--no-split-fuse", dest="split_fuse", action="store_false")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="NAME=FOLDER", help="a LoRA adapter as PEFT saves it"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("gguf").setLevel(logging.WARNING)
    wishes = Wishes(**{name: getattr(options, name) for name in Wishes.__slots__})
    try:
        info = read_model_info(options.model)
        adapters = read_adapters(info, options.adapter)
        # Keys and values that one adapter made are wrong for the next, and the cache knows them by their tokens alone.
        sizing = derive(info, replace(wishes, prefix_cache=wishes.prefix_cache and not adapters))
        with contextlib.suppress(KeyboardInterrupt):
            return _run(serve(info, sizing, Names(options.served_name or [info.name], adapters), options.port))
    except (ConfigError, EngineUnavailable, OSError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 2
    return 0


def _run(work: Coroutine[Any, Any, int]) -> int:
    if sys.platform == "win32":
        return asyncio.run(work)
    return uvloop.run(work)


@dataclass(frozen=True, slots=True)
class Names:
    """What can be asked for: the model, and adapters, each with its file and factor."""

    model: list[str]
    adapters: dict[str, tuple[str, float]]


def read_adapters(info: ModelInfo, given: list[str]) -> dict[str, tuple[str, float]]:
    """Name to file and factor. Raises ConfigError."""
    if given and info.is_gguf:
        raise ConfigError(GGUF_ADAPTERS.format(info.path), param="adapters")
    found = {}
    for name, _, folder in (adapter.partition("=") for adapter in given):
        unknown = missing(info.path / IR_FILE, peft_modules(Path(folder)))
        if unknown:
            raise ConfigError(
                f"adapter {name!r} is for modules that the model in {info.path} has not, or has without their names: "
                f"{unknown[0]} and {len(unknown) - 1} more",
                param="adapters",
            )
        found[name] = (str(Path(folder) / WEIGHTS), peft_scale(name, Path(folder)))
    return found


async def serve(info: ModelInfo, sizing: Sizing, names: Names, port: int) -> int:
    """Until SIGTERM or SIGINT (0), or until the stepper is gone (1)."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT"):
        loop.add_signal_handler(getattr(signal, name), ended.set)
    began = time.perf_counter()
    # Claimed before the model is loaded, so that a taken port is known at once.
    listener = socket.create_server((HOST, port))
    link = StepperLink()
    config = Config(str(info.path), sizing, sorted(info.stop_ids), adapters=list(names.adapters.values()))
    loading = asyncio.create_task(link.start(config))
    runner: web.AppRunner | None = None
    try:
        codec = await asyncio.to_thread(Codec.load, info)
        service = Service(info, sizing, codec, names.model, link)
        service.adapters = tuple(names.adapters)
        service.on_lost = ended.set
        ready = await loading
        service.details.update(describe(info, sizing, ready))
        runner = _app_runner(service)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        _announce(runner.addresses[0][1], service, time.perf_counter() - began)
        await ended.wait()
    finally:
        loading.cancel()
        await link.close()
        if runner is not None:
            await runner.cleanup()
        listener.close()
    if service.lost is not None:
        sys.stderr.write(f"error: {service.lost}\n")
        return 1
    return 0


def _announce(port: int, service: Service, seconds: float) -> None:
    ready = {"port": port, "url": f"http://{HOST}:{port}", "models": service.names}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    block = "".join(f"  {key:<18} {value}\n" for key, value in service.details.items())
    sys.stderr.write(f"openvino: {service.names[0]} ready in {seconds:.1f} s\n{block}")
    sys.stderr.flush()


def _app_runner(service: Service) -> web.AppRunner:
    # Without handler_cancellation a client that is gone would be generated for to the end.
    return web.AppRunner(build_app(service), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)


def describe(info: ModelInfo, sizing: Sizing, ready: Ready) -> dict[str, str]:
    """For people: what runs, with which settings."""
    return {
        "engine": f"openvino-genai {version('openvino-genai')}",
        "model": f"{info.path} ({info.architecture}, {info.layers} layers, {info.weight_bytes / 1e6:,.0f} MB)",
        "context window": f"{sizing.context_window:,} tokens",
        "max sequences": f"{sizing.max_sequences}",
        "kv cache": f"{sizing.kv_tokens:,} tokens in {ready.kv_bytes / 1e6:,.0f} MB ({sizing.kv_precision}, "
        f"prefix cache {'on' if sizing.prefix_cache else 'off'})",
        "batched tokens": f"{sizing.batched_tokens} a step, split-fuse {'on' if sizing.split_fuse else 'off'}",
        "threads": f"{sizing.threads}",
        "precision": sizing.precision or "the engine's choice",
        "loaded in": f"{ready.load_s:.1f} s",
    }


if __name__ == "__main__":
    sys.exit(main())
