"""Chat templates render as Hugging Face renders them."""

from __future__ import annotations

import pytest

from hubbub.core.errors import BadRequest, ConfigError, Unsupported
from hubbub.engines.chat_template import ChatTemplate

TALK = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Привет"},
    {"role": "assistant", "content": "Да?"},
    {"role": "user", "content": "你好"},
]


def test_without_a_template_it_is_chatml() -> None:
    assert ChatTemplate(None).render(TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nПривет<|im_end|>\n"
        "<|im_start|>assistant\nДа?<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    )


def test_blocks_are_trimmed_and_special_tokens_known() -> None:
    source = """
    {%- for message in messages %}
        {% if loop.index0 == 2 %}{% break %}{% endif %}
        {{- bos_token + message.content }}
    {% endfor %}
    {% generation %}end{% endgeneration %}"""
    assert ChatTemplate(source, {"bos_token": "<s>"}).render(TALK).split() == ["<s>Be", "brief.", "<s>Привет", "end"]


def test_tojson_keeps_text_as_it_is() -> None:
    tools = [{"type": "function", "function": {"name": "погода"}}]
    assert ChatTemplate("{{ tools | tojson }}").render(TALK, tools) == (
        '[{"type": "function", "function": {"name": "погода"}}]'
    )


def test_tools_need_a_place_in_the_template() -> None:
    with pytest.raises(Unsupported) as caught:
        ChatTemplate(None).render(TALK, [{"type": "function"}])
    assert caught.value.param == "tools"


def test_arguments_of_calls_are_objects_to_a_template() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    broken = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    source = "{% for c in messages[0].tool_calls %}{{ c.function.arguments is string }} {% endfor %}"
    talk = [{"role": "assistant", "content": None, "tool_calls": [call, broken]}]
    assert ChatTemplate(source).render(talk) == "False True "


def test_what_the_template_refuses_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="roles must alternate") as caught:
        ChatTemplate("{{ raise_exception('roles must alternate') }}").render(TALK)
    assert caught.value.param == "messages"


def test_templates_cannot_reach_out() -> None:
    with pytest.raises(BadRequest):
        ChatTemplate("{{ messages.__class__.__mro__ }}").render(TALK)


def test_a_broken_template_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="line 1"):
        ChatTemplate("{% for %}")


def test_options_reach_the_template() -> None:
    assert ChatTemplate("{{ enable_thinking }}").render(TALK, options={"enable_thinking": False}) == "False"
