"""The process that owns the pipeline and does nothing else: token ids in, token ids out.

State: a request is in exactly one of ``_waiting`` (accepted, not in the pipeline) and ``_live`` (in the pipeline). A
live request is *prefilling* until its first token, then *decoding*. It leaves ``_live`` with its last token, with a
Drop, or by pre-emption, which puts it back at the head of ``_waiting`` with what it said as part of its prompt.

Why admission is ours: with ``dynamic_split_fuse`` the pipeline ignores ``max_num_seqs`` and takes everything it is
given, then throws sequences out of the KV cache to make room.

Why a prefilling request is never taken out (seen in openvino.genai 2026.4.1, src/cpp/.../cache/block_manager.hpp
``allocate``): a chunk of a prompt that ends inside a KV block registers that block in the prefix cache under the hash
of its *whole* content. Freed then, the half-computed block is handed to the next request with the same prompt, which
says something wrong (every time, in our test). So a Drop of a prefilling request takes effect at its first token, and
the room is watched here, one step ahead, so that the pipeline never has to pre-empt: the youngest decoding request
goes first, whose blocks are whole.

Why some prompts wait a step (seen there, too: ``allocate_tokens`` of a prompt copies nothing, ``append_slots`` of a
decoding one does): two prompts that begin with the same tokens and go on differently may find the same half-full block
in the prefix cache, the end of an answer that both continue. Both would write into it, and each read the other's
words. So the second is let in once the first has made the block its own, a step later.

All requests that are live speak with one LoRA adapter, or all with none: the pipeline refuses a second one. Whoever
needs another waits until none is live, and those behind wait, too.

A pre-empted request goes on token by token where it was, but its sampling starts from another seed, and presence and
frequency penalties forget what it had said before. Constrained output cannot be resumed and is not pre-empted.
"""

from __future__ import annotations

import os
import select
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import openvino
import openvino_genai
import psutil

from hubbub.engines.openvino_server.lifetime import die_with_parent
from hubbub.engines.openvino_server.prefix_mirror import PrefixMirror
from hubbub.engines.openvino_server.protocol import (
    Add,
    Drop,
    Failed,
    Finish,
    Gauges,
    Op,
    Out,
    Ready,
    Sampler,
    Say,
    Splitter,
    Step,
    frame,
    op_decoder,
)
from hubbub.engines.openvino_server.sizing import BLOCK_TOKENS, Sizing

HEADROOM_TOKENS = 128
"""Each live request is counted with this many tokens still to come when another is let in."""
LOOKAHEAD_TOKENS = 2
"""A dropped request holds its blocks for one more step, so room is made one step before it is needed."""
SAID_APART = 2
"""Tokens after which a request has made the block it began in its own."""
RSS_EVERY_STEPS = 64

_FINISH: dict[Any, Finish] = {
    openvino_genai.GenerationFinishReason.STOP: "stop",
    openvino_genai.GenerationFinishReason.TOOL_CALL: "stop",
    openvino_genai.GenerationFinishReason.LENGTH: "length",
}


class Config(msgspec.Struct, frozen=True):
    """The stepper's one command-line argument, as JSON. ``properties``: of OpenVINO, beside those of ``sizing``.
    ``adapters``: safetensors files of LoRA adapters, each with the factor its product counts by."""

    model: str
    sizing: Sizing
    stop_ids: list[int]
    properties: dict[str, str] = {}
    adapters: list[tuple[str, float]] = []


