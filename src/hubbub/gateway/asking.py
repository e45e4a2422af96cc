"""Asking the hub for somebody who may leave at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from hubbub.core.types import Answer
from hubbub.gateway.call import AnyCall
from hubbub.runtime.hub import Ask, Hub
from hubbub.runtime.live import Live


def asked(call: AnyCall, ask: Ask) -> AbstractAsyncContextManager[Live]:
    """The live answer, charged to the caller. Raises what ``Meter.ask`` raises."""
    return attended(call.gateway.hub, call.gateway.meter.ask(call.caller, ask))


@asynccontextmanager
async def attended(hub: Hub, asks: Coroutine[Any, Any, Live]) -> AsyncIterator[Live]:
    """The live answer that ``asks`` brings. If its client leaves before the end, even while the question is being
    stored, the hub is told.
    """
    asking = asyncio.ensure_future(asks)
    try:
        live = await asyncio.shield(asking)
    except asyncio.CancelledError:
        asking.add_done_callback(lambda done: _leave(hub, done))
        raise
    try:
        yield live
    finally:
        if not live.done:
            hub.leave(live)


def _leave(hub: Hub, asking: asyncio.Future[Live]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        hub.leave(asking.result())


async def answered(call: AnyCall, ask: Ask) -> Answer:
    """The answer in its final state."""
    async with asked(call, ask) as live:
        return await live.ended()
