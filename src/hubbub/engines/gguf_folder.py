"""A GGUF file as a Hugging Face folder, for engines that read no GGUF: config, tokenizer, weights as bfloat16.

Llama, Qwen 2 and Qwen 3 and what is built like them. Names and permutations are those of llama.cpp's
convert_hf_to_gguf.py, the other way round. Quantized weights are written as the numbers they stand for: the folder is
2 bytes a parameter, and says what the GGUF says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.engines.safetensors import Floats, Tensor, write_bf16

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {"llama-bpe": _WORDS + r"|\p{N}{1,3}" + _REST, "qwen2": _WORDS + r"|\p{N}" + _REST}
"""How text is cut before byte pairs are merged, by ``tokenizer.ggml.pre`` (llama.cpp, src/llama-vocab.cpp)."""
_CONTROL, _USER_DEFINED = 3, 4


def hugging_face_folder(gguf: Path, cache: Path) -> Path:
    """The folder made of ``gguf``, in ``cache``; made now if it is not there. Blocks for seconds a gigabyte.

    Raises ConfigError for an architecture or a tokenizer that is not known here.
    """
    stat = gguf.stat()
    key = hashlib.sha256(f"{gguf.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache / f"{gguf.stem}-{key}"
    if not folder.is_dir():
        unfinished = cache / f"{folder.name}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_folder(gguf, unfinished)
        unfinished.rename(folder)
    return folder


def write_folder(gguf: Path, folder: Path) -> None:
    """Raises ConfigError."""
    from gguf import GGUFReader

    reader = GGUFReader(str(gguf))
    header = {name: field for name, field in reader.fields.items() if "." in name}

    def said(name: str, otherwise: Any = None) -> Any:
        return header[name].contents() if name in header else otherwise

    architecture = said("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise ConfigError(
            f"model {gguf}: a GGUF of the architecture {architecture!r} cannot be made a Hugging Face folder here "
            f"(only {', '.join(_ARCHITECTURES)}); take the model's Hugging Face folder",
            param="model",
        )
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "rope_freqs.weight" in tensors:
        raise ConfigError(
            f"model {gguf}: its rope scaling is kept as numbers that no config.json can say; "
            "take the model's Hugging Face folder",
            param="model",
        )
    tokens = said("tokenizer.ggml.tokens")
    config = _config(architecture, lambda key: said(f"{architecture}.{key}"), len(tokens), tensors)
    ends = said("tokenizer.ggml.eos_token_id")
    config |= {"bos_token_id": said("tokenizer.ggml.bos_token_id"), "eos_token_id": ends}
    _tokenizer(gguf, said, tokens, folder)
    heads = (config["num_attention_heads"], config["num_key_value_heads"]) if architecture == "llama" else None
    write_bf16(folder / "model.safetensors", {_name(name): _tensor(at, heads) for name, at in tensors.items()})
    _write(folder / "generation_config.json", {"bos_token_id": config["bos_token_id"], "eos_token_id": ends})
    _write(folder / "config.json", config)


def _config(architecture: str, said: Any, vocabulary: int, tensors: Mapping[str, Any]) -> dict[str, Any]:
    heads, width = said("attention.head_count"), said("embedding_length")
    return {
        "architectures": [_ARCHITECTURES[architecture]],
        "model_type": architecture,
        "hidden_size": width,
        "intermediate_size": said("feed_forward_length"),
        "num_hidden_layers": said("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": said("attention.head_count_kv") or heads,
        "head_dim": said("attention.key_length") or width // heads,
        "max_position_embeddings": said("context_length"),
        "rms_norm_eps": said("attention.layer_norm_rms_epsilon"),
        "rope_theta": said("rope.freq_base") or 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "vocab_size": vocabulary,
        "dtype": "bfloat16",
    }


def _name(name: str) -> str:
    """``blk.3.attn_q.weight`` is ``model.layers.3.self_attn.q_proj.weight``."""
    parts = name.split(".")
    if parts[0] == "blk" and parts[2] in _INNER:
        return f"model.layers.{parts[1]}.{_INNER[parts[2]]}.{parts[3]}"
    if parts[0] in _OUTER:
        return f"{_OUTER[parts[0]]}.{parts[1]}"
    raise ConfigError(
        f"model: the GGUF has a tensor {name}, which is not known here; take the model's Hugging Face folder",
        param="model",
    )


def _tensor(stored: Any, heads: tuple[int, int] | None) -> Tensor:
    """``heads``: of queries and of keys, where llama.cpp has the two halves of each head interleaved."""
    shape = tuple(int(length) for length in reversed(stored.shape))

    def read() -> Floats:
        from gguf import dequantize

        values: Floats = dequantize(stored.data, stored.tensor_type).reshape(shape)
        part = stored.name.split(".")[2] if stored.name.startswith("blk.") else ""
        if heads is not None and part in ("attn_q", "attn_k"):
            count = heads[part == "attn_k"]
            values = values.reshape(count, -1, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
        return values

    return Tensor(shape, read)


def _tokenizer(gguf: Path, said: Any, tokens: list[str], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    pre, merges = str(said("tokenizer.ggml.pre", "")), said("tokenizer.ggml.merges")
    if said("tokenizer.ggml.model") != "gpt2" or not merges or not (pre == "smollm" or pre in _SPLITS):
        raise ConfigError(
            f"model {gguf}: its tokenizer ({said('tokenizer.ggml.model')}, {pre or 'unnamed'}) cannot be written as "
            "tokenizer.json here; take the model's Hugging Face folder",
            param="model",
        )
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ", 1)) for merge in merges]))
    if pre == "qwen2":
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = _cutter(pre)
    made.decoder = decoders.ByteLevel()
    kinds = said("tokenizer.ggml.token_type", [])
    for token, kind in zip(tokens, kinds, strict=False):
        if kind in (_CONTROL, _USER_DEFINED):
            made.add_tokens([AddedToken(token, special=kind == _CONTROL, normalized=False)])
    made.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": said(f"{said('general.architecture')}.context_length"),
    }
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = said(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            config[f"{role}_token"] = tokens[number]
    if template := said("tokenizer.chat_template"):
        config["chat_template"] = template
    _write(folder / "tokenizer_config.json", config)


def _cutter(pre: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    words = pre_tokenizers.Split(Regex(_SPLITS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