@dataclass(slots=True)
class _Request:
    """``prompt`` grows by what was said before a pre-emption; ``said`` counts from there. ``cached``: tokens of the
    prompt that came from the prefix cache, to be said with the first tokens; None until it was first let in."""

    id: int
    prompt: list[int]
    sampler: Sampler
    said: list[int] = field(default_factory=list)
    handle: Any = None
    dropped: bool = False
    cached: int | None = None

    @property
    def context(self) -> int:
        return len(self.prompt) + len(self.said)

    def blocks(self, ahead: int) -> int:
        """KV blocks it needs once ``ahead`` more tokens are there."""
        return -(-(self.context + min(ahead, self.sampler.max_tokens - len(self.said))) // BLOCK_TOKENS)


def load_adapters(config: Config) -> list[Any]:
    """An ``openvino_genai.AdapterConfig`` for each number of ``Sampler.adapter``; the first is of none."""
    each = [(openvino_genai.Adapter(path), scale) for path, scale in config.adapters]
    return [openvino_genai.AdapterConfig(), *(openvino_genai.AdapterConfig([one]) for one in each)]


def load_pipeline(config: Config, adapters: Sequence[Any] = ()) -> Any:
    """An ``openvino_genai.ContinuousBatchingPipeline``. ``adapters``: of ``load_adapters``."""
    sizing = config.sizing
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs = sizing.max_sequences
    scheduler.max_num_batched_tokens = sizing.batched_tokens
    scheduler.num_kv_blocks = sizing.kv_blocks
    scheduler.enable_prefix_caching = sizing.prefix_cache
    scheduler.dynamic_split_fuse = sizing.split_fuse
    properties: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": sizing.threads,
        "KV_CACHE_PRECISION": sizing.kv_precision,
        "sampler_num_threads": sizing.threads,
    }
    if sizing.precision:
        properties["INFERENCE_PRECISION_HINT"] = sizing.precision
    if sizing.performance_hint:
        properties["PERFORMANCE_HINT"] = sizing.performance_hint
    if len(adapters) > 1:
        properties["adapters"] = openvino_genai.AdapterConfig(
            [pair for one in adapters[1:] for pair in one.get_adapters_and_alphas()]
        )
    properties |= config.properties
    return openvino_genai.ContinuousBatchingPipeline(config.model, scheduler, "CPU", properties)


