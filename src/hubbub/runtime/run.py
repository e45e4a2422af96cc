"""One answer while it is being made: what an engine says of it, collected until the hub publishes it.

Pure functions at the end turn what was said into the finished answer and its nodes; the hub's restart uses the same
ones on a journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hubbub.core import tree
from hubbub.core.errors import HubbubError
from hubbub.core.events import Close, Outcome
from hubbub.core.types import (
    Answer,
    AnswerStatus,
    Chunk,
    Delta,
    EngineId,
    FinishReason,
    Item,
    ItemType,
    Node,
    Request,
    Role,
    ToolDelta,
    Usage,
)
from hubbub.ports import Clock
from hubbub.runtime.live import Live

STATUS = {
    FinishReason.STOP: AnswerStatus.COMPLETED,
    FinishReason.TOOL_CALLS: AnswerStatus.COMPLETED,
    FinishReason.LENGTH: AnswerStatus.INCOMPLETE,
    FinishReason.CANCELLED: AnswerStatus.CANCELLED,
}


class Run:
    """A dispatcher's Job. ``mark`` tells the hub that there is something to publish."""

    def __init__(
        self, request: Request, live: Live, parent: Node | None, clock: Clock, mark: Callable[[Run], None]
    ) -> None:
        self.request = request
        self.live = live
        self.parent = parent
        self.clock = clock
        self.close: Close | None = None
        self.ending = False
        self.finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.accepted_at = clock.now()
        self.first_at: float | None = None
        self.last_at = self.accepted_at
        self.pending: list[str | ToolDelta] = []
        self._mark = mark
        self._said: list[str] = []
        self._tokens = 0
        self._before = 0  # of those, tokens said by earlier attempts
        self._tools = False

    # Job -----------------------------------------------------------------------------------------------------------

    def attempt(self) -> Request | None:
        if self._tools:
            return None
        if not self._said:
            return self.request
        self._before = self._tokens
        sampling = self.request.sampling
        if sampling.max_tokens is not None:
            sampling = replace(sampling, max_tokens=max(1, sampling.max_tokens - self._tokens))
        return replace(self.request, partial="".join(self._said), sampling=sampling)

    def waiting(self, position: int) -> None:
        self.live.position = position

    def started(self, engine: EngineId) -> None:
        if self.live.answer.status is AnswerStatus.QUEUED:
            self.live.started(replace(self.live.answer, status=AnswerStatus.IN_PROGRESS))

    def said(self, chunk: Chunk) -> None:
        if chunk.text:
            self._said.append(chunk.text)
            self.pending.append(chunk.text)
        if chunk.tool is not None:
            self._tools = True
            self.pending.append(chunk.tool)
        self._tokens += chunk.tokens
        if chunk.finish is not None:
            self.finish, self.usage = chunk.finish, chunk.usage
        if self.pending:
            self.last_at = self.clock.now()
            if self.first_at is None:
                self.first_at = self.last_at
            self._mark(self)

    def closed(self, close: Close) -> None:
        if self.close is None:
            self.close = close
        self._mark(self)

    # Hub -----------------------------------------------------------------------------------------------------------

    def take(self) -> tuple[Delta, ...]:
        """What was said since the last call, neighbouring texts joined."""
        deltas: list[Delta] = []
        texts: list[str] = []
        for piece in self.pending:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            if texts:
                deltas.append(Delta("".join(texts)))
                texts = []
            deltas.append(Delta(tool=piece))
        if texts:
            deltas.append(Delta("".join(texts)))
        self.pending = []
        return tuple(deltas)

    def fail(self, error: HubbubError) -> None:
        """The answer ends by an error of ours, whatever the engine goes on to say."""
        self.close = Close(self.request.id, Outcome.FAILED, error.code, error.message)

    def final_usage(self) -> Usage:
        """What the engine reported for the whole answer, else what was counted here.

        After a continuation the engine took what was said before for prompt: that is moved to the output.
        """
        if self.usage is None:
            return Usage(self.request.prompt_tokens, self._tokens)
        return replace(
            self.usage,
            input_tokens=max(0, self.usage.input_tokens - self._before),
            output_tokens=self.usage.output_tokens + self._before,
        )


