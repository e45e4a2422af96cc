"""What a stop, a kill or a silent engine interrupts goes on, as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hubbub.core.errors import ChatBusy, EngineUnavailable, Interrupted, StorageFull
from hubbub.core.scheduler import SchedulerConfig
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerStatus,
    ChatId,
    Delta,
    EngineId,
    EngineState,
    FinishReason,
    Priority,
    Sampling,
    Style,
)
from hubbub.engines.sim_faults import FaultKind, FaultRule
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig, SimulatedEngine
from hubbub.gateway.response_events import ResponseEvents
from hubbub.gateway.sse import ended
from hubbub.ports import AnswerSaved, Change, ChatDeleted, JournalEntry
from hubbub.runtime.chats import ChatEdit
from hubbub.runtime.hub import HubConfig
from hubbub.runtime.live import Live
from hubbub.runtime.run import replayed
from hubbub.store.memory import MemoryStore
from support.house import FAST, ME, House, house, says

LONG = SimulatedConfig(voice=Voice(output_median=60, output_sigma=0, adapters=("x",)), pace=FAST)
SLOW = replace(FAST, base=0.02)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {
    f"field_{n}": {"type": "integer", "minimum": n} for n in range(20)
}, "required": [f"field_{n}" for n in range(20)]}}}  # fmt: skip


def seen(live: Live) -> bytes:
    """What a reader has been sent until now."""
    events = ResponseEvents(live.answer)
    return events.opening() + events.feed(live.answer, live.deltas)


async def alive(store: MemoryStore, config: SimulatedConfig = LONG) -> House:
    built = House(store, SimulatedEngine(EngineId("sim"), config))
    await built.start()
    return built


async def final(store: MemoryStore, answer: AnswerId) -> Answer:
    found = await store.answer(ME, answer)
    assert found is not None
    assert found.status.final
    return found


async def expected(text: str, **more: object) -> Answer:
    """The answer of a server that nobody kills."""
    async with house(config=LONG) as home:
        return await (await home.hub.ask(home.ask(text, **more))).ended()


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_stream_goes_on_after_a_restart_as_if_nothing_had_been(orderly: bool) -> None:
    sampling = Sampling(seed=5, max_tokens=50, temperature=0.5)
    whole = await expected("Talk", sampling=sampling, instructions="Be long.", adapter="x")
    store = MemoryStore()
    shown: list[bytes] = []
    live: Live | None = None
    first = await alive(store)
    chat = await first.chats.create(ME, [], style=Style(system_prompt="Be long.", temperature=0.5, adapter="x"))
    live = await first.hub.ask(first.ask("Talk", chat=chat.id, sampling=replace(sampling, temperature=None)))
    for _ in range(3):
        await live.more(len(live.deltas) + 3)
        shown.append(seen(live))
        await (first.stop() if orderly else first.kill())
        first = await alive(store)
        # Its style is that of the time it was asked.
        await first.chats.edit(ME, chat.id, ChatEdit(style=Style(system_prompt="Be brief.")))
        again = first.hub.live(ME, live.answer.id)
        assert again is not None
        live = again
        assert first.hub.busy(ME, chat.id)
        with pytest.raises(ChatBusy):
            await first.hub.ask(first.ask("More", chat=chat.id))
    await live.ended()
    answer = await final(store, live.answer.id)
    replay = ended(answer, replayed(answer), ResponseEvents(answer))
    assert all(replay.startswith(beginning) for beginning in shown)
    assert (answer.status, answer.finish) == (AnswerStatus.INCOMPLETE, FinishReason.LENGTH)
    assert answer.output_items[0].text == whole.output_items[0].text
    assert answer.usage == whole.usage
    assert answer.asked is None
    assert await first.texts(chat.id) == ["Talk", whole.output_items[0].text]
    assert not first.hub.busy(ME, chat.id)
    await first.stop()
    assert (await store.counts())["journal"] == 0


async def test_who_waited_is_served_in_the_same_order() -> None:
    config = replace(LONG, pace=replace(SLOW, max_sequences=1))
    store = MemoryStore()
    first = await alive(store, config)
    asks = [first.ask(f"Number {n}", priority=Priority.CHAT if n else Priority.BULK) for n in range(5)]
    lives = [await first.hub.ask(ask) for ask in asks]
    await first.kill()
    async with house(store=store, config=replace(LONG, pace=replace(FAST, max_sequences=1))) as home:
        ends = [home.hub.live(ME, live.answer.id) for live in lives]
        order: list[AnswerId] = []

        async def wait(live: Live | None) -> None:
            assert live is not None
            order.append((await live.ended()).id)

        await asyncio.gather(*map(wait, ends))
        assert order == [lives[n].answer.id for n in (1, 2, 3, 4, 0)]


async def test_those_accepted_before_a_restart_are_never_refused() -> None:
    store = MemoryStore()
    first = await alive(store, replace(LONG, pace=SLOW))
    lives = [await first.hub.ask(first.ask(f"Number {n}")) for n in range(6)]
    await first.kill()
    small = replace(LONG, pace=replace(FAST, max_sequences=1))
    async with house(store=store, config=small, scheduler=SchedulerConfig(max_queued=1)) as home:
        for live in lives:
            again = home.hub.live(ME, live.answer.id)
            assert again is not None
            assert (await again.ended()).status is AnswerStatus.COMPLETED


async def test_a_stop_parts_readers_without_an_end_and_ends_what_is_not_stored() -> None:
    store = MemoryStore()
    home = await alive(store, replace(LONG, pace=SLOW))
    kept = await home.hub.ask(home.ask("Kept"))
    passing = await home.hub.ask(home.ask("Passing", store=False))
    readers = asyncio.gather(kept.ended(), kept.more(1000), home.hub.cancel(ME, passing.answer.id))
    await kept.more(1)
    await asyncio.gather(home.stop(), readers, return_exceptions=True)
    assert isinstance(readers.exception(), Interrupted)
    assert not kept.done
    assert passing.answer.status is AnswerStatus.CANCELLED
    with pytest.raises(EngineUnavailable):
        await home.hub.ask(home.ask("Too late"))
    [unfinished] = await store.unfinished()
    assert unfinished.asked is not None
    assert (unfinished.asked.parked, unfinished.asked.interruptions) == (True, 0)
    assert await store.entries(kept.answer.id) == tuple(kept.deltas)
    async with house(store=store, config=LONG) as after:
        again = after.hub.live(ME, kept.answer.id)
        assert again is not None
        assert (await again.ended()).status is AnswerStatus.COMPLETED


async def test_what_kills_the_server_each_time_ends_at_last() -> None:
    store, limit = MemoryStore(), HubConfig(max_interruptions=2)
    home = House(store, SimulatedEngine(EngineId("sim"), replace(LONG, pace=SLOW)), hub=limit)
    await home.start()
    live = await home.hub.ask(home.ask("Poison"))
    await live.more(2)
    for _ in range(2):
        await home.kill()
        home = House(store, SimulatedEngine(EngineId("sim"), replace(LONG, pace=SLOW)), hub=limit)
        await home.start()
        assert home.hub.live(ME, live.answer.id) is not None
    await home.kill()
    async with house(store=store, hub=limit) as after:
        assert after.hub.live(ME, live.answer.id) is None
        answer = await final(store, live.answer.id)
        assert (answer.status, answer.error_code) == (AnswerStatus.FAILED, "server_restarted")
        assert "killed 3 times" in answer.error_message
        assert answer.output_items[0].text.startswith("".join(delta.text for delta in live.deltas))


async def test_an_answer_of_an_older_version_ends_as_it_did_there() -> None:
    store = MemoryStore()
    home = await alive(store)
    live = await home.hub.ask(home.ask("Talk"))
    await live.more(2)
    await home.kill()
    [unfinished] = await store.unfinished()
    await store.commit(AnswerSaved(replace(unfinished, asked=None)))
    async with house(store=store):
        answer = await final(store, live.answer.id)
        assert (answer.status, answer.error_code) == (AnswerStatus.FAILED, "server_restarted")
        assert answer.output_items[0].text


async def test_half_a_tool_call_fails_and_is_kept() -> None:
    store = MemoryStore()
    home = await alive(store, replace(LONG, pace=SLOW))
    sampling = Sampling(tools=(TOOL,), tool_choice="required")
    live = await home.hub.ask(home.ask("Look", sampling=sampling))
    await live.more(3)
    await home.kill()
    async with house(store=store, config=LONG) as after:
        again = after.hub.live(ME, live.answer.id)
        assert again is not None
        answer = await again.ended()
        assert (answer.status, answer.error_code) == (AnswerStatus.FAILED, "engine_lost")
        assert "within a tool call" in answer.error_message
        [call] = answer.output_items
        assert call.name == "look"
        assert not call.complete
        assert call.text.startswith("".join(delta.tool.arguments for delta in live.deltas if delta.tool))


@pytest.mark.parametrize(("fault", "code"), [(FaultKind.CRASH, "engine_lost"), (FaultKind.CUT, "engine_lost")])
async def test_half_a_json_answer_fails_and_is_kept(fault: FaultKind, code: str) -> None:
    """An engine's grammar would begin anew in the middle of it."""
    rule = FaultRule(fault, times=1, after_tokens=4)
    schema = TOOL["function"]["parameters"]  # type: ignore[index]
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    async with house(config=replace(LONG, faults=(rule,), restart_s=0.02)) as home:
        answer = await (await home.hub.ask(home.ask("Tell", sampling=Sampling(response_format=form)))).ended()
        assert (answer.status, answer.error_code) == (AnswerStatus.FAILED, code)
        assert answer.output_items[0].text.startswith("{")
        assert (await (await home.hub.ask(home.ask("Tell"))).ended()).status is AnswerStatus.COMPLETED