class Stepper:
    """Drives one pipeline. ``submit``, ``drop`` and ``step`` are called in turn by one thread."""

    def __init__(self, pipeline: Any, config: Config, adapters: Sequence[Any] = ()) -> None:
        self._pipeline = pipeline
        self._adapters = adapters
        self._adapter = -1
        self._sizing = config.sizing
        self._stop_ids = set(config.stop_ids)
        self._waiting: deque[_Request] = deque()
        self._live: dict[int, _Request] = {}
        self._releasing = 0
        self._gauges = Gauges()
        sizing = self._sizing
        self._mirror = PrefixMirror(sizing.kv_blocks, sizing.batched_tokens) if sizing.prefix_cache else None

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._live and not self._releasing

    @property
    def gauges(self) -> Gauges:
        self._gauges.running = len(self._live)
        self._gauges.waiting = len(self._waiting)
        return self._gauges

    def warm_up(self) -> int:
        """Run one token, so that the cache is allocated and the first chat does not wait for it. Bytes of the cache."""
        self.submit(Add(0, [0], Sampler(1, 0.0, 1.0, 0, 0)))
        while not self.idle:
            self.step()
        self._gauges = Gauges()
        return int(self._pipeline.get_metrics().kv_cache_size_in_bytes)

    def submit(self, add: Add) -> None:
        self._waiting.append(_Request(add.id, add.prompt, add.sampler))

    def drop(self, request_id: int) -> None:
        live = self._live.get(request_id)
        if live is None:
            self._waiting = deque(request for request in self._waiting if request.id != request_id)
        elif live.said:
            self._release(live)
        else:
            live.dropped = True

    def step(self) -> list[Out]:
        """One step of the pipeline. Raises what it raises: there is no going on after that."""
        outs = self._admit()
        self._make_room()
        began = time.perf_counter()
        self._pipeline.step()
        seconds = time.perf_counter() - began
        self._releasing = 0
        held_share = self._pipeline.get_metrics().cache_usage / 100
        if self._mirror is not None:
            self._mirror.step(held_share)
        dropped = self._collect(outs)
        if self._mirror is not None:
            self._mirror.step_ends()
        for request in dropped:
            self._release(request)
        self._measure(seconds, held_share)
        return outs

    def _admit(self) -> list[Out]:
        refused: list[Out] = []
        later: list[_Request] = []
        room = self._sizing.kv_blocks - self._releasing - sum(r.blocks(HEADROOM_TOKENS) for r in self._live.values())
        while self._waiting and len(self._live) < self._sizing.max_sequences:
            request = self._waiting[0]
            if request.sampler.adapter != max(self._adapter, 0) and (self._live or self._releasing):
                break
            if self._would_share(request):
                later.append(self._waiting.popleft())
                continue
            room -= request.blocks(HEADROOM_TOKENS)
            if room < 0 and (self._live or self._releasing):
                break
            self._waiting.popleft()
            self._speak_with(request.sampler.adapter)
            try:
                request.handle = self._enter(request)
            except RuntimeError as fault:
                refused.append(Out(request.id, [], "error", _last_line(fault)))
                continue
            self._live[request.id] = request
            cached = 0 if self._mirror is None else self._mirror.add(request.id, request.prompt)
            request.cached = cached if request.cached is None else request.cached
        self._waiting.extendleft(reversed(later))
        return refused

    def _would_share(self, request: _Request) -> bool:
        """Whether it would write where another does. Where hits are not known, whoever has just been read may be it."""
        if self._mirror is None:
            return False
        if self._mirror.lost:
            return any(len(live.said) < SAID_APART for live in self._live.values())
        return self._mirror.would_share(request.prompt)

    def _speak_with(self, adapter: int) -> None:
        """Requests that are stepped speak with the adapter of the last ``generate``: what they ask for themselves is
        passed over (openvino.genai 2026.4, src/cpp/src/continuous_batching/pipeline_impl.cpp, ``set_adapters``)."""
        if adapter == self._adapter or len(self._adapters) < 2:
            return
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = 1
        config.adapters = self._adapters[adapter]
        self._pipeline.generate([openvino.Tensor(np.zeros((1, 1), dtype=np.int64))], [config])
        self._adapter = adapter

    def _enter(self, request: _Request) -> Any:
        sampler = request.sampler
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = sampler.max_tokens - len(request.said)
        config.stop_token_ids = self._stop_ids
        config.ignore_eos = sampler.ignore_eos
        config.do_sample = sampler.temperature > 0
        if config.do_sample:
            config.temperature = sampler.temperature
            config.top_p = sampler.top_p
            if sampler.top_k > 0:
                config.top_k = sampler.top_k
            config.rng_seed = sampler.seed
        config.presence_penalty = sampler.presence_penalty
        config.frequency_penalty = sampler.frequency_penalty
        config.repetition_penalty = sampler.repetition_penalty
        if sampler.grammar:
            constraint = openvino_genai.StructuredOutputConfig()
            constraint.structural_tags_config = sampler.grammar
            config.structured_output_config = constraint
        ids = openvino.Tensor(np.array([request.prompt], dtype=np.int64))
        return self._pipeline.add_request(request.id, ids, config)

    def _make_room(self) -> None:
        total = self._sizing.kv_blocks
        need = self._releasing + sum(request.blocks(LOOKAHEAD_TOKENS) for request in self._live.values())
        while need > total:
            victim = next((r for r in reversed(self._live.values()) if r.said and not r.sampler.grammar), None)
            if victim is None or len(self._live) == 1:
                return
            need -= victim.blocks(LOOKAHEAD_TOKENS)
            self._release(victim)
            need += victim.blocks(0)
            self._waiting.appendleft(_resumed(victim))
            self._gauges.preempted += 1

    def _release(self, request: _Request) -> None:
        """Take a decoding request out; its blocks are free after the next step."""
        request.handle.cancel()
        if self._mirror is not None:
            self._mirror.cancel(request.id)
        del self._live[request.id]
        self._releasing += request.blocks(0)

    def _collect(self, outs: list[Out]) -> list[_Request]:
        """What the step brought. Returns the requests that wait for their first token to be dropped and now have it."""
        dropped: list[_Request] = []
        for request in list(self._live.values()):
            handle = request.handle
            if not handle.can_read():
                if handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
                    self._end(request)
                    outs.append(Out(request.id, [], "error", "the KV cache is too small for this request"))
                continue
            out = Out(request.id, [], cached=request.cached or 0)
            request.cached = 0
            while handle.can_read():
                for output in handle.read().values():
                    out.tokens += output.generated_ids
                    out.finish = _FINISH.get(output.finish_reason, "")
            request.said += out.tokens
            if self._mirror is not None:
                self._mirror.said(request.id, out.tokens)
            if out.finish:
                self._end(request)
            elif request.dropped:
                dropped.append(request)
            if not request.dropped:
                outs.append(out)
        return dropped

    def _end(self, request: _Request) -> None:
        del self._live[request.id]
        if self._mirror is not None:
            self._mirror.end(request.id)

    def _measure(self, seconds: float, held_share: float) -> None:
        gauges = self._gauges
        gauges.steps += 1
        gauges.step_s = seconds
        gauges.kv_used = held_share if self._live else 0.0
        if gauges.steps % RSS_EVERY_STEPS == 1 or not self._live:
            gauges.rss_bytes = psutil.Process().memory_info().rss


