"""What a model is, read from its files: sizes, window, special tokens, template, sampling defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubbub.core.errors import ConfigError
from hubbub.engines.openvino_server.gguf_header import read_header

GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""What OpenVINO GenAI 2026.4 builds from a GGUF (src/cpp/src/gguf_utils/gguf_modeling.cpp)."""

# End-of-turn tokens by name: a GGUF names one end token, chat models stop at any of these.
_STOP_NAMES = frozenset(
    ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "</s>", "<end_of_turn>")
)
_CONTROL = 3
"""``tokenizer.ggml.token_type`` of tokens that are never text. Type 4, user defined, is text: ``<tool_call>``."""


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What the model's makers advise; the OpenAI contract's values where they say nothing."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0


_ADVICE = {
    "smollm2": SamplingDefaults(0.2, 0.9),
    "qwen2.5": SamplingDefaults(0.7, 0.8, 20, 1.05),
    "qwen3": SamplingDefaults(0.6, 0.95, 20),
}
"""By family, for GGUF files, few of which carry their makers' advice: generation_config.json of Qwen2.5-7B-Instruct and
Qwen3-0.6B, the model card of SmolLM2-135M-Instruct. A small model drawn from at 1.0 says hardly a straight sentence."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """``special``: text of every special token to its id. ``weight_bytes``: of the files, as stored."""

    path: Path
    name: str
    architecture: str
    layers: int
    kv_heads: int
    head_size: int
    context_window: int
    vocabulary: int
    weight_bytes: int
    special: dict[str, int]
    control_ids: frozenset[int]
    stop_ids: frozenset[int]
    pre_tokenizer: str = ""
    chat_template: str | None = None
    token_names: dict[str, str] = field(default_factory=dict)
    defaults: SamplingDefaults = field(default_factory=SamplingDefaults)

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == ".gguf"


def read_model_info(path: Path) -> ModelInfo:
    """``path``: a GGUF file, or a folder with OpenVINO IR. Raises ConfigError that says what is wrong with it."""
    if path.is_dir():
        return _from_folder(path)
    if path.suffix == ".gguf" and path.is_file():
        return _from_gguf(path)
    if not path.exists():
        raise ConfigError(f"model {path}: no such file or folder", param="model")
    raise ConfigError(f"model {path}: expected a .gguf file or a folder with openvino_model.xml", param="model")


def _from_gguf(path: Path) -> ModelInfo:
    header = read_header(path)
    architecture = str(header.get("general.architecture"))
    if architecture not in GGUF_ARCHITECTURES:
        raise ConfigError(
            f"model {path}: a GGUF of architecture {architecture!r}; the embedded engine reads "
            f"{', '.join(GGUF_ARCHITECTURES)} from GGUF; "
            "convert others to OpenVINO IR (optimum-cli export openvino)",
            param="model",
        )
    if header.get("tokenizer.ggml.model") != "gpt2":
        raise ConfigError(
            f"model {path}: its tokenizer is {header.get('tokenizer.ggml.model')!r}; from GGUF only byte-level BPE "
            "('gpt2') is supported; convert the model to OpenVINO IR",
            param="model",
        )
    tokens: list[str] = header["tokenizer.ggml.tokens"]
    types: list[int] = header.get("tokenizer.ggml.token_type", [])
    special = {tokens[i]: i for i, kind in enumerate(types) if kind in (_CONTROL, 4)}
    control = frozenset(i for i, kind in enumerate(types) if kind == _CONTROL)
    size = header.get
    heads = int(size(f"{architecture}.attention.head_count", 1))
    names = {
        f"{kind}_token": tokens[header[f"tokenizer.ggml.{kind}_token_id"]]
        for kind in ("bos", "eos")
        if header.get(f"tokenizer.ggml.{kind}_token_id", len(tokens)) < len(tokens)
    }
    return ModelInfo(
        path=path,
        name=str(header.get("general.name") or path.stem),
        architecture=architecture,
        layers=int(header[f"{architecture}.block_count"]),
        kv_heads=int(size(f"{architecture}.attention.head_count_kv", heads)),
        head_size=int(
            size(f"{architecture}.attention.key_length") or header[f"{architecture}.embedding_length"] // heads
        ),
        context_window=int(size(f"{architecture}.context_length", 2048)),
        vocabulary=len(tokens),
        weight_bytes=path.stat().st_size,
        special=special,
        control_ids=control,
        stop_ids=_stops(special, header.get("tokenizer.ggml.eos_token_id"), header.get("tokenizer.ggml.eot_token_id")),
        pre_tokenizer=str(header.get("tokenizer.ggml.pre", "")),
        chat_template=header.get("tokenizer.chat_template"),
        token_names=names,
        defaults=_header_defaults(header),
    )


def _from_folder(path: Path) -> ModelInfo:
    if not (path / "openvino_model.xml").is_file():
        raise ConfigError(
            f"model {path}: no openvino_model.xml in it; "
            f"convert with `optimum-cli export openvino --model NAME {path}`",
            param="model",
        )
    if not (path / "openvino_tokenizer.xml").is_file():
        raise ConfigError(
            f"model {path}: no openvino_tokenizer.xml in it; `convert_tokenizer NAME --with-detokenizer -o {path}`",
            param="model",
        )
    config = _json(path / "config.json")
    config = {**config, **config.get("text_config", {})}
    tokenizer = _json(path / "tokenizer_config.json")
    generation = _json(path / "generation_config.json")
    missing = [key for key in ("num_hidden_layers", "num_attention_heads", "hidden_size") if key not in config]
    if missing:
        raise ConfigError(f"model {path}: config.json does not say {', '.join(missing)}", param="model")
    added = {int(i): token for i, token in tokenizer.get("added_tokens_decoder", {}).items()}
    special = {token["content"]: i for i, token in added.items()}
    ends = generation.get("eos_token_id", config.get("eos_token_id"))
    heads = int(config["num_attention_heads"])
    return ModelInfo(
        path=path,
        name=path.resolve().name,
        architecture=str(config.get("model_type", "unknown")),
        layers=int(config["num_hidden_layers"]),
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
        context_window=int(config.get("max_position_embeddings", 2048)),
        vocabulary=int(config.get("vocab_size", 0)),
        weight_bytes=sum(file.stat().st_size for file in path.glob("openvino_model*.bin")),
        special=special,
        control_ids=frozenset(i for i, token in added.items() if token.get("special", True)),
        stop_ids=_stops(special, *(ends if isinstance(ends, list) else [ends])),
        pre_tokenizer=str(tokenizer.get("gguf_pre_tokenizer") or ""),
        chat_template=_folder_template(path, tokenizer),
        token_names={
            name: token["content"] if isinstance(token, dict) else token
            for name in ("bos_token", "eos_token")
            if (token := tokenizer.get(name))
        },
        defaults=_folder_defaults(generation),
    )


def _folder_template(path: Path, tokenizer: dict[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    template = tokenizer.get("chat_template") or _json(path / "chat_template.json").get("chat_template")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    return template


def _header_defaults(header: dict[str, Any]) -> SamplingDefaults:
    """What the file says itself; else what is known of its family."""
    name = str(header.get("general.basename") or header.get("general.name") or "").lower().replace(" ", "")
    advised = next((advice for family, advice in _ADVICE.items() if name.startswith(family)), SamplingDefaults())
    return SamplingDefaults(
        temperature=float(header.get("general.sampling.temp", advised.temperature)),
        top_p=float(header.get("general.sampling.top_p", advised.top_p)),
        top_k=int(header.get("general.sampling.top_k", advised.top_k)),
        repetition_penalty=float(header.get("general.sampling.penalty_repeat", advised.repetition_penalty)),
    )


def _folder_defaults(generation: dict[str, Any]) -> SamplingDefaults:
    given = {name: generation[name] for name in SamplingDefaults.__slots__ if generation.get(name) is not None}
    if generation.get("do_sample") is False:
        given["temperature"] = 0.0
    return SamplingDefaults(**given)


def _stops(special: dict[str, int], *ends: int | None) -> frozenset[int]:
    named = {special[name] for name in _STOP_NAMES if name in special}
    return frozenset(named | {end for end in ends if end is not None})


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as fault:
        raise ConfigError(f"model file {path}: {fault}", param="model") from fault
    return value if isinstance(value, dict) else {}
