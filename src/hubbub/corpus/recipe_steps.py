"""Reading ``[sampling]`` and ``[[steps]]``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema_rs

from hubbub.corpus.guests import NO_FILES, TOO_SLOW, leads_away, slow
from hubbub.corpus.problems import Table, is_number
from hubbub.corpus.recipe import Column, Judging, Per, SamplingSpec, Spread, Step
from hubbub.corpus.recipe_columns import RESERVED, check_expression, check_template


def read_sampling(table: Table, base: SamplingSpec | None = None) -> SamplingSpec:
    """``base``: what holds for the keys that the table does not have."""
    spec = _sampling(table, base or SamplingSpec())
    table.done()
    return spec


def _sampling(table: Table, base: SamplingSpec) -> SamplingSpec:
    stop = table.texts("stop", base.stop)
    if "stop" in table.values and len(stop) > 4:
        table.wrong("stop", "has more than 4 texts, which is the most that engines take")
    if "stop" in table.values and "" in stop:
        table.wrong("stop", "has an empty text, which stops nothing; leave it out")
    return SamplingSpec(
        temperature=_spread(table) if "temperature" in table else base.temperature,
        top_p=table.number("top_p", base.top_p, low=0.0, high=1.0),
        max_tokens=table.whole("max_tokens", base.max_tokens, low=1, high=1_000_000),
        stop=stop,
        presence_penalty=table.number("presence_penalty", base.presence_penalty, low=-2.0, high=2.0),
        frequency_penalty=table.number("frequency_penalty", base.frequency_penalty, low=-2.0, high=2.0),
    )


def _spread(table: Table) -> Spread:
    """A number, or a table with one of uniform, normal and choice."""
    if not isinstance(table.raw("temperature"), dict):
        return Spread(fixed=table.number("temperature", None, low=0.0, high=2.0) or 0.0)
    inner = table.table("temperature")
    low, high = inner.number("min", None, low=0.0, high=2.0), inner.number("max", None, low=0.0, high=2.0)
    given = [kind for kind in ("uniform", "normal", "choice") if kind in inner]
    inner.done()
    if low is not None and high is not None and low > high:
        inner.wrong("min", f"no temperature is at least {low:g} and at most {high:g}")
    if len(given) != 1:
        inner.wrong("", "write exactly one of uniform = [low, high], normal = [mean, deviation], choice = [...]")
        return Spread(fixed=1.0)
    kind = given[0]
    numbers = inner.raw(kind)
    if not isinstance(numbers, list) or not all(map(is_number, numbers)):
        inner.wrong(kind, f"must be a list of numbers, is {numbers!r}")
        return Spread(fixed=1.0)
    if not numbers or (kind != "choice" and len(numbers) != 2):
        inner.wrong(kind, "must have two numbers" if kind != "choice" else "must have at least one number")
        return Spread(fixed=1.0)
    if kind != "normal" and not all(0 <= number <= 2 for number in numbers):
        inner.wrong(kind, "temperatures go from 0 to 2")
    if kind == "uniform" and numbers[0] > numbers[1]:
        inner.wrong(kind, "the first number must be the smaller one")
    if kind == "normal" and numbers[1] < 0:
        inner.wrong(kind, "the deviation must be 0 or more")
    if kind == "choice":
        return Spread(choice=tuple(map(float, numbers)), min=low, max=high)
    pair = (float(numbers[0]), float(numbers[1]))
    return Spread(uniform=pair, min=low, max=high) if kind == "uniform" else Spread(normal=pair, min=low, max=high)


def read_steps(
    top: Table, columns: tuple[Column, ...], base: SamplingSpec, *, packed: bool, linked: bool
) -> tuple[Step, ...]:
    """The steps in order; each prompt may read the columns and what the steps before it said."""
    seen = {column.name for column in columns if column.per is not Per.TEXT}
    seen |= {"index", "title"} | ({"rows", "count"} if packed else set()) | ({"links", "cluster"} if linked else set())
    known = {column.name for column in columns}
    system = top.text("system")
    if system:
        check_template(top, "system", system, seen, known)
    steps: list[Step] = []
    for number, table in enumerate(top.tables("steps"), 1):
        step = _step(table, "answer" if number == 1 else f"step{number}", seen, known, base, system)
        if step.name in {other.name for other in steps}:
            table.wrong("name", f"{step.name!r} is the name of an earlier step; choose another")
        if step.name in {column.name for column in columns} | RESERVED:
            table.wrong("name", f"{step.name!r} is taken by a column or by the prompt itself; choose another")
        steps.append(step)
        seen = seen | {step.name}
    if not steps:
        top.wrong("steps", "is missing; write at least one [[steps]] with a prompt")
    elif all(step.judge for step in steps):
        top.wrong("steps", "only judge; add a step that writes the text before it")
    return tuple(steps)


def _step(table: Table, default: str, seen: set[str], known: set[str], base: SamplingSpec, system: str) -> Step:
    """``default``: its name where it has none."""
    name = table.text("name", default)
    if not name.isidentifier():
        table.wrong("name", "must be one plain word: later prompts read the answer by it")
    prompt = table.text("prompt", needed="write what the model is asked")
    check_template(table, "prompt", prompt, seen, known)
    own_system = table.text("system", system)
    if "system" in table.values:
        check_template(table, "system", own_system, seen, known)
    when = table.text("when")
    if when:
        check_expression(table, "when", when, seen, known)
    step = Step(
        name=name,
        prompt=prompt,
        system=own_system,
        sampling=_sampling(table, base),
        schema=_schema(table),
        judge=_judge(table.table("judge")) if "judge" in table else None,
        when=when,
        keep=table.flag("keep", False),
    )
    if step.judge and step.judge.field and step.schema is None:
        table.wrong("judge", "field names a field of a structured answer, so the step needs a schema")
    table.done()
    return replace(step, judge=step.judge)


def _schema(table: Table) -> Mapping[str, Any] | None:
    """A table, or JSON in a text."""
    given = table.raw("schema")
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            table.wrong("schema", f"is no JSON: {error}")
            return None
    if not isinstance(given, dict):
        table.wrong("schema", "must be a JSON schema: a table, or JSON in a text")
        return None
    if table.notes.guest and leads_away(given):
        table.wrong("schema", f"refers to another place, which {NO_FILES}; write it out")
        return None
    try:
        jsonschema_rs.validator_for(given)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        table.wrong("schema", f"is no JSON schema: {str(error).splitlines()[0]}")
    return given


def _judge(table: Table) -> Judging:
    made = Judging(
        min=table.number("min", 0.0),
        pattern=table.text("pattern", Judging(0.0).pattern),
        field=table.text("field"),
    )
    if "min" not in table.values:
        table.wrong("min", "is missing; the least score a text needs")
    try:
        if not re.compile(made.pattern).groups:
            table.wrong("pattern", "needs a group in brackets around the number")
        if table.notes.guest and "pattern" in table.values and slow(made.pattern):
            table.wrong("pattern", f"{made.pattern!r} {TOO_SLOW}")
    except re.error as error:
        table.wrong("pattern", f"is no regular expression: {error}")
    table.done()
    return made