def _resumed(request: _Request) -> _Request:
    """The rest of a pre-empted request. Another seed, or it would draw the same random numbers again."""
    sampler = msgspec.structs.replace(
        request.sampler,
        max_tokens=request.sampler.max_tokens - len(request.said),
        seed=(request.sampler.seed * 1_000_003 + request.context) % 2**32,
    )
    return _Request(request.id, request.prompt + request.said, sampler, cached=request.cached)


class _Wire:
    """Frames on two pipes: stdin, which blocks only when told to, and what was stdout."""

    def __init__(self, inbox: int, outbox: int) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._splitter = Splitter()

    def receive(self, *, block: bool) -> list[Op]:
        """All that has come. Raises EOFError when the front is gone."""
        bodies: list[bytes] = []
        while True:
            ready, _, _ = select.select([self._inbox], [], [], None if block and not bodies else 0)
            if not ready:
                return [op_decoder.decode(body) for body in bodies]
            data = os.read(self._inbox, 1 << 20)
            if not data:
                raise EOFError
            bodies += self._splitter.feed(data)

    def send(self, message: Say) -> None:
        view = memoryview(frame(message))
        while view:
            view = view[os.write(self._outbox, view) :]


def serve(stepper: Stepper, wire: _Wire) -> None:
    """Until the front closes its end."""
    while True:
        for op in wire.receive(block=stepper.idle):
            if isinstance(op, Add):
                stepper.submit(op)
            elif isinstance(op, Drop):
                stepper.drop(op.id)
        if not stepper.idle:
            outs = stepper.step()
            wire.send(Step(outs, stepper.gauges))


def main() -> int:
    die_with_parent()
    # What libraries print must not mix with frames.
    outbox = os.dup(1)
    os.dup2(2, 1)
    wire = _Wire(0, outbox)
    config = msgspec.json.decode(sys.argv[1], type=Config)
    try:
        began = time.perf_counter()
        adapters = load_adapters(config)
        stepper = Stepper(load_pipeline(config, adapters), config, adapters)
        kv_bytes = stepper.warm_up()
        wire.send(Ready(kv_bytes, time.perf_counter() - began))
        serve(stepper, wire)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return 0
    except RuntimeError as fault:
        traceback.print_exc()
        wire.send(Failed(_last_line(fault)))
        return 1
    return 0


def _last_line(fault: RuntimeError) -> str:
    """OpenVINO's messages begin with where in its source they come from."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[-1] if lines else type(fault).__name__


if __name__ == "__main__":
    # The pipeline's destructors take seconds and have nothing to save.
    code = main()
    sys.stderr.flush()
    os._exit(code)
