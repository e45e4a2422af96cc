"""Ways to store weights and KV, as people and sources spell them.

Bits per weight: AWQ and GPTQ keep a 16-bit scale and a 4-bit zero per group of 128, and leave the embedding tables at
16 bit; FP8 per block of 128; GGUF types after the quantize table of llama.cpp (Llama-3.1-8B).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hubbub.core.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Quant:
    """``weight_bits`` of linear layers, ``embed_bits`` of embedding tables, ``kv_bytes`` an element of the cache.

    ``math``: the type the matrix units multiply in (fp16, fp8, int8, fp4, fp32). ``family``: kernels that behave alike.
    ``experts_only``: only the routed experts are quantized (MXFP4 as gpt-oss ships it).
    """

    name: str
    family: str
    weight_bits: float
    embed_bits: float = 16.0
    kv_bytes: float = 2.0
    math: str = "fp16"
    experts_only: bool = False


BF16 = Quant("BF16", "16bit", 16.0)
QUANTS: dict[str, Quant] = {
    "FP32": Quant("FP32", "32bit", 32.0, 32.0, 4.0, "fp32"),
    "BF16": BF16,
    "FP16": replace(BF16, name="FP16"),
    "FP8": Quant("FP8", "fp8", 8.03, math="fp8"),
    "W8A8": Quant("W8A8", "w8a8", 8.03, math="int8"),
    "INT8": Quant("INT8", "w8a16", 8.15),
    "GPTQ-INT8": Quant("GPTQ-INT8", "w8a16", 8.15),
    "AWQ": Quant("AWQ", "w4a16", 4.16),
    "GPTQ-INT4": Quant("GPTQ-INT4", "gptq4", 4.16),
    "BNB-4": Quant("BNB-4", "bnb4", 4.5),
    "W4A8": Quant("W4A8", "w4a8", 4.16, math="int8"),
    "W4A4": Quant("W4A4", "w4a4", 4.16, math="int8"),
    "FP4": Quant("FP4", "fp4", 4.5, math="fp4"),
    "MXFP4": Quant("MXFP4", "mxfp4", 4.25, experts_only=True),
}
# type: (bits of linear layers, bits of the embedding tables)
_GGUF: dict[str, tuple[float, float]] = {
    "F32": (32.0, 32.0),
    "F16": (16.0, 16.0),
    "BF16": (16.0, 16.0),
    "Q2_K": (3.0, 5.0),
    "Q3_K_S": (3.5, 5.0),
    "Q3_K_M": (3.9, 5.1),
    "Q3_K_L": (4.25, 5.2),
    "Q4_0": (4.5, 5.5),
    "Q4_1": (5.0, 5.8),
    "Q4_K_S": (4.55, 5.5),
    "Q4_K_M": (4.83, 5.5),
    "Q5_0": (5.5, 6.0),
    "Q5_1": (6.0, 6.3),
    "Q5_K_S": (5.5, 6.0),
    "Q5_K_M": (5.67, 6.0),
    "Q6_K": (6.56, 6.56),
    "Q8_0": (8.5, 8.5),
    "IQ1_S": (1.7, 4.5),
    "IQ2_XXS": (2.2, 4.5),
    "IQ2_XS": (2.4, 4.5),
    "IQ2_M": (2.75, 4.5),
    "IQ3_XXS": (3.1, 4.8),
    "IQ3_S": (3.5, 5.0),
    "IQ3_M": (3.7, 5.0),
    "IQ4_XS": (4.3, 5.2),
    "IQ4_NL": (4.55, 5.5),
}
for _name, (_bits, _embed) in _GGUF.items():
    _family = "gguf16" if _bits >= 16 else "gguf8" if _bits > 6.2 else "gguf4"
    if _name != "BF16":
        QUANTS[_name] = Quant(_name, _family, _bits, _embed)

# First match wins; tried against the upper-case spelling without the part about the KV cache.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"W4A8", "W4A8"),
    (r"W4A4", "W4A4"),
    (r"W8A8|SMOOTHQUANT", "W8A8"),
    (r"MXFP4", "MXFP4"),
    (r"NVFP4|\bFP4\b|W4A16-FP4", "FP4"),
    (r"FP8|W8A16-FP8|E4M3", "FP8"),
    (r"GPTQ.*(8|EIGHT)", "GPTQ-INT8"),
    (r"GPTQ", "GPTQ-INT4"),
    (r"AWQ|W4A16|INT4|\b4[- ]?BIT|U4\b|Q4F16|EXL2|\bNF4", "AWQ"),
    (r"BITSANDBYTES.*8|LLM\.INT8", "INT8"),
    (r"BITSANDBYTES|BNB", "BNB-4"),
    (r"W8A16|INT8|\b8[- ]?BIT|EETQ|U8\b", "INT8"),
    (r"FP32|FLOAT32|\bF32\b", "FP32"),
    (r"BF16|BFLOAT16|FP16|FLOAT16|HALF|\bF16\b|16[- ]?BIT|NONE|BASELINE", "BF16"),
)
_KV = re.compile(
    r"KV[ _-]*(?:CACHE)?[ _=:-]*(FP8|INT8|FP16|BF16|8|4|16|FP4|INT4|Q8_0|Q4_0)"
    r"|(FP8|INT8|BF16|FP16)[^,+;]* KV\b|KV(4|8)\b"
)
_KV_BYTES = {"FP8": 1.0, "INT8": 1.0, "8": 1.0, "Q8_0": 1.06, "4": 0.5, "FP4": 0.5, "INT4": 0.5, "Q4_0": 0.56}


def kv_element_bytes(name: str, option: str = "kv") -> float:
    """Bytes a KV element of '16', 'bf16', 'fp8', '8', 'int8', '4'. Raises BadRequest."""
    key = name.upper().removeprefix("KV").strip("- ")
    if key in ("", "16", "BF16", "FP16", "F16", "AUTO"):
        return 2.0
    if key in ("FP8_E4M3", "FP8_E5M2"):
        key = "FP8"
    if key not in _KV_BYTES:
        raise BadRequest(f"{option}: unknown KV type {name!r}; use 16, fp8, int8, q8_0 or 4", param=option)
    return _KV_BYTES[key]


def _kv_part(text: str) -> tuple[str, float | None]:
    """The spelling without what it says of the KV cache, and the bytes an element that part means."""
    text = re.sub(r"\(E[45]M[23]\)", "", text)
    match = _KV.search(text)
    if match is None:
        return text, None
    word = next(g for g in match.groups() if g)
    return (text[: match.start()] + text[match.end() :]).strip(" ,+;-"), _KV_BYTES.get(word, 2.0)


def parse_quant(text: str | None, *, llamacpp: bool = False, option: str = "quant") -> Quant:
    """The quantization meant by a spelling such as 'GPTQ-Int4', 'Q4_K_M', 'Weight = fp16, KV Cache = fp8'.

    An empty spelling is 16 bit, or Q4_K_M for a llama.cpp engine. Raises BadRequest for a spelling nobody knows.
    """
    spelled = (text or "").strip()
    if not spelled or spelled.lower() in ("nan", "none", "null", "-"):
        return QUANTS["Q4_K_M"] if llamacpp else BF16
    upper = spelled.upper().replace("WEIGHT =", "").replace("WEIGHTS =", "")
    upper, kv = _kv_part(upper)
    found = _gguf(upper) or _by_pattern(upper, llamacpp)
    if found is None and kv is not None and not re.search(r"[A-Z0-9]{2}", upper):
        found = BF16
    if found is None:
        names = ", ".join(sorted(QUANTS))
        raise BadRequest(f"{option}: unknown quantization {text!r}; known are {names}", param=option)
    return found if kv is None else replace(found, kv_bytes=kv)


def _gguf(upper: str) -> Quant | None:
    match = re.search(r"\b(I?Q\d_(?:K_[SML]|K|\d|XXS|XS|NL|[SM])|F16|F32)\b", upper.replace("-", "_"))
    if match is None or match.group(1) not in QUANTS:
        return None
    return QUANTS[match.group(1)]


def _by_pattern(upper: str, llamacpp: bool) -> Quant | None:
    for pattern, name in _PATTERNS:
        if re.search(pattern, upper):
            if llamacpp and name in ("AWQ", "INT8", "BF16"):
                return QUANTS[{"AWQ": "Q4_0", "INT8": "Q8_0", "BF16": "F16"}[name]]
            return QUANTS[name]
    return None
