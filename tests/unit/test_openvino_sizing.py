"""How the embedded engine sizes itself, and how it reads model files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.gguf_header import read_header
from hubbub.engines.openvino_server.model_info import ModelInfo, SamplingDefaults, read_model_info
from hubbub.engines.openvino_server.protocol import Add, Drop, Sampler, Splitter, frame, op_decoder
from hubbub.engines.openvino_server.sizing import BLOCK_TOKENS, LEAST_TOKENS, Wishes, derive, kv_bytes_per_token
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny

GIB = 1 << 30
TOKENS = ["a", "b", "<|im_start|>", "<|im_end|>", "<tool_call>"]
TOKENIZER: dict[str, Any] = {
    "add_tokenizer_model": "gpt2",
    "add_tokenizer_pre": "qwen2",
    "add_token_list": TOKENS,
    "add_token_merges": ["a b"],
    "add_token_types": [1, 1, 3, 3, 4],
    "add_eos_token_id": 3,
    "add_chat_template": "{{ messages }}",
}


def info(**changes: Any) -> ModelInfo:
    """SmolLM2-135M's shape."""
    fields: dict[str, Any] = {
        "path": Path("m.gguf"),
        "name": "m",
        "architecture": "llama",
        "layers": 30,
        "kv_heads": 3,
        "head_size": 64,
        "context_window": 8192,
        "vocabulary": 49152,
        "weight_bytes": 98_000_000,
        "special": {},
        "control_ids": frozenset(),
        "stop_ids": frozenset(),
    }
    return ModelInfo(**{**fields, **changes})


def test_kv_bytes_are_those_the_pipeline_reports() -> None:
    # 500 blocks of SmolLM2-135M at u8: cache_size_in_bytes was 218,880,000.
    assert kv_bytes_per_token(info(), "u8") * BLOCK_TOKENS * 500 == 218_880_000
    assert kv_bytes_per_token(info(), "f16") == 30 * 3 * 2 * 64 * 2


def test_a_machine_with_room_gets_256_sequences() -> None:
    sizing = derive(info(), Wishes(), free=24 * GIB)
    assert sizing.max_sequences == 256
    assert sizing.kv_tokens == 256 * 1024
    assert sizing.context_window == 8192


@given(st.integers(2 * GIB, 64 * GIB))
def test_never_more_than_half_of_what_is_free_and_never_a_promise_that_does_not_fit(free: int) -> None:
    sizing = derive(info(), Wishes(), free=free)
    assert sizing.kv_bytes <= free / 2
    assert sizing.max_sequences * LEAST_TOKENS <= sizing.kv_tokens + BLOCK_TOKENS
    assert sizing.context_window <= sizing.kv_tokens
    assert sizing.batched_tokens >= sizing.max_sequences


def test_a_machine_without_room_is_told_so() -> None:
    with pytest.raises(ConfigError, match="--kv-bytes"):
        derive(info(), Wishes(), free=GIB)


def test_what_is_given_is_taken() -> None:
    wishes = Wishes(max_sequences=4, kv_bytes=100_000_000, batched_tokens=64, threads=1, context_window=500)
    sizing = derive(info(), wishes, free=0)
    assert (sizing.max_sequences, sizing.batched_tokens, sizing.threads, sizing.context_window) == (4, 64, 1, 500)
    assert 99_000_000 < sizing.kv_bytes <= 100_000_000


@pytest.mark.parametrize("flag", ["max_sequences", "kv_bytes", "batched_tokens", "threads", "context_window"])
def test_bad_values_name_the_flag(flag: str) -> None:
    wrong: dict[str, Any] = {flag: 0}
    with pytest.raises(ConfigError, match=f"--{flag.replace('_', '-')}"):
        derive(info(), replace(Wishes(), **wrong), free=24 * GIB)


def test_unknown_kv_precision() -> None:
    with pytest.raises(ConfigError, match="u4"):
        derive(info(), Wishes(kv_precision="u4"), free=24 * GIB)


def test_a_gguf_tells_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny(path, Shape("qwen3", len(TOKENS), context=1234), TOKENIZER)
    read = read_model_info(path)
    assert (read.architecture, read.layers, read.kv_heads, read.head_size, read.context_window) == (
        "qwen3",
        2,
        2,
        16,
        1234,
    )
    assert read.special == {"<|im_start|>": 2, "<|im_end|>": 3, "<tool_call>": 4}
    assert read.control_ids == {2, 3}
    assert read.stop_ids == {3}
    assert read.chat_template == "{{ messages }}"
    assert read_header(path)["tokenizer.ggml.tokens"] == TOKENS


def test_other_architectures_are_told_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny(path, Shape("mamba", len(TOKENS)), TOKENIZER)
    with pytest.raises(ConfigError, match="OpenVINO IR"):
        read_model_info(path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all", b"GGUF\x03\0\0\0" + b"\xff" * 40])
def test_broken_files_are_config_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.gguf"):
        read_model_info(path)


def test_a_cut_off_file_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny(path, Shape("qwen3", len(TOKENS)), TOKENIZER)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ConfigError, match="not a readable GGUF"):
        read_model_info(path)


def test_folders_and_missing_paths(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"openvino_model\.xml"):
        read_model_info(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        read_model_info(tmp_path / "nothing")


@given(st.lists(st.integers(0, 2**31), max_size=50), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cutting(prompt: list[int], sizes: list[int]) -> None:
    ops: list[Add | Drop] = [Add(1, prompt, Sampler(5, 0.0, 1.0, 0, 1)), Drop(1)]
    data = b"".join(frame(op) for op in ops)
    splitter, bodies, turn = Splitter(), [], 0
    while data:
        size = sizes[turn % len(sizes)]
        turn += 1
        bodies += splitter.feed(data[:size])
        data = data[size:]
    assert [op_decoder.decode(body) for body in bodies] == ops


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"add_basename": "smollm2"}, SamplingDefaults(0.2, 0.9)),
        ({"add_name": "Qwen2.5 0.5B Instruct"}, SamplingDefaults(0.7, 0.8, 20, 1.05)),
        ({"add_basename": "Qwen3", "add_sampling_temp": 0.75}, SamplingDefaults(0.75, 0.95, 20)),
        ({"add_name": "somebody's own"}, SamplingDefaults()),
    ],
)
def test_what_is_not_asked_for_is_what_the_makers_advise(
    header: dict[str, Any], told: SamplingDefaults, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny(path, Shape("qwen3", len(TOKENS)), {**TOKENIZER, **header})
    assert read_model_info(path).defaults == told


def test_without_split_fuse_there_is_no_prefix_cache() -> None:
    """The pipeline then shares blocks without copying them."""
    assert derive(info(), Wishes(), free=24 * GIB).prefix_cache
    assert not derive(info(), Wishes(split_fuse=False), free=24 * GIB).prefix_cache
