"""Lines of a batch, asked as the routes ask, without HTTP: as bulk, not stored, charged to the batch's key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hubbub.core.batches import BatchOrder, RowAnswer
from hubbub.core.errors import Cancelled, HubbubError, StorageError, Unsupported
from hubbub.core.keys import KeyId
from hubbub.core.types import Answer, Priority, UserId
from hubbub.gateway.asking import attended
from hubbub.gateway.asks import ask_of_completion, ask_of_response
from hubbub.gateway.bounds import check_body
from hubbub.gateway.call import Gateway
from hubbub.gateway.errors import body_of, error_of
from hubbub.gateway.keyring import LOCAL, Caller
from hubbub.gateway.views import completion_out, response_out
from hubbub.gateway.wire.base import Out, decode, refuse_nul
from hubbub.gateway.wire.chat_completions import CompletionCreate
from hubbub.gateway.wire.responses import ResponseCreate
from hubbub.runtime.hub import Ask

REFUSED = ("stream", "background", "store", "conversation")
"""What a line cannot ask for: it is answered into a file, once, whatever happens meanwhile."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    body: Any
    ask: Callable[[UserId, Any], Ask]
    out: Callable[[Answer], Out]


ENDPOINTS = {
    "/v1/chat/completions": _Endpoint(CompletionCreate, ask_of_completion, completion_out),
    "/v1/responses": _Endpoint(ResponseCreate, ask_of_response, response_out),
}


class Rows:
    """Is an ``AskRow``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, order: BatchOrder, body: bytes) -> RowAnswer:
        """The task boundary of a line: what goes wrong is its answer."""
        endpoint = ENDPOINTS[order.endpoint]
        try:
            answer = await self._answer(order, endpoint, body)
        except HubbubError as error:
            return _refused(error)
        wrong = error_of(answer)
        if wrong is not None:
            return replace(_refused(wrong), usage=answer.usage)
        return RowAnswer(200, msgspec.json.encode(endpoint.out(answer)), answer.usage)

    async def _answer(self, order: BatchOrder, endpoint: _Endpoint, raw: bytes) -> Answer:
        """Raises HubbubError."""
        gateway = self._gateway
        body = decode(raw, endpoint.body)
        check_body(body, raw, gateway.limits)
        if b"\\u0000" in raw:
            refuse_nul(msgspec.json.decode(raw))
        for name in REFUSED:
            if getattr(body, name, None):
                raise Unsupported(f"{name} is not supported in a batch; leave it out", param=name)
        ask = endpoint.ask(order.user, body)
        ask = replace(ask, store=False, priority=Priority.BULK, params={**ask.params, "service_tier": "flex"})
        async with attended(gateway.hub, gateway.meter.ask(self._caller(order), ask)) as live:
            return await live.ended()

    def _caller(self, order: BatchOrder) -> Caller:
        """Raises Unauthorized for a batch whose key opens nothing any more, or whose user is gone."""
        keys = self._gateway.doors.keys
        if keys is None or (not order.key and order.user == LOCAL):
            return Caller(order.user, trusted=True)
        return keys.holder(KeyId(order.key)) if order.key else keys.member(order.user)


def _refused(error: HubbubError) -> RowAnswer:
    passing = error.retryable or isinstance(error, (StorageError, Cancelled))
    return RowAnswer(error.http_status, msgspec.json.encode(body_of(error)), again=error if passing else None)
