"""All kinds of engines there are. Their modules are light: settings and ``--help`` load no engine."""

from __future__ import annotations

from collections.abc import Mapping

from hubbub.core.errors import ConfigError
from hubbub.engines import (
    fastchat,
    hf_transformers,
    llamacpp,
    lmdeploy,
    ollama,
    openvino,
    remote,
    sglang,
    simulated,
    tgi,
    vllm,
)
from hubbub.engines.kinds import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        openvino.KIND,
        vllm.KIND,
        sglang.KIND,
        lmdeploy.KIND,
        llamacpp.KIND,
        hf_transformers.KIND,
        ollama.KIND,
        tgi.KIND,
        fastchat.KIND,
        remote.KIND,
        simulated.KIND,
    )
}


def kind_of(name: str) -> Kind:
    """Raises ConfigError."""
    if name not in KINDS:
        raise ConfigError(f"engine.kind is {name!r}: it can be {', '.join(KINDS)}", param="kind")
    return KINDS[name]
