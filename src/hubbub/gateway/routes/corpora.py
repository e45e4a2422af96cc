"""Corpora: recipes, the runs of them, what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from aiohttp import web
from msgspec import Meta, convert

from hubbub.core.corpora import Corpus, CorpusOrder, Rejection
from hubbub.core.errors import BadRequest
from hubbub.core.types import Json
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.wire.base import In, Limit
from hubbub.gateway.wire.corpora import (
    CorpusCreate,
    CorpusDeleted,
    CorpusList,
    CorpusOut,
    CorpusProgress,
    RecipeCheck,
    RecipeChecked,
    RecipeList,
    RecipeMessage,
    RecipeOut,
    RecipeProblem,
    RecipePrompt,
    RecordList,
    RejectedText,
)

PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
"""Texts of a model are shown, so nothing of them may run or load anything."""
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8"}


class RecordQuery(In, frozen=True, kw_only=True):
    """``after``: the place of a record, from 0; without it, the newest records come, in their order."""

    after: Annotated[int, Meta(ge=-1, le=2**53)] | None = None
    limit: Limit = 20


async def recipes(call: Call[None, NoQuery]) -> RecipeList:
    found = await call.gateway.corpora.recipes()
    return RecipeList(
        data=[
            RecipeOut(
                name=recipe.name,
                description=recipe.description,
                bytes=recipe.target,
                languages=list(recipe.languages),
                linked=recipe.linked,
                recipe=recipe.text,
            )
            for recipe in found
        ]
    )


async def check(call: Call[RecipeCheck, NoQuery]) -> RecipeChecked:
    text = _sized(call, call.body.recipe)
    found = await call.gateway.corpora.check(text, _amount(call.body.bytes), call.body.prompts)
    return RecipeChecked(
        ok=not found.faults,
        problems=[RecipeProblem(line=fault.line, key=fault.key, message=fault.message) for fault in found.faults],
        name=found.name,
        description=found.description,
        target=found.target,
        unit=found.unit,
        languages=list(found.languages),
        linked=found.linked,
        steps=list(found.steps),
        prompts=[
            RecipePrompt(
                item=prompt.item,
                title=prompt.title,
                messages=[RecipeMessage(role=role, content=said) for role, said in prompt.messages],
            )
            for prompt in found.prompts
        ],
    )


async def create(call: Call[CorpusCreate, NoQuery]) -> CorpusOut:
    body, key = call.body, call.caller.key
    order = CorpusOrder(
        user=call.user,
        key="" if key is None else key.id,
        name=body.name,
        recipe=_sized(call, body.recipe),
        target=_amount(body.bytes),
        seed=body.seed,
    )
    return corpus_out(await call.gateway.corpora.create(order))


async def index(call: Call[None, NoQuery]) -> CorpusList:
    return CorpusList(data=[corpus_out(corpus) for corpus in await call.gateway.corpora.corpora(call.user)])


async def retrieve(call: Call[None, NoQuery]) -> CorpusOut:
    name = call.arg("name")
    corpus = await call.gateway.corpora.corpus(call.user, name)
    return corpus_out(corpus, await call.gateway.corpora.rejected(call.user, name))


async def pause(call: Call[None, NoQuery]) -> CorpusOut:
    """What is in flight ends, and is kept."""
    return corpus_out(await call.gateway.corpora.pause(call.user, call.arg("name")))


async def resume(call: Call[None, NoQuery]) -> CorpusOut:
    return corpus_out(await call.gateway.corpora.resume(call.user, call.arg("name")))


async def stop(call: Call[None, NoQuery]) -> CorpusOut:
    return corpus_out(await call.gateway.corpora.stop(call.user, call.arg("name")))


async def delete(call: Call[None, NoQuery]) -> CorpusDeleted:
    name = call.arg("name")
    await call.gateway.corpora.delete(call.user, name)
    return CorpusDeleted(name=name)


async def records(call: Call[None, RecordQuery]) -> RecordList:
    query = call.query
    first = None if query.after is None else query.after + 1
    found = await call.gateway.corpora.records(call.user, call.arg("name"), first, query.limit)
    more = found.first + len(found.rows) < found.total
    return RecordList(data=list(found.rows), first=found.first, total=found.total, has_more=more)


async def site(call: Call[None, NoQuery]) -> web.StreamResponse:
    path = await call.gateway.corpora.page(call.user, call.arg("name"), call.arg("path"))
    headers = {
        "Content-Type": KINDS.get(path.suffix, "application/octet-stream"),
        "Content-Security-Policy": PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }
    return web.FileResponse(path, headers=headers)


def corpus_out(corpus: Corpus, rejected: Sequence[Rejection] | None = None) -> CorpusOut:
    order = corpus.order
    return CorpusOut(
        name=order.name,
        created_at=int(corpus.created_at),
        state=corpus.state.value,
        reason=corpus.reason,
        linked=corpus.linked,
        model=corpus.model,
        bytes=order.target,
        seed=order.seed,
        recipe=order.recipe,
        progress=None if corpus.live is None else _progress(corpus.live),
        samples=None
        if rejected is None
        else [RejectedText(reason=text.reason, item=text.item, text=text.text) for text in rejected],
    )


def _progress(live: Mapping[str, Json]) -> CorpusProgress:
    return convert(dict(live), CorpusProgress)


def _amount(given: str | int | None) -> str:
    return "" if given is None else str(given)


def _sized(call: AnyCall, recipe: str) -> str:
    """Raises BadRequest."""
    most, size = call.gateway.limits.max_recipe_bytes, len(recipe.encode())
    if size > most:
        raise BadRequest(f"the recipe has {size} bytes; at most {most} are taken", param="recipe")
    return recipe
