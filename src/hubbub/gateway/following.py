"""Reading the stream of a stored answer from any place, as often as anybody likes, during and after generation."""

from __future__ import annotations

from hubbub.core.errors import ChatBusy, NotFound
from hubbub.core.types import Answer, AnswerId, AnswerKind, UserId
from hubbub.ports import Store
from hubbub.runtime.hub import Hub
from hubbub.runtime.live import Live

PARAM = {
    AnswerKind.RESPONSE: ("response", "response_id"),
    AnswerKind.COMPLETION: ("chat completion", "completion_id"),
}


async def found(hub: Hub, store: Store, user: UserId, answer: AnswerId, kind: AnswerKind) -> Live | Answer:
    """Live while it is being written, else as it ended. Raises NotFound, ChatBusy in the moment between the two."""
    live = hub.live(user, answer)
    if live is None:
        stored = await store.answer(user, answer)
        if stored is not None and stored.kind is kind and stored.status.final:
            return stored
        live = hub.live(user, answer)  # it may have begun while the store was asked
        if live is None and stored is not None and stored.kind is kind:
            raise ChatBusy(f"{answer!r} is not being written just now; ask again", retry_after=1.0)
    if live is None or live.answer.kind is not kind or not live.answer.store:
        what, param = PARAM[kind]
        raise NotFound(f"there is no {what} {answer!r}", param=param)
    return live
