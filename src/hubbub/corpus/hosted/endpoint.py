"""The server as a run's endpoint: each request is asked as a line of a batch is, as bulk, without HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from hubbub.core.batches import BatchOrder, FileId, RowAnswer
from hubbub.core.corpora import CorpusOrder
from hubbub.core.errors import EngineError, StorageError
from hubbub.core.types import Message, Sampling
from hubbub.corpus.client import Answered, FaultKind, RequestFault, Served, answered_of, body_of, fault_of
from hubbub.ports import AskRow

COMPLETIONS = "/v1/chat/completions"


class InHouse:
    """Is an ``Answering``. It sets no time limit: the server ends every request that it accepts."""

    name = "this server"

    def __init__(self, ask: AskRow, order: CorpusOrder, served: Served) -> None:
        self.served = served
        self._ask = ask
        self._order = BatchOrder(order.user, order.key, FileId(""), COMPLETIONS)

    async def ask(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Answered:
        name = model or self.served.model
        answer = await self._ask(self._order, body_of(name, messages, sampling, flex=False))
        if answer.status == 200:
            return answered_of(answer.body, name)
        raise _fault(answer)

    async def get(self, path: str) -> bytes | None:
        """None: whether an engine hangs is watched by the server itself."""
        return None


def _fault(answer: RowAnswer) -> RequestFault:
    fault = fault_of(answer.status, None, answer.body)
    if answer.status in (401, 403):
        said = fault.message.partition(": ")[2]  # not the words about an endpoint's key
        return RequestFault(FaultKind.FATAL, f"this run may not ask any more: {said}")
    if answer.again is not None:
        away = isinstance(answer.again, (EngineError, StorageError))
        kind = FaultKind.AWAY if away else FaultKind.BUSY
        return RequestFault(kind, answer.again.message, retry_after=answer.again.retry_after)
    return fault
