"""What the runtime counts. Plain numbers on the hot path; turned into Prometheus text only when somebody asks.

``METRICS`` is the one list of names: the exposition and docs/metrics.md are made from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hubbub.core.types import EngineId

ENDS_KEPT = 2048
"""Newest answers whose times are kept one by one."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Histogram:
    """Counts by upper bound, as Prometheus has them. Bounds in seconds."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Ended(NamedTuple):
    """One answer that has ended. ``at``: by the clock that orders events. Times in seconds; None where too little was
    said."""

    at: float
    engine: EngineId | None
    ttft: float | None
    itl: float | None
    input_tokens: int
    cached_tokens: int


@dataclass
class Telemetry:
    accepted: int = 0
    refused: int = 0
    finished: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    deltas: int = 0
    flushes: int = 0
    engine_losses: int = 0
    engine_hangs: int = 0
    resumed: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    itl: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)
    generated: dict[EngineId, int] = field(default_factory=dict)
    """Tokens so far by engine, also of answers that are still being written."""
    ends: deque[Ended] = field(default_factory=lambda: deque(maxlen=ENDS_KEPT))

    def ended(self, status: str) -> None:
        self.finished[status] = self.finished.get(status, 0) + 1


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    help: str


METRICS = (
    Metric("hubbub_requests_accepted_total", "counter", "Requests accepted."),
    Metric("hubbub_requests_refused_total", "counter", "Requests refused: the queue was full, or the wait too long."),
    Metric("hubbub_requests_ended_total", "counter", "Accepted requests that ended, by final status."),
    Metric("hubbub_requests_running", "gauge", "Requests an engine is working on, by class."),
    Metric("hubbub_requests_queued", "gauge", "Requests waiting for an engine, by class."),
    Metric("hubbub_bulk_limit", "gauge", "Bulk requests that may be in flight now, by engine."),
    Metric("hubbub_promised", "gauge", "Refused chats that are let in when they come back as they were told."),
    Metric("hubbub_input_tokens_total", "counter", "Prompt tokens, as engines report them."),
    Metric("hubbub_cached_tokens_total", "counter", "Prompt tokens that came from a prefix cache."),
    Metric("hubbub_output_tokens_total", "counter", "Tokens of answers that ended, as engines report them."),
    Metric("hubbub_generated_tokens_total", "counter", "Tokens so far, also of answers being written, by engine."),
    Metric("hubbub_stream_deltas_total", "counter", "Pieces of text published to streams."),
    Metric("hubbub_journal_flushes_total", "counter", "Group writes of the stream journal."),
    Metric("hubbub_engine_losses_total", "counter", "Times an engine went away."),
    Metric("hubbub_engine_hangs_total", "counter", "Times an engine fell silent and was given up."),
    Metric("hubbub_answers_resumed_total", "counter", "Answers that a start of the server took up again."),
    Metric("hubbub_ttft_seconds", "histogram", "Time from acceptance to the first token."),
    Metric("hubbub_itl_seconds", "histogram", "Mean time between output tokens of an answer."),
    Metric("hubbub_request_seconds", "histogram", "Time from acceptance to the end."),
    Metric("hubbub_engine_up", "gauge", "1 while the engine is ready, by engine."),
    Metric("hubbub_engine_draining", "gauge", "1 while the engine is given nothing new, by engine."),
    Metric("hubbub_engine_cost_usd_total", "counter", "US dollars for tokens, by the prices set, by hosted engine."),
    Metric("hubbub_engine_sequences", "gauge", "Sequences in flight, by engine."),
    Metric("hubbub_engine_sequences_max", "gauge", "Sequences the engine takes at once, by engine."),
    Metric("hubbub_engine_kv_tokens", "gauge", "KV-cache tokens reserved, by engine."),
    Metric("hubbub_engine_kv_tokens_max", "gauge", "KV-cache tokens the engine has, by engine."),
)

Sample = tuple[dict[str, str], float]


def render(samples: dict[str, list[Sample]], histograms: dict[str, Histogram]) -> str:
    """Prometheus text, version 0.0.4, of everything in ``METRICS``."""
    return "".join(line + "\n" for metric in METRICS for line in _lines(metric, samples, histograms))


def _lines(metric: Metric, samples: dict[str, list[Sample]], histograms: dict[str, Histogram]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    if metric.kind == "histogram":
        histogram, seen = histograms[metric.name], 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            seen += count
            yield f'{metric.name}_bucket{{le="{bound}"}} {seen}'
        yield f"{metric.name}_sum {histogram.total}"
        yield f"{metric.name}_count {seen}"
        return
    for labels, value in samples.get(metric.name, []):
        text = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        # To the last digit: a counter rounded to six of them stands still for whoever looks at its rate.
        yield f"{metric.name}{{{text}}} {value!r}" if text else f"{metric.name} {value!r}"


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
