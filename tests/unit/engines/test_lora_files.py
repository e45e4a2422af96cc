"""LoRA adapters as files, and a PEFT folder as a GGUF adapter."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from hubbub.core.errors import ConfigError
from hubbub.engines.lora_files import CONFIG, WEIGHTS, gguf_adapter, peft_folder, read_safetensors
from support.lora_adapter import write_peft
from support.openvino_process import bundled_model


@pytest.mark.large
def test_a_peft_folder_becomes_a_gguf_adapter_once(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "peft", seed=1)
    made = gguf_adapter("warm", str(folder), bundled_model(), tmp_path)
    read = gguf.GGUFReader(made)
    assert read.fields["general.type"].contents() == "adapter"
    assert read.fields["adapter.lora.alpha"].contents() == 8.0
    assert len(read.tensors) == 30 * 3 * 2
    by_name = {tensor.name: tensor.data for tensor in read.tensors}
    theirs = dict(read_safetensors(folder / WEIGHTS))
    stem = "base_model.model.model.layers.7.self_attn."
    assert np.array_equal(by_name["blk.7.attn_v.weight.lora_b"], theirs[stem + "v_proj.lora_B.weight"])
    assert np.array_equal(by_name["blk.7.attn_q.weight.lora_a"], theirs[stem + "q_proj.lora_A.weight"])
    # Pairs of a rotation stand 32 apart in the one and side by side in the other.
    rows, ours = theirs[stem + "q_proj.lora_B.weight"], by_name["blk.7.attn_q.weight.lora_b"]
    assert np.array_equal(ours[64:68], rows[[64, 96, 65, 97]])
    assert gguf_adapter("warm", str(folder), bundled_model(), tmp_path) == made
    assert gguf_adapter("warm", str(made), bundled_model(), tmp_path) == made
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [made.name]


@pytest.mark.parametrize(
    ("change", "says"),
    [({"use_dora": True}, "use_dora"), ({"bias": "all"}, "bias"), ({"rank_pattern": {"q": 3}}, "rank_pattern")],
)
def test_what_a_gguf_cannot_say_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    folder = write_peft(tmp_path / "peft", seed=1)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(ConfigError, match=says):
        gguf_adapter("warm", str(folder), bundled_model(), tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.large
def test_what_is_no_adapter_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter"):
        gguf_adapter("warm", str(bundled_model()), bundled_model(), tmp_path)
    with pytest.raises(ConfigError, match=CONFIG):
        peft_folder("warm", str(tmp_path))
    with pytest.raises(ConfigError, match="no Hugging Face name"):
        peft_folder("warm", "./not/there")
