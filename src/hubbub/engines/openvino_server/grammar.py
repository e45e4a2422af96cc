"""Is this grammar one that the engine can compile? Asked before the engine is, which would not survive the answer.

A schema that xgrammar refuses makes ``pipeline.step()`` raise in the middle of a step, and every request of the
pipeline is stuck from then on (seen in 2026.4.1). So each new grammar is first run through a pipeline of its own: one
layer of 32 with random weights and the real vocabulary, 0.07 s to make and 0.03 s to ask.
"""

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from hubbub.core.errors import BadRequest
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny

REMEMBERED = 512
MAX_BYTES = 256 << 10
MAX_DEPTH = 96
"""Lists and objects within each other. The engine says nothing to anybody while it compiles, which takes half a second
at this depth and twenty seconds at three times of it."""


class GrammarChecker:
    """``tokenizer``: the ``openvino_genai.Tokenizer`` of the model, ``vocabulary`` its number of tokens."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._pipeline: Any = None
        self._verdicts: OrderedDict[str, str] = OrderedDict()

    def check(self, grammar: str, param: str) -> None:
        """Raises BadRequest naming ``param`` and what is wrong."""
        if len(grammar) > MAX_BYTES:
            raise BadRequest(f"{param}: the schema is longer than {MAX_BYTES:,} characters", param=param)
        if _depth(grammar) > MAX_DEPTH:
            raise BadRequest(f"{param}: the schema is nested too deep for this engine; flatten it", param=param)
        verdict = self._verdicts.get(grammar)
        if verdict is None:
            verdict = self._verdicts[grammar] = self._ask(grammar)
            if len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        if verdict:
            raise BadRequest(f"{param}: the schema cannot be compiled: {verdict}", param=param)

    def _ask(self, grammar: str) -> str:
        """Empty when it compiles, else the reason."""
        if self._pipeline is None:
            self._pipeline = self._build()
        constraint = openvino_genai.StructuredOutputConfig()
        constraint.structural_tags_config = grammar
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = 1
        config.structured_output_config = constraint
        try:
            handle = self._pipeline.add_request(0, openvino.Tensor(np.array([[0]], dtype=np.int64)), config)
            while self._pipeline.has_non_finished_requests():
                self._pipeline.step()
        except RuntimeError as fault:
            self._pipeline = None
            return _reason(str(fault))
        del handle  # not before: a request without a handle is stopped
        return ""

    def _build(self) -> Any:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = 4
        scheduler.enable_prefix_caching = False
        shape = Shape(
            "llama",
            self._vocabulary,
            layers=1,
            width=32,
            heads=1,
            kv_heads=1,
            head_size=32,
            feed_forward=32,
            context=64,
        )
        with tempfile.TemporaryDirectory(prefix="hubbub-grammar-") as folder:
            path = Path(folder) / "tiny.gguf"
            write_tiny(path, shape, {})
            return openvino_genai.ContinuousBatchingPipeline(
                str(path), self._tokenizer, scheduler, "CPU", INFERENCE_NUM_THREADS=1
            )


def _depth(grammar: str) -> int:
    """How many lists and objects are within each other."""
    deepest, level = -1, [json.loads(grammar)]
    while level:
        deepest += 1
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        level = inner
    return deepest


def _reason(message: str) -> str:
    """xgrammar's words without the path of the machine it was built on."""
    line = next((line for line in message.splitlines() if line.strip()), message)
    return line.rsplit(".cc:", 1)[-1].partition(": ")[2].strip() or line.strip()
