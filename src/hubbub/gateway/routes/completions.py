"""Chat completions, and the stored ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from hubbub.core.errors import ChatBusy, Conflict, NotFound
from hubbub.core.types import Answer, AnswerId, AnswerKind
from hubbub.gateway.asking import answered, asked
from hubbub.gateway.asks import ask_of_completion
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.completion_chunks import CompletionChunks
from hubbub.gateway.errors import error_of
from hubbub.gateway.following import found
from hubbub.gateway.views import completion_out, stored_messages
from hubbub.gateway.wire.base import In, Limit, Listed, Metadata, Order, checked_metadata, listed
from hubbub.gateway.wire.chat_completions import (
    CompletionCreate,
    CompletionDeleted,
    CompletionOut,
    CompletionUpdate,
    StoredMessage,
)
from hubbub.ports import AnswerDeleted, AnswerQuery, AnswerSaved
from hubbub.runtime.chats import page
from hubbub.runtime.live import Live
from hubbub.runtime.run import replayed


class ListQuery(In, frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 20
    model: str | None = None
    metadata: Metadata | None = None
    order: Order = "asc"


class RetrieveQuery(In, frozen=True, kw_only=True):
    stream: bool = False
    starting_after: Annotated[int, Meta(ge=0)] | None = None


class MessagesQuery(In, frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 20
    order: Order = "asc"


async def create(call: Call[CompletionCreate, NoQuery]) -> CompletionOut | web.StreamResponse:
    body, ask = call.body, ask_of_completion(call.user, call.body)
    if body.stream:
        async with asked(call, ask) as live, call.gateway.streams.open(call.request) as stream:
            await stream.follow(live, _chunks(live.answer))
        return stream.response
    answer = await answered(call, ask)
    error = error_of(answer)
    if error is not None:
        raise error
    return completion_out(answer)


async def index(call: Call[None, ListQuery]) -> Listed[CompletionOut]:
    query = call.query
    rows = await call.gateway.store.answers(
        call.user,
        AnswerQuery(
            AnswerKind.COMPLETION,
            model=query.model,
            metadata=tuple((query.metadata or {}).items()),
            after=None if query.after is None else AnswerId(query.after),
            limit=query.limit,
            descending=query.order == "desc",
        ),
    )
    return listed([completion_out(answer) for answer in rows.rows], [a.id for a in rows.rows], rows.has_more)


async def retrieve(call: Call[None, RetrieveQuery]) -> CompletionOut | web.StreamResponse:
    """The whole once it has ended; with ``stream`` its chunks, during and after."""
    gateway, query = call.gateway, call.query
    answer_id = AnswerId(call.arg("completion_id"))
    what = await found(gateway.hub, gateway.store, call.user, answer_id, AnswerKind.COMPLETION)
    if not query.stream:
        if isinstance(what, Live):
            message = f"completion {answer_id!r} is still being written; follow it with stream=true"
            raise ChatBusy(message, retry_after=1.0)
        return completion_out(what)
    after = -1 if query.starting_after is None else query.starting_after
    async with gateway.streams.open(call.request) as stream:
        if isinstance(what, Live):
            await stream.follow(what, _chunks(what.answer, after))
        else:
            await stream.replay(what, replayed(what), _chunks(what, after))
    return stream.response


def _chunks(answer: Answer, after: int = -1) -> CompletionChunks:
    return CompletionChunks(answer, bool(answer.params.get("include_usage")), after)


async def update(call: Call[CompletionUpdate, NoQuery]) -> CompletionOut:
    answer = await _found(call)
    if not answer.status.final:
        raise Conflict(f"completion {answer.id!r} is still being written; change it after its end")
    changed = replace(answer, metadata=checked_metadata(call.body.metadata))
    await call.gateway.store.commit(AnswerSaved(changed))
    return completion_out(changed)


async def delete(call: Call[None, NoQuery]) -> CompletionDeleted:
    """A completion that is being written is cancelled first."""
    answer = await _found(call)
    if not answer.status.final:
        await call.gateway.hub.cancel(call.user, answer.id)
    await call.gateway.store.commit(AnswerDeleted(answer.id))
    return CompletionDeleted(id=answer.id)


async def messages(call: Call[None, MessagesQuery]) -> Listed[StoredMessage]:
    """The messages the completion was asked with."""
    answer, query = await _found(call), call.query
    nodes = await call.gateway.store.path(call.user, answer.input)
    said = stored_messages([node.item for node in nodes])
    ids = [message.id for message in said]
    rows = page(said, ids, after=query.after, limit=query.limit, descending=query.order == "desc")
    return listed(list(rows.rows), [message.id for message in rows.rows], rows.has_more)


async def _found(call: AnyCall) -> Answer:
    """The stored completion. Raises NotFound."""
    answer_id = AnswerId(call.arg("completion_id"))
    answer = await call.gateway.store.answer(call.user, answer_id)
    if answer is None or answer.kind is not AnswerKind.COMPLETION:
        raise NotFound(f"there is no chat completion {answer_id!r}", param="completion_id")
    return answer
