"""Small LoRA adapters with random weights, as PEFT saves them: enough to see that the text changes for who has one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hubbub.engines.openvino_server.tiny_gguf import Shape

SMOLLM2 = Shape("llama", 49_152, layers=30, width=576, heads=9, kv_heads=3, head_size=64)
"""SmolLM2-135M, as far as adapters of its attention need it."""


def write_peft(folder: Path, seed: int, strength: float = 0.08, rank: int = 4, shape: Shape = SMOLLM2) -> Path:
    """``strength``: the standard deviation of both factors."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    keys = shape.kv_heads * shape.head_size
    outputs = {"q_proj": shape.heads * shape.head_size, "k_proj": keys, "v_proj": keys}
    tensors: dict[str, np.ndarray] = {}
    for layer in range(shape.layers):
        for module, rows in outputs.items():
            key = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{key}.lora_A.weight"] = random.normal(0, strength, (rank, shape.width)).astype(np.float32)
            tensors[f"{key}.lora_B.weight"] = random.normal(0, strength, (rows, rank)).astype(np.float32)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "r": rank,
        "lora_alpha": rank * 2,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(outputs),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    _write_safetensors(folder / "adapter_model.safetensors", tensors)
    return folder


def _write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(v.tobytes() for v in tensors.values()))
