"""Hugging Face Text Generation Inference: launched by its binary, or one that runs already (its Docker image).

Read in huggingface/text-generation-inference db931fc (3.3, in maintenance): router/src/server.rs, launcher/src/main.rs.
Its own queue refuses with 429 past ``--max-concurrent-requests``; Hubbub never sends it more. A begun answer is gone on
with wherever the last message is the assistant's, but without the spaces at its end.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from hubbub.core.errors import ConfigError, EngineUnavailable
from hubbub.core.types import EngineState, Json, Message, Request
from hubbub.engines.dialect import DEFAULT_SEQUENCES, Dialect, Limits, Site
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.launched import HOST, Launch, LaunchedEngine
from hubbub.engines.metrics_text import Samples
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body
from hubbub.ports import Engine

RUNNING, WAITING, BUDGET = "tgi_batch_current_size", "tgi_queue_size", "tgi_batch_current_max_tokens"


@dataclass(frozen=True, slots=True)
class TGIOptions:
    """Zero and empty leave a value to TGI."""

    binary: str = field(default="text-generation-launcher", metadata={"help": "the launcher"})
    context_window: int = field(default=0, metadata={"help": "tokens of input and output; 0: what memory allows"})
    kv_tokens: int = field(default=0, metadata={"help": "tokens of KV cache of all chats; 0: full windows for all"})
    flags: str = field(default="", metadata={"help": "more flags for the launcher"})

    def __post_init__(self) -> None:
        """Raises ValueError naming the key."""
        for key in ("context_window", "kv_tokens"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")
        try:
            shlex.split(self.flags)
        except ValueError as fault:
            raise ValueError(f"flags cannot be split into words: {fault}") from None


class _Info(msgspec.Struct):
    model_id: str
    max_concurrent_requests: int
    max_input_tokens: int
    max_total_tokens: int
    version: str = ""


class TGIDialect(Dialect):
    def body(self, request: Request) -> dict[str, Json]:
        body = chat_body(request)
        # ``tgi`` is the model itself; any other name is taken for an adapter's.
        body["model"] = request.adapter or "tgi"
        for key in ("continue_final_message", "add_generation_prompt"):
            body.pop(key, None)
        if body.get("temperature") == 0:
            del body["temperature"]  # it must be above 0, and greedy is what TGI does without one
        if (asked := request.sampling.response_format) is not None:
            del body["response_format"]
            if (grammar := _grammar(asked)) is not None:
                body["response_format"] = grammar
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        state = known or await self._capacity(site)
        status, text = await site.get("/metrics")
        if status >= 500:
            raise EngineUnavailable(f"{site.base}/metrics answered {status}", retry_after=1.0)
        samples = Samples(text.decode("utf-8", "replace") if status == 200 else "", (RUNNING, WAITING, BUDGET))
        return replace(
            state,
            running=int(samples.total(RUNNING)),
            waiting=int(samples.total(WAITING)),
            kv_used=min(1.0, samples.total(BUDGET) / state.kv_tokens),
        )

    async def _capacity(self, site: Site) -> EngineState:
        status, body = await site.get("/info")
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, body).message, retry_after=1.0)
        try:
            info = msgspec.json.decode(body, type=_Info)
        except msgspec.DecodeError as fault:
            raise EngineUnavailable(f"{site.base}/info is not TGI's ({fault})") from fault
        limits = site.limits
        window = min(info.max_total_tokens, limits.context_window or info.max_total_tokens)
        sequences = min(info.max_concurrent_requests, limits.max_sequences)
        return EngineState(
            models=limits.models or (info.model_id,),
            context_window=window,
            max_sequences=sequences,
            kv_tokens=limits.kv_tokens or sequences * window,
            # The launcher turns it off beside adapters.
            prefix_cache=not limits.adapters,
            adapters=limits.adapters,
            details={"url": site.base, "tgi": info.version},
        )

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        return None  # /tokenize and /chat_tokenize give every token back with its text


def _grammar(asked: Mapping[str, Json]) -> dict[str, Json] | None:
    """OpenAI's ``response_format`` in TGI's words: the schema stands below ``value`` (router/src/lib.rs, GrammarType).
    None for plain text, which it does not name."""
    if asked.get("type") == "json_schema":
        return {"type": "json_schema", "value": asked.get("json_schema")}
    if asked.get("type") == "json_object":
        return {"type": "json_object", "value": {"type": "object"}}
    return None


def arguments(spec: EngineSpec, options: TGIOptions, port: int) -> list[str]:
    """The launcher's flags."""
    flags = ["--model-id", spec.model, "--hostname", HOST, "--port", str(port)]
    if spec.chats:
        # One above what Hubbub sends: a request that was cancelled may still be counted.
        flags += ["--max-concurrent-requests", str(spec.chats + 1)]
    if options.context_window:
        flags += ["--max-total-tokens", str(options.context_window)]
        flags += ["--max-input-tokens", str(options.context_window - 1)]
    if options.kv_tokens:
        flags += ["--max-batch-total-tokens", str(options.kv_tokens)]
    if spec.adapters:
        flags += ["--lora-adapters", ",".join(f"{name}={source}" for name, source in spec.adapters.items())]
    return [*flags, *shlex.split(options.flags)]


def build(spec: EngineSpec) -> Engine:
    """Raises ConfigError."""
    options = spec.options or TGIOptions()
    name = spec.served_name or spec.model
    limits = Limits(
        (name,) if name else (),
        options.context_window,
        spec.chats or DEFAULT_SEQUENCES,
        options.kv_tokens,
        tuple(spec.adapters),
    )
    if spec.url:
        return OpenAIWireEngine(spec.id, WireConfig(spec.url, api_key=spec.api_key, limits=limits), TGIDialect())
    if not spec.model:
        raise ConfigError(f"engine {spec.id}: TGI needs a model to serve", param="model")
    binary = shutil.which(options.binary)
    if binary is None:
        raise ConfigError(
            f"engine {spec.id}: there is no {options.binary!r}; TGI is on no package registry: run its Docker image "
            "and give its url, or name the launcher you built in binary",
            param="binary",
        )
    launch = Launch(lambda port: (binary, *arguments(spec, options, port)))
    return LaunchedEngine(spec.id, launch, spec.logs, TGIDialect(), limits)


KIND = Kind("tgi", "Hugging Face Text Generation Inference, on GPUs", TGIOptions, build)
