"""One question to many chats."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.core.types import AnswerKind, ChatId, Item, ItemType, Role, Sampling, Style
from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.errors import body_of
from hubbub.gateway.items import NEW
from hubbub.gateway.routes.chats import check_adapter, restyled
from hubbub.gateway.wire.chats import Broadcast, BroadcastAccepted, BroadcastOut, BroadcastRefused
from hubbub.runtime.hub import Ask

AT_ONCE = 32
"""Questions that are being stored at the same time: a large broadcast leaves room for others."""
_NAME = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


async def create(call: Call[Broadcast, NoQuery]) -> BroadcastOut:
    """Each is an ordinary response, stored and in the background. What is refused says why; the others go on."""
    texts = questions(call.body)
    check_adapter(call, call.body.style)
    seats = asyncio.Semaphore(AT_ONCE)
    chats: Sequence[str | None] = call.body.chats or [None] * len(texts)

    async def one(place: int) -> BroadcastAccepted | BroadcastRefused:
        async with seats:
            return await _ask(call, place, chats[place], texts[place])

    said = await asyncio.gather(*(one(place) for place in range(len(texts))))
    return BroadcastOut(
        accepted=[each for each in said if isinstance(each, BroadcastAccepted)],
        refused=[each for each in said if isinstance(each, BroadcastRefused)],
    )


async def _ask(
    call: Call[Broadcast, NoQuery], place: int, chat: str | None, text: str
) -> BroadcastAccepted | BroadcastRefused:
    gateway, body = call.gateway, call.body
    made = None
    try:
        if chat is None:
            made = await gateway.chats.create(call.user, (), style=restyled(Style(), body.style))
            chat = made.id
        ask = Ask(
            user=call.user,
            kind=AnswerKind.RESPONSE,
            items=(Item(NEW, ItemType.MESSAGE, (text,), Role.USER),),
            sampling=Sampling(max_tokens=body.max_output_tokens),
            chat=ChatId(chat),
            background=True,
            params={} if body.max_output_tokens is None else {"max_output_tokens": body.max_output_tokens},
        )
        live = await gateway.meter.ask(call.caller, ask)
    except HubbubError as error:
        if made is not None:  # nothing was said there
            await gateway.chats.delete(call.user, made.id)
            chat = None
        return BroadcastRefused(place=place, chat=chat, error=body_of(error).error)
    return BroadcastAccepted(chat=chat, response=live.answer.id)


def questions(body: Broadcast) -> list[str]:
    """The text for each chat. Raises BadRequest, naming the field."""
    if body.chats is not None and body.new is not None:
        raise BadRequest("chats and new exclude each other; send one of them", param="new")
    if body.chats is not None and body.style is not None:
        raise BadRequest("style is for new chats; those that are there have their own", param="style")
    if body.chats is not None and len(set(body.chats)) < len(body.chats):
        raise BadRequest("a chat is there twice; name each once", param="chats")
    given = len(body.chats) if body.chats is not None else body.new
    if given is None and body.values is None:
        raise BadRequest("send chats, new or values: how many are to be asked", param="chats")
    if body.values is None:
        return [_filled(body.template, {}, "template")] * (given or 0)
    if given is not None and given != len(body.values):
        raise BadRequest(f"values has {len(body.values)} objects for {given} chats; send one for each", param="values")
    return [_filled(body.template, values, f"values[{place}]") for place, values in enumerate(body.values)]


def _filled(template: str, values: Mapping[str, str], where: str) -> str:
    """Raises BadRequest for a name that has no value."""

    def value(name: re.Match[str]) -> str:
        if name[1] not in values:
            raise BadRequest(f"the template names {{{{{name[1]}}}}}, for which {where} has no value", param=where)
        return values[name[1]]

    return _NAME.sub(value, template)
