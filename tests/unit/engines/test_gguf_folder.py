"""A GGUF file as a Hugging Face folder: names, the order of rows, the tokenizer; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from hubbub.core.errors import ConfigError
from hubbub.engines.gguf_folder import hugging_face_folder
from hubbub.engines.lora_files import read_safetensors

HIDDEN, HEADS, KV_HEADS, WORDS = 8, 2, 1, ["<|im_end|>", "a", "b", "ab", "Ġ", "1", "2", "12"]
TOKENS = [*WORDS, *(f"x{number}" for number in range(4))]


def write(path: Path, architecture: str = "llama", pre: str = "smollm", extra: str = "") -> dict[str, Any]:
    """A model of one layer; its queries and keys as numbers that tell their place."""
    random = np.random.default_rng(3)
    wanted = {
        "token_embd.weight": random.normal(size=(len(TOKENS), HIDDEN)),
        "output_norm.weight": random.normal(size=HIDDEN),
        "blk.0.attn_q.weight": random.normal(size=(HIDDEN, HIDDEN)),
        "blk.0.attn_k.weight": random.normal(size=(HIDDEN // 2, HIDDEN)),
        "blk.0.ffn_down.weight": random.normal(size=(HIDDEN, 16)),
    }
    if extra:
        wanted[extra] = random.normal(size=HIDDEN)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(16)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (len(TOKENS) - 1))
    writer.add_token_merges(["a b", "1 2"])
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages }}")
    for name, values in wanted.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wanted


def in_halves(rows: Any, heads: int) -> Any:
    """llama.cpp pairs the rows (2i, 2i+1) of a head that transformers has at (i, i + half)."""
    out = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            for side in (0, 1):
                out[head * size + side * (size // 2) + i] = rows[head * size + 2 * i + side]
    return out


def test_tensors_have_their_names_and_their_order(tmp_path: Path) -> None:
    wrote = write(tmp_path / "m.gguf")
    folder = hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
    found = dict(read_safetensors(folder / "model.safetensors"))
    layer = "model.layers.0"
    expected = {
        "model.embed_tokens.weight": wrote["token_embd.weight"],
        "model.norm.weight": wrote["output_norm.weight"],
        f"{layer}.self_attn.q_proj.weight": in_halves(wrote["blk.0.attn_q.weight"], HEADS),
        f"{layer}.self_attn.k_proj.weight": in_halves(wrote["blk.0.attn_k.weight"], KV_HEADS),
        f"{layer}.mlp.down_proj.weight": wrote["blk.0.ffn_down.weight"],
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2**-8)


def test_qwen_keeps_its_rows(tmp_path: Path) -> None:
    wrote = write(tmp_path / "m.gguf", "qwen2", "qwen2")
    folder = hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
    found = dict(read_safetensors(folder / "model.safetensors"))
    np.testing.assert_allclose(
        found["model.layers.0.self_attn.q_proj.weight"], wrote["blk.0.attn_q.weight"], rtol=2**-8
    )
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Qwen2ForCausalLM"]


def test_the_config_and_the_template_are_said(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    folder = hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert (config["head_dim"], config["num_key_value_heads"], config["vocab_size"]) == (4, 1, len(TOKENS))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["chat_template"] == "{{ messages }}"
    assert tokenizer["eos_token"] == TOKENS[0]


def test_the_tokenizer_merges_and_keeps_digits_apart(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    folder = hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("ab 12<|im_end|>").tokens == ["ab", "Ġ", "1", "2", "<|im_end|>"]


def test_it_is_made_once(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    first = hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache") == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("architecture", "pre", "extra", "words"),
    [
        ("mamba", "smollm", "", "architecture 'mamba'"),
        ("llama", "deepseek-llm", "", "deepseek-llm"),
        ("llama", "smollm", "rope_freqs.weight", "rope scaling"),
        ("llama", "smollm", "blk.0.strange.weight", "blk.0.strange.weight"),
    ],
)
def test_what_cannot_be_said_is_refused(tmp_path: Path, architecture: str, pre: str, extra: str, words: str) -> None:
    write(tmp_path / "m.gguf", architecture, pre, extra)
    with pytest.raises(ConfigError, match=words):
        hugging_face_folder(tmp_path / "m.gguf", tmp_path / "cache")
