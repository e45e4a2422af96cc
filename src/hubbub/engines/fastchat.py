"""FastChat: its controller, one worker and its OpenAI server as one supervised process, or a server that runs already.

Run for real with fschat 0.2.36 (dormant since April 2025). The worker decodes each chat by itself, a thread each, so
that many chats share the machine and gain nothing. It renders with templates of its own (``conv_template``), not with
the model's; it knows no seeds, JSON schemas, tools or adapters, tells no usage in a stream and cannot go on with an
answer that was begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from hubbub.core.errors import ConfigError, EngineUnavailable, ModelNotFound, Unsupported
from hubbub.core.types import EngineState, Json, Message, Request
from hubbub.engines import fastchat_server
from hubbub.engines.dialect import Dialect, Limits, Site
from hubbub.engines.environments import environment_of
from hubbub.engines.hf_model import isolated, model_of
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.probe import PROBE_TIMEOUT
from hubbub.engines.remote_errors import error_of_response, error_of_transport
from hubbub.engines.wire_body import chat_body
from hubbub.ports import Engine

DEFAULT_SEQUENCES = 5
"""FastChat's own ``--limit-worker-concurrency``. With more at once all become slower together: on a CPU 50 made a
quarter of the tokens/s that five at a time did."""


@dataclass(frozen=True, slots=True)
class FastChatOptions:
    python: str = field(default="", metadata={"help": "with fschat[model_worker]; empty: its environment's"})
    sequences: int = field(
        default=0, metadata={"help": f"requests decoded at once; 0: as many as chats, {DEFAULT_SEQUENCES} at most"}
    )
    device: str = field(default="cpu", metadata={"help": "cpu, cuda, mps, xpu or npu"})
    conv_template: str = field(
        default="qwen-7b-chat", metadata={"help": "a template of FastChat (this one is ChatML); empty: its guess"}
    )

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        if self.sequences < 0:
            raise ValueError(f"sequences is {self.sequences}: it must be at least 1, or 0 to derive it")


class _Check(msgspec.Struct):
    context_length: int = msgspec.field(name="contextLength")
    tokens: int = msgspec.field(name="tokenCount")


class _Checked(msgspec.Struct):
    prompts: list[_Check]


class FastChatDialect(Dialect):
    """``models``: what is served, the only one first."""

    def __init__(self, models: Sequence[str]) -> None:
        self._models = tuple(models)

    def body(self, request: Request) -> dict[str, Json]:
        """Raises ModelNotFound, Unsupported."""
        if self._models and request.model not in self._models:
            there = ", ".join(self._models)
            raise ModelNotFound(f"model {request.model!r} is not served here; there is {there}", param="model")
        sampling = request.sampling
        refused = {
            "partial": request.partial,
            "adapter": request.adapter,
            "response_format": sampling.response_format and sampling.response_format.get("type") != "text",
            "tools": sampling.tools,
        }
        for param, asked in refused.items():
            if asked:
                words = "go on with an answer that was begun" if param == "partial" else f"do {param}"
                raise Unsupported(f"FastChat cannot {words}", param=param)
        body = chat_body(request)
        for key in ("stream_options", "seed"):
            body.pop(key, None)
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        await self.healthy(site, "/v1/models")
        if known is not None:
            return known
        state = await self.listed(site)
        window = (await self._check(site, state.models[0], "")).context_length
        sequences = site.limits.max_sequences
        return EngineState(
            models=state.models,
            context_window=min(window, site.limits.context_window or window),
            max_sequences=sequences,
            kv_tokens=sequences * window,
            details=state.details,
        )

    async def _check(self, site: Site, model: str, prompt: str) -> _Check:
        body = msgspec.json.encode({"prompts": [{"model": model, "prompt": prompt, "max_tokens": 0}]})
        try:
            async with site.session.post(
                site.base + "/api/v1/token_check",
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=PROBE_TIMEOUT,
            ) as response:
                data = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            words = error_of_transport(fault, site.engine, begun=False).message
            raise EngineUnavailable(words, retry_after=1.0) from fault
        if response.status != 200:
            raise EngineUnavailable(error_of_response(response.status, None, data).message)
        return msgspec.json.decode(data, type=_Checked).prompts[0]

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        return None  # it counts texts, and does not tell how it renders messages


def build(spec: EngineSpec) -> Engine:
    """Raises ConfigError or NotFound (no such model, no environment)."""
    options = spec.options or FastChatOptions()
    if spec.adapters:
        raise ConfigError(f"engine {spec.id}: FastChat serves no adapters beside a model", param="adapters")
    sequences = options.sequences or min(spec.chats or DEFAULT_SEQUENCES, DEFAULT_SEQUENCES)
    if spec.url:
        models = (spec.model,) if spec.model else ()
        there = options.sequences or spec.chats or DEFAULT_SEQUENCES
        config = WireConfig(spec.url, api_key=spec.api_key, limits=Limits(models, max_sequences=there))
        return OpenAIWireEngine(spec.id, config, FastChatDialect(models))
    model = model_of(spec)
    python = options.python or str(environment_of(KIND.environment, spec.environments).python)
    argv = (
        *(python, "-P", fastchat_server.__file__, "--model", model.path, "--served-name", model.name, "--host", HOST),
        *("--chats", str(sequences), "--device", options.device, "--conv-template", options.conv_template),
    )
    # LOGDIR: where each of the three writes a log of its own, by default whatever folder this is.
    env = {**isolated(model), "LOGDIR": str(spec.logs)}
    launch = Launch(lambda port: (*argv, "--port", str(port)), env, health="/v1/models")
    return LaunchedEngine(
        spec.id, launch, spec.logs, FastChatDialect((model.name,)), Limits((model.name,), max_sequences=sequences)
    )


KIND = Kind("fastchat", "FastChat's worker and server (dormant)", FastChatOptions, build, environment="fastchat")
