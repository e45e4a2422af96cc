"""The hub: one a process. It accepts questions, has engines answer them, and keeps what was said.

Theory of operation. ``ask`` makes the question durable, then lets the dispatcher run it. Chunks collect in their run;
one pump task takes what all runs have collected, appends it to the journal in a single write, and only then publishes
it to readers: nobody ever sees what a restart could lose. When the dispatcher closes a run, the pump publishes its rest
and hands it to a task of its own, which commits the finished answer and then shows the end. While one flush is being
written the next one collects, so that under load many tokens share a write.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hubbub.core import tree
from hubbub.core.errors import (
    ChatBusy,
    ContextTooLong,
    EngineUnavailable,
    HubbubError,
    Interrupted,
    ModelNotFound,
    NotFound,
    StorageError,
)
from hubbub.core.events import Outcome
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Delta,
    Item,
    ItemType,
    Json,
    Message,
    Node,
    NodeHash,
    Priority,
    Request,
    RequestId,
    Role,
    Sampling,
    Style,
    UserId,
)
from hubbub.ports import AnswerSaved, Change, ChatSaved, Clock, HeadMoved, JournalEntry, NodesAdded, Store
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.live import Live
from hubbub.runtime.prompt import TokenEstimate, messages_of, styled
from hubbub.runtime.run import Run, concluded, interrupted
from hubbub.runtime.telemetry import Telemetry

log = logging.getLogger(__name__)

TITLE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class HubConfig:
    """``coalesce_seconds``: under load, the least time between two publications (a reader gets more text less often).
    ``coalesce_streams``: streams with new text at once from which it counts as load."""

    coalesce_seconds: float = field(default=0.025, metadata={"help": "least seconds between publications under load"})
    coalesce_streams: int = field(default=64, metadata={"help": "streams with new text at once that count as load"})


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, as a gateway hands it over.

    The path asked about is that of ``chat``, or of the answer ``previous``, or empty; ``items`` come after it.
    ``instructions`` is a system prompt for this answer alone; None takes the chat's style. Fields of ``sampling``
    that are None take the chat's style, then the model's defaults. ``params`` is what the wire echoes.
    """

    user: UserId
    kind: AnswerKind
    items: tuple[Item, ...]
    model: str = ""
    """Empty: the chat's model, else the server's first."""
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    chat: ChatId | None = None
    previous: AnswerId | None = None
    store: bool = True
    background: bool = False
    priority: Priority = Priority.CHAT
    metadata: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    """What an ask comes to: where it stands in the tree and what it adds there."""

    chat: Chat | None
    parent: Node | None
    added: tuple[Node, ...]
    messages: tuple[Message, ...]
    style: Style

    @property
    def input(self) -> Node | None:
        return self.added[-1] if self.added else self.parent


