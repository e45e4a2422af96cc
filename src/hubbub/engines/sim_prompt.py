"""From a chat-completions body to what the simulated engine will say: a pure function of (engine seed, body)."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hubbub.core.errors import BadRequest, ContextTooLong, ModelNotFound, Unsupported
from hubbub.core.types import FinishReason
from hubbub.engines.sim_json import smallest
from hubbub.engines.sim_words import tokenize, tokens_of


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] = []
    tool_call_id: str | None = None


class ChatBody(msgspec.Struct):
    """The fields of a chat-completions body that the simulated engine honours; others are ignored, as engines do."""

    messages: list[_Message]
    model: str = ""
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: int = 1
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool = True
    ignore_eos: bool = False

    @property
    def output_limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


@dataclass(frozen=True, slots=True)
class Voice:
    """How much the simulated model says, and to whom it listens.

    Lengths are drawn from a log-normal distribution: ``output_median`` tokens, ``output_sigma`` the standard deviation
    of its logarithm (0: always the median). ``echo``: it says again what was said in the chat, from the beginning, so
    that a prompt that reached the wrong chat would show. ``adapters``: LoRA adapters, each a model of that name
    that says something else; ``mixes_adapters``: whether it says that it can decode them together (it always can).
    """

    models: tuple[str, ...] = ("simulated",)
    context_window: int = 32_768
    seed: int = 0
    output_median: int = 150
    output_sigma: float = 0.6
    echo: bool = False
    adapters: tuple[str, ...] = ()
    mixes_adapters: bool = True


@dataclass(frozen=True, slots=True)
class Speech:
    """What will be said to one prompt. ``pieces`` are the texts of the tokens; where ``tool`` (call id, name) is set,
    they are its arguments."""

    prompt: tuple[str, ...]
    pieces: tuple[str, ...]
    finish: FinishReason
    tool: tuple[str, str] | None = None


def parse_body(body: Mapping[str, Any]) -> ChatBody:
    """Raises BadRequest with the field at fault."""
    try:
        parsed = msgspec.convert(body, ChatBody)
    except msgspec.ValidationError as fault:
        field = str(fault).rpartition("`$")[2].strip("`.").partition(".")[0].partition("[")[0]
        raise BadRequest(str(fault), param=field or None) from fault
    if not parsed.messages:
        raise BadRequest("'messages' is empty", param="messages")
    if parsed.n != 1:
        raise Unsupported(f"'n' must be 1, not {parsed.n}", param="n")
    limit = parsed.output_limit
    if limit is not None and limit < 1:
        raise BadRequest(f"'max_tokens' must be at least 1, not {limit}", param="max_tokens")
    return parsed


def speech_of(body: ChatBody, voice: Voice) -> Speech:
    """Raises ModelNotFound, ContextTooLong, BadRequest."""
    if body.model and body.model not in voice.models + voice.adapters:
        raise ModelNotFound(f"The model `{body.model}` does not exist.", param="model")
    prompt = prompt_tokens(body)
    room = voice.context_window - len(prompt)
    limit = body.output_limit
    if room < (limit or 1):
        asked = f" and {limit} output tokens were asked for" if limit else ""
        raise ContextTooLong(
            f"This model's maximum context length is {voice.context_window} tokens, but the prompt has "
            f"{len(prompt)} tokens{asked}.",
            param="messages",
        )
    most = limit or room
    messages, partial = _split(body)
    adapter = body.model if body.model in voice.adapters else ""
    rng = random.Random(_key(body, messages, f"{voice.seed}{adapter}" if adapter else voice.seed))  # noqa: S311
    tool = _forced_tool(body, rng)
    said = _tokens(body, tool, rng, voice, len(tokenize(partial)) + most)
    whole = "".join(said)
    if partial and whole.startswith(partial):
        said = tokenize(whole[len(partial) :])
    natural = FinishReason.STOP if tool is None else FinishReason.TOOL_CALLS
    pieces, finish = (said, natural) if len(said) < most else (said[:most], FinishReason.LENGTH)
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if tool is None:
        pieces, finish = _stopped(pieces, stops, finish)
    return Speech(tuple(prompt), tuple(pieces), finish, None if tool is None else tool[:2])


def prompt_tokens(body: ChatBody) -> list[str]:
    """The prompt as ChatML. Role marks are tokens of their own."""
    tokens: list[str] = []
    if body.tools:
        tokens += tokenize(json.dumps(body.tools, ensure_ascii=False))
    for message in body.messages:
        tokens += ("<|im_start|>", message.role, "\n", *tokenize(_text(message)), "<|im_end|>", "\n")
    if body.continue_final_message:
        del tokens[-2:]
    elif body.add_generation_prompt:
        tokens += ("<|im_start|>", "assistant", "\n")
    return tokens


def _text(message: _Message) -> str:
    content = message.content
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    calls = json.dumps(message.tool_calls, ensure_ascii=False) if message.tool_calls else ""
    return (content or "") + calls


def _split(body: ChatBody) -> tuple[Sequence[_Message], str]:
    """The messages that were asked, and what the answer already says."""
    if body.continue_final_message and body.messages[-1].role == "assistant":
        return body.messages[:-1], _text(body.messages[-1])
    return body.messages, ""


def _key(body: ChatBody, messages: Sequence[_Message], seed: int | str) -> int:
    """What the text depends on: not on where it is cut (max_tokens, stop) nor on what of it is already said."""
    drawn = (
        body.seed,
        body.temperature,
        body.top_p,
        body.presence_penalty,
        body.frequency_penalty,
        body.response_format,
        body.tools,
        body.tool_choice,
    )
    said = [(message.role, _text(message), message.tool_call_id) for message in messages]
    text = json.dumps([seed, said, drawn], sort_keys=True, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _forced_tool(body: ChatBody, rng: random.Random) -> tuple[str, str, Any] | None:
    """Call id, name and parameter schema of the tool that ``tool_choice`` forces; the first for "required"."""
    choice = body.tool_choice
    if choice is None or choice in ("auto", "none"):
        return None
    functions = [tool.get("function", {}) for tool in body.tools or ()]
    wanted = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if choice != "required" and wanted is None:
        raise BadRequest(f"'tool_choice' cannot be {choice!r}", param="tool_choice")
    for function in functions:
        if wanted is None or function.get("name") == wanted:
            return f"call_{rng.getrandbits(96):024x}", str(function.get("name", "")), function.get("parameters", {})
    raise BadRequest(f"'tool_choice' forces {wanted or 'a tool'}, which is not in 'tools'", param="tool_choice")


def _tokens(
    body: ChatBody, tool: tuple[str, str, Any] | None, rng: random.Random, voice: Voice, most: int
) -> list[str]:
    if tool is not None:
        arguments = smallest(tool[2] or {"type": "object"})
        return tokenize(json.dumps(arguments, ensure_ascii=False))
    wanted = (body.response_format or {}).get("type", "text")
    if wanted == "json_schema":
        schema = (body.response_format or {}).get("json_schema", {}).get("schema", {"type": "object"})
        return tokenize(json.dumps(smallest(schema), ensure_ascii=False))
    if wanted == "json_object":
        return ["{", "}"]
    if voice.echo:
        return tokenize(" ".join(_text(message) for message in _split(body)[0]))[: most + 1]
    length = round(rng.lognormvariate(math.log(voice.output_median), voice.output_sigma))
    return tokens_of(rng, most if body.ignore_eos else min(max(1, length), most + 1))


def _stopped(pieces: list[str], stops: Sequence[str], finish: FinishReason) -> tuple[list[str], FinishReason]:
    """Cut before the first stop text. The tokens it is made of were generated, so they count, but say nothing."""
    text = "".join(pieces)
    found = [(place, stop) for stop in stops if stop and (place := text.find(stop)) >= 0]
    if not found:
        return pieces, finish
    place, stop = min(found)
    kept: list[str] = []
    seen = 0
    for piece in pieces:
        kept.append(piece[: max(0, place - seen)])
        seen += len(piece)
        if seen >= place + len(stop):
            break
    return kept, FinishReason.STOP
