"""How vLLM (0.32) departs from the common wire: its capacity in ``/metrics``, priorities, salted prefixes, overload."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import EngineState, Json, Priority, Request
from hubbub.engines.dialect import Dialect, Site
from hubbub.engines.metrics_text import Samples
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body

CACHE, RUNNING, WAITING = "vllm:cache_config_info", "vllm:num_requests_running", "vllm:num_requests_waiting"
USED, STEPS, PREEMPTED = "vllm:kv_cache_usage_perc", "vllm:iteration_tokens_total_count", "vllm:num_preemptions_total"
_METRICS = (CACHE, RUNNING, WAITING, USED, STEPS, PREEMPTED)
_PRIORITY = {Priority.CHAT: 0, Priority.BULK: 1}
"""With ``--scheduling-policy priority`` the lower number goes first. Without it vLLM refuses numbers other than 0."""


class VLLMDialect(Dialect):
    """``priorities``: the server was started with ``--scheduling-policy priority``."""

    def __init__(self, *, priorities: bool = True) -> None:
        self.priorities = priorities

    def body(self, request: Request) -> dict[str, Json]:
        body = chat_body(request)
        if self.priorities:
            body["priority"] = _PRIORITY[request.priority]
        # Prefixes are shared among the chats of one user alone: else the time to the first token would tell one user
        # what another has asked.
        body["cache_salt"] = hashlib.sha256(request.user.encode()).hexdigest()
        return body

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        status, text = await site.get("/metrics")
        if status == 404 and known is None:
            return await self.listed(site)  # started with --disable-log-stats
        if status != 200:
            await self.healthy(site)
            raise EngineUnavailable(error_of_response(status, None, text).message, retry_after=1.0)
        samples = Samples(text.decode("utf-8", "replace"), _METRICS)
        state = known or await self._capacity(site, samples)
        return replace(
            state,
            running=int(samples.total(RUNNING)),
            waiting=int(samples.total(WAITING)),
            kv_used=samples.most(USED),
            steps=int(samples.total(STEPS)),
            details={**state.details, "preemptions": str(int(samples.total(PREEMPTED)))},
        )

    async def _capacity(self, site: Site, samples: Samples) -> EngineState:
        state = await self.listed(site)
        caches = [sample.labels for sample in samples.all(CACHE)]
        tokens = sum(_tokens(labels) for labels in caches)
        prefixes = any(labels.get("enable_prefix_caching") == "True" for labels in caches)
        return replace(
            state,
            kv_tokens=site.limits.kv_tokens or tokens or state.kv_tokens,
            prefix_cache=prefixes,
            details={**state.details, "vllm": await _version(site)},
        )


def _tokens(said: Mapping[str, str]) -> int:
    """KV-cache room in tokens: vLLM's own sum, which knows hybrid models and data parallelism; older ones (before
    0.20) tell blocks alone."""
    try:
        if (whole := said.get("kv_cache_size_tokens", "None")) != "None":
            return int(whole)
        return int(said.get("num_gpu_blocks", "0")) * int(said.get("block_size", "0"))
    except ValueError:
        return 0


async def _version(site: Site) -> str:
    status, body = await site.get("/version")
    try:
        return str(msgspec.json.decode(body)["version"]) if status == 200 else ""
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
