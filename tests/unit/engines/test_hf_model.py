"""Which precision a model is computed in on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hubbub.engines.hf_model import Model, dtype_on_cpu
from hubbub.engines.machine import Machine

AVX2, AVX512 = ("avx2", "fma"), ("avx2", "avx512f")
QUANTIZED = {"quantization_config": {"quant_method": "awq"}}


@pytest.mark.parametrize(
    ("asked", "instructions", "free", "config", "chosen"),
    [
        ("auto", AVX2, 4000, {}, "float32"),
        ("auto", AVX2, 3999, {}, "auto"),  # twice the files in half of it
        ("auto", AVX512, 4000, {}, "auto"),
        ("auto", ("asimd",), 4000, {}, "auto"),
        ("auto", AVX2, 4000, QUANTIZED, "auto"),
        ("bfloat16", AVX2, 4000, {}, "bfloat16"),
    ],
)
def test_float32_where_16_bits_are_slow(
    tmp_path: Path, asked: str, instructions: tuple[str, ...], free: int, config: dict[str, object], chosen: str
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"w" * 1000)
    (tmp_path / "config.json").write_text(json.dumps(config))
    machine = Machine("Linux 6 x86_64", "a CPU", 2, 2.0, 1 << 20, free, instructions)
    assert dtype_on_cpu(Model(str(tmp_path), "m"), asked, machine) == chosen


def test_a_name_is_looked_up_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    machine, model = Machine("Linux 6 x86_64", "a CPU", 2, 2.0, 1 << 20, 4000, AVX2), Model("org/small", "m")
    assert dtype_on_cpu(model, "auto", machine) == "auto"
    snapshot = tmp_path / "models--org--small" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"w" * 1000)
    (snapshot / "config.json").write_text("{}")
    assert dtype_on_cpu(model, "auto", machine) == "float32"
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    assert dtype_on_cpu(model, "auto", machine) == "auto", "half of it is still to come"
