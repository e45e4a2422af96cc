"""The process that tries grammars: ``python -m hubbub.engines.openvino_server.grammar_compiler MODEL VOCABULARY``.

A pipeline of its own, one layer of 32 with random weights and the real vocabulary: 0.07 s to make and 0.03 s to ask.
Reads grammars from stdin, each a JSON text in a line of its own; for each, and once at the start, writes such a line
with the reason it cannot be compiled, or an empty text.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import openvino
import openvino_genai

from hubbub.engines.openvino_server.lifetime import die_with_parent
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny


class Compiler:
    def __init__(self, model: str, vocabulary: int) -> None:
        self._tokenizer = openvino_genai.Tokenizer(model)
        self._vocabulary = vocabulary
        self._pipeline = self._build()

    def ask(self, grammar: str) -> str:
        """Empty when it compiles, else the reason."""
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
            self._pipeline = self._build()  # it is stuck from now on
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


def _reason(message: str) -> str:
    """xgrammar's words without the path of the machine it was built on."""
    line = next((line for line in message.splitlines() if line.strip()), message)
    return line.rsplit(".cc:", 1)[-1].partition(": ")[2].strip() or line.strip()


def main(model: str, vocabulary: int) -> None:
    die_with_parent()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what a library prints is no verdict
        compiler = Compiler(model, vocabulary)
        _say(out, "")
        for line in sys.stdin.buffer:
            _say(out, compiler.ask(json.loads(line)))


def _say(out: TextIO, verdict: str) -> None:
    out.write(json.dumps(verdict) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
