"""Chat templates: Jinja as the model's makers wrote it, rendered the way Hugging Face does.

Same environment as ``transformers.utils.chat_template_utils``: sandboxed, blocks trimmed, loop controls, the
``generation`` block, ``raise_exception``, ``strftime_now`` and a ``tojson`` that keeps text as it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from hubbub.core.errors import BadRequest, ConfigError, Unsupported

log = logging.getLogger(__name__)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_ROLES = {"developer": "system"}


class ChatTemplate:
    """One model's template. ``names``: its special tokens, like ``{"bos_token": "<s>"}``."""

    def __init__(self, source: str | None, names: Mapping[str, str] | None = None) -> None:
        """Raises ConfigError for a template that is not Jinja. None falls back to ChatML, with a warning."""
        if source is None:
            log.warning("the model has no chat template; using ChatML, which it may not know")
        environment = _environment()
        try:
            self._template = environment.from_string(source or CHATML)
            used = jinja2.meta.find_undeclared_variables(environment.parse(source or CHATML))
        except jinja2.TemplateSyntaxError as fault:
            raise ConfigError(f"the model's chat template is broken at line {fault.lineno}: {fault}") from fault
        self.takes_tools = "tools" in used
        self._names = dict(names or {})

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt, up to where the assistant begins to speak.

        ``options``: variables of the template, like Qwen3's ``enable_thinking``. Raises Unsupported where tools are
        given and the template has no place for them, BadRequest where it does not accept the messages.
        """
        if tools and not self.takes_tools:
            raise Unsupported("tools: this model's chat template has no place for tools", param="tools")
        context: dict[str, Any] = {**self._names, **(options or {})}
        context.update(messages=[_message(message) for message in messages], add_generation_prompt=True)
        context["tools"] = list(tools) or None
        try:
            return self._template.render(context)
        except (jinja2.TemplateError, TypeError, KeyError, ValueError) as fault:
            raise BadRequest(
                f"messages: the model's chat template does not accept them: {fault}", param="messages"
            ) from fault


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """As templates expect it: roles they know, no missing content, arguments of calls as objects."""
    shaped = {**message, "role": _ROLES.get(message["role"], message["role"]), "content": message.get("content") or ""}
    if message.get("tool_calls"):
        shaped["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return shaped


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    with contextlib.suppress(TypeError, ValueError):  # else kept as the text it is: templates print either
        function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(layout: str) -> str:
    return time.strftime(layout)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Generation(jinja2.ext.Extension):
    """``{% generation %}``: marks what the assistant says, for training. Here its body is printed as it is."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it so

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_print"), [], [], body).set_lineno(line)

    def _print(self, caller: Callable[[], str]) -> str:
        return caller()
