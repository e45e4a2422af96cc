"""The hub with its real scheduler, the memory store and the simulated engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hubbub.core.errors import ChatBusy, Conflict, ContextTooLong, ModelNotFound, NotFound, Overloaded, StorageFull
from hubbub.core.scheduler import SchedulerConfig
from hubbub.core.types import (
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    FinishReason,
    Role,
    Sampling,
    Style,
    UserId,
)
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultKind, FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig
from hubbub.ports import JournalEntry
from hubbub.runtime.chats import ChatEdit
from hubbub.runtime.hub import Ask, HubConfig
from hubbub.runtime.run import replayed
from hubbub.store.memory import MemoryStore
from support.house import FAST, ME, OTHER, house, says


async def test_a_chat_of_two_turns_is_kept() -> None:
    async with house() as home:
        chat = await home.chats.create(ME, [])
        first = await (await home.hub.ask(home.ask("Tell me of whales.", chat=chat.id))).ended()
        second = await (await home.hub.ask(home.ask("And of ravens?", chat=chat.id))).ended()
        assert first.status is AnswerStatus.COMPLETED
        assert first.usage.output_tokens > 0
        assert await home.texts(chat.id) == [
            "Tell me of whales.",
            first.output_items[0].text,
            "And of ravens?",
            second.output_items[0].text,
        ]
        assert second.usage.input_tokens > first.usage.total_tokens
        assert await home.store.answer(ME, second.id) == second
        assert await home.store.answer(OTHER, second.id) is None
        assert (await home.chats.get(ME, chat.id)).title == "Tell me of whales."


async def test_what_was_streamed_is_what_is_stored_and_replayed() -> None:
    async with house() as home:
        live = await home.hub.ask(home.ask("Tell me of whales."))
        seen = 0
        while not live.done:
            await live.more(seen)
            seen = len(live.deltas)
        answer = live.answer
        assert "".join(delta.text for delta in live.deltas) == answer.output_items[0].text
        assert replayed(answer) == tuple(live.deltas)
        assert home.hub.live(ME, answer.id) is None
        assert await home.store.unfinished() == ()


async def test_two_hundred_chats_at_once() -> None:
    async with house(scheduler=SchedulerConfig()) as home:
        lives = await asyncio.gather(*(home.hub.ask(home.ask(f"Number {n}")) for n in range(200)))
        answers = await asyncio.gather(*(live.ended() for live in lives))
        assert {answer.status for answer in answers} == {AnswerStatus.COMPLETED}
        assert (await home.engine.state()).running == 0


async def test_one_answer_at_a_time_in_a_chat() -> None:
    async with house() as home:
        chat = await home.chats.create(ME, [says("Hello")])
        live = await home.hub.ask(home.ask("One", chat=chat.id))
        with pytest.raises(ChatBusy):
            await home.hub.ask(home.ask("Two", chat=chat.id))
        with pytest.raises(ChatBusy):
            await home.chats.append(ME, chat.id, [says("Three")])
        with pytest.raises(ChatBusy):
            await home.chats.delete(ME, chat.id)
        await live.ended()
        await (await home.hub.ask(home.ask("Four", chat=chat.id))).ended()
        assert len(await home.texts(chat.id)) == 5


async def test_a_response_goes_on_from_another_one() -> None:
    async with house() as home:
        first = await (await home.hub.ask(home.ask("One"))).ended()
        second = await (await home.hub.ask(home.ask("Two", previous=first.id))).ended()
        path = await home.store.path(ME, second.output)
        assert [node.item.role for node in path] == [Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT]
        with pytest.raises(NotFound, match="there is no response"):
            await home.hub.ask(home.ask("Three", previous=AnswerId("resp_none")))
        with pytest.raises(NotFound):
            await home.hub.ask(Ask(OTHER, AnswerKind.RESPONSE, (says("Mine?"),), previous=first.id))


async def test_a_history_sent_again_is_kept_once() -> None:
    async with house() as home:
        first = await (await home.hub.ask(home.ask("One"))).ended()
        before = (await home.store.counts())["nodes"]
        history = (says("One"), says(first.output_items[0].text, Role.ASSISTANT), says("Two"))
        await (await home.hub.ask(Ask(ME, AnswerKind.COMPLETION, history))).ended()
        assert (await home.store.counts())["nodes"] == before + 2


async def test_unstored_leaves_no_trace() -> None:
    async with house() as home:
        answer = await (await home.hub.ask(home.ask("One", store=False))).ended()
        assert answer.output_items[0].text
        assert set((await home.store.counts()).values()) == {0}


async def test_the_style_of_a_chat_counts_and_the_request_counts_more() -> None:
    async with house() as home:
        chat = await home.chats.create(ME, [], style=Style(system_prompt="Be brief.", max_tokens=3))
        short = await (await home.hub.ask(home.ask("One", chat=chat.id))).ended()
        longer = home.ask("Two", chat=chat.id, sampling=Sampling(max_tokens=5), instructions="Be long.")
        assert short.status is AnswerStatus.INCOMPLETE
        assert short.usage.output_tokens == 3
        assert (await (await home.hub.ask(longer)).ended()).usage.output_tokens == 5
        await home.chats.edit(ME, chat.id, ChatEdit(style=Style()))
        assert (await (await home.hub.ask(home.ask("Three", chat=chat.id))).ended()).usage.output_tokens > 5


class Busy(MemoryStore):
    """Others come between a look at a chat and what is done with it."""

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None:
        found = await super().chat(user, chat)
        for _ in range(5):
            await asyncio.sleep(0)
        return found


async def test_changes_of_a_chat_at_once_all_hold() -> None:
    async with house(store=Busy()) as home:
        chat = await home.chats.create(ME, [])
        style = Style(system_prompt="Be brief.", max_tokens=3)
        edits = (ChatEdit(title="Mine"), ChatEdit(style=style), ChatEdit(metadata={"k": "v"}), ChatEdit(pinned=True))
        ask = home.hub.ask(home.ask("Of whales", chat=chat.id))
        edited = asyncio.gather(*(home.chats.edit(ME, chat.id, edit) for edit in edits))
        await (await ask).ended()
        await edited
        found = await home.chats.get(ME, chat.id)
        assert (found.title, found.named, found.style, found.metadata) == ("Mine", True, style, {"k": "v"})
        assert found.pinned
        assert len(await home.chats.items(ME, chat.id)) == 2


async def test_a_change_does_not_bring_a_deleted_chat_back() -> None:
    async with house(store=Busy()) as home:
        chat = await home.chats.create(ME, [])
        delete, edit = home.chats.delete(ME, chat.id), home.chats.edit(ME, chat.id, ChatEdit(title="Mine"))
        _, edited = await asyncio.gather(delete, edit, return_exceptions=True)
        assert isinstance(edited, Conflict)
        with pytest.raises(NotFound):
            await home.chats.get(ME, chat.id)


async def test_cancel_keeps_what_was_said() -> None:
    async with house(config=SimulatedConfig(voice=Voice(output_median=2000, output_sigma=0), pace=FAST)) as home:
        chat = await home.chats.create(ME, [])
        live = await home.hub.ask(home.ask("Talk", chat=chat.id))
        await live.more(2)
        answer = await home.hub.cancel(ME, live.answer.id)
        assert (answer.status, answer.finish) == (AnswerStatus.CANCELLED, FinishReason.CANCELLED)
        said = answer.output_items[0]
        assert said.text == "".join(delta.text for delta in live.deltas)
        assert not said.complete
        assert await home.texts(chat.id) == ["Talk", said.text]
        assert await home.hub.cancel(ME, answer.id) == answer
        assert (await home.engine.state()).running == 0
        with pytest.raises(NotFound):
            await home.hub.cancel(OTHER, answer.id)


@pytest.mark.parametrize(
    ("store", "background", "goes_on"), [(True, True, True), (True, False, True), (False, False, False)]
)
async def test_a_client_that_leaves(store: bool, background: bool, goes_on: bool) -> None:
    async with house() as home:
        live = await home.hub.ask(home.ask("Talk", store=store, background=background))
        await live.more(0)
        home.hub.leave(live)
        answer = await live.ended()
        assert (answer.status is AnswerStatus.COMPLETED) == goes_on
        assert (answer.status is AnswerStatus.CANCELLED) != goes_on


async def test_an_engine_that_dies_is_taken_up_where_it_was() -> None:
    async with house() as home:
        whole = await (await home.hub.ask(home.ask("Tell me", sampling=Sampling(seed=5)))).ended()
    crash = FaultRule(FaultKind.CRASH, times=1, after_tokens=4)
    config = SimulatedConfig(pace=FAST, faults=(crash,), restart_s=0.05)
    async with house(config=config) as home:
        answer = await (await home.hub.ask(home.ask("Tell me", sampling=Sampling(seed=5)))).ended()
        assert answer.status is AnswerStatus.COMPLETED
        assert answer.output_items[0].text == whole.output_items[0].text
        assert answer.usage == whole.usage
        assert home.hub.telemetry.engine_losses == 1


async def test_one_cut_stream_is_not_the_loss_of_an_engine() -> None:
    async with house() as home:
        whole = await (await home.hub.ask(home.ask("Tell me", sampling=Sampling(seed=5)))).ended()
    cut = FaultRule(FaultKind.CUT, times=1, after_tokens=4)
    async with house(config=SimulatedConfig(pace=FAST, faults=(cut,))) as home:
        answer = await (await home.hub.ask(home.ask("Tell me", sampling=Sampling(seed=5)))).ended()
        assert answer.output_items[0].text == whole.output_items[0].text
        assert home.hub.telemetry.engine_losses == 0


async def test_a_full_queue_refuses_and_keeps_nothing() -> None:
    config = SimulatedConfig(voice=Voice(output_median=500, output_sigma=0), pace=Pace(base=0.01, max_sequences=1))
    async with house(config=config, scheduler=SchedulerConfig(max_queued=2)) as home:
        lives = [await home.hub.ask(home.ask(f"Number {n}")) for n in range(3)]
        assert [live.place and live.place.position for live in lives] == [None, 1, 2]
        chat = await home.chats.create(ME, [])
        with pytest.raises(Overloaded) as refusal:
            await home.hub.ask(home.ask("One more", chat=chat.id))
        assert refusal.value.retry_after is not None
        assert 1 <= refusal.value.retry_after <= 120
        assert await home.texts(chat.id) == []
        assert not home.hub.busy(ME, chat.id)


async def test_a_prompt_beyond_the_window_names_both_lengths() -> None:
    async with house(config=SimulatedConfig(voice=Voice(context_window=100), pace=FAST)) as home:
        chat = await home.chats.create(ME, [])
        with pytest.raises(ContextTooLong, match=r"has \d{3} tokens.*is 100 tokens"):
            await home.hub.ask(home.ask("word " * 300, chat=chat.id))
        assert await home.texts(chat.id) == []
        assert not home.hub.busy(ME, chat.id)


async def test_an_unknown_model_lists_those_there_are() -> None:
    async with house() as home:
        with pytest.raises(ModelNotFound, match="'gpt' is not served here; there is simulated"):
            await home.hub.ask(home.ask("Hi", model="gpt"))


class FullStore(MemoryStore):
    """A disk that fills up."""

    full = False

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        if self.full:
            raise StorageFull
        await super().append(entries)


async def test_a_full_disk_fails_the_answer_clearly() -> None:
    store = FullStore()
    async with house(store=store) as home:
        chat = await home.chats.create(ME, [])
        live = await home.hub.ask(home.ask("Talk", chat=chat.id))
        await live.more(1)
        store.full = True
        answer = await live.ended()
        assert (answer.status, answer.error_code) == (AnswerStatus.FAILED, "storage_full")
        assert answer.output_items[0].text == "".join(delta.text for delta in live.deltas)
        store.full = False
        assert (await (await home.hub.ask(home.ask("Again", chat=chat.id))).ended()).status is AnswerStatus.COMPLETED


async def test_fork_and_remove() -> None:
    async with house() as home:
        chat = await home.chats.create(ME, [says("One"), says("Two"), says("Three")])
        nodes = await home.chats.items(ME, chat.id)
        fork = await home.chats.fork(ME, chat.id, at=nodes[1].item.id, title="Other way")
        await home.chats.append(ME, fork.id, [says("Four")])
        await home.chats.remove(ME, chat.id, nodes[0].item.id)
        assert await home.texts(fork.id) == ["One", "Two", "Four"]
        assert await home.texts(chat.id) == ["Two", "Three"]
        assert [node.item.id for node in await home.chats.items(ME, chat.id)] == [n.item.id for n in nodes[1:]]
        with pytest.raises(NotFound):
            await home.chats.remove(ME, chat.id, nodes[0].item.id)
        with pytest.raises(NotFound):
            await home.chats.fork(OTHER, chat.id)


class Gated(MemoryStore):
    """Who is not ME waits at ``gate`` to look for a chat."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.gate = asyncio.Event(), asyncio.Event()

    async def chat(self, user: UserId, chat: ChatId) -> Chat | None:
        if user != ME:
            self.came.set()
            await self.gate.wait()
        return await super().chat(user, chat)


