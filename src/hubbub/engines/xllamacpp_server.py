"""llama.cpp's own server out of the PyPI package ``xllamacpp``, told what to do by the flags of ``llama-server``.

Run by path, with the Python of whichever environment has xllamacpp: this file needs nothing else but the standard
library. It takes the flags that ``llamacpp.py`` gives, so that a ``llama-server`` binary and this are launched alike.
"""

from __future__ import annotations

import argparse
import threading
from typing import Any


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="xllamacpp_server", description=__doc__, allow_abbrev=False)
    flags.add_argument("--model", required=True)
    flags.add_argument("--alias", required=True)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--parallel", type=int, default=4)
    flags.add_argument("--ctx-size", type=int, default=0)
    flags.add_argument("--kv-unified", action=argparse.BooleanOptionalAction, default=False)
    flags.add_argument("--kv-unified-per-slot", type=int, default=0)
    flags.add_argument("--batch-size", type=int, default=2048)
    flags.add_argument("--ubatch-size", type=int, default=512)
    flags.add_argument("--cache-type-k", default="f16")
    flags.add_argument("--cache-type-v", default="f16")
    flags.add_argument("--cache-ram", type=int, default=0, help="MiB")
    flags.add_argument("--cache-idle-slots", action=argparse.BooleanOptionalAction, default=False)
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--n-gpu-layers", type=int, default=-1)
    flags.add_argument("--lora", action="append", default=[], metavar="FILE")
    flags.add_argument("--lora-init-without-apply", action="store_true")
    flags.add_argument("--cors-origins", default="localhost")
    flags.add_argument("--metrics", action="store_true")
    flags.add_argument("--slots", action="store_true")
    flags.add_argument("--slot-save-path", default="", metavar="FOLDER")
    flags.add_argument("--jinja", action="store_true")
    flags.add_argument("--no-webui", action="store_true")
    return flags


def parameters(flags: argparse.Namespace) -> Any:
    """``CommonParams`` of xllamacpp: llama.cpp's own ``common_params``."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = flags.model
    params.model_alias = {flags.alias}
    params.hostnames = [flags.host]
    params.port = flags.port
    params.n_parallel = flags.parallel
    params.n_ctx = flags.ctx_size
    params.kv_unified = flags.kv_unified
    params.kv_unified_per_slot = flags.kv_unified_per_slot
    params.n_batch, params.n_ubatch = flags.batch_size, flags.ubatch_size
    params.cache_type_k = _cache_type(flags.cache_type_k)
    params.cache_type_v = _cache_type(flags.cache_type_v)
    params.cache_ram_mib = flags.cache_ram
    params.cache_idle_slots = flags.cache_idle_slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = flags.threads
    params.n_gpu_layers = flags.n_gpu_layers
    params.lora_adapters = [_adapter(path) for path in flags.lora]
    params.lora_init_without_apply = flags.lora_init_without_apply
    params.cors_origins = flags.cors_origins
    params.cors_origins_explicit = True
    params.endpoint_metrics = flags.metrics
    params.endpoint_slots = flags.slots
    params.slot_save_path = f"{flags.slot_save_path}/" if flags.slot_save_path else ""
    params.use_jinja = flags.jinja
    params.ui = not flags.no_webui
    return params


def _cache_type(name: str) -> Any:
    import xllamacpp

    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


def _adapter(path: str) -> Any:
    import xllamacpp

    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 1.0
    return adapter


def main() -> None:
    flags = parser().parse_args()
    import xllamacpp

    server = xllamacpp.Server(parameters(flags))
    print(f"llama.cpp of xllamacpp {xllamacpp.__version__} at {server.listening_address}", flush=True)  # noqa: T201
    threading.Event().wait()


if __name__ == "__main__":
    main()
