"""``hubbub corpus preview``: the first prompts, what an engine says to them, and what the whole run will take."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import typer

from hubbub.cli.corpus_engine import placed, settings_for
from hubbub.cli.corpus_view import amount_of, span
from hubbub.core.errors import HubbubError
from hubbub.core.types import Message
from hubbub.corpus.answers import RejectedAnswer
from hubbub.corpus.client import Endpoint, EndpointConfig
from hubbub.corpus.items import Items, Said
from hubbub.corpus.judge import Judge, Verdict
from hubbub.corpus.recipe import Recipe, Unit
from hubbub.corpus.steering import LAG
from hubbub.planner.requests import plan_request
from hubbub.settings import Settings

Z90 = 1.645
UNKNOWN = 10.0
BYTES_PER_TOKEN = 4.7
"""Qwen3's tokenizer on Russian and English prose; for what a prompt takes before an engine has counted."""


def preview(
    recipe: Recipe, n: int, engine: str | None, model: str | None, key_file: Path | None, *, prompts_only: bool
) -> None:
    """Raises ConfigError, EngineUnavailable, RequestFault."""
    items = Items(recipe)
    if n > (most := LAG * recipe.epoch):
        typer.echo(
            f"{most} of {n} work items: what those behind ask is decided by the first (steering.every)", err=True
        )
        n = most
    if prompts_only:
        for index in range(n):
            call = items.first_call(items.item(index))
            _show_prompt(index, call.messages if call else ())
        return
    settings = settings_for(engine, model or "", None, key_file)
    with tempfile.TemporaryDirectory(prefix="hubbub-preview-") as folder:
        asyncio.run(_answered(recipe, items, n, engine, settings, Path(folder)))


def _show_prompt(index: int, messages: Sequence[Message]) -> None:
    typer.echo(f"--- item {index}")
    for message in messages:
        typer.echo(f"[{message.role}] {message.text}")


async def _answered(recipe: Recipe, items: Items, n: int, engine: str | None, settings: Settings, folder: Path) -> None:
    judge = Judge(recipe)
    seen = Seen()
    async with (
        placed(engine, settings, folder) as place,
        Endpoint.opened(EndpointConfig(place.url, place.api_key), recipe.model) as endpoint,
    ):
        typer.echo(f"{recipe.name}: {n} work items by {endpoint.served.model}", err=True)
        asked = [asyncio.create_task(_ask(items, endpoint, index, seen)) for index in range(n)]
        try:
            for index, task in enumerate(asked):
                said = await task
                item = items.item(index)
                call = items.first_call(item)
                _show_prompt(index, call.messages if call else ())
                verdict = judge.consider(item, said) if said else judge.give_up(index, "unusable")
                seen.items[index].bytes = sum(record.bytes for record in verdict.records)
                _show_answer(verdict, said, seen)
        finally:  # one fault is told; what else was asked is of no use then
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
    typer.echo("---")
    for line in takes(recipe, seen, endpoint.served.model):
        typer.echo(line)


@dataclass(slots=True)
class Tried:
    """What came of one item: answer tokens, accepted bytes."""

    tokens: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Seen:
    """Lengths in tokens and bytes, of each request and each accepted text, and what came of each item."""

    prompts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    rejected: int = 0
    items: dict[int, Tried] = field(default_factory=dict)


async def _ask(items: Items, endpoint: Endpoint, index: int, seen: Seen) -> list[Said]:
    """Empty where no answer could be used."""
    item, said, tried = items.item(index), list[Said](), seen.items.setdefault(index, Tried())
    try:
        while (call := items.next_call(item, said)) is not None:
            answer = await endpoint.ask(call.model, call.messages, call.sampling)
            seen.prompts.append(answer.prompt_tokens)
            seen.answers.append(answer.tokens)
            tried.tokens += answer.tokens
            said.append(Said(answer.text, answer.tokens, answer.finish, 0, answer.model))
    except RejectedAnswer as fault:
        typer.echo(f"item {index}: its answer cannot be used: {fault.reason}", err=True)
        return []
    return said


