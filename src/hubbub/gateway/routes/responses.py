"""Responses."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from hubbub.core.errors import NotFound
from hubbub.core.types import Answer, AnswerId, AnswerKind
from hubbub.gateway.asking import answered, asked
from hubbub.gateway.asks import ask_of_count, ask_of_response
from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.errors import AfterAcceptance, error_of
from hubbub.gateway.following import found
from hubbub.gateway.items import item_out
from hubbub.gateway.response_events import ResponseEvents
from hubbub.gateway.views import response_out
from hubbub.gateway.wire.base import In, Limit, Listed, Order, listed
from hubbub.gateway.wire.items import ItemOut
from hubbub.gateway.wire.responses import InputTokens, InputTokensCreate, ResponseCreate, ResponseDeleted, ResponseOut
from hubbub.ports import AnswerDeleted
from hubbub.runtime.chats import page
from hubbub.runtime.live import Live
from hubbub.runtime.run import replayed


class RetrieveQuery(In, frozen=True, kw_only=True):
    stream: bool = False
    starting_after: Annotated[int, Meta(ge=0)] | None = None
    include: list[str] | None = None
    include_obfuscation: bool | None = None


class ItemsQuery(In, frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 20
    order: Order = "desc"
    include: list[str] | None = None


async def create(call: Call[ResponseCreate, NoQuery]) -> ResponseOut | web.StreamResponse:
    ask = ask_of_response(call.user, call.body)
    if call.body.stream:
        async with asked(call, ask) as live, call.gateway.streams.open(call.request) as stream:
            await stream.follow(live, ResponseEvents(live.answer))
        return stream.response
    if ask.background:
        return response_out((await call.gateway.meter.ask(call.caller, ask)).answer)
    answer = await answered(call, ask)
    error = error_of(answer)
    if error is not None:
        raise AfterAcceptance(error, again=answer.chat is None)
    return response_out(answer)


async def retrieve(call: Call[None, RetrieveQuery]) -> ResponseOut | web.StreamResponse:
    if not call.query.stream:
        return response_out(await _found(call))
    gateway, answer_id = call.gateway, AnswerId(call.arg("response_id"))
    what = await found(gateway.hub, gateway.store, call.user, answer_id, AnswerKind.RESPONSE)
    after = -1 if call.query.starting_after is None else call.query.starting_after
    async with gateway.streams.open(call.request) as stream:
        if isinstance(what, Live):
            await stream.follow(what, ResponseEvents(what.answer, after))
        else:
            await stream.replay(what, replayed(what), ResponseEvents(what, after))
    return stream.response


async def delete(call: Call[None, NoQuery]) -> ResponseDeleted:
    """A response that is being written is cancelled first."""
    answer = await _found(call)
    if not answer.status.final:
        await call.gateway.hub.cancel(call.user, answer.id)
    await call.gateway.store.commit(AnswerDeleted(answer.id))
    return ResponseDeleted(id=answer.id)


async def cancel(call: Call[None, NoQuery]) -> ResponseOut:
    """What was said until then is kept. A response that has ended is returned as it is."""
    answer = await _found(call)
    return response_out(await call.gateway.hub.cancel(call.user, answer.id))


async def input_items(call: Call[None, ItemsQuery]) -> Listed[ItemOut]:
    """Everything the response was asked with: what came before it in its conversation, then its own input."""
    answer, query = await _found(call), call.query
    nodes = await call.gateway.store.path(call.user, answer.input)
    ids = [str(node.item.id) for node in nodes]
    rows = page(nodes, ids, after=query.after, limit=query.limit, descending=query.order == "desc")
    return listed([item_out(n.item) for n in rows.rows], [n.item.id for n in rows.rows], rows.has_more)


async def input_tokens(call: Call[InputTokensCreate, NoQuery]) -> InputTokens:
    return InputTokens(input_tokens=await call.gateway.hub.count_tokens(ask_of_count(call.user, call.body)))


async def _found(call: Call[Any, Any]) -> Answer:
    """The stored response, as it is now. Raises NotFound."""
    answer_id = AnswerId(call.arg("response_id"))
    live = call.gateway.hub.live(call.user, answer_id)
    answer = live.answer if live is not None else await call.gateway.store.answer(call.user, answer_id)
    if answer is None or answer.kind is not AnswerKind.RESPONSE or not answer.store:
        raise NotFound(f"there is no response {answer_id!r}", param="response_id")
    return answer
