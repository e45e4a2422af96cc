"""From a model's name, as people and benchmark tables spell it, to a shape.

First the bundled cards by exact key, then family and size read from the name, then the nearest family member by size,
then a shape of the usual proportions for that size. The result's ``source`` says which of these it was.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache

from hubbub.core.errors import NotFound
from hubbub.planner.hardware import close_to
from hubbub.planner.models import ModelShape, cards

_ALIASES: tuple[tuple[str, str], ...] = (
    (r"^smollm2$", "SmolLM2-135M"),  # what the embedded engine calls the model it comes with
    (r"deepseek[-_ ]?r1[-_ ]?distill[-_ ]?qwen[-_ ]?(1\.5|7|14|32)b", r"Qwen2.5-\1B"),
    (r"deepseek[-_ ]?r1[-_ ]?distill[-_ ]?llama[-_ ]?(8|70)b", r"Llama-3.1-\1B"),
    (r"deepseek[-_ ]?r1[:_ -]+(1\.5|7|14|32)b", r"Qwen2.5-\1B"),
    (r"deepseek[-_ ]?r1[:_ -]+(8|70)b", r"Llama-3.1-\1B"),
    (r"deepseek[-_ ]?(v3|r1|v3\.1|v3\.2)", "DeepSeek-V3"),
    (
        r"deepseek[-_ ]?v2[-_ ]?lite|deepseek[-_ ]?coder[-_ ]?v2[-_ ]?lite|deepseek[-_ ]?v2[:_ -]*16b",
        "DeepSeek-V2-Lite-16B",
    ),
    (r"deepseek[-_ ]?(coder[-_ ]?)?v2", "DeepSeek-V2-236B"),
    (r"deepseek.*6\.7b", "DeepSeek-Coder-6.7B"),
    (r"deepseek.*33b", "DeepSeek-Coder-33B"),
    (r"deepseek.*67b", "DeepSeek-LLM-67B"),
    (r"deepseek.*7b", "DeepSeek-LLM-7B"),
    (r"kimi", "Kimi-K2-1T"),
    (r"qwq", "Qwen2.5-32B"),
    (r"gpt[-_ ]?oss[-_: ]*(20|120)b", r"GPT-OSS-\1B"),
    (r"gpt[-_ ]?oss", "GPT-OSS-20B"),
    (r"(vicuna|alpaca|wizardlm|guanaco|koala|longchat)[-_ ]*(7|13|30|65)b", r"Llama-\2B"),
    (r"(vicuna|wizardlm|alpaca)[-_ ]*33b", "Llama-30B"),
    (r"saiga.*nemo", "Saiga-Nemo-12B"),
    (r"saiga.*mistral", "Saiga-Mistral-7B"),
    (r"saiga.*llama[-_ ]?3|saiga.*8b", "Saiga-Llama3-8B"),
    (r"saiga.*13b", "Saiga2-13B"),
    (r"saiga", "Saiga2-7B"),
    (r"code[-_ ]?llama[-_: ]*(7|13|70)b", r"Llama-2-\1B"),
    (r"code[-_ ]?llama", "CodeLlama-34B"),
    (r"tiny[-_ ]?llama", "TinyLlama-1.1B"),
    (r"mixtral.*(8x22|141)", "Mixtral-8x22B"),
    (r"mixtral|8x7b", "Mixtral-8x7B"),
    (r"nemo(?!tron).*12b|mistral[-_ ]?nemo", "Mistral-Nemo-12B"),
    (r"ministral", "Ministral-8B"),
    (r"mistral[-_ ]?small.*22b", "Mistral-Small-22B"),
    (r"mistral[-_ ]?small|devstral|magistral|mistral.*24b", "Mistral-Small-24B"),
    (r"mistral[-_ ]?large|mistral.*12[34]b", "Mistral-Large-123B"),
    (r"mistral|zephyr|openhermes|openchat|starling", "Mistral-7B"),
    (r"llama[-_ ]?4.*maverick|maverick", "Llama-4-Maverick-17B-128E"),
    (r"llama[-_ ]?4|scout", "Llama-4-Scout-17B-16E"),
    (r"nemotron.*(70|49|51)b", "Llama-3.1-70B"),
    (r"phi[-_ ]?4[-_ ]?mini|phi[-_ ]?4.*3\.8b", "Phi-4-mini"),
    (r"phi[-_ ]?4", "Phi-4-14B"),
    (r"phi[-_ ]?3(\.5)?.*(medium|14b)", "Phi-3-medium"),
    (r"phi[-_ ]?3", "Phi-3-mini"),
    (r"phi[-_ ]?2|phi", "Phi-2"),
    (r"solar", "Solar-10.7B"),
    (r"dbrx", "DBRX-132B"),
    (r"command[-_ ]?r[-_ ]?(plus|\+)|command.*104b", "Command-R-Plus-104B"),
    (r"command|aya.*35b", "Command-R-35B"),
    (r"chatglm[-_ ]?[23]|glm[-_ ]?[23].*6b", "ChatGLM3-6B"),
    (r"chatglm", "ChatGLM-6B"),
    (r"glm[-_ ]?4\.5", "GLM-4.5-Air"),
    (r"glm[-_ ]?4", "GLM-4-9B"),
    (r"gpt[-_ ]?neox|pythia[-_ ]?12b", "GPT-NeoX-20B"),
    (r"gpt[-_ ]?j", "GPT-J-6B"),
    (r"gpt[-_ ]?2\b", "GPT-2"),
    (r"decilm", "DeciLM-7B"),
    (r"aquila", "Aquila-7B"),
)
# family pattern -> prefix of the cards in it; tried in order, sizes then pick the member
_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"qwen[-_ ]?3[._ -]?5|qwen[-_ ]?3[._ -]?6", "Qwen3.5-"),
    (r"qwen[-_ ]?3[-_ ]?next", "Qwen3-Next-"),
    (r"qwen[-_ ]?3[-_ ]?coder.*480", "Qwen3-Coder-"),
    (r"qwen[-_ ]?3", "Qwen3-"),
    (r"qwen[-_ ]?2[._]5", "Qwen2.5-"),
    (r"qwen[-_ ]?2", "Qwen2-"),
    (r"qwen[-_ ]?1[._]5", "Qwen1.5-"),
    (r"qwen", "Qwen-"),
    (r"llama[-_ ]?v?3[._]3", "Llama-3.3-"),
    (r"llama[-_ ]?v?3[._]2", "Llama-3.2-"),
    (r"llama[-_ ]?v?3[._]1", "Llama-3.1-"),
    (r"llama[-_ ]?v?3", "Llama-3-"),
    (r"llama[-_ ]?v?2", "Llama-2-"),
    (r"llama", "Llama-"),
    (r"falcon[-_ ]?3", "Falcon3-"),
    (r"falcon", "Falcon-"),
    (r"gemma[-_ ]?3", "Gemma-3-"),
    (r"gemma[-_ ]?2\b(?!b)", "Gemma-2-"),
    (r"gemma", "Gemma-"),
    (r"smollm[-_ ]?3", "SmolLM3-"),
    (r"smollm", "SmolLM2-"),
    (r"yi\b|\byi[-_]", "Yi-"),
    (r"internlm[-_ ]?2|internlm[-_ ]?3", "InternLM2-"),
    (r"internlm", "InternLM-"),
    (r"mpt", "MPT-"),
    (r"bloom", "BLOOM-"),
    (r"\bopt\b|\bopt-", "OPT-"),
    (r"baichuan", "Baichuan2-"),
    (r"starcoder[-_ ]?2", "StarCoder2-"),
    (r"starcoder", "StarCoder-"),
    (r"granite", "Granite-3-"),
)
_SIZE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z]*it)\w{0,2}(?=$|[^a-z0-9]|\d)|(\d+)x(\d+(?:\.\d+)?)b", re.I
)


def sizes_in(text: str) -> list[float]:
    """Parameter counts a name mentions, in parameters: 'Qwen3-30B-A3B' -> [30e9]; the A3B is not a total."""
    found: list[float] = []
    for match in _SIZE.finditer(re.sub(r"[-_ /:(]", " ", text.lower())):
        number, unit, copies, each = match.groups()
        if number:
            found.append(float(number) * (1e9 if unit.lower() == "b" else 1e6))
        else:
            found.append(float(copies) * float(each) * 1e9)
    return found


def _clean(name: str) -> str:
    name = name.strip()
    return name.rsplit("/", 1)[-1] if "/" in name and not name.endswith("/") else name.strip("/")


@cache
def _by_key() -> dict[str, ModelShape]:
    return {re.sub(r"[^a-z0-9.]", "", name.lower()): shape for name, shape in cards().items()}


def _exact(name: str) -> ModelShape | None:
    key = re.sub(r"[^a-z0-9.]", "", name.lower())
    table = _by_key()
    if key in table:
        return table[key]
    trimmed = re.sub(r"(instruct|chat|base|hf|it|awq|gptq|gguf|fp8|int4|int8|bf16|fp16|2507|v0\.\d|meta).*$", "", key)
    return table.get(trimmed)


def _nearest(prefix: str, sizes: list[float], active: bool) -> ModelShape | None:
    members = [s for n, s in cards().items() if n.startswith(prefix) and s.moe == active]
    if not members:
        members = [s for n, s in cards().items() if n.startswith(prefix)]
    if not members or not sizes:
        return None
    best = min(members, key=lambda s: min(abs(math.log(s.total_params / z)) for z in sizes))
    off = min(abs(math.log(best.total_params / z)) for z in sizes)
    if off < 0.18:
        return best
    return scaled(best, sizes[0])


def scaled(shape: ModelShape, params: float) -> ModelShape:
    """The shape stretched to ``params`` parameters, width and depth alike, heads kept whole."""
    ratio = (params / shape.total_params) ** (1 / 3)
    layers = max(1, round(shape.layers * ratio))
    hidden = max(64, round(shape.hidden * ratio / 64) * 64)
    heads = max(shape.kv_heads, round(shape.heads * ratio))
    grown = replace(
        shape,
        layers=layers,
        hidden=hidden,
        heads=heads,
        ffn=round(shape.ffn * ratio / 64) * 64,
        expert_ffn=round(shape.expert_ffn * ratio / 64) * 64,
        window_layers=round(shape.window_layers * ratio),
        kv_layers=None if shape.kv_layers is None else max(1, round(shape.kv_layers * ratio)),
        params=round(params),
    )
    return replace(grown, name=f"{shape.name} scaled to {params / 1e9:.3g}B", source=f"scaled from {shape.name}")


def generic(params: float) -> ModelShape:
    """A dense decoder of the usual proportions (grouped heads, vocabulary of 128k) with ``params`` parameters."""
    base = "Llama-3.1-8B" if params > 5e9 else "Qwen2.5-1.5B"
    made = scaled(cards()[base], params)
    return replace(made, name=f"a {params / 1e9:.3g}B model", source="usual proportions for the size")


def resolve_model(name: str, params: str = "", option: str = "model") -> ModelShape:
    """The shape for a name; ``params`` is a size such as '8B' or '30.5B-A3.3B' where the name has none.

    Raises NotFound when neither the name nor ``params`` says anything about size.
    """
    cleaned = _clean(name)
    found = _exact(cleaned)
    if found is not None:
        return found
    lower = name.lower()
    sizes = sizes_in(cleaned) or sizes_in(params)
    for pattern, target in _ALIASES:
        match = re.search(pattern, lower)
        if match is not None:
            card = cards().get(match.expand(target))
            if card is not None:
                return card
    active = bool(re.search(r"a\d+(\.\d+)?b|moe|\d+x\d+b", f"{lower} {params.lower()}"))
    for pattern, prefix in _FAMILIES:
        if re.search(pattern, lower):
            near = _nearest(prefix, sizes, active)
            if near is not None:
                return near
            break
    if sizes:
        return generic(sizes[0])
    close = close_to(re.sub(r"[^a-z0-9.]", "", cleaned.lower()), {key: s.name for key, s in _by_key().items()})
    raise NotFound(
        f"{option}: no model named {name!r}{close or '.'} Give a bundled name (`hubbub plan models`), a folder "
        "or file with config.json, a .gguf file, or a name that holds its size, such as 'my-7b'",
        param=option,
    )