def _show_answer(verdict: Verdict, said: Sequence[Said], seen: Seen) -> None:
    for step in said[:-1]:
        typer.echo(f"[step] {step.text}")
    for record in verdict.records:
        seen.texts.append(record.bytes)
        title = f"{record.title}: " if record.title else ""
        typer.echo(f"[accepted, {record.bytes} bytes] {title}{record.text}")
    for rejected in verdict.rejected:
        seen.rejected += 1
        typer.echo(f"[rejected: {rejected.reason}] {rejected.sample}")


def takes(recipe: Recipe, seen: Seen, model: str) -> list[str]:
    """What the whole run will take, by what was seen of it and by the planner."""
    if not seen.texts:
        return ["nothing was accepted, so what the run will take cannot be said"]
    accept = len(seen.texts) / (len(seen.texts) + seen.rejected)
    text = fmean(seen.texts)
    requests_a_text = len(seen.answers) / len(seen.texts)
    texts = {Unit.BYTES: recipe.target.amount / text, Unit.RECORDS: float(recipe.target.amount)}.get(
        recipe.target.unit, recipe.target.amount * BYTES_PER_TOKEN / text
    )
    counted = sum(seen.answers)  # 0 where the endpoint does not count
    made = counted or sum(seen.texts) / BYTES_PER_TOKEN
    requests, answer = texts * requests_a_text, max(1.0, made / len(seen.answers))
    size = (
        f"target {amount_of(recipe.target.amount, recipe.target.unit)}: about {texts:,.0f} texts of {text:,.0f} bytes, "
        f"{requests:,.0f} requests, {requests * answer:,.0f} answer tokens; {accept:.0%} of those seen were accepted"
    )
    try:
        plan = plan_request(
            {
                "kind": "corpus",
                "model": model,
                "bytes": max(1, round(texts * text)),
                "lang": recipe.languages[0] if len(recipe.languages) == 1 else "ru",
                "record": max(1.0, answer / max(1, recipe.texts_per_item)),
                "prompt": max(1.0, fmean(seen.prompts)),
                "shared": 0,
                "pack": recipe.texts_per_item,
                "accept": accept,
                "bytes_per_token": sum(seen.texts) / counted / accept if counted else 0,
            }
        )
    except HubbubError as fault:
        return [size, f"the planner cannot say how long: {fault.message}"]
    time, speed = plan["time"], plan["speed"]
    chance, planned = spread(list(seen.items.values())), time["high"] / time["value"]
    widest = math.exp(math.hypot(math.log(chance), math.log(planned)))
    band = f"{span(time['value'])} ({span(time['value'] / widest)} to {span(time['value'] * widest)})"
    lines = [size, f"on this machine with {plan['setup']}, alone: {band} at {speed['value']:,.0f} tokens/s"]
    if chance > planned:
        lines.append(f"most of the band comes from seeing {len(seen.items)} items only: more of them (--n) narrow it")
    return lines


def spread(items: Sequence[Tried]) -> float:
    """The factor by which the bytes that a token makes may be off, either way, at 90 %, for as few items as these.

    A ratio of two means (Cochran, Sampling Techniques, 1977, 6.3); Student's t from the normal quantile (Abramowitz and
    Stegun 26.7.5). Without two items that made something it is ten.
    """
    tokens, made, count = sum(item.tokens for item in items), sum(item.bytes for item in items), len(items)
    if count < 2 or not tokens or not made:
        return UNKNOWN
    ratio = made / tokens
    square = sum((item.bytes - ratio * item.tokens) ** 2 for item in items) / (count - 1)
    error = math.sqrt(square / count) / (made / count)
    quantile = Z90 + (Z90**3 + Z90) / (4 * (count - 1))
    return min(math.exp(quantile * error), UNKNOWN)