def concluded(run: Run) -> tuple[Answer, tuple[Node, ...]]:
    """The finished answer of a closed run, and the nodes it adds below its question."""
    close = run.close
    if close is None:
        raise RuntimeError(f"{run.request.id} has not ended")
    answer = replace(run.live.answer, usage=run.final_usage(), completed_at=run.clock.wall())
    if close.outcome is Outcome.FINISHED and run.finish is not None:
        answer = replace(answer, status=STATUS[run.finish], finish=run.finish)
    elif close.outcome is Outcome.CANCELLED:
        answer = replace(answer, status=AnswerStatus.CANCELLED, finish=FinishReason.CANCELLED)
    else:
        answer = replace(
            answer,
            status=AnswerStatus.FAILED,
            error_code=close.code or "engine_error",
            error_message=close.message or "the engine ended without a reason",
        )
    return with_output(answer, run.parent, run.live.deltas)


def interrupted(
    answer: Answer, parent: Node | None, deltas: Sequence[Delta], now: float, error: HubbubError
) -> tuple[Answer, tuple[Node, ...]]:
    """The end of an answer that a stop of the server cut off."""
    ended = replace(
        answer,
        status=AnswerStatus.FAILED,
        error_code=error.code,
        error_message=error.message,
        completed_at=now,
    )
    return with_output(ended, parent, deltas)


def with_output(answer: Answer, parent: Node | None, deltas: Sequence[Delta]) -> tuple[Answer, tuple[Node, ...]]:
    """The answer with its items, and the nodes of those items below ``parent``."""
    items = output_items(answer, deltas)
    nodes = tree.link(answer.user, parent, items, answer.completed_at or answer.created_at)
    cuts = tuple((-1, len(d.text)) if d.tool is None else (d.tool.index, len(d.tool.arguments)) for d in deltas)
    return replace(answer, output_items=items, output=nodes[-1].hash if nodes else None, cuts=cuts), nodes


def replayed(answer: Answer) -> tuple[Delta, ...]:
    """The deltas of a finished answer, exactly as they were published."""
    message = next((item for item in answer.output_items if item.type is ItemType.MESSAGE), None)
    calls = [item for item in answer.output_items if item.type is ItemType.FUNCTION_CALL]
    order = list(dict.fromkeys(index for index, _ in answer.cuts if index >= 0))
    rest = {-1: message.text if message else "", **{index: calls[order.index(index)].text for index in order}}
    deltas, begun = [], set[int]()
    for index, length in answer.cuts:
        piece, rest[index] = rest[index][:length], rest[index][length:]
        if index < 0:
            deltas.append(Delta(piece))
        elif index in begun:
            deltas.append(Delta(tool=ToolDelta(index, arguments=piece)))
        else:
            begun.add(index)
            call = calls[order.index(index)]
            deltas.append(Delta(tool=ToolDelta(index, call.call_id, call.name, piece)))
    return tuple(deltas)


def output_items(answer: Answer, deltas: Iterable[Delta]) -> tuple[Item, ...]:
    """The text as one message, if there is any, then the tool calls in the order they began."""
    calls: dict[int, list[ToolDelta]] = {}
    texts: list[str] = []
    for delta in deltas:
        if delta.tool is not None:
            calls.setdefault(delta.tool.index, []).append(delta.tool)
        else:
            texts.append(delta.text)
    text = "".join(texts)
    complete = answer.status is AnswerStatus.COMPLETED
    items = []
    if text or (not calls and answer.status in (AnswerStatus.COMPLETED, AnswerStatus.INCOMPLETE)):
        message = tree.output_id(answer.id, ItemType.MESSAGE, 0)
        items.append(Item(message, ItemType.MESSAGE, (text,), Role.ASSISTANT, complete=complete))
    for number, pieces in enumerate(calls.values()):  # not the place in the list: a stream knows no text to come
        items.append(
            Item(
                tree.output_id(answer.id, ItemType.FUNCTION_CALL, number),
                ItemType.FUNCTION_CALL,
                ("".join(piece.arguments for piece in pieces),),
                call_id=next((p.call_id for p in pieces if p.call_id), ""),
                name=next((p.name for p in pieces if p.name), ""),
                complete=complete,
            )
        )
    return tuple(items)
