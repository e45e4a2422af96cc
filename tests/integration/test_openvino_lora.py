"""LoRA adapters in the embedded engine: one at a time, each as if it were merged into the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from hubbub.core.errors import ConfigError
from hubbub.core.types import EngineId
from hubbub.engines.lora_files import WEIGHTS, peft_scale, read_safetensors
from hubbub.engines.models import ModelKind, ModelSource, ResolvedModel
from hubbub.engines.openvino import OpenVINOConfig, OpenVINOEngine
from hubbub.engines.openvino_server.__main__ import read_adapters
from hubbub.engines.openvino_server.model_info import read_model_info
from hubbub.engines.openvino_server.protocol import Add, Sampler
from hubbub.engines.openvino_server.sizing import Sizing
from hubbub.engines.openvino_server.stepper import Config, Stepper, load_adapters, load_pipeline
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny
from support.ir_model import ir_folder
from support.lora_adapter import write_peft

TOKENS = 512
SHAPE = Shape("qwen3", TOKENS, context=2048)
TOKENIZER: dict[str, Any] = {
    "add_tokenizer_model": "gpt2",
    "add_tokenizer_pre": "qwen2",
    "add_token_list": [f"t{i}" for i in range(TOKENS - 1)] + ["<|im_end|>"],
    "add_token_types": [1] * (TOKENS - 1) + [3],
    "add_token_merges": ["t 1"],
    "add_eos_token_id": TOKENS - 1,
    "add_bos_token_id": TOKENS - 1,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_tiny(path, SHAPE, TOKENIZER)
    return path


@pytest.fixture(scope="module")
def folder(plain: Path) -> Path:
    return ir_folder(plain.parent / "ir", plain)


@pytest.fixture(scope="module")
def adapters(plain: Path) -> list[Path]:
    return [write_peft(plain.parent / name, seed, 0.3, shape=SHAPE) for seed, name in enumerate(("warm", "dry"))]


def stepper(model: Path, adapters: list[Path]) -> Stepper:
    sizing = Sizing(8, 256, 1.0, 64, 1, 2048, "f32", "f32", prefix_cache=False, split_fuse=True, performance_hint="")
    files = [(str(path / WEIGHTS), peft_scale(path.name, path)) for path in adapters]
    config = Config(str(model), sizing, [TOKENS - 1], adapters=files)
    loaded = load_adapters(config)
    return Stepper(load_pipeline(config, loaded), config, loaded)


def said(made: Stepper, numbers: list[int]) -> list[list[int]]:
    """What the same prompt is answered with by each of the adapters, asked for together."""
    for place, adapter in enumerate(numbers):
        made.submit(Add(place, list(range(40)), Sampler(12, 0.0, 1.0, 0, 0, ignore_eos=True, adapter=adapter)))
    whole: dict[int, list[int]] = {}
    while not made.idle:
        assert len({numbers[request.id] for request in made._live.values()}) <= 1
        for out in made.step():
            whole.setdefault(out.id, []).extend(out.tokens)
    return [whole[place] for place in range(len(numbers))]


def merged(plain: Path, adapter: Path, out: Path) -> Path:
    """The model with the adapter's product added to its weights."""
    factors, scale = dict(read_safetensors(adapter / WEIGHTS)), peft_scale("", adapter)
    modules = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj"}
    changes = {}
    for layer in range(SHAPE.layers):
        for ours, theirs in modules.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{theirs}.lora_"
            product = factors[stem + "B.weight"] @ factors[stem + "A.weight"]
            changes[f"blk.{layer}.{ours}.weight"] = product * scale
    write_tiny(out, SHAPE, TOKENIZER)
    reader = gguf.GGUFReader(out, "r+")
    for tensor in reader.tensors:
        if tensor.name in changes:
            tensor.data[:] = (tensor.data.astype(np.float32) + changes[tensor.name]).astype(np.float16)
    reader.data.flush()
    return out


def test_each_speaks_as_if_merged_and_only_where_asked_for(
    plain: Path, folder: Path, adapters: list[Path], tmp_path: Path
) -> None:
    alone = [said(stepper(plain, []), [0])[0]]
    alone += [said(stepper(merged(plain, path, tmp_path / f"{path.name}.gguf"), []), [0])[0] for path in adapters]
    assert len({tuple(tokens) for tokens in alone}) == 3
    made = stepper(folder, adapters)
    asked = [0, 1, 1, 2, 0, 2, 1]
    assert said(made, asked) == [alone[adapter] for adapter in asked]


def test_what_openvino_would_pass_over_is_refused(plain: Path, folder: Path, tmp_path: Path) -> None:
    model = ResolvedModel(plain, "tiny", ModelSource.FILE, ModelKind.GGUF, "a test")
    with pytest.raises(ConfigError, match="ir_export"):
        OpenVINOEngine(EngineId("o"), model, OpenVINOConfig(), tmp_path, {"warm": tmp_path})
    strange = write_peft(tmp_path / "strange", 1, shape=Shape("qwen3", TOKENS, layers=3))
    with pytest.raises(ConfigError, match=r"model\.layers\.2\.self_attn"):
        read_adapters(read_model_info(folder), [f"strange={strange}"])
