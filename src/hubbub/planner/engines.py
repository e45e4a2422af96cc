"""Engines as the planner sees them: family, class of version, and how they admit and split work.

Version classes follow rewrites that changed speed, not numbers: vLLM 0.6 (multi-step), 0.8 (V1), 0.11 (async), 0.15.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hubbub.planner.hardware import Card


@dataclass(frozen=True, slots=True)
class EngineKind:
    """``admission``: continuous (tokens join a running batch), slots (llama.cpp) or static (a batch starts and ends
    together). ``layer_split``: several cards hold layers in turn, so that speed does not add up."""

    family: str
    version: str
    admission: str = "continuous"
    layer_split: bool = False

    @property
    def preallocates(self) -> bool:
        """Whether the engine takes its share of memory at the start, whatever is in use."""
        return self.family in ("vllm", "sglang", "trtllm", "lmdeploy", "tgi", "nim")

    def memory_share(self) -> float:
        """Share of a card's memory the engine uses by default."""
        return {"vllm": 0.9, "sglang": 0.835, "trtllm": 0.92, "lmdeploy": 0.88, "tgi": 0.93}.get(self.family, 0.95)

    def max_sequences(self, card: Card) -> int:
        """Requests decoded together by default."""
        if self.admission != "continuous":
            return 4096
        if self.family == "mindie" and self.version.startswith("v"):
            return 256  # vLLM on Ascend; MindIE itself reads prompts for as long as there is room
        if self.family == "vllm":
            if self._large(card) and self.version in ("v0.8", "v0.11", "v0.15"):
                return 1024
            return 128 if card.cpu else 256
        return {"openvino": 256, "lmdeploy": 256, "tgi": 128, "deepspeed-mii": 256}.get(self.family, 2048)

    def _large(self, card: Card) -> bool:
        """Where vLLM takes its larger limits: 70 GiB and more, but an A100 only before 0.11."""
        return card.memory_gib >= 70 and (self.version == "v0.8" or not card.name.startswith("A100"))

    def token_budget(self, card: Card) -> int:
        """Tokens one step may hold (``max_num_batched_tokens``)."""
        if self.family == "vllm":
            return 8192 if self._large(card) else 2048
        return {"llamacpp": 512, "openvino": 256}.get(self.family, 8192)

    @property
    def interleaves(self) -> bool:
        """Whether prompts are read in the same steps that decode (chunked prefill); else those that decode wait."""
        if self.family == "vllm":
            return self.version not in ("v0.4", "v0.6")
        return self.family not in ("sglang", "mindie", "tgi", "deepspeed-mii")

    @property
    def reserves(self) -> bool:
        """Whether a request is let in only with room for its whole answer; vLLM, SGLang (all but a tenth of it, once
        warm: ``new_token_ratio``) and Hubbub's own engine take blocks as it grows, and preempt."""
        return self.family not in ("vllm", "openvino", "mindie", "sglang")


_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"vllm.*ascend|mindie", "mindie"),
    (r"vllm", "vllm"),
    (r"sglang|\bsgl\b", "sglang"),
    (r"optimum[ -]nvidia", "hf"),
    (r"tensorrt|trt[-_ ]?llm|\bnim\b|\btrt\b", "trtllm"),
    (r"lmdeploy|turbomind", "lmdeploy"),
    (r"ipex|neural[- ]speed|itrex", "ipex"),
    (r"openvino|hubbub|embedded", "openvino"),
    (r"text-generation-webui.*exl|exllama|\bexl2", "exllama"),
    (r"text-generation-webui.*(gguf|llama)", "llamacpp"),
    (r"llama[-._ ]?cpp|ollama|ctransformers|llama-?bench|lm studio|llamafile|koboldcpp|gguf|ik_llama", "llamacpp"),
    (r"autoawq|llm-awq", "autoawq"),
    (r"autogptq 8bit", "gptq"),
    (r"autogptq(?!.*transformers)", "gptq"),
    (r"\btgi\b|text[- ]generation[- ]inference", "tgi"),
    (r"deepspeed[- ]?(mii|fastgen)", "deepspeed-mii"),
    (r"deepspeed|optimum[ -]habana", "deepspeed"),
    (r"mlc", "mlc"),
    (r"\bmlx\b", "mlx"),
    (r"fastllm", "fastllm"),
    (r"sambaflow", "sambaflow"),
    (r"ct2|ctranslate", "ctranslate"),
    (r"onnx", "onnx"),
    (r"qserve|atom|quarot", "qserve"),
    (r"transformers|pytorch|\bhf\b|openllm|lightning|eager|torch", "hf"),
)


def _version_number(text: str) -> tuple[int, int] | None:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _year(date: str) -> float | None:
    match = re.search(r"(20\d\d)(?:-(\d\d))?", date)
    if match is None:
        return None
    return int(match.group(1)) + (int(match.group(2)) - 0.5 if match.group(2) else 6.0) / 12


_VLLM_MINORS = ((6, "v0.4"), (8, "v0.6"), (11, "v0.8"), (15, "v0.11"))
_VLLM_DATES = ((2024.5, "v0.4"), (2025.1, "v0.6"), (2025.75, "v0.8"), (2026.1, "v0.11"))


def _vllm_version(number: tuple[int, int] | None, year: float | None) -> str:
    if number is not None:
        for limit, name in _VLLM_MINORS:
            if number < (0, limit):
                return name
        return "v0.15"
    for limit_year, name in _VLLM_DATES:
        if year is not None and year < limit_year:
            return name
    return "v0.15" if year is not None else "v0.11"


def _other_version(family: str, number: tuple[int, int] | None, year: float | None) -> str:
    if family == "sglang":
        return "old" if number is not None and number < (0, 5) else "new"
    if family == "trtllm":
        new = number >= (0, 15) if number is not None else (year or 2026.0) > 2025.2
        return "new" if new else "old"
    if family == "hf":
        # transformers 4.45 stopped keeping the prompt's logits, 4.50 a layer's activations
        known = number if number is not None and number[0] == 4 else None
        mid = known >= (4, 45) if known else (year or 2026.0) >= 2024.7
        new = known >= (4, 50) if known else (year or 2026.0) >= 2025.2
        return "new" if new else "mid" if mid else "old"
    return "old" if year is not None and year < 2025.0 else "new"


def parse_engine(name: str, version: str = "", date: str = "") -> EngineKind:
    """The engine meant by a spelling; a missing version is read from the date (the release then current)."""
    lower = name.lower()
    family = next((f for pattern, f in _FAMILIES if re.search(pattern, lower)), "other")
    number = _version_number(version) if version.lower() not in ("nan", "none") else None
    year = _year(date)
    label = _vllm_version(number, year) if family == "vllm" else _other_version(family, number, year)
    if family == "hf" and "no fa" in lower:
        label += "-eager"
    admission = "continuous"
    if family in (
        "hf",
        "autoawq",
        "gptq",
        "exllama",
        "mlc",
        "ctranslate",
        "onnx",
        "ipex",
        "qserve",
        "fastllm",
        "deepspeed",
    ):
        admission = "static"
    elif family in ("llamacpp", "mlx"):
        admission = "slots"
    split = family in ("hf", "llamacpp", "autoawq", "gptq", "exllama", "mlx")
    return EngineKind(family, label, admission, split)
