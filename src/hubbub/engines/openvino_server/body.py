"""The body of ``POST /v1/chat/completions``: what is taken, what is refused, and what it comes to."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

import msgspec

from hubbub.core.errors import BadRequest, Unsupported
from hubbub.engines.openvino_server.model_info import SamplingDefaults
from hubbub.engines.openvino_server.protocol import Sampler

Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Function(msgspec.Struct, omit_defaults=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    arguments: str = "{}"


class Call(msgspec.Struct):
    function: Function
    id: str = ""
    type: Literal["function"] = "function"


class Message(msgspec.Struct, omit_defaults=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    reasoning_content: str | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatBody(msgspec.Struct):
    """The fields that are understood. Others of OpenAI's are refused in :func:`parse_body` where they would change the
    answer, and ignored where they would not (``user``, ``metadata``, ``store``, ``service_tier``, ...)."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    ignore_eos: bool | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_json = msgspec.json.Decoder(ChatBody)
_REFUSED = ("logit_bias", "audio", "prediction", "functions", "function_call", "web_search_options", "top_logprobs")


def parse_body(body: bytes | dict[str, Any]) -> ChatBody:
    """Raises BadRequest (Unsupported) naming the field."""
    try:
        parsed = _json.decode(body) if isinstance(body, bytes) else msgspec.convert(body, ChatBody)
    except msgspec.ValidationError as fault:
        what, _, where = str(fault).partition(" - at ")
        field = where.strip("`").removeprefix("$").removeprefix(".") or None
        raise BadRequest(f"{field}: {what}" if field else what, param=field) from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"the body is not JSON: {fault}") from fault
    if parsed.n not in (None, 1):
        raise Unsupported("n: only 1 answer a request is supported; send the request again", param="n")
    if parsed.logprobs:
        raise Unsupported("logprobs: not supported by this engine", param="logprobs")
    for field in _REFUSED:
        if getattr(parsed, field):
            raise Unsupported(f"{field}: not supported by this engine", param=field)
    if parsed.modalities not in (None, ["text"]):
        raise Unsupported("modalities: only ['text'] is supported", param="modalities")
    if not all(parsed.stops) and parsed.stop is not None:
        raise BadRequest("stop: a stop string must not be empty", param="stop")
    return parsed


def plain_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """As a chat template takes them: content as text. Raises Unsupported for anything that is not text."""
    plain = []
    for index, message in enumerate(messages):
        built = msgspec.to_builtins(message)
        if isinstance(message.content, list):
            built["content"] = "".join(_part(part, f"messages[{index}].content") for part in message.content)
        plain.append(built)
    return plain


def _part(part: dict[str, Any], field: str) -> str:
    if part.get("type") not in ("text", "input_text", "output_text", "refusal"):
        raise Unsupported(f"{field}: parts of type {part.get('type')!r} are not supported, only text", param=field)
    text = part.get("text", part.get("refusal"))
    if not isinstance(text, str):
        raise BadRequest(f"{field}: a text part needs a `text`", param=field)
    return text


def offered_tools(body: ChatBody) -> list[dict[str, Any]]:
    """The tools the model may call. Raises BadRequest for malformed ones."""
    for index, tool in enumerate(body.tools or ()):
        function = tool.get("function")
        if (
            tool.get("type") != "function"
            or not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
        ):
            field = f"tools[{index}]"
            raise BadRequest(f"{field}: expected {{type: 'function', function: {{name, ...}}}}", param=field)
    return [] if body.tool_choice == "none" else list(body.tools or ())


def forced_tools(body: ChatBody, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of ``tools`` those that one must be called of; empty where the model is free. Raises BadRequest."""
    choice = body.tool_choice
    if choice in (None, "auto", "none"):
        return []
    if not tools:
        raise BadRequest("tool_choice: there are no tools to choose from", param="tool_choice")
    if choice == "required":
        return tools
    name = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    named = [tool for tool in tools if tool["function"]["name"] == name]
    if not named:
        raise BadRequest(
            f"tool_choice: {name or choice!r} is not 'none', 'auto', 'required' or one of the tools",
            param="tool_choice",
        )
    return named


def schema_of(body: ChatBody) -> dict[str, Any] | None:
    """The JSON schema the answer must have; None where it is free text. Raises BadRequest."""
    form = body.response_format
    if form is None or form.get("type") == "text":
        return None
    if form.get("type") == "json_object":
        return {"type": "object"}
    if form.get("type") == "json_schema":
        schema = (form.get("json_schema") or {}).get("schema")
        if isinstance(schema, dict):
            return schema
        raise BadRequest(
            "response_format.json_schema.schema: expected an object", param="response_format.json_schema.schema"
        )
    raise BadRequest("response_format.type: expected text, json_object or json_schema", param="response_format.type")


def sampler_of(body: ChatBody, defaults: SamplingDefaults, room: int, grammar: str) -> Sampler:
    """``room``: tokens left in the window. Without a seed each request draws its own."""
    seed = secrets.randbits(32) if body.seed is None else body.seed
    return Sampler(
        max_tokens=min(body.most_tokens or room, room),
        temperature=defaults.temperature if body.temperature is None else body.temperature,
        top_p=defaults.top_p if body.top_p is None else body.top_p,
        top_k=max(defaults.top_k if body.top_k is None else body.top_k, 0),
        seed=(seed ^ (seed >> 32)) % 2**32,  # std::mt19937 takes 32 bits
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        repetition_penalty=body.repetition_penalty or defaults.repetition_penalty,
        grammar=grammar,
        ignore_eos=bool(body.ignore_eos),
    )
