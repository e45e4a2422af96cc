"""Where conversations go: what consistent hashing with bounded loads promises, and what is remembered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.affinity import Affinity, thread_of
from hubbub.core.budget import EngineBudget
from hubbub.core.events import Arrived, Dispatch, EngineUp, Finished
from hubbub.core.pace import Pace
from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.steering import Steering
from hubbub.core.types import ChatId, EngineId, EngineState, Message, Request, RequestId, Role, Usage, UserId

USER, ASSISTANT, SYSTEM = Role.USER, Role.ASSISTANT, Role.SYSTEM
SIZES = st.lists(st.integers(1, 8), min_size=2, max_size=6)
FREE_OF_BOUND = float("inf")


def budget(name: str, sequences: int = 4) -> EngineBudget:
    steering = Steering(Pace(), SchedulerConfig())
    return EngineBudget(EngineId(name), EngineState(("m",), 8192, sequences, 0), 1.0, 0.0, steering)


def said(*texts: str, chat: str = "c", adapter: str = "") -> Request:
    """A history whose texts are a user's and an assistant's in turn."""
    messages = tuple(Message(ASSISTANT if i % 2 else USER, text) for i, text in enumerate(texts))
    return Request(RequestId("r"), UserId("u"), ChatId(chat), "m", 1, messages=messages, adapter=adapter)


def homes(engines: list[EngineBudget], keys: int) -> dict[int, EngineId]:
    affinity = Affinity(FREE_OF_BOUND)
    for engine in engines:
        affinity.met(engine.id)
    threads = {key: thread_of(said(f"question {key}", chat=f"c{key}")) for key in range(keys)}
    return {key: affinity.choose(thread, engines, engines).id for key, thread in threads.items()}


@given(SIZES)
@settings(max_examples=12)
def test_when_a_replica_leaves_only_its_own_move(sizes: list[int]) -> None:
    engines = [budget(f"e{i}", size) for i, size in enumerate(sizes)]
    before, after = homes(engines, 200), homes(engines[1:], 200)
    moved = {key for key in before if before[key] != after[key]}
    assert moved == {key for key, home in before.items() if home == engines[0].id}


def test_shares_follow_the_sizes() -> None:
    found = Counter(homes([budget("e", 1), budget("f", 1), budget("g", 2)], 4000).values())
    for engine, share in (("e", 0.25), ("f", 0.25), ("g", 0.5)):
        assert abs(found[EngineId(engine)] / 4000 - share) < 0.04, "5 standard deviations and more"


@given(SIZES, st.sampled_from([1.0, 1.25, 2.0]), st.lists(st.integers(0, 9), max_size=40), st.integers(1, 9))
@settings(max_examples=60)
def test_loads_stay_within_the_bound(sizes: list[int], bound: float, topics: list[int], popular: int) -> None:
    """Whatever is asked, and how often: no replica runs more than ``bound`` times its share, rounded up."""
    engines = [budget(f"e{i}", size) for i, size in enumerate(sizes)]
    affinity = Affinity(bound)
    for engine in engines:
        affinity.met(engine.id)
    for number, topic in enumerate(topics):
        thread = thread_of(said(f"question {min(topic, popular)}", chat=f"c{number}"))
        chosen = affinity.choose(thread, engines, engines)
        chosen.lease(RequestId(f"r{number}"), 1)
        affinity.remember(thread, chosen.id)
        for engine in engines:
            assert len(engine.leases) <= ceil(bound * (number + 1) * engine.sequences / sum(sizes))


def test_a_conversation_is_known_by_its_chat_its_history_and_its_beginning() -> None:
    first = thread_of(said("hello"))
    answered = said("hello", "hi!", "who are you?")
    assert set(first.names) & set(thread_of(answered).known_as), "the next turn"
    assert set(first.names) & set(thread_of(replace(answered, chat=ChatId("d"))).known_as), (
        "of a stateless history, too"
    )
    assert set(first.names) & set(thread_of(said("hello", chat="d")).known_as), "asked again"
    assert set(first.names) & set(thread_of(said("something else")).known_as), "the same chat"
    assert not set(first.names) & set(thread_of(said("hell", chat="d")).known_as)
    assert first.beginning == thread_of(answered).beginning == thread_of(said("hello", "no", chat="e")).beginning


def test_another_adapter_is_another_prefix() -> None:
    plain, tuned = thread_of(said("hello")), thread_of(said("hello", adapter="x"))
    assert plain.beginning != tuned.beginning
    assert not set(plain.names) & set(tuned.known_as)


def test_what_is_said_cannot_be_taken_for_another_history() -> None:
    one = replace(said(), messages=(Message(USER, "a"), Message(USER, "b")))
    two = replace(said(), messages=(Message(USER, "a user 1:b"),))
    assert thread_of(one).names != thread_of(two).names


def test_the_oldest_are_forgotten_first() -> None:
    affinity = Affinity(FREE_OF_BOUND, remembered=4)
    engines = [budget("e"), budget("f")]
    for engine in engines:
        affinity.met(engine.id)
    threads = [thread_of(said(f"question {i}", chat=f"c{i}")) for i in range(3)]
    other = {
        thread: next(e for e in engines if e is not affinity.choose(thread, engines, engines)) for thread in threads
    }
    for thread in threads:
        affinity.remember(thread, other[thread].id)
    assert [affinity.choose(thread, engines, engines) is other[thread] for thread in threads] == [False, True, True]


@given(st.integers(0, 4), st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=8))
@settings(max_examples=8)
def test_an_adapter_is_never_starved_by_others(bypass: int, slots: int, crowd: list[int]) -> None:
    """One engine that cannot mix, and users of one adapter who never stop, always with someone waiting: another's
    request is served in bounded time."""
    scheduler = Scheduler(SchedulerConfig(max_bypass=bypass))
    state = EngineState(("m",), 8192, slots, 10**6, adapters=("x",), mixes_adapters=False)
    scheduler.handle(EngineUp(EngineId("e"), state), 0.0)
    running: list[RequestId] = []
    waiting = served = 0
    for number in range(120):
        user, adapter = (-1, "x") if number == 20 else (crowd[number % len(crowd)], "")
        request = Request(RequestId(f"r{number}"), UserId(f"u{user}"), ChatId(f"c{user}"), "m", 10, adapter=adapter)
        waiting += 1
        commands = scheduler.handle(Arrived(request), float(number))
        if running and waiting > slots:
            commands += scheduler.handle(Finished(running.pop(0), Usage(10, 10)), float(number))
        scheduler.validate()
        for command in commands:
            if isinstance(command, Dispatch):
                waiting -= 1
                running.append(command.request)
                served = served or number * (command.request == "r20")
    assert 20 <= served < 120
