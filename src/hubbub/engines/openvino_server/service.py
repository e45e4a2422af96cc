"""Chats in, chunks out: renders, tokenizes, asks the stepper, and turns its tokens back to text.

State: ``_flights`` holds every request that was accepted and has not ended, by number. A flight leaves it with its last
chunk (finish or error) or by ``cancel``; tokens for an unknown number are stale and dropped.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hubbub.core.errors import BadRequest, ContextTooLong, EngineError, EngineLost, HubbubError, ModelNotFound
from hubbub.core.types import Chunk, EngineState, FinishReason, ToolDelta, Usage
from hubbub.engines.chat_template import ChatTemplate
from hubbub.engines.openvino_server.body import (
    ChatBody,
    Message,
    forced_tools,
    offered_tools,
    plain_messages,
    sampler_of,
    schema_of,
)
from hubbub.engines.openvino_server.codec import Codec, Detokenizer
from hubbub.engines.openvino_server.grammar import GrammarChecker
from hubbub.engines.openvino_server.link import StepperLink
from hubbub.engines.openvino_server.model_info import ModelInfo
from hubbub.engines.openvino_server.protocol import Add, Gauges, Out, Sampler, Step
from hubbub.engines.openvino_server.sizing import Sizing
from hubbub.engines.openvino_server.stops import StopMatcher
from hubbub.engines.openvino_server.tool_calls import ToolParser, call_grammar, schema_grammar

ChunkSink = Callable[[Chunk], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A request, ready for the stepper. ``constrained``: the field that a grammar of the sampler is of, or empty."""

    prompt: list[int]
    sampler: Sampler
    stops: Sequence[str]
    tools: bool
    constrained: str = ""


class _Flight:
    __slots__ = ("cached", "detokenizer", "plain", "prompt_tokens", "said", "sink", "stops", "tools")

    def __init__(self, job: Job, table: Sequence[bytes], sink: ChunkSink) -> None:
        self.sink = sink
        self.prompt_tokens = len(job.prompt)
        self.said = 0
        self.cached = 0
        self.detokenizer = Detokenizer(table)
        self.stops = StopMatcher(job.stops)
        self.tools = ToolParser() if job.tools else None
        self.plain = not job.stops and not job.tools

    @property
    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, self.said, self.cached)