async def test_who_names_a_strangers_chat_does_not_hold_it_up() -> None:
    store = Gated()
    async with house(store=store) as home:
        chat = await home.chats.create(ME, [])
        intrusion = asyncio.create_task(home.hub.ask(Ask(OTHER, AnswerKind.RESPONSE, (says("Mine?"),), chat=chat.id)))
        await store.came.wait()
        live = await home.hub.ask(home.ask("Mine.", chat=chat.id))
        store.gate.set()
        with pytest.raises(NotFound):
            await intrusion
        await live.ended()
        assert home.hub.idle()


class Listed(MemoryStore):
    """Keeps what each write of the journal held."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[JournalEntry]] = []

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        self.written.append(list(entries))
        await super().append(entries)


async def test_a_first_word_does_not_wait_for_the_words_of_others() -> None:
    store = Listed()
    slow = HubConfig(coalesce_seconds=1.0, coalesce_seconds_per_stream=1.0)
    async with house(store=store, hub=slow) as home:
        long = await home.hub.ask(home.ask("Talk on and on.", sampling=Sampling(max_tokens=2000)))
        await long.more(0)
        first = {long.answer.id}
        for number in range(10):
            live = await home.hub.ask(home.ask(f"Number {number}", sampling=Sampling(max_tokens=50)))
            await live.more(0)
            first.add(live.answer.id)
        # The long answer says something in every step: a write without it is one of first words alone.
        alone = [entries for entries in store.written if long.answer.id not in {entry.answer for entry in entries}]
        assert any(entry.start == 0 for entries in alone for entry in entries)
        await home.hub.cancel(ME, long.answer.id)