async def test_what_cannot_go_on_makes_room_for_who_waits() -> None:
    """The end of one attempt is an event within another: the commands of both count, in their order."""
    rule = FaultRule(FaultKind.CRASH, times=1, after_tokens=4)
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": TOOL["function"]["parameters"]}}  # type: ignore[index]
    config = replace(LONG, pace=replace(FAST, max_sequences=1), faults=(rule,), restart_s=0.02)
    async with house(config=config) as home:
        asks = [home.ask("Tell", sampling=Sampling(response_format=form)), home.ask("One"), home.ask("Two")]
        lives = [await home.hub.ask(ask) for ask in asks]
        ends = [(await asyncio.wait_for(live.ended(), 20)).status for live in lives]
        assert ends == [AnswerStatus.FAILED, AnswerStatus.COMPLETED, AnswerStatus.COMPLETED]


async def test_all_was_said_but_the_end() -> None:
    """The kill came between the last token and the word that it was the last."""
    whole = await expected("Talk", sampling=Sampling(max_tokens=9))
    text, store = whole.output_items[0].text, MemoryStore()
    home = await alive(store, replace(LONG, pace=replace(SLOW, base=30.0)))
    live = await home.hub.ask(home.ask("Talk", sampling=Sampling(max_tokens=9)))
    await store.append([JournalEntry(live.answer.id, 0, (Delta(text[:5], tokens=2), Delta(text[5:], tokens=7)))])
    await home.kill()
    async with house(store=store, config=LONG) as after:
        again = after.hub.live(ME, live.answer.id)
        assert again is not None
        answer = await again.ended()
        assert (answer.status, answer.finish) == (AnswerStatus.INCOMPLETE, FinishReason.LENGTH)
        assert answer.output_items[0].text == text
        assert answer.usage.output_tokens == 9


