"""One answer while it is being made: what an engine says of it, collected until the hub publishes it.

Pure functions at the end turn what was said into the finished answer and its nodes; the hub's restart uses the same
ones on a journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hubbub.core import tree
from hubbub.core.errors import EngineLost, HubbubError
from hubbub.core.events import Close, Outcome, Wait
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
from hubbub.runtime.live import Live, Place

STATUS = {
    FinishReason.STOP: AnswerStatus.COMPLETED,
    FinishReason.TOOL_CALLS: AnswerStatus.COMPLETED,
    FinishReason.LENGTH: AnswerStatus.INCOMPLETE,
    FinishReason.CANCELLED: AnswerStatus.CANCELLED,
}


class Run:
    """A dispatcher's Job. ``mark`` tells the publisher that there is something to publish.

    ``open``: the question is stored, so that what is said may be published. ``ending``: its end is being stored.
    ``parked``: the server stops; the answer goes on at its next start, and nothing more is heard here.
    """

    def __init__(
        self, request: Request, live: Live, parent: Node | None, clock: Clock, mark: Callable[[Run], None]
    ) -> None:
        self.request = request
        self.live = live
        self.parent = parent
        self.clock = clock
        self.close: Close | None = None
        self.engine: EngineId | None = None
        self.open = False
        self.ending = False
        self.parked = False
        self.finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.accepted_at = clock.now()
        self.first_at: float | None = None
        self.last_at = self.accepted_at
        self.pending: list[Chunk] = []
        self._mark = mark
        self._said: list[str] = []
        self._tokens = 0  # behind what was said
        self._loose = 0  # generated, but what they say is still held back by the engine
        self._journaled = 0  # of the tokens, those that deltas have told of
        self._before = 0  # of the tokens, those of earlier attempts
        self._tools = False

    def restore(self, deltas: Sequence[Delta]) -> None:
        """Take up an answer where the journal has it."""
        for delta in deltas:
            self._tokens += delta.tokens
            self._tools = self._tools or delta.tool is not None
            if delta.text:
                self._said.append(delta.text)
        self._journaled = self._tokens
        self.live.publish(deltas)
        if deltas:
            self.live.started(replace(self.live.answer, status=AnswerStatus.IN_PROGRESS))

    def reservation(self) -> Request:
        """The request as the scheduler weighs it: what was said before it arrives is part of its prompt."""
        limit = self.request.sampling.max_tokens
        left = self.request.sampling if limit is None else replace(self.request.sampling, max_tokens=self._left(limit))
        return replace(self.request, prompt_tokens=self.request.prompt_tokens + self._tokens, sampling=left)

    # Job -----------------------------------------------------------------------------------------------------------

    def attempt(self) -> Request | FinishReason | HubbubError:
        self._loose = 0
        self._before = self._tokens
        if self._tools:
            return EngineLost("the answer was cut off within a tool call, which cannot go on; what was said is kept")
        if not self._said:
            return self.request
        sampling = self.request.sampling
        if sampling.max_tokens is not None:
            if self._tokens >= sampling.max_tokens:
                return FinishReason.LENGTH
            sampling = replace(sampling, max_tokens=self._left(sampling.max_tokens))
        if (sampling.response_format or {}).get("type", "text") != "text":
            # Engines hold what they add to the grammar, not what is there already: it would begin anew in the middle.
            return EngineLost("the answer was cut off within JSON, which cannot go on; what was said is kept")
        return replace(self.request, partial="".join(self._said), sampling=sampling)

    def waiting(self, wait: Wait) -> None:
        self.live.place = Place(wait.position, wait.seconds)

    def started(self, engine: EngineId) -> None:
        self.live.place = None
        self.engine = engine
        if self.live.answer.status is AnswerStatus.QUEUED:
            self.live.started(replace(self.live.answer, status=AnswerStatus.IN_PROGRESS))

    def said(self, chunk: Chunk) -> None:
        if self.parked or self.close is not None:
            return
        self._loose += chunk.tokens
        if chunk.finish is not None:
            self.finish, self.usage = chunk.finish, chunk.usage
        if chunk.text or chunk.tool is not None:
            self._tokens += self._loose
            self._loose = 0
            if chunk.text:
                self._said.append(chunk.text)
            self._tools = self._tools or chunk.tool is not None
            self.pending.append(chunk)
            self.last_at = self.clock.now()
            if self.first_at is None:
                self.first_at = self.last_at
            self._mark(self)

    def ended(self, finish: FinishReason) -> None:
        self.finish, self.usage = finish, None

    def closed(self, close: Close) -> None:
        if self.close is None and not self.parked:
            self.close = close
            self._mark(self)

    # Hub -----------------------------------------------------------------------------------------------------------

    def take(self) -> tuple[Delta, ...]:
        """What was said since the last call, neighbouring texts joined. The last delta tells of all tokens."""
        if not self.pending:
            return ()
        deltas: list[Delta] = []
        text = ""
        for chunk in self.pending:
            text += chunk.text
            if chunk.tool is not None:
                if text:
                    deltas.append(Delta(text))
                    text = ""
                deltas.append(Delta(tool=chunk.tool))
        tokens = self._tokens - self._journaled
        if text:
            deltas.append(Delta(text, tokens=tokens))
        else:
            deltas[-1] = replace(deltas[-1], tokens=tokens)
        self.pending = []
        self._journaled = self._tokens
        return tuple(deltas)

    def fail(self, error: HubbubError) -> None:
        """The answer ends by an error of ours, whatever the engine goes on to say."""
        self.close = Close(self.request.id, Outcome.FAILED, error.code, error.message, error.param)
        self.pending = []

    def final_usage(self) -> Usage:
        """What the engine reported for the whole answer, else what was counted here.

        After a continuation the engine took what was said before for prompt: that is moved to the output.
        """
        if self.usage is None:
            return Usage(self.request.prompt_tokens, self._tokens + self._loose)
        prompt = max(0, self.usage.input_tokens - self._before)
        return Usage(prompt, self.usage.output_tokens + self._before, min(prompt, self.usage.cached_tokens))

    def _left(self, limit: int) -> int:
        return max(1, limit - self._tokens)


def concluded(run: Run) -> tuple[Answer, tuple[Node, ...]]:
    """The finished answer of a closed run, and the nodes it adds below its question."""
    close = run.close
    if close is None:
        raise RuntimeError(f"{run.request.id} has not ended")
    answer = replace(run.live.answer, usage=run.final_usage(), completed_at=run.clock.wall(), asked=None)
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
            error_param=close.param,
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
        error_param=error.param,
        completed_at=now,
        usage=replace(answer.usage, output_tokens=sum(delta.tokens for delta in deltas)),
        asked=None,
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