def random_id(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


class Hub:
    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        clock: Clock,
        telemetry: Telemetry,
        config: HubConfig | None = None,
        new_id: Callable[[str], str] = random_id,
    ) -> None:
        self.telemetry = telemetry
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._config = config or HubConfig()
        self._new_id = new_id
        self._runs: dict[AnswerId, Run] = {}
        self._busy: set[ChatId] = set()
        self._estimate = TokenEstimate()
        self._dirty: dict[AnswerId, Run] = {}
        self._wake = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._concluding: set[asyncio.Task[None]] = set()
        self._closed = False

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """End what the last stop interrupted, then begin to publish."""
        await self._recover()
        self._pump_task = asyncio.create_task(self._pump())

    async def close(self) -> None:
        """Take nothing more, cancel what runs, keep what was said, stop."""
        self._closed = True
        for run in list(self._runs.values()):
            self._dispatcher.withdraw(run.request.id)
        if self._pump_task is None or self._pump_task.done():
            return
        for run in list(self._runs.values()):
            await run.live.ended()
        self._pump_task.cancel()
        await asyncio.gather(self._pump_task, *self._concluding, return_exceptions=True)

    async def crashed(self) -> None:
        """Return never, or raise what ended the pump: without it no stream moves, so the process has to end."""
        if self._pump_task is None:
            raise RuntimeError("the hub was not started")
        await asyncio.shield(self._pump_task)

    # Asking --------------------------------------------------------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """The models that engines serve, first the default."""
        return self._dispatcher.models

    def busy(self, chat: ChatId) -> bool:
        """Whether an answer is being written in this chat."""
        return chat in self._busy

    async def ask(self, ask: Ask) -> Live:
        """Accept the question: its items are durable when this returns, and generation is queued.

        Raises ModelNotFound, NotFound (chat or previous; ``param`` names it), ChatBusy, ContextTooLong, Overloaded,
        EngineUnavailable, StorageError.
        """
        if self._closed:
            raise EngineUnavailable("the server is stopping", retry_after=5.0)
        if ask.chat is None:
            return await self._ask(ask)
        if ask.chat in self._busy:
            await self._standing(ask)  # another user's chat is not there, busy or not
            raise ChatBusy(f"an answer is being written in conversation {ask.chat!r}; wait for its end or cancel it")
        self._busy.add(ask.chat)
        try:
            return await self._ask(ask)
        except BaseException:
            self._busy.discard(ask.chat)
            raise

    async def _ask(self, ask: Ask) -> Live:
        question = await self._question(ask)
        model = self._model(ask.model or question.style.model or "")
        sampling = styled(ask.sampling, question.style)
        await self._check_window(model, question.messages)
        answer = self._answer(ask, question, model)
        request = Request(
            id=RequestId(answer.id),
            user=ask.user,
            chat=ask.chat or ChatId(answer.id),
            model=model,
            prompt_tokens=self._estimate.tokens(question.messages),
            priority=ask.priority,
            messages=question.messages,
            sampling=sampling,
        )
        run = Run(request, Live(answer), question.input, self._clock, self._mark)
        self._dispatcher.reserve(request, run)
        try:
            await self._store.commit(*self._opening(answer, question))
        except BaseException:
            self._dispatcher.withdraw(request.id)
            raise
        self._runs[answer.id] = run
        if run.close is not None:  # closed while the store was busy: the pump has still to hear of it
            self._mark(run)
        self._dispatcher.release(request.id)
        return run.live

    async def count_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt this ask would send. Raises as :meth:`ask` does, but asks nothing."""
        question = await self._question(ask)
        model = self._model(ask.model or question.style.model or "")
        counted = await self._dispatcher.count_tokens(question.messages, model)
        return self._estimate.tokens(question.messages) if counted is None else counted

    def live(self, user: UserId, answer: AnswerId) -> Live | None:
        """The answer if it is being written now; else look in the store."""
        run = self._runs.get(answer)
        return run.live if run is not None and run.live.answer.user == user else None

    async def cancel(self, user: UserId, answer: AnswerId) -> Answer:
        """End it and return it in its final state; an answer that has ended already is returned as it is.

        Raises NotFound.
        """
        live = self.live(user, answer)
        if live is not None:
            self._dispatcher.withdraw(RequestId(answer))
            return await live.ended()
        found = await self._store.answer(user, answer)
        if found is None:
            raise NotFound(f"there is no response {answer!r}", param="response_id")
        return found

    def leave(self, live: Live) -> None:
        """The client that asked is gone. Cancels the answer unless it is a stored background one."""
        if not (live.answer.store and live.answer.background) and live.answer.id in self._runs:
            self._dispatcher.withdraw(RequestId(live.answer.id))

    # What an ask comes to --------------------------------------------------------------------------------------------

    async def _question(self, ask: Ask) -> _Question:
        chat, head = await self._standing(ask)
        path = await self._store.path(ask.user, head)
        if not path and any(item.role is Role.ASSISTANT for item in ask.items):
            path = await self._store.match(ask.user, ask.items)
            rest = ask.items[len(path) :]
        else:
            rest = ask.items
        parent = path[-1] if path else None
        added = tree.link(ask.user, parent, rest, self._clock.wall())
        style = chat.style if chat else Style()
        prompt = style.system_prompt if ask.instructions is None else ask.instructions
        messages = messages_of(prompt, (node.item for node in (*path, *added)))
        return _Question(chat, parent, added, messages, style)

    async def _standing(self, ask: Ask) -> tuple[Chat | None, NodeHash | None]:
        """The chat asked in, if any, and the head of the path asked about."""
        if ask.chat is not None:
            chat = await self._store.chat(ask.user, ask.chat)
            if chat is None:
                raise NotFound(f"there is no conversation {ask.chat!r}", param="conversation")
            return chat, chat.head
        if ask.previous is not None:
            before = await self._store.answer(ask.user, ask.previous)
            if before is None:
                raise NotFound(f"there is no response {ask.previous!r}", param="previous_response_id")
            if not before.status.final:
                raise ChatBusy(f"response {ask.previous!r} is still being written", param="previous_response_id")
            return None, before.output or before.input
        return None, None

    def _model(self, wanted: str) -> str:
        models = self._dispatcher.models
        model = wanted or (models[0] if models else "")
        if model not in models:
            raise ModelNotFound(f"model {model!r} is not served here; there is {', '.join(models)}", param="model")
        return model

    async def _check_window(self, model: str, messages: Sequence[Message]) -> None:
        window = self._dispatcher.window(model)
        if window is None or self._estimate.most(messages) < window:
            return
        tokens = await self._dispatcher.count_tokens(messages, model)
        if tokens is not None and tokens >= window:
            raise ContextTooLong(
                f"the prompt has {tokens} tokens, the context window of {model} is {window} tokens with the answer",
                param="input",
            )

    def _answer(self, ask: Ask, question: _Question, model: str) -> Answer:
        prefix = "resp_" if ask.kind is AnswerKind.RESPONSE else "chatcmpl-"
        return Answer(
            id=AnswerId(self._new_id(prefix)),
            user=ask.user,
            kind=ask.kind,
            model=model,
            created_at=self._clock.wall(),
            chat=ask.chat,
            previous=ask.previous,
            input=question.input.hash if question.input else None,
            params=ask.params,
            metadata=ask.metadata,
            store=ask.store,
            background=ask.background,
        )

    def _opening(self, answer: Answer, question: _Question) -> list[Change]:
        changes: list[Change] = []
        chat = question.chat
        if answer.store or chat:
            changes.append(NodesAdded(question.added))
        if chat and question.added:
            if not chat.title:
                changes.append(ChatSaved(replace(chat, title=_title(question.added))))
            changes.append(HeadMoved(chat.id, chat.head, question.added[-1].hash, answer.created_at))
        if answer.store:
            changes.append(AnswerSaved(answer))
        return changes

    # Publishing ------------------------------------------------------------------------------------------------------

    def _mark(self, run: Run) -> None:
        self._dirty[run.live.answer.id] = run
        self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            runs, self._dirty = self._dirty, {}
            began = self._clock.now()
            await self._flush([run for run in runs.values() if run.live.answer.id in self._runs and not run.ending])
            if len(runs) >= self._config.coalesce_streams:
                pause = self._config.coalesce_seconds - (self._clock.now() - began)
                if pause > 0:
                    await asyncio.sleep(pause)

    async def _flush(self, runs: Sequence[Run]) -> None:
        taken = [(run, run.take()) for run in runs]
        entries = [
            JournalEntry(run.live.answer.id, len(run.live.deltas), deltas)
            for run, deltas in taken
            if deltas and run.live.answer.store
        ]
        if entries:
            try:
                await self._store.append(entries)
            except StorageError as error:
                log.error("the journal was not written: %s", error, extra={"action": "journal_append"})
                taken = [(run, () if run.live.answer.store else deltas) for run, deltas in taken]
                for entry in entries:
                    run = self._runs[entry.answer]
                    run.fail(error)
                    self._dispatcher.withdraw(run.request.id)
        self._dispatcher.flush_progress()
        self.telemetry.flushes += 1
        for run, deltas in taken:
            if deltas:
                self.telemetry.deltas += len(deltas)
                run.live.publish(deltas)
            if run.close is not None and not run.pending:
                self._end(run)

    # Ending ----------------------------------------------------------------------------------------------------------

    def _end(self, run: Run) -> None:
        run.ending = True
        task = asyncio.create_task(self._conclude(run))
        self._concluding.add(task)
        task.add_done_callback(self._concluding.discard)

    async def _conclude(self, run: Run) -> None:
        """Make the end durable, then show it."""
        answer, nodes = concluded(run)
        try:
            await self._store.commit(*_closing(answer, nodes))
        except Exception as error:  # noqa: BLE001 - a request's task boundary: whatever happens, its stream must end
            log.error("the end of %s was not stored: %s", answer.id, error, extra={"action": "answer_end"})
            code = error.code if isinstance(error, HubbubError) else HubbubError.code
            answer = replace(answer, status=AnswerStatus.FAILED, finish=None, error_code=code, error_message=str(error))
        if answer.chat is not None:
            self._busy.discard(answer.chat)
        self._count(run, answer)
        del self._runs[answer.id]  # not before its end is stored: whoever looks finds it live or ended
        run.live.end(answer)

    def _count(self, run: Run, answer: Answer) -> None:
        seen, usage = self.telemetry, answer.usage
        seen.ended(answer.status.value)
        seen.input_tokens += usage.input_tokens
        seen.cached_tokens += usage.cached_tokens
        seen.output_tokens += usage.output_tokens
        now = self._clock.now()
        seen.duration.observe(now - run.accepted_at)
        if run.first_at is not None:
            seen.ttft.observe(run.first_at - run.accepted_at)
            if usage.output_tokens > 1:
                seen.itl.observe((run.last_at - run.first_at) / (usage.output_tokens - 1))
        if run.close is not None and run.close.outcome is Outcome.FINISHED:
            self._estimate.learn(run.request.messages, usage)

    async def _recover(self) -> None:
        """Answers that the last stop cut off end as failed, with what the journal kept of them."""
        for answer in await self._store.unfinished():
            deltas: tuple[Delta, ...] = await self._store.entries(answer.id)
            path = await self._store.path(answer.user, answer.input)
            ended, nodes = interrupted(answer, path[-1] if path else None, deltas, self._clock.wall(), Interrupted())
            await self._store.commit(*_closing(ended, nodes))


def _closing(answer: Answer, nodes: tuple[Node, ...]) -> list[Change]:
    changes: list[Change] = []
    if nodes and (answer.store or answer.chat):
        changes.append(NodesAdded(nodes))
    if nodes and answer.chat and answer.status is not AnswerStatus.FAILED and answer.completed_at is not None:
        changes.append(HeadMoved(answer.chat, answer.input, nodes[-1].hash, answer.completed_at))
    if answer.store:
        changes.append(AnswerSaved(answer))
    return changes


def _title(nodes: Sequence[Node]) -> str:
    """The first words of the first question."""
    said = next((n.item.text for n in nodes if n.item.type is ItemType.MESSAGE and n.item.role is Role.USER), "")
    line = " ".join(said.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"