async def test_a_stop_text_across_the_seam() -> None:
    plain = await expected("Talk")
    stop = plain.output_items[0].text[40:60]
    sampling = Sampling(stop=(stop,))
    whole = await expected("Talk", sampling=sampling)
    store = MemoryStore()
    home = await alive(store)
    live = await home.hub.ask(home.ask("Talk", sampling=sampling))
    while sum(len(delta.text) for delta in live.deltas) < 35:
        await live.more(len(live.deltas))
    await home.kill()
    async with house(store=store, config=LONG) as after:
        again = after.hub.live(ME, live.answer.id)
        answer = await (again.ended() if again else final(store, live.answer.id))
        assert answer.output_items[0].text == whole.output_items[0].text == plain.output_items[0].text[:40]


async def test_a_silent_engine_is_killed_and_its_answers_go_on() -> None:
    whole = await expected("Talk")
    hang = FaultRule(FaultKind.HANG, times=1, after_tokens=4)
    config = replace(LONG, faults=(hang,), restart_s=0.02)
    async with house(config=config, silence_seconds=0.2) as home:
        live = await home.hub.ask(home.ask("Talk"))
        answer = await live.ended()
        assert answer.status is AnswerStatus.COMPLETED
        assert answer.output_items[0].text == whole.output_items[0].text
        assert (home.hub.telemetry.engine_hangs, home.hub.telemetry.engine_losses) == (1, 1)


