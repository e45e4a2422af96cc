"""Names for the layers of an IR that OpenVINO GenAI made of a GGUF, and which modules of an adapter an IR has.

A LoRA adapter finds its layers by the names of the model's MatMul operations (openvino.genai 2026.4,
src/cpp/src/lora/adapter.cpp, LoRAWeightGetterDefault): the name must contain ``model.layers.3.self_attn.q_proj``. What
Hugging Face's export writes does; what is made of a GGUF is numbered in the order in which it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MODULES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""In the order in which a layer is made (src/cpp/src/gguf_utils/building_blocks.cpp)."""
_NUMBERED = re.compile(r"MatMul_\d+")
_LAYER = re.compile(r'<layer id="(\d+)" name="([^"]*)" type="(\w+)"')
_EDGE = re.compile(r'<edge from-layer="(\d+)" from-port="\d+" to-layer="(\d+)" to-port="(\d+)"')


def name_layers(xml: Path, layers: int) -> bool:
    """Name the MatMuls of the IR after the modules they are. False, and nothing changed, where there are not as many
    as such a model has (``layers`` times MODULES, and perhaps one for the vocabulary)."""
    text = xml.read_text("utf-8")
    kinds: dict[str, tuple[str, str]] = {number: (name, kind) for number, name, kind in _LAYER.findall(text)}
    inputs: dict[tuple[str, str], str] = {(to, port): source for source, to, port in _EDGE.findall(text)}

    def has_weights(number: str) -> bool:
        """Whether the second input comes from a constant."""
        source = inputs.get((number, "1"), "")
        while (source, "0") in inputs:
            source = inputs[source, "0"]
        return source in kinds and kinds[source][1] == "Const"

    found = [name for number, (name, kind) in kinds.items() if kind == "MatMul" and has_weights(number)]
    if len(found) - layers * len(MODULES) not in (0, 1) or not all(_NUMBERED.fullmatch(name) for name in found):
        return False
    found.sort(key=lambda name: int(name.rpartition("_")[2]))
    names = {}
    for place, name in enumerate(found[: layers * len(MODULES)]):
        layer, module = divmod(place, len(MODULES))
        names[name] = f"model.layers.{layer}.{MODULES[module]}"
    xml.write_text(_LAYER.sub(lambda match: match[0].replace(match[2], names.get(match[2], match[2])), text), "utf-8")
    return True


def missing(xml: Path, modules: Iterable[str]) -> list[str]:
    """Those of ``modules`` (``model.layers.3.self_attn.q_proj``) that no MatMul of the IR is named after."""
    names = {name for _, name, kind in _LAYER.findall(xml.read_text("utf-8")) if kind == "MatMul"}
    whole = "\n".join(names) + "\n" + "\n".join(name.replace(".", "_") for name in names)
    return [module for module in modules if module not in whole and module.replace(".", "_") not in whole]
