"""A GGUF file as a folder of OpenVINO IR, with all that the engine asks of such a folder.

OpenVINO GenAI itself writes the model and both tokenizers when it loads a GGUF (its property
``enable_save_ov_model``); it puts them beside the GGUF, so the work is done in a folder of its own, on a link. What it
leaves out is what people know about the model: sizes, special tokens, chat template, sampling. They come from the
GGUF's header, into the files where a Hugging Face export has them.

    python -m hubbub.engines.openvino_server.ir_export MODEL.gguf FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import openvino_genai

from hubbub.core.errors import ConfigError
from hubbub.engines.model_hub import IR_FILE
from hubbub.engines.openvino_server.gguf_header import read_header
from hubbub.engines.openvino_server.ir_names import name_layers
from hubbub.engines.openvino_server.model_info import ModelInfo, read_model_info

_KEPT = 64
"""KV blocks of the pipeline that is made only to be written down."""


def export_ir(gguf: Path, folder: Path) -> Path:
    """Write ``folder``, which must not exist yet; weights keep the quantization that the GGUF has. Returns it.

    Takes some seconds and the memory of loading the model; the pipeline that OpenVINO makes meanwhile is in this
    process. The folder is there whole or not at all. Raises ConfigError where the GGUF cannot be read.
    """
    info = read_model_info(gguf)
    if not info.is_gguf:
        raise ConfigError(f"model {gguf}: not a GGUF file", param="model")
    if folder.exists():
        raise ConfigError(f"{folder}: there is something already; name a new folder", param="folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        link = work / gguf.name
        link.symlink_to(gguf.resolve())
        _save(link)
        link.unlink()
        name_layers(work / IR_FILE, info.layers)
        for name, content in _descriptions(info, read_header(gguf)).items():
            (work / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        work.chmod(0o777 & ~_umask())
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _save(link: Path) -> None:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = _KEPT
    try:
        tokenizer = openvino_genai.Tokenizer(str(link), enable_save_ov_model=True)
        pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(link), tokenizer, scheduler, "CPU", enable_save_ov_model=True
        )
    except RuntimeError as fault:
        raise ConfigError(f"model {link.name}: OpenVINO cannot convert it: {fault}", param="model") from fault
    del pipeline, tokenizer
    missing = [name for name in ("openvino_model.xml", "openvino_tokenizer.xml") if not (link.parent / name).is_file()]
    if missing:
        raise ConfigError(f"model {link.name}: OpenVINO did not write {', '.join(missing)}", param="model")


def _descriptions(info: ModelInfo, header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    architecture = info.architecture
    heads = int(header.get(f"{architecture}.attention.head_count", 1))
    names = {token: name for name, token in info.special.items()}
    defaults = info.defaults
    return {
        "config.json": {
            "model_type": architecture,
            "num_hidden_layers": info.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": info.kv_heads,
            "head_dim": info.head_size,
            "hidden_size": int(header[f"{architecture}.embedding_length"]),
            "max_position_embeddings": info.context_window,
            "vocab_size": info.vocabulary,
        },
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                str(token): {"content": name, "special": token in info.control_ids}
                for token, name in sorted(names.items())
            },
            "chat_template": info.chat_template,
            "gguf_pre_tokenizer": info.pre_tokenizer,
            **info.token_names,
        },
        "generation_config.json": {
            "eos_token_id": sorted(info.stop_ids),
            "temperature": defaults.temperature,
            "top_p": defaults.top_p,
            "top_k": defaults.top_k,
            "repetition_penalty": defaults.repetition_penalty,
        },
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hubbub.engines.openvino_server.ir_export",
        description="Write a GGUF file as a folder of OpenVINO IR, for hubbub serve --model FOLDER.",
    )
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        export_ir(options.gguf, options.folder)
    except (ConfigError, OSError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
