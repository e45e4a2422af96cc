"""Names, shapes, quantizations, cards and units: what people write, understood."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.hardware import make_machine, resolve_card
from hubbub.planner.modelfiles import load_model, read_config, read_gguf
from hubbub.planner.modelnames import resolve_model
from hubbub.planner.models import cards
from hubbub.planner.quant import QUANTS, parse_quant
from hubbub.planner.units import parse_bytes, parse_count, show_bytes, show_time

MIB = 2**20


@pytest.mark.parametrize(
    ("name", "tokens", "mib"),
    [
        ("Qwen-7B", 2048, 1024),
        ("Qwen-7B", 8192, 4096),
        ("Qwen-1.8B", 2048, 384),
        ("Qwen2.5-7B", 2048, 112),
        ("Qwen2.5-7B", 8192, 448),
        ("Qwen2.5-0.5B", 2048, 24),
        ("Qwen3-8B", 2048, 288),
        ("Falcon-7B", 2048, 16),
        ("SmolLM2-135M", 2048, 45),
    ],
)
def test_kv_cache_of_a_chat_is_what_the_shape_says(name: str, tokens: int, mib: float) -> None:
    assert cards()[name].kv_bytes_at(tokens) / MIB == pytest.approx(mib)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen2.5-7B", 7.6156),
        ("Qwen3-30B-A3B", 30.532),
        ("Qwen3-235B-A22B", 235.09),
        ("Llama-3.1-8B", 8.0303),
        ("Mixtral-8x7B", 46.70),
        ("SmolLM2-135M", 0.1345),
        ("GPT-OSS-120B", 116.8),
    ],
)
def test_parameters_follow_from_the_shape(name: str, billions: float) -> None:
    assert cards()[name].total_params / 1e9 == pytest.approx(billions, rel=2e-3)


def test_a_window_bounds_the_cache_of_its_layers() -> None:
    gemma = cards()["Gemma-3-27B"]
    # 10 layers keep all of 131072 tokens, 52 the last 1024: published as 10.41 GiB
    assert gemma.kv_bytes_at(131072) / 2**30 == pytest.approx(10.41, rel=0.01)


def test_a_mixture_reads_more_experts_as_the_batch_grows() -> None:
    moe, quant = cards()["Qwen3-30B-A3B"], QUANTS["BF16"]
    one, many = moe.read_bytes(quant, 1), moe.read_bytes(quant, 64)
    assert one < 0.15 * many
    assert many < moe.weight_bytes(quant)


@pytest.mark.parametrize(
    ("spelled", "card"),
    [
        ("meta-llama/Meta-Llama-3-8B", "Llama-3-8B"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen2.5-7B"),
        ("deepseek-r1:14b", "Qwen2.5-14B"),
        ("Llama 3.2:3b", "Llama-3.2-3B"),
        ("gpt-oss 20b", "GPT-OSS-20B"),
        ("Qwen/Qwen3.6-27B", "Qwen3.5-27B"),
        ("IlyaGusev/saiga_mistral_7b_lora", "Saiga-Mistral-7B"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B"),
        ("Vicuna 7B", "Llama-7B"),
        ("bigscience/bloom-7b1", "BLOOM-7B"),
    ],
)
def test_names_as_tables_spell_them(spelled: str, card: str) -> None:
    assert resolve_model(spelled).name == card


def test_an_unknown_model_with_a_size_gets_the_usual_proportions() -> None:
    shape = resolve_model("acme/wonder-13b-chat")
    assert shape.total_params == 13e9
    assert shape.source == "usual proportions for the size"


def test_an_unknown_model_without_a_size_is_an_error_that_says_what_to_give() -> None:
    with pytest.raises(NotFound, match=r"config\.json") as caught:
        resolve_model("wonder")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("spelled", "name", "kv"),
    [
        ("GPTQ-Int4", "GPTQ-INT4", 2.0),
        ("Weight = fp16, KV Cache = fp8", "BF16", 1.0),
        ("BF16 weights, INT8 KV", "BF16", 1.0),
        ("BF16 + KV Cache FP8 (E4M3)", "BF16", 1.0),
        ("W4A8KV4", "W4A8", 0.5),
        ("Ollama/llama.cpp default (Q4_K_M)", "Q4_K_M", 2.0),
        ("AWQ Marlin", "AWQ", 2.0),
        ("", "BF16", 2.0),
    ],
)
def test_quantizations_as_tables_spell_them(spelled: str, name: str, kv: float) -> None:
    quant = parse_quant(spelled)
    assert (quant.name, quant.kv_bytes) == (name, kv)


def test_an_unknown_quantization_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(BadRequest, match="Q4_K_M"):
        parse_quant("zip")


@pytest.mark.parametrize(
    ("spelled", "cpu", "card"),
    [
        ("NVIDIA GeForce RTX 4070 Ti SUPER", None, "RTX-4070-Ti-Super"),
        ("NVIDIA A100-SXM4-40GB", None, "A100-40GB"),
        ("Ryzen 9 7950X (Nvidia 4070 Ti Super)", False, "RTX-4070-Ti-Super"),
        ("Ryzen 9 7950X (Nvidia 4070 Ti Super)", True, "Ryzen-9-7950X"),
        ("Pi CM5 - 16GB (Nvidia RTX 30601)", False, "RTX-3060"),
        ("Mac Studio (M3 Ultra 512GB)", False, "M3-Ultra"),
        ("RTX 6000 PRO 96 GB", None, "RTX-PRO-6000"),
        ("H100 PCIe 80GB", None, "H100-PCIe"),
    ],
)
def test_cards_as_tables_spell_them(spelled: str, cpu: bool | None, card: str) -> None:
    assert resolve_card(spelled, cpu=cpu).name == card


def test_a_stated_bandwidth_makes_an_unknown_processor_known() -> None:
    assert resolve_card("EPYC 9754, 12ch DDR5-4800 (460.8 GB/s)", cpu=True).bandwidth_gbs == 460.8


def test_machines_of_several_cards() -> None:
    machine = make_machine("4x RTX 4090", tp=2)
    assert (machine.count, machine.tp, machine.replicas) == (4, 2, 2)
    with pytest.raises(BadRequest, match="tp"):
        make_machine("RTX 4090", 3, tp=2)


@pytest.mark.parametrize(("text", "size"), [("1GB", 10**9), ("1GiB", 2**30), ("1e9", 10**9), ("1,5 ГБ", 1_500_000_000)])
def test_sizes_mean_what_they_say(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["-1", "0", "1 parsec", "", "GB", "nan", "inf", "0.1"])
def test_bad_sizes_are_errors_that_name_the_option(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_bytes(text, "bytes")
    assert caught.value.param == "bytes"


@pytest.mark.parametrize("text", ["0", "-5", "2.5", "many"])
def test_bad_counts_are_errors_that_name_the_option(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_count(text, "chats")
    assert caught.value.param == "chats"


def test_sizes_and_times_are_written_for_people() -> None:
    assert show_bytes(47_028_000_000) == "43.8 GiB"
    assert (show_time(0.74), show_time(13_320), show_time(1e8)) == ("740 ms", "3.7 h", "3.17 years")


# Files --------------------------------------------------------------------------------------------------------------


def _config(folder: Path, **fields: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(fields), "utf-8")
    return path


def test_a_config_gives_the_same_shape_as_the_card(tmp_path: Path) -> None:
    _config(
        tmp_path,
        model_type="qwen2",
        num_hidden_layers=28,
        hidden_size=3584,
        num_attention_heads=28,
        num_key_value_heads=4,
        intermediate_size=18944,
        vocab_size=152064,
        tie_word_embeddings=False,
        max_position_embeddings=131072,
        quantization_config={"quant_method": "awq", "bits": 4},
        sliding_window=131072,
        use_sliding_window=False,
    )
    shape, quant = load_model(str(tmp_path))
    card = cards()["Qwen2.5-7B"]
    assert shape.total_params == card.total_params
    assert shape.kv_bytes_at(9000) == card.kv_bytes_at(9000)
    assert quant is not None
    assert quant.name == "AWQ"


def test_a_hybrid_config_keeps_kv_on_its_attention_layers_only(tmp_path: Path) -> None:
    path = _config(
        tmp_path,
        text_config={
            "num_hidden_layers": 64,
            "hidden_size": 5120,
            "num_attention_heads": 24,
            "head_dim": 256,
            "num_key_value_heads": 4,
            "intermediate_size": 17408,
            "vocab_size": 248320,
            "full_attention_interval": 4,
            "linear_num_value_heads": 48,
            "linear_value_head_dim": 128,
            "linear_key_head_dim": 128,
        },
    )
    shape, _ = read_config(path)
    assert shape.kv_bytes_per_token() == 65536
    assert shape.state_bytes / MIB == pytest.approx(144)


def test_latent_attention_is_read_from_the_config(tmp_path: Path) -> None:
    path = _config(
        tmp_path,
        num_hidden_layers=61,
        hidden_size=7168,
        num_attention_heads=128,
        num_key_value_heads=128,
        head_dim=128,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        intermediate_size=18432,
        vocab_size=129280,
        n_routed_experts=256,
        num_experts_per_tok=8,
        moe_intermediate_size=2048,
        n_shared_experts=1,
        first_k_dense_replace=3,
    )
    shape, _ = read_config(path)
    assert shape.kv_bytes_per_token() == 61 * 576 * 2
    assert shape.experts == 256


def test_a_config_without_layers_names_the_field(tmp_path: Path) -> None:
    path = _config(tmp_path, hidden_size=64, num_attention_heads=4, vocab_size=100)
    with pytest.raises(BadRequest, match="num_hidden_layers"):
        read_config(path)


def test_a_folder_without_config_and_a_missing_file_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(NotFound, match="no file"):
        load_model(str(tmp_path / "gone.gguf"))


def _gguf(path: Path, *, cut: int = 0, data: int = 4096) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = {
        "block_count": 2,
        "embedding_length": 64,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "feed_forward_length": 128,
        "context_length": 512,
        "vocab_size": 100,
    }
    body = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    for key, value in pairs.items():
        body += text(f"llama.{key}") + struct.pack("<II", 4, value)
    tensor = text("blk.0.ffn_up.weight") + struct.pack("<I", 2) + struct.pack("<QQ", 64, 32) + struct.pack("<IQ", 12, 0)
    raw = b"GGUF" + struct.pack("<IQQ", 3, 1, 1 + len(pairs)) + body + tensor + b"\0" * data
    path.write_bytes(raw[: len(raw) - cut])
    return path


def test_a_gguf_header_gives_shape_and_bits(tmp_path: Path) -> None:
    shape, quant = read_gguf(_gguf(tmp_path / "m.gguf"))
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.context) == (2, 2, 16, 512)
    assert quant is not None
    assert quant.weight_bits == pytest.approx(4.5)


def test_a_gguf_cut_short_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cut short inside its header"):
        read_gguf(_gguf(tmp_path / "m.gguf", cut=4200))
    with pytest.raises(BadRequest, match="bytes of weights are missing"):
        read_gguf(_gguf(tmp_path / "m.gguf", data=0))
    other = tmp_path / "x.gguf"
    other.write_bytes(b"PK\x03\x04")
    with pytest.raises(BadRequest, match="not a GGUF"):
        read_gguf(other)
