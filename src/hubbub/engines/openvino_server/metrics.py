"""``GET /metrics``: the engine's gauges and counters in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from hubbub.engines.openvino_server.service import Service

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "hubbub_engine_"


def exposition(service: Service) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Reading(service))
    return generate_latest(registry)


class _Reading(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        state, gauges, totals = self._service.state(), self._service.gauges, self._service.totals
        for name, text, value in (
            ("requests_running", "Requests in the pipeline.", state.running),
            ("requests_waiting", "Requests accepted and not yet in the pipeline.", state.waiting),
            ("kv_used_ratio", "Share of the KV blocks held by requests in the pipeline.", state.kv_used),
            ("kv_tokens", "Room of the KV cache in tokens.", state.kv_tokens),
            ("max_sequences", "Requests decoded together at most.", state.max_sequences),
            ("step_seconds", "Length of the last step.", gauges.step_s),
            ("stepper_resident_bytes", "Memory of the process that holds the model.", gauges.rss_bytes),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value)
        for name, text, count in (
            ("requests", "Requests accepted.", totals.requests),
            ("requests_cancelled", "Requests stopped by their client.", totals.cancelled),
            ("requests_failed", "Requests ended by an error.", totals.failed),
            ("prompt_tokens", "Tokens of prompts accepted.", totals.prompt_tokens),
            ("cached_tokens", "Tokens of prompts that came from the prefix cache.", totals.cached_tokens),
            ("output_tokens", "Tokens generated.", totals.output_tokens),
            ("steps", "Steps of the pipeline.", gauges.steps),
            ("preemptions", "Requests thrown out to make room in the KV cache.", gauges.preempted),
        ):
            yield CounterMetricFamily(_PREFIX + name, text, count)