@dataclass(slots=True)
class Totals:
    """Counters since the start."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cancelled: int = 0
    failed: int = 0


class Service:
    """``names``: what the model is called on the wire, the first one in answers; an adapter is asked for by its own
    name in place of the model's. ``step_ends``: called after each step
    whose chunks have all been handed out."""

    def __init__(self, info: ModelInfo, sizing: Sizing, codec: Codec, names: Sequence[str], link: StepperLink) -> None:
        self.names = tuple(names)
        self.adapters: tuple[str, ...] = ()
        self.totals = Totals()
        self.gauges = Gauges()
        self.details: dict[str, str] = {}
        self.step_ends: set[Callable[[], None]] = set()
        self.lost: str | None = None
        self.started = int(time.time())
        self._info = info
        self._sizing = sizing
        self._codec = codec
        self._template = ChatTemplate(info.chat_template, info.token_names)
        self._grammars = GrammarChecker(info.path, len(codec.table))
        self._numbers = itertools.count(1)
        self._flights: dict[int, _Flight] = {}
        self._link = link
        link.on_step, link.on_end = self._on_step, self._on_end
        self.on_lost: Callable[[], None] = lambda: None

    def prepare(self, body: ChatBody) -> Job:
        """What is ``constrained`` is to be vetted next. Raises HubbubError: ModelNotFound, BadRequest, Unsupported,
        ContextTooLong."""
        self.check_model(body.model)
        tools = offered_tools(body)
        forced, schema = forced_tools(body, tools), schema_of(body)
        grammar, param = "", ""
        if forced:
            grammar, param = call_grammar(forced), "tools"
        elif schema is not None:
            grammar, param = schema_grammar(schema), "response_format"
        prompt = self.prompt(body.messages, tools, body)
        room = self._sizing.context_window - len(prompt)
        if room < 1:
            raise ContextTooLong(
                f"messages: the prompt has {len(prompt):,} tokens, the context window of {self.names[0]} is "
                f"{self._sizing.context_window:,}; send fewer or shorter messages",
                param="messages",
            )
        sampler = sampler_of(body, self._info.defaults, room, grammar)
        if body.model in self.adapters:
            sampler = msgspec.structs.replace(sampler, adapter=self.adapters.index(body.model) + 1)
        return Job(prompt, sampler, body.stops, bool(tools), param)

    async def vet(self, job: Job) -> None:
        """Whether its grammar compiles, and soon. Raises BadRequest, EngineUnavailable."""
        if job.constrained:
            await self._grammars.check(job.sampler.grammar, job.constrained)

    def submit(self, job: Job, sink: ChunkSink) -> int:
        """Start it; the last chunk the sink gets has ``finish`` or ``error``. Returns its number, for ``cancel``."""
        if self.lost is not None:
            raise EngineLost(self.lost)
        number = next(self._numbers)
        self._flights[number] = _Flight(job, self._codec.table, sink)
        self.totals.requests += 1
        self.totals.prompt_tokens += len(job.prompt)
        self._link.add(Add(number, job.prompt, job.sampler))
        return number

    def cancel(self, number: int) -> None:
        """Stop it without another word. Unknown numbers are ignored."""
        if self._flights.pop(number, None) is not None:
            self.totals.cancelled += 1
            self._link.drop(number)

    def prompt(
        self, messages: list[Message], tools: Sequence[dict[str, Any]], body: ChatBody | None = None
    ) -> list[int]:
        """Token ids of the rendered messages. With ``continue_final_message`` the last one is left open, and is
        tokenized by itself, as it was said."""
        plain, partial = plain_messages(messages), ""
        if body is not None and body.continue_final_message:
            if plain[-1]["role"] != "assistant" or body.add_generation_prompt:
                raise BadRequest(
                    "continue_final_message: the last message must be the assistant's, and add_generation_prompt false",
                    param="continue_final_message",
                )
            partial = plain.pop().get("content") or ""
        options = None if body is None else body.chat_template_kwargs
        return self._codec.encode(self._template.render(plain, tools, options)) + self._codec.encode(partial)

    def encode(self, text: str) -> list[int]:
        return self._codec.encode(text)

    def check_model(self, name: str | None) -> None:
        if name and name not in self.names + self.adapters:
            there = ", ".join(self.names + self.adapters)
            raise ModelNotFound(f"model: this engine serves {there}, not {name!r}", param="model")

    def state(self) -> EngineState:
        gauges, sizing = self.gauges, self._sizing
        return EngineState(
            models=self.names,
            context_window=sizing.context_window,
            max_sequences=sizing.max_sequences,
            kv_tokens=sizing.kv_tokens,
            prefix_cache=sizing.prefix_cache,
            running=gauges.running,
            waiting=max(0, len(self._flights) - gauges.running),
            kv_used=round(gauges.kv_used, 4),
            steps=gauges.steps,
            adapters=self.adapters,
            mixes_adapters=False,
            details=self.details,
        )

    async def close(self) -> None:
        await self._grammars.close()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def _on_step(self, step: Step) -> None:
        self.gauges = step.gauges
        for out in step.outs:
            flight = self._flights.get(out.id)
            if flight is not None:
                self._say(out, flight)
        for tell in tuple(self.step_ends):
            tell()

    def _say(self, out: Out, flight: _Flight) -> None:
        count = len(out.tokens)
        flight.said += count
        flight.cached = max(flight.cached, out.cached)
        self.totals.output_tokens += count
        self.totals.cached_tokens += out.cached
        text = flight.detokenizer.feed(out.tokens)
        if flight.plain and not out.finish:
            flight.sink(Chunk(text, count))
            return
        if out.finish == "error":
            self._fail(out.id, flight, EngineError(out.error))
            return
        if out.finish:
            text += flight.detokenizer.end()
        text = flight.stops.feed(text)
        if flight.stops.hit and not out.finish:
            self._link.drop(out.id)
        ended = bool(out.finish) or flight.stops.hit
        if ended and not flight.stops.hit:
            text += flight.stops.end()
        pieces: list[str | ToolDelta] = [text] if flight.tools is None else flight.tools.feed(text)
        if flight.tools is not None and ended:
            pieces += flight.tools.end()
        for piece in pieces[:-1] if ended or pieces else ():
            flight.sink(Chunk(piece) if isinstance(piece, str) else Chunk(tool=piece))
        last: str | ToolDelta = pieces[-1] if pieces else ""
        said, tool = (last, None) if isinstance(last, str) else ("", last)
        if not ended:
            flight.sink(Chunk(said, count, tool))
            return
        del self._flights[out.id]
        flight.sink(Chunk(said, count, tool, self._finish(out, flight), flight.usage))

    def _finish(self, out: Out, flight: _Flight) -> FinishReason:
        if flight.tools is not None and flight.tools.calls:
            return FinishReason.TOOL_CALLS
        if out.finish == "length" and not flight.stops.hit:
            return FinishReason.LENGTH
        return FinishReason.STOP

    def _fail(self, number: int, flight: _Flight, error: HubbubError) -> None:
        del self._flights[number]
        self.totals.failed += 1
        flight.sink(Chunk(error=error))

    def _on_end(self, why: str) -> None:
        self.lost = why
        for number, flight in list(self._flights.items()):
            self._fail(number, flight, EngineLost(why))
        for tell in tuple(self.step_ends):
            tell()
        self.on_lost()
