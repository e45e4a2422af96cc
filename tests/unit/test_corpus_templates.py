"""The sandbox of templates: what multiplies is refused, before or while it runs."""

from __future__ import annotations

import pytest

from hubbub.corpus.templates import TemplateFault, compiled, condition

NEVER = [
    "{% for a in x %}{% for b in x %}{% for c in x %}.{% endfor %}{% endfor %}{% endfor %}",
    "{% macro m() %}{% endmacro %}",
    "{% include 'x' %}",
    "{% set a = 'b' %}",
    "{% with a = 'b' %}{% endwith %}",
    "{{ 'a' | center(9) }}",
    "{{ 'a'",
    "{{ " + " + ".join("a" for _ in range(700)) + " }}",
    "{{ " + "(" * 3000 + "a" + ")" * 3000 + " }}",
]
FAILS = [
    "{{ missing }}",
    "{{ 'a' * 9 }}",
    "{{ '%9s' % 'a' }}",
    "{{ 9 ** 99 }}",
    "{{ ((((9 ** 64) ** 64) ** 64) ** 64) > 1 }}",
    "{{ 'a' | truncate(1) }}",
    "{{ 1 | dictsort }}",
    "{{ [][0] }}",
    "{{ ''.__class__ }}",
    "{{ 'a'.ljust(9) }}",
    "{{ '{0}'.format(1) }}",
    "{% for a in range(100000) %}{% endfor %}",
    "{% for a in range(900) %}{% for b in range(900) %}x{% endfor %}{% endfor %}",
    "{{ big | replace('a', big) }}",
    "{{ big | list | join(big) }}",
    "{{ 1 / 0 }}",
]


@pytest.mark.parametrize("source", NEVER)
def test_refused_before_it_runs(source: str) -> None:
    with pytest.raises(TemplateFault):
        compiled(source)


@pytest.mark.parametrize("source", FAILS)
def test_stopped_while_it_runs(source: str) -> None:
    template = compiled(source)
    with pytest.raises(TemplateFault):
        template.render({"big": "a" * 5000})


def test_a_template_tells_what_it_reads_and_what_it_says() -> None:
    template = compiled("Write a long and careful article about this one topic:\n{{ topic.leaf | lower }}")
    assert template.names == {"topic"}
    assert template.literals == ("Write a long and careful article about this one topic:",)
    assert template.render({"topic": {"leaf": "Oak"}}).endswith("oak")


def test_a_condition_is_an_expression() -> None:
    names, test = condition("style in ('tale', 'fable') and age > 3")
    assert names == {"style", "age"}
    assert test({"style": "tale", "age": 4})
    assert not test({"style": "tale", "age": 3})


def test_a_template_that_is_only_text_comes_to_itself() -> None:
    assert compiled("Just words.\n").render({}) == "Just words."
    assert compiled("Words and {# no #} more").render({}) == "Words and  more"
