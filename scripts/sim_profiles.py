"""Write ``engines/data/sim_profiles.json`` from the planner's step times. ``--check`` compares."""

from __future__ import annotations

import sys

import msgspec

from hubbub.engines.sim_profiles import FILE, Profile
from hubbub.planner.setup import fitting_setup, make_setup, step_model

SETUPS = (
    ("Qwen2.5-7B", "AWQ", "RTX 4090", "vllm"),
    ("Qwen3-8B", "AWQ", "RTX 3090", "vllm"),
    ("Qwen3-30B-A3B", "AWQ", "RTX 4090", "vllm"),
    ("Qwen2.5-32B", "AWQ", "A100 80GB", "vllm"),
    ("Llama-3.1-8B", "BF16", "H100", "vllm"),
    ("Qwen2.5-7B", "Q4_K_M", "M2 Max", "llama.cpp"),
    ("Qwen3-0.6B", "Q4_K_M", "Ryzen 9 7950X", "llama.cpp"),
)
"""Model, quantization, machine, engine."""
LONGEST_WINDOW = 32_768
"""Tokens: what people serve these with; the windows of the models are longer."""
MOST_SEQUENCES = 256
USUAL_PROMPT = 1024
"""Tokens at which the cost of a prompt token is taken: attention makes longer prompts dearer, shorter ones cheaper."""
BATCHES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256)


def made() -> bytes:
    """The file's content."""
    rows = [msgspec.json.encode(_profile(*setup)) for setup in SETUPS]
    return b"[\n" + b",\n".join(rows) + b"\n]\n"


def _profile(model: str, quant: str, machine: str, engine: str) -> Profile:
    setup = fitting_setup(make_setup(model, machine, quant=quant, engine=engine))
    most = min(setup.max_sequences, MOST_SEQUENCES)
    step = step_model(setup, most)
    return Profile(
        name=f"{model} {quant} on {machine}",
        engine=engine,
        context_window=min(setup.shape.context or LONGEST_WINDOW, LONGEST_WINDOW),
        max_sequences=most,
        kv_tokens=setup.memory.kv_tokens,
        batch_tokens=setup.engine.token_budget(setup.machine.card),
        steps=tuple((batch, _short(step.decode(batch, 0.0))) for batch in BATCHES if batch <= most),
        per_context_token=_short(step.kv_s + step.window_kv_s),
        per_prefill_token=_short(step.prompt(USUAL_PROMPT) / USUAL_PROMPT),
    )


def _short(seconds: float) -> float:
    """Three digits: the planner knows no more, and rounding differs between machines."""
    return float(f"{seconds:.3g}")


def main() -> None:
    if "--check" not in sys.argv:
        FILE.write_bytes(made())
    elif FILE.read_bytes() != made():
        sys.exit(f"{FILE} is not what the planner says now; run: python scripts/sim_profiles.py")


if __name__ == "__main__":
    main()