class Frozen(SimulatedEngine):
    """Its process stands still: it hangs, and does not say how it is either, until it is killed."""

    async def state(self) -> EngineState:
        if self._hung:
            await asyncio.sleep(0.03)
            raise EngineUnavailable("it took too long")
        return await super().state()


async def test_a_frozen_engine_is_killed_and_its_answers_go_on() -> None:
    whole = await expected("Talk")
    hang = FaultRule(FaultKind.HANG, times=1, after_tokens=4)
    engine = Frozen(EngineId("sim"), replace(LONG, faults=(hang,), restart_s=0.3))
    home = House(MemoryStore(), engine, silence_seconds=0.2)
    await home.start()
    live = await home.hub.ask(home.ask("Talk"))
    answer = await live.ended()
    assert answer.status is AnswerStatus.COMPLETED
    assert answer.output_items[0].text == whole.output_items[0].text
    # Once: the time it takes to come back, longer than the patience with a silent one, is not held against it.
    assert (home.hub.telemetry.engine_hangs, home.hub.telemetry.engine_losses) == (1, 1)
    await home.stop()


class Prefilling(SimulatedEngine):
    """Its steps go on, as in a prefill that takes long, until ``silent_for`` looks have been taken at it."""

    looks = 0
    silent_for = 40

    async def state(self) -> EngineState:
        self.looks += 1
        if self.looks == self.silent_for:
            self.kill()
        return replace(await super().state(), steps=self.looks)


async def test_an_engine_that_makes_steps_does_not_hang() -> None:
    hang = FaultRule(FaultKind.HANG, times=1, after_tokens=4)
    engine = Prefilling(EngineId("sim"), replace(LONG, faults=(hang,), restart_s=0.02))
    home = House(MemoryStore(), engine, silence_seconds=0.2)
    await home.start()
    live = await home.hub.ask(home.ask("Talk"))
    assert (await live.ended()).status is AnswerStatus.COMPLETED
    assert engine.looks >= engine.silent_for
    assert home.hub.telemetry.engine_hangs == 0
    await home.stop()


class FullStore(MemoryStore):
    """Takes no commits while it is full."""

    full = False

    def __init__(self) -> None:
        super().__init__()
        self.took = asyncio.Event()

    async def commit(self, *changes: Change) -> None:
        if self.full:
            self.took.clear()
            raise StorageFull
        await super().commit(*changes)
        self.took.set()


async def test_an_end_is_not_shown_before_it_can_be_stored() -> None:
    store = FullStore()
    async with house(store=store, config=LONG, hub=HubConfig(store_patience_seconds=0.1)) as home:
        chat = await home.chats.create(ME, [])
        live = await home.hub.ask(home.ask("Talk", chat=chat.id))
        store.full = True
        with pytest.raises(StorageFull):
            await live.ended()
        assert not live.done
        assert home.hub.busy(ME, chat.id)
        store.full = False
        await store.took.wait()
        answer = await final(store, live.answer.id)
        assert answer.status is AnswerStatus.COMPLETED
        assert await home.texts(chat.id) == ["Talk", answer.output_items[0].text]


class PickyStore(MemoryStore):
    """Its disk has a bad block under one answer."""

    bad: AnswerId | None = None

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        if any(entry.answer == self.bad for entry in entries):
            raise StorageFull
        await super().append(entries)


async def test_one_that_cannot_be_journaled_takes_no_others_with_it() -> None:
    store = PickyStore()
    async with house(store=store, config=LONG) as home:
        lives = [await home.hub.ask(home.ask(f"Number {n}")) for n in range(8)]
        store.bad = lives[3].answer.id
        statuses = [(await live.ended()).status for live in lives]
        assert statuses == [AnswerStatus.FAILED if n == 3 else AnswerStatus.COMPLETED for n in range(8)]


async def test_a_chat_that_was_deleted_meanwhile_leaves_its_answer() -> None:
    store = MemoryStore()
    async with house(store=store, config=LONG) as home:
        chat = await home.chats.create(ME, [says("Hello")])
        live = await home.hub.ask(home.ask("Talk", chat=chat.id))
        await store.commit(ChatDeleted(ChatId(chat.id)))
        answer = await live.ended()
        assert answer.status is AnswerStatus.COMPLETED
        assert await final(store, answer.id) == answer
        assert await store.unfinished() == ()
