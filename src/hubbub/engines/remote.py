"""Any OpenAI-compatible server that runs already, here or far away: a vLLM on the next machine, or an API with a key, a
bill and rate limits (docs/remote.md)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from ipaddress import ip_address

from yarl import URL

from hubbub.core.errors import ConfigError
from hubbub.engines.dialect import DEFAULT_SEQUENCES, Limits
from hubbub.engines.kinds import EngineSpec, Kind
from hubbub.engines.openai_wire import OpenAIWireEngine, WireConfig
from hubbub.engines.remote_dialect import Continues, RemoteDialect, api_of, ways_of
from hubbub.engines.throttle import Throttle
from hubbub.engines.throttled import Prices, ThrottledEngine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What the server can hold, where it does not say so itself; what it allows; what it costs."""

    context_window: int = field(default=0, metadata={"help": "tokens of input and output; 0: what it says"})
    kv_tokens: int = field(default=0, metadata={"help": "tokens of KV cache; 0: full windows for all chats"})
    requests_per_minute: float = field(
        default=0.0, metadata={"help": "requests begun in a minute at most; 0: learn it from what it says"}
    )
    tokens_per_minute: float = field(
        default=0.0, metadata={"help": "tokens of input and output in a minute at most; 0: learn it"}
    )
    price_in: float = field(default=0.0, metadata={"help": "US dollars for a million tokens of input"})
    price_out: float = field(default=0.0, metadata={"help": "US dollars for a million tokens of output"})
    continues: Continues = field(
        default=Continues.AUTO,
        metadata={
            "help": "how it goes on with an answer that was cut off: flag (vLLM), prefill, partial (DashScope), no"
        },
    )

    def __post_init__(self) -> None:
        for key in (
            "context_window", "kv_tokens", "requests_per_minute", "tokens_per_minute", "price_in", "price_out"
        ):  # fmt: skip
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key} is {getattr(self, key)}; it must be 0 or more")


def build(spec: EngineSpec) -> ThrottledEngine:
    """Raises ConfigError."""
    if not spec.url:
        raise ConfigError(f"engine {spec.id}: a server that runs already needs its url", param="url")
    url = _checked(spec)
    options = spec.options or RemoteOptions()
    name = spec.served_name or spec.model
    most = spec.chats or DEFAULT_SEQUENCES
    limits = Limits(
        models=(name,) if name else (),
        context_window=options.context_window,
        max_sequences=most,
        kv_tokens=options.kv_tokens,
        adapters=tuple(spec.adapters),
    )
    aliases = {name: spec.model} if spec.model and spec.served_name else {}
    dialect = RemoteDialect(api_of(url), ways_of(url, options.continues), aliases)
    wire = OpenAIWireEngine(spec.id, WireConfig(url, api_key=spec.api_key, limits=limits), dialect)
    throttle = Throttle(most, options.requests_per_minute, options.tokens_per_minute)
    return ThrottledEngine(wire, dialect, throttle, Prices(options.price_in, options.price_out))


def _checked(spec: EngineSpec) -> str:
    """The url without what people copy along with it. Raises ConfigError."""
    try:
        url = URL(spec.url)
    except ValueError as error:
        raise ConfigError(f"url: {spec.url!r} cannot be read: {error}", param="url") from None
    if not url.host:
        raise ConfigError(f"url: {spec.url!r} names no host", param="url")
    if url.query_string or url.fragment:
        raise ConfigError(f"url: {url.origin()} has a query or a fragment; give a key as api_key_env", param="url")
    if spec.api_key and url.scheme == "http" and not _near(url.host or ""):
        log.warning(
            "engine %s: its API key goes over the network in the clear; use https", spec.id, extra={"action": "engine"}
        )
    return spec.url.rstrip("/").removesuffix("/chat/completions")


def _near(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))


KIND = Kind(
    "openai", "any OpenAI-compatible server that runs already, by its url; hosted APIs too", RemoteOptions, build
)
