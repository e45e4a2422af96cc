"""The hub: one a process. It accepts questions, has engines answer them, and keeps what was said.

Theory of operation. ``ask`` makes the question durable, then lets the dispatcher run it; the publisher brings what
engines say to the journal, then to readers, and stores the end. A stored answer is its own business from then on: its
client may leave, and the server may be stopped or killed: the next start takes it up where it was (``recovery``). An
answer that is not stored ends with its client, and with the server.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence

from hubbub.core.errors import (
    ChatBusy,
    ContextTooLong,
    EngineUnavailable,
    Interrupted,
    NotFound,
    StorageError,
)
from hubbub.core.events import Outcome
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    Asked,
    ChatId,
    Message,
    Request,
    RequestId,
    UserId,
)
from hubbub.ports import Clock, Store
from hubbub.runtime.dispatcher import Dispatcher
from hubbub.runtime.feeds import Feed, Feeds, shown
from hubbub.runtime.live import Live
from hubbub.runtime.prompt import TokenEstimate, messages_of, styled
from hubbub.runtime.publisher import HubConfig, Publisher
from hubbub.runtime.question import Ask, Question, opening, question_of, standing
from hubbub.runtime.recovery import Unfinished, parked, recover
from hubbub.runtime.run import Run
from hubbub.runtime.served import Served, pool_for
from hubbub.runtime.telemetry import Ended, Telemetry

__all__ = ["Ask", "Hub", "HubConfig", "random_id"]

log = logging.getLogger(__name__)

STOPPING = "the server is stopping; a stored answer goes on when it is back"


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
        self.feeds = Feeds()
        """Who watches their chats."""
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._config = config or HubConfig()
        self._new_id = new_id
        self._runs: dict[AnswerId, Run] = {}
        # By user, too: who names a stranger's chat does not find it, and must not hold it up meanwhile.
        self._busy: dict[tuple[UserId, ChatId], Live | None] = {}
        self._estimate = TokenEstimate()
        self._publisher = Publisher(
            store, dispatcher, clock, telemetry, self._config, self._runs, self._ended, self.feeds
        )
        self._closed = False

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the last stop interrupted, then begin to publish. Raises StorageError."""
        for unfinished in await recover(self._store, self._clock, self._config.max_interruptions):
            self._resume(unfinished)
        self._publisher.start()

    async def close(self) -> None:
        """Take nothing more; end what is not stored, leave what is for the next start; part all readers."""
        self._closed = True
        runs = list(self._runs.values())
        for run in runs:
            self._leave_off(run)
        await self._publisher.finish(self._config.store_patience_seconds)
        for run in runs:
            if not run.live.done:
                run.live.part(Interrupted(STOPPING, retry_after=5.0))
        self.feeds.close(Interrupted(STOPPING, retry_after=5.0))
        left = [run.live.answer for run in runs if run.parked]
        if left:
            try:
                await self._store.commit(*parked(left))
            except StorageError as error:
                log.warning("the stop counts as a kill: %s", error, extra={"action": "stop"})

    async def crashed(self) -> None:
        """Return never, or raise what ended the pump: without it no stream moves, so the process has to end."""
        await self._publisher.crashed()

    # Asking --------------------------------------------------------------------------------------------------------

    def served(self) -> Served:
        """The models that engines serve, and their adapters."""
        return self._dispatcher.served()

    def window(self, model: str) -> int | None:
        """Tokens of input and output; None while no engine that serves the model is ready."""
        return self._dispatcher.window(model)

    def busy(self, user: UserId, chat: ChatId) -> bool:
        """Whether an answer is being written in this chat of the user's."""
        return (user, chat) in self._busy

    def answering(self, user: UserId, chat: ChatId) -> Live | None:
        """The answer that is being written in this chat of the user's, once its question is stored."""
        return self._busy.get((user, chat))

    def idle(self) -> bool:
        """Whether no answer is being written, and nothing is kept of any."""
        return not self._runs and not self._busy

    async def ask(self, ask: Ask) -> Live:
        """Accept the question: its items are durable when this returns, and generation is queued.

        Raises ModelNotFound, BadRequest (an adapter that is not there), NotFound (chat or previous; ``param`` names
        it), ChatBusy, ContextTooLong, Overloaded, EngineUnavailable, StorageError.
        """
        if self._closed:
            raise EngineUnavailable(STOPPING, retry_after=5.0)
        if ask.chat is None:
            return await self._ask(ask)
        place = (ask.user, ask.chat)
        if place in self._busy:
            await standing(self._store, ask)  # asked twice at once for a chat that is not there
            raise ChatBusy(f"an answer is being written in conversation {ask.chat!r}; wait for its end or cancel it")
        self._busy[place] = None
        try:
            return await self._ask(ask)
        except BaseException:
            self._busy.pop(place, None)
            raise

    async def _ask(self, ask: Ask) -> Live:
        question = await question_of(self._store, ask, self._clock.wall())
        pool = pool_for(self._dispatcher.served(), ask.model, ask.adapter, question.style)
        sampling = styled(ask.sampling, question.style)
        await self._check_window(pool.model, question.messages)
        asked = Asked(question.system_prompt, sampling, ask.priority, adapter=pool.adapter)
        answer = self._answer(ask, question, pool.model, asked)
        run = self._run(answer, question.messages, asked)
        run.parent = question.input
        self._dispatcher.reserve(run.request, run, patient=ask.background)
        try:
            await self._store.commit(*opening(answer, question))
        except BaseException:
            self._dispatcher.withdraw(run.request.id)
            raise
        self._begin(run)
        if self._closed:
            self._leave_off(run)
            run.live.part(Interrupted(STOPPING, retry_after=5.0))
        return run.live

    async def count_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt this ask would send. Raises as :meth:`ask` does, but asks nothing."""
        question = await question_of(self._store, ask, self._clock.wall())
        pool = pool_for(self._dispatcher.served(), ask.model, ask.adapter, question.style)
        counted = await self._dispatcher.count_tokens(question.messages, pool.model)
        return self._estimate.tokens(question.messages) if counted is None else counted

    def live(self, user: UserId, answer: AnswerId) -> Live | None:
        """The answer if it is being written now; else look in the store."""
        run = self._runs.get(answer)
        return run.live if run is not None and run.live.answer.user == user else None

    @contextlib.contextmanager
    def watch(self, user: UserId) -> Iterator[Feed]:
        """All that happens in this user's chats from now on; what is being written now counts as begun."""
        with self.feeds.open(user) as feed:
            lives = (run.live for run in self._runs.values())
            feed.begun.update((live.answer.id, live) for live in lives if live.answer.user == user and shown(live))
            yield feed

    async def cancel(self, user: UserId, answer: AnswerId) -> Answer:
        """End it and return it in its final state; an answer that has ended already is returned as it is.

        Raises NotFound, Interrupted when the server stops meanwhile, StorageError when its end cannot be stored.
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
        """The client that asked is gone. Cancels the answer unless it is stored: that one goes on by itself."""
        if not live.answer.store and live.answer.id in self._runs:
            self._dispatcher.withdraw(RequestId(live.answer.id))

    # Runs ------------------------------------------------------------------------------------------------------------

    def _run(self, answer: Answer, messages: tuple[Message, ...], asked: Asked) -> Run:
        request = Request(
            id=RequestId(answer.id),
            user=answer.user,
            chat=answer.chat or ChatId(answer.id),
            model=answer.model,
            prompt_tokens=self._estimate.tokens(messages),
            priority=asked.priority,
            messages=messages,
            sampling=asked.sampling,
            adapter=asked.adapter,
        )
        return Run(request, Live(answer), None, self._clock, self._publisher.mark)

    def _resume(self, found: Unfinished) -> None:
        answer, asked = found.answer, found.asked
        run = self._run(answer, messages_of(asked.system_prompt, (node.item for node in found.path)), asked)
        run.parent = found.path[-1] if found.path else None
        run.restore(found.deltas)
        if answer.chat is not None:
            self._busy[answer.user, answer.chat] = None
        self.telemetry.resumed += 1
        self._dispatcher.reserve(run.reservation(), run, accepted=True)
        self._begin(run)

    def _begin(self, run: Run) -> None:
        """Its question is durable: it may run, and be read."""
        run.open = True
        answer = run.live.answer
        self._runs[answer.id] = run
        if answer.chat is not None:
            self._busy[answer.user, answer.chat] = run.live
        if run.close is not None:  # closed while the store was busy: the publisher has still to hear of it
            self._publisher.mark(run)
        self._dispatcher.release(run.request.id)
        self.feeds.begun(run.live)

    def _leave_off(self, run: Run) -> None:
        """The server stops. What has ended already is stored as such."""
        if run.close is None and run.live.answer.store:
            run.parked = True
        self._dispatcher.withdraw(run.request.id)

    def _ended(self, run: Run, answer: Answer) -> None:
        """The end of a run is stored: whoever looks from now on finds it in the store."""
        if answer.chat is not None:
            self._busy.pop((answer.user, answer.chat), None)
        del self._runs[answer.id]
        seen, usage = self.telemetry, answer.usage
        seen.ended(answer.status.value)
        seen.input_tokens += usage.input_tokens
        seen.cached_tokens += usage.cached_tokens
        seen.output_tokens += usage.output_tokens
        now = self._clock.now()
        seen.duration.observe(now - run.accepted_at)
        ttft = itl = None
        if run.first_at is not None:
            ttft = run.first_at - run.accepted_at
            seen.ttft.observe(ttft)
            if usage.output_tokens > 1:
                itl = (run.last_at - run.first_at) / (usage.output_tokens - 1)
                seen.itl.observe(itl)
        seen.ends.append(Ended(now, run.engine, ttft, itl, usage.input_tokens, usage.cached_tokens))
        if run.close is not None and run.close.outcome is Outcome.FINISHED and run.usage is not None:
            self._estimate.learn(run.request.messages, usage)

    # What an ask comes to --------------------------------------------------------------------------------------------

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

    def _answer(self, ask: Ask, question: Question, model: str, asked: Asked) -> Answer:
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
            params={**ask.params, "adapter": asked.adapter} if asked.adapter else ask.params,
            metadata=ask.metadata,
            store=ask.store,
            background=ask.background,
            asked=asked if ask.store else None,
        )
