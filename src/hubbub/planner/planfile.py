"""A recommendation as settings: what ``hubbub serve --plan FILE`` starts from.

The file is TOML in the form of ``hubbub.toml``, with one engine and the reasons as comments.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

KINDS = {"llamacpp": "llamacpp", "openvino": "openvino", "vllm": "vllm"}
"""From a family of engines to the kind of engine of the settings."""
BUNDLED = {"SmolLM2-135M": "smollm2"}


def repository(model: str, quant: str) -> str:
    """Where the weights are published, by the names Qwen gives its own: ``Qwen/Qwen3-8B-AWQ``,
    ``Qwen/Qwen2.5-7B-Instruct-GGUF:q4_k_m``; what comes with Hubbub by its own name."""
    if model in BUNDLED:
        return BUNDLED[model]
    base = f"Qwen/{model}" + ("-Instruct" if model.startswith("Qwen2") else "")
    if quant.startswith(("Q4", "Q5", "Q6", "Q8")):
        return f"{base}-GGUF:{quant.lower() if model.startswith('Qwen2') else quant}"
    if quant == "AWQ" or (quant == "FP8" and model.startswith("Qwen3")):
        return f"{base}-{quant}"
    return base


def toml_of(found: Mapping[str, Any]) -> str:
    """The settings of what was found best; ``found`` is what ``recommend`` returns."""
    best = found["best"]
    table = {"kind": KINDS[best["engine"]], "model": repository(best["model"], best["quant"]), "chats": best["chats"]}
    options: dict[str, Any] = {"context_window": best["context"]}
    if best["engine"] == "vllm":
        if best["quant"] == "FP8" and not best["model"].startswith("Qwen3"):
            options["quantization"] = "fp8"  # no such weights are published: vLLM converts them as it loads
        if best["gpus"] > 1:
            options["tensor_parallel"] = best["gpus"]
    words = textwrap.wrap(f"For {found['machine']}: {found['why']}", 110)
    return "\n".join(
        [
            "# Written by `hubbub plan recommend --plan`; start it with `hubbub serve --plan FILE`.",
            *(f"# {line}" for line in words),
            "[engines.main]",
            *(f"{key} = {json.dumps(value)}" for key, value in table.items()),
            "",
            "[engines.main.options]",
            *(f"{key} = {json.dumps(value)}" for key, value in options.items()),
            "",
        ]
    )
