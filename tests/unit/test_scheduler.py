"""The scheduler's commands, event by event."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hubbub.core.budget import EngineBudget
from hubbub.core.events import (
    Abort,
    Arrived,
    Close,
    Command,
    Dispatch,
    EngineDown,
    EngineDraining,
    EngineUp,
    Event,
    Failed,
    Finished,
    Outcome,
    Progressed,
    Refuse,
    Ticked,
    Wait,
    Withdrawn,
)
from hubbub.core.pace import Pace
from hubbub.core.scheduler import InvariantError, Scheduler, SchedulerConfig, UserLoad
from hubbub.core.steering import Steering
from hubbub.core.types import (
    ChatId,
    EngineId,
    EngineState,
    Priority,
    Request,
    RequestId,
    Sampling,
    Usage,
    UserId,
)

E, F = EngineId("e"), EngineId("f")
CHAT, BULK = Priority.CHAT, Priority.BULK


def r(name: str) -> RequestId:
    return RequestId(name)


def ask(
    name: str,
    user: str = "ann",
    chat: str = "",
    *,
    prompt: int = 100,
    most: int | None = None,
    bulk: bool = False,
    model: str = "m",
    adapter: str = "",
) -> Arrived:
    return Arrived(
        Request(
            r(name),
            UserId(user),
            ChatId(chat or f"chat-{name}"),
            model,
            prompt,
            BULK if bulk else CHAT,
            sampling=Sampling(max_tokens=most),
            adapter=adapter,
        )
    )


def up(sequences: int = 1, kv: int = 100_000, engine: EngineId = E, models: tuple[str, ...] = ("m",)) -> EngineUp:
    return EngineUp(engine, EngineState(models, 8192, sequences, kv))


def done(name: str, output: int = 0, prompt: int = 100, cached: int = 0) -> Finished:
    return Finished(r(name), Usage(prompt, output, cached))


def finished(name: str) -> Close:
    return Close(r(name), Outcome.FINISHED)


def cancelled(name: str) -> Close:
    return Close(r(name), Outcome.CANCELLED)


def run(name: str, engine: EngineId = E) -> Dispatch:
    return Dispatch(r(name), engine)


class Desk:
    """A scheduler with a clock that steps one second an event, checked after every one. What those in line hear with
    every tick is left out."""

    def __init__(self, **config: object) -> None:
        self.scheduler = Scheduler(SchedulerConfig(**config))  # type: ignore[arg-type]
        self.now = 1000.0

    def __call__(self, *events: Event, after: float = 1.0) -> list[Command]:
        said: list[Command] = []
        for event in events:
            self.now += after
            told = self.scheduler.handle(event, self.now)
            said += [c for c in told if not (isinstance(event, Ticked) and isinstance(c, Wait))]
            self.scheduler.validate()
        return said


def test_dispatch_at_once_or_wait_then_in_order() -> None:
    desk = Desk()
    assert desk(up()) == []
    assert desk(ask("a", "ann")) == [run("a")]
    assert desk(ask("b", "bob")) == [Wait(r("b"), 1)]
    assert desk(ask("c", "cid")) == [Wait(r("c"), 2)]
    assert desk(done("a")) == [finished("a"), run("b")]
    assert desk(done("b")) == [finished("b"), run("c")]
    assert desk(done("c")) == [finished("c")]
    assert desk.scheduler.view().running == {CHAT: 0, BULK: 0}


def test_a_duplicate_id_is_the_callers_fault() -> None:
    desk = Desk()
    desk(up(), ask("a"))
    with pytest.raises(ValueError, match="a has already arrived"):
        desk(ask("a"))
    desk(done("a"))
    assert desk(ask("a")) == [run("a")]


def test_late_and_unknown_events_change_nothing() -> None:
    desk = Desk()
    desk(up(), ask("a"), ask("b"))
    before = desk.scheduler.view()
    for event in (
        done("b"),
        done("x"),
        Failed(r("b"), "engine_error", "late"),
        Failed(r("x"), "engine_error", "late", retryable=True),
        Withdrawn(r("x")),
        EngineDown(F),
        Progressed({r("x"): 5, r("b"): 5}),
        Ticked(),
    ):
        assert desk(event) == []
    assert desk.scheduler.view() == before


def test_time_that_steps_back_is_taken_to_stand_still() -> None:
    desk = Desk()
    desk(up(), ask("a"))
    assert desk(done("a"), after=-500) == [finished("a")]


def test_withdraw_queued_and_running() -> None:
    desk = Desk()
    desk(up(), ask("a"), ask("b"), ask("c"))
    assert desk(Withdrawn(r("b"))) == [cancelled("b")]
    assert desk(Withdrawn(r("a"))) == [Abort(r("a"), E), cancelled("a"), run("c")]
    assert desk(Withdrawn(r("a"))) == []


def test_failures() -> None:
    desk = Desk(max_attempts=2)
    desk(up(), ask("a"), ask("b"))
    assert desk(Failed(r("a"), "context_length_exceeded", "too long")) == [
        Close(r("a"), Outcome.FAILED, "context_length_exceeded", "too long"),
        run("b"),
    ]
    assert desk(Failed(r("b"), "engine_error", "busy", retryable=True)) == [run("b")]
    assert desk(Failed(r("b"), "engine_error", "busy", retryable=True)) == [
        Close(r("b"), Outcome.FAILED, "engine_error", "busy (attempt 2 of 2)")
    ]


def test_a_failed_request_is_tried_elsewhere() -> None:
    desk = Desk()
    desk(up(4), up(4, engine=F))
    assert desk(ask("a")) == [run("a", E)]
    assert desk(Failed(r("a"), "engine_error", "busy", retryable=True)) == [run("a", F)]


def test_engine_loss_puts_requests_back_in_their_order() -> None:
    desk = Desk(max_attempts=2)
    desk(up(2), ask("a1", "ann", "a"), ask("a2", "ann", "a"), ask("a3", "ann", "a"))
    assert desk(EngineDown(E)) == [Wait(r("a1"), 1), Wait(r("a2"), 2)]
    assert [desk.scheduler.position(r(n)) for n in ("a1", "a2", "a3", "x")] == [1, 2, 3, None]
    assert desk(EngineDown(E)) == []
    assert desk(up(2)) == [run("a1"), run("a2")]
    assert desk(EngineDown(E)) == [
        Close(r("a1"), Outcome.FAILED, "engine_lost", "engine e was lost (attempt 2 of 2)"),
        Close(r("a2"), Outcome.FAILED, "engine_lost", "engine e was lost (attempt 2 of 2)"),
    ]
    assert desk(up(1)) == [run("a3")]


def test_engine_loss_moves_requests_to_another() -> None:
    desk = Desk()
    desk(up(2), ask("a"), ask("b"), up(1, engine=F))
    assert desk(EngineDown(E)) == [run("a", F), Wait(r("b"), 1)]


def test_a_lost_one_takes_its_place_between_others_of_its_chat() -> None:
    desk = Desk()
    desk(up(1), ask("a1", "ann", "a"), up(1, engine=F), ask("a2", "ann", "a"), ask("a3", "ann", "a"))
    assert desk(EngineDown(E)) == [Wait(r("a1"), 1)]
    assert desk(EngineDown(F)) == [Wait(r("a2"), 2)]
    assert desk(up(3)) == [run("a1"), run("a2"), run("a3")]


def test_nobody_serves_the_model() -> None:
    desk = Desk(max_queue_seconds=60)
    assert desk(ask("a"), up(models=("other",))) == [Wait(r("a"), 1)]
    assert desk(Ticked(), after=50) == []
    assert desk(ask("b")) == [Wait(r("b"), 2)]
    assert desk(Ticked(), after=10) == [
        Close(r("a"), Outcome.FAILED, "engine_unavailable", "no engine has served m for 60 s")
    ]
    assert desk(up(engine=F)) == [run("b", F)]
    desk(ask("c"))
    # The time counts from the loss of the engine, not from the arrival: a long line is no failure.
    assert desk(Ticked(), after=500) == []
    desk(EngineDown(F))
    assert desk(Ticked(), after=59) == []
    assert [c.request for c in desk(Ticked(), after=2)] == ["b", "c"]


def test_capacity_changes() -> None:
    desk = Desk()
    desk(up(1), ask("a"), ask("b"), ask("c"))
    assert desk(up(2)) == [run("b")]
    assert desk(up(1)) == []
    assert desk(done("a")) == [finished("a")]
    assert desk(up(0)) == []
    assert desk(done("b")) == [finished("b")]
    assert desk(up(1, models=("other",))) == []
    assert desk(up(1)) == [run("c")]


def test_kv_tokens_bound_what_runs() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=100)
    desk(up(8, kv=1000))
    assert desk(ask("a", prompt=300)) == [run("a")]
    assert desk(ask("b", prompt=300, most=10)) == [run("b")]
    assert desk.scheduler.view().engines[E].kv_tokens == 400 + 310
    assert desk(ask("c", prompt=300)) == [Wait(r("c"), 1)]
    desk(Progressed({r("a"): 150}))
    assert desk.scheduler.view().engines[E].kv_tokens == 450 + 310
    assert desk(Withdrawn(r("b"))) == [Abort(r("b"), E), cancelled("b"), run("c")]


def test_an_idle_engine_takes_what_is_bigger_than_itself() -> None:
    desk = Desk()
    desk(up(8, kv=1000), ask("a"))
    assert desk(ask("big", prompt=5000)) == [Wait(r("big"), 1)]
    assert desk(done("a")) == [finished("a"), run("big")]
    assert desk(ask("b")) == [Wait(r("b"), 1)]


def test_an_engine_that_reports_no_cache_is_bounded_by_sequences() -> None:
    desk = Desk()
    desk(up(2, kv=0))
    assert desk(ask("a", prompt=10**6), ask("b", prompt=10**6)) == [run("a"), run("b")]
    assert desk(ask("c")) == [Wait(r("c"), 1)]


def test_expected_output_is_learned() -> None:
    desk = Desk(expected_output=160)
    desk(up(8))
    desk(ask("a"), done("a", output=0, prompt=100))
    desk(ask("b"))
    assert desk.scheduler.view().engines[E].kv_tokens == 100 + 150


def test_small_ones_may_pass_a_big_one_only_so_often() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=2)
    desk(up(8, kv=1000), ask("a", "ann", prompt=600))
    assert desk(ask("big", "big", prompt=500)) == [Wait(r("big"), 1)]
    assert desk(ask("s1", "s1", prompt=100)) == [run("s1")]
    assert desk(ask("s2", "s2", prompt=100)) == [run("s2")]
    assert desk(ask("s3", "s3", prompt=100)) == [Wait(r("s3"), 2)]
    assert desk(done("s1"), done("s2")) == [finished("s1"), finished("s2")]
    assert desk(done("a")) == [finished("a"), run("big"), run("s3")]


def test_the_hold_goes_where_most_is_free_and_ends_with_its_request() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=1)
    desk(up(8, kv=1000), up(8, kv=1000, engine=F))
    desk(ask("a", "ann", prompt=600), ask("b", "bob", prompt=500))
    assert desk(ask("big", "big", prompt=900)) == [Wait(r("big"), 1)]
    assert desk(ask("s1", "s1", prompt=100)) == [run("s1", F)]
    assert desk(ask("s2", "s2", prompt=100)) == [run("s2", E)]
    assert desk(ask("s3", "s3", prompt=400)) == [Wait(r("s3"), 2)]
    assert desk(Withdrawn(r("big"))) == [cancelled("big"), run("s3", F)]


def test_a_held_engine_that_changes_is_held_no_more() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=1)
    desk(up(8, kv=1000), ask("a", "ann", prompt=600), ask("big", "big", prompt=500), ask("s1", "s1", prompt=10))
    assert desk(ask("s2", "s2", prompt=10)) == [Wait(r("s2"), 2)]
    assert desk(up(9, kv=1000)) == [run("s2")]
    assert desk(ask("s3", "s3", prompt=10)) == [Wait(r("s3"), 2)]
    assert [command.request for command in desk(EngineDown(E))] == ["a", "s1", "s2"]
    assert len(desk(up(9, kv=2000))) == 5


def test_two_big_ones_hold_two_engines_and_no_more() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=1)
    desk(up(8, kv=1000), ask("a", "ann", prompt=600))
    desk(ask("x", "x", prompt=900), ask("s1", "s1", prompt=10))
    assert desk(ask("y", "y", prompt=900), ask("s2", "s2", prompt=10)) == [Wait(r("y"), 2), Wait(r("s2"), 3)]
    desk(up(8, kv=1000, engine=F, models=("m", "n")))
    assert desk(ask("n1", "n1", prompt=10, model="n")) == [run("n1", F)]
    desk(ask("b", "b", prompt=990, model="n"), ask("n2", "n2", prompt=10, model="n"))


def test_bulk_comes_after_chats_and_leaves_the_reserve() -> None:
    desk = Desk(chat_reserve=0.5)
    desk(up(4))
    assert desk(ask("b1", bulk=True), ask("b2", bulk=True)) == [run("b1"), run("b2")]
    assert desk(ask("b3", bulk=True)) == [Wait(r("b3"), 1)]
    assert desk(ask("c1"), ask("c2")) == [run("c1"), run("c2")]
    assert desk(ask("c3")) == [Wait(r("c3"), 1)]
    assert desk(ask("b4", bulk=True)) == [Wait(r("b4"), 3)]
    assert desk(done("b1")) == [finished("b1"), run("c3")]
    assert desk(done("b2"), done("c1")) == [finished("b2"), finished("c1")]
    assert desk(done("c2")) == [finished("c2"), run("b3")]
    assert desk.scheduler.view().queued == {CHAT: 0, BULK: 1}


def test_bulk_leaves_kv_and_runs_on_an_engine_of_one_sequence() -> None:
    desk = Desk(chat_reserve=0.5, kv_headroom=1.0, expected_output=0)
    desk(up(8, kv=1000))
    assert desk(ask("b1", bulk=True, prompt=400), ask("b2", bulk=True, prompt=200)) == [run("b1"), Wait(r("b2"), 1)]
    assert desk(ask("c1", prompt=600)) == [run("c1")]
    one = Desk(chat_reserve=0.5)
    assert one(up(1), ask("b", bulk=True)) == [run("b")]


def test_bulk_does_not_pass_a_chat_that_waits_for_the_same_engine() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0)
    desk(up(8, kv=1000, models=("m", "n")), ask("a", prompt=600), ask("big", prompt=500))
    assert desk(ask("b", bulk=True, prompt=1, model="n")) == [Wait(r("b"), 1)]
    assert desk(up(8, kv=1000, engine=F, models=("n",))) == [run("b", F)]


def test_a_hold_for_bulk_does_not_stop_chats() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=1, chat_reserve=0.0)
    desk(up(8, kv=1000), ask("a", prompt=600), ask("big", "x", bulk=True, prompt=500))
    assert desk(ask("b1", "y", bulk=True, prompt=10), ask("b2", "z", bulk=True, prompt=10)) == [
        run("b1"),
        Wait(r("b2"), 2),
    ]
    assert desk(ask("c", prompt=10)) == [run("c")]
    assert desk(ask("c2", prompt=400)) == [Wait(r("c2"), 1)]
    assert desk(done("a", prompt=600)) == [finished("a"), run("c2")]
    # While there are chats, bulk is read one after the other.
    assert desk(Progressed({r("b1"): 1})) == [run("big")]
    assert desk(Progressed({r("big"): 1})) == [run("b2")]


def test_a_chat_returns_to_its_replica_until_that_is_loaded_past_the_bound() -> None:
    desk = Desk(affinity_bound=1.0)
    desk(up(9, engine=F, models=("other",)), up(9), ask("a1", chat="a"), up(9, engine=F), done("a1"))
    assert desk(ask("a2", chat="a")) == [run("a2")], "its fair share of one is one"
    assert desk(ask("a3", chat="a")) == [run("a3", F)], "two of two would be past it"
    assert desk(done("a2"), done("a3"), ask("a4", chat="a"))[-1] == run("a4", F), "its prefix is there, too, and newer"


def test_a_chat_moves_when_its_replica_dies_or_drains() -> None:
    desk = Desk()
    desk(up(9, engine=F, models=("other",)), up(9), ask("a1", chat="a"), up(9, engine=F), done("a1"))
    assert desk(EngineDraining(E), ask("a2", chat="a")) == [run("a2", F)]
    assert desk(EngineDraining(E, False), done("a2"), ask("a3", chat="a"))[-1] == run("a3", F)
    assert desk(EngineDown(F)) == [run("a3", E)]


def test_without_a_bound_a_chat_stays_while_there_is_room() -> None:
    desk = Desk(affinity_bound=float("inf"))
    desk(up(9, engine=F, models=("other",)), up(3), ask("a1", chat="a"), up(9, engine=F))
    assert desk(ask("a2", chat="a"), ask("a3", chat="a")) == [run("a2"), run("a3")]
    assert desk(ask("a4", chat="a")) == [run("a4", F)]


def test_loads_are_bounded_by_the_size_of_the_replicas() -> None:
    desk = Desk(affinity_bound=1.0)
    desk(up(2), up(6, engine=F), up(9, engine=EngineId("g"), models=("other",)))
    where = [command.engine for i in range(8) for command in desk(ask(f"r{i}")) if isinstance(command, Dispatch)]
    assert (where.count(E), where.count(F)) == (2, 6)


def test_a_draining_engine_ends_what_it_runs_and_gets_nothing() -> None:
    desk = Desk(max_queue_seconds=60)
    assert desk(up(2), ask("a"), EngineDraining(E)) == [run("a")]
    assert desk.scheduler.draining == {E}
    assert desk(ask("b")) == [Wait(r("b"), 1)]
    assert desk(done("a"), up(3), Ticked()) == [finished("a")]
    assert desk(EngineDown(E), up(2)) == [], "it drains still when it is back"
    assert desk(EngineDraining(E, False)) == [run("b")]
    assert desk(EngineDraining(E), Failed(r("b"), "engine_lost", "lost", retryable=True)) == [Wait(r("b"), 1)]
    assert desk(Ticked(), after=70)[0].request == r("b"), "a drained pool is nobody's, and patience ends"


def test_a_hold_ends_when_its_engine_drains() -> None:
    desk = Desk(max_bypass=1)
    desk(up(2, kv=1000), ask("a", prompt=500), ask("big", prompt=900), ask("c", prompt=10))
    assert desk(EngineDraining(E), EngineDraining(E, False)) == []
    assert desk(done("c"), done("a"))[-1] == run("big")


def test_an_adapter_is_a_pool_of_its_own() -> None:
    desk = Desk()
    plain, tuned = EngineState(("m",), 8192, 4, 10_000), EngineState(("m",), 8192, 4, 10_000, adapters=("x",))
    assert desk(EngineUp(E, plain), ask("a", adapter="x")) == [Wait(r("a"), 1)]
    assert desk(EngineUp(F, tuned)) == [run("a", F)]
    assert desk(ask("b", adapter="x"), ask("c", adapter="x")) == [run("b", F), run("c", F)]
    assert desk(Ticked(), EngineDown(F)) == [Wait(r("a"), 1), Wait(r("b"), 2), Wait(r("c"), 3)]
    assert desk(Ticked(), after=1000)[0].message.startswith("no engine has served m with the adapter x for")  # type: ignore[union-attr]


def test_an_engine_that_cannot_mix_adapters_takes_turns() -> None:
    desk = Desk(max_bypass=2)
    state = EngineState(("m",), 8192, 3, 10_000, adapters=("x",), mixes_adapters=False)
    desk(EngineUp(E, state), ask("a1", "ann"))
    assert desk(ask("b", "bob", adapter="x")) == [Wait(r("b"), 1)]
    assert desk(ask("a2", "cid"), ask("a3", "dan")) == [run("a2"), run("a3")], "may pass, twice"
    assert desk(done("a1"), ask("a4", "eve"))[-1] == Wait(r("a4"), 1), "then the engine is held"
    assert desk(done("a2"), done("a3"))[-1] == run("b"), "until it is idle"
    assert desk(ask("b2", "fay", adapter="x"), ask("b3", "gil", adapter="x")) == [run("b2"), run("b3")], "its own pass"
    assert desk(done("b"), ask("b4", "hal", adapter="x"))[-1] == Wait(r("b4"), 1), "a4, too, only so often"
    assert desk(done("b2"), done("b3"))[-1] == run("a4")


def test_replicas_that_cannot_mix_gather_an_adapter_each() -> None:
    desk = Desk()
    state = EngineState(("m",), 8192, 8, 10_000, adapters=("x", "y"), mixes_adapters=False)
    desk(EngineUp(E, state), EngineUp(F, state))
    first = {a: desk(ask(a, adapter=a))[0] for a in ("x", "y")}
    for adapter, command in first.items():
        again = desk(ask(f"{adapter}2", adapter=adapter))[0]
        assert isinstance(command, Dispatch)
        assert isinstance(again, Dispatch)
        assert again.engine == command.engine


def test_models_do_not_wait_for_each_other() -> None:
    desk = Desk()
    desk(up(2, models=("m", "n")), ask("a", "ann"), ask("b", "ann"))
    desk(ask("m1", "ann"), ask("n1", "bob", model="n"), ask("x1", "cid", model="x"))
    desk(Progressed({r("a"): 1}))
    assert desk(done("a")) == [finished("a"), run("n1")]
    assert desk(done("b")) == [finished("b"), run("m1")]


def test_a_model_that_shares_the_engine_counts_as_passing() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0, max_bypass=1)
    desk(up(8, kv=1000, models=("m", "n")), ask("a", "ann", prompt=600), ask("big", "big", prompt=500))
    assert desk(ask("n1", "bob", prompt=10, model="n")) == [run("n1")]
    assert desk(ask("n2", "cid", prompt=10, model="n")) == [Wait(r("n2"), 1)]
    assert desk(done("a", prompt=600)) == [finished("a"), run("big"), run("n2")]


def test_lookahead_reaches_other_chats_of_the_same_user() -> None:
    desk = Desk(kv_headroom=1.0, expected_output=0)
    desk(up(8, kv=1000), ask("a", prompt=600), ask("big", prompt=500))
    assert desk(ask("s", prompt=100)) == [run("s")]


# Refusals ----------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_by_class() -> None:
    desk = Desk(max_queued=1, max_queued_bulk=0)
    desk(up(), ask("a"), ask("b"))
    reason = "the queue is full: 1 chat requests wait, at most 1 may"
    assert desk(ask("c")) == [Refuse(r("c"), reason, 2.0)]
    assert desk(ask("d", bulk=True)) == [Refuse(r("d"), "the queue is full: 0 bulk requests wait, at most 0 may", 1.0)]
    assert desk(done("c"), Withdrawn(r("c"))) == []
    assert desk(done("a")) == [finished("a"), run("b")]
    assert desk(ask("c")) == [Wait(r("c"), 1)]


def test_who_need_not_wait_is_not_refused() -> None:
    desk = Desk(max_queued=0)
    assert desk(up(), ask("a")) == [run("a")]
    assert isinstance(desk(ask("b"))[0], Refuse)


def test_retry_after_follows_the_rate_of_ends() -> None:
    desk = Desk(max_queued=1)
    desk(up())
    desk(ask("0"), ask("1"))
    for i in range(2, 30):
        assert desk(done(str(i - 2)), after=4) == [finished(str(i - 2)), run(str(i - 1))]
        desk(ask(str(i)), after=0)
    assert desk.scheduler.completion_rate(CHAT, "m") == pytest.approx(0.25, rel=0.1)
    (refusal,) = desk(ask("x"), after=0)
    assert isinstance(refusal, Refuse)
    assert refusal.retry_after == pytest.approx(4, rel=0.1)
    # An engine that hangs ends nothing: the honest answer grows, up to its cap.
    (refusal,) = desk(ask("x"), after=600)
    assert isinstance(refusal, Refuse)
    assert refusal.retry_after == 120
    desk(EngineDown(E))
    (refusal,) = desk(ask("x"), after=10)
    assert isinstance(refusal, Refuse)
    assert refusal.retry_after == 10


def test_a_quiet_night_is_no_slow_engine() -> None:
    desk = Desk()
    desk(up(), ask("a"))
    desk(done("a"))
    rate = desk.scheduler.completion_rate(CHAT, "m")
    desk(Ticked(), after=36_000)
    assert desk.scheduler.completion_rate(CHAT, "m") == rate > 0
    assert desk.scheduler.completion_rate(CHAT, "never seen") == 0


def test_the_predicted_wait_is_bounded() -> None:
    desk = Desk(max_predicted_ttft_s=5)
    desk(up(), ask("a", "ann"), ask("b", "bob"))
    assert desk(ask("c", "cid")) == [Wait(r("c"), 2)]
    desk(done("a"), after=3)
    (refusal,) = desk(ask("d", "dan"), after=0)
    assert isinstance(refusal, Refuse)
    assert refusal.reason == "the first word would take about 9 s, at most 5 s is allowed"
    assert refusal.retry_after == pytest.approx(4.2, abs=0.1)
    desk(Withdrawn(r("c")), after=0)
    # There is room now, but it is dan's: eva comes after him.
    (later,) = desk(ask("e", "eva"), after=0)
    assert isinstance(later, Refuse)
    assert later.reason == "the first word would take about 9 s, at most 5 s is allowed"
    desk(done("b"), after=3)
    assert desk(ask("d", "dan"), after=1.3) == [run("d")]


def test_a_patient_one_waits_however_long_unless_the_line_is_full() -> None:
    desk = Desk(max_predicted_ttft_s=5, max_queued=2)
    desk(up(), ask("a"))
    desk(done("a"), after=30)
    desk(ask("b"))
    assert isinstance(desk(ask("c"))[0], Refuse)
    assert isinstance(desk(replace(ask("d"), patient=True))[0], Wait)
    assert isinstance(desk(replace(ask("e"), patient=True))[0], Wait)
    (refusal,) = desk(replace(ask("f"), patient=True))
    assert isinstance(refusal, Refuse)
    assert refusal.reason == "the queue is full: 2 chat requests wait, at most 2 may"


def test_bulk_ends_are_room_for_chats() -> None:
    desk = Desk(chat_reserve=0)
    desk(up(2), ask("a", bulk=True), ask("b", bulk=True))
    desk(done("a"))
    assert desk.scheduler.completion_rate(CHAT, "m") == desk.scheduler.completion_rate(BULK, "m") > 0


# Fairness ----------------------------------------------------------------------------------------------------------


def test_the_least_served_user_is_next() -> None:
    desk = Desk(half_life_s=1e9)
    desk(up(2), ask("a1", "ann"), ask("b1", "bob"), ask("a2", "ann"), ask("b2", "bob"))
    desk(Progressed({r("a1"): 500, r("b1"): 10}))
    assert desk(done("a1", 500)) == [finished("a1"), run("b2")]


def test_weights_divide_service() -> None:
    desk = Desk(half_life_s=1e9, user_weights={"ann": 10.0})
    desk(up(2), ask("a1", "ann"), ask("b1", "bob"), ask("b2", "bob"), ask("a2", "ann"))
    desk(Progressed({r("a1"): 500, r("b1"): 100}))
    assert desk(done("a1", 500)) == [finished("a1"), run("a2")]


def test_positions_take_turns() -> None:
    desk = Desk()
    desk(up(), ask("0", "zoe"))
    desk(*(ask(f"a{i}", "ann") for i in range(5)))
    assert desk(ask("b0", "bob")) == [Wait(r("b0"), 2)]
    assert desk(ask("b1", "bob")) == [Wait(r("b1"), 4)]
    assert desk(ask("b2", "bob", "chat-b1")) == [Wait(r("b2"), 6)]
    assert [desk.scheduler.position(r(f"a{i}")) for i in range(5)] == [1, 3, 5, 7, 8]
    assert desk.scheduler.position(r("0")) is None


def test_finished_corrects_what_was_charged() -> None:
    def attained(usage: Usage) -> float:
        desk = Desk(half_life_s=1e12, prefill_cost=1.0)
        desk(up(2), ask("hold", "ann"), ask("a", "ann"), Progressed({r("a"): 20}), Finished(r("a"), usage))
        return desk.scheduler.users(CHAT)[UserId("ann")].attained

    assert attained(Usage()) == pytest.approx(100 + 100 + 20)
    assert attained(Usage(100, 20, 90)) == pytest.approx(100 + 10 + 20)
    assert attained(Usage(140, 25, 0)) == pytest.approx(100 + 140 + 25)
    assert attained(Usage(100, 0, 100)) == pytest.approx(100)


def test_a_second_attempt_is_not_charged_twice() -> None:
    desk = Desk(half_life_s=1e12, prefill_cost=1.0, expected_output=0)
    desk(up(2), ask("a", "ann"), Progressed({r("a"): 50}), EngineDown(E))
    assert desk(up(2)) == [run("a")]
    assert desk.scheduler.view().engines[E].kv_tokens == 150
    desk(ask("hold", "ann"), Progressed({r("a"): 30}), done("a", output=30, prompt=150))
    assert desk.scheduler.users(CHAT)[UserId("ann")].attained == pytest.approx(100 + 50 + 30 + 100)


def test_users_are_listed_by_class() -> None:
    desk = Desk(prefill_cost=1.0, half_life_s=float("inf"))
    desk(up(1), ask("a", "ann"), ask("b", "bob"), ask("c", "bob", bulk=True))
    assert desk.scheduler.users(CHAT) == {"ann": UserLoad(0, 1, 100), "bob": UserLoad(1, 0, 100)}
    assert desk.scheduler.users(BULK) == {"bob": UserLoad(1, 0, 0)}


@pytest.mark.parametrize(("debt", "then"), [(5000.0, "b2"), (10.0, "a2")])
def test_past_service_sets_back_only_so_far(debt: float, then: str) -> None:
    """Ann had much while bob ran, too. She comes back: bob, with 50 more tokens since, goes before her or not."""
    desk = Desk(half_life_s=float("inf"), max_debt=debt, prefill_cost=1.0)
    desk(up(3), ask("hold", "eva"), ask("a1", "ann"), ask("b1", "bob"), Progressed({r("a1"): 900}), done("a1", 900))
    desk(ask("hold2", "eva"), ask("b2", "bob"), ask("a2", "ann"), Progressed({r("b1"): 400}))
    assert desk(done("b1", 400)) == [finished("b1"), run(then)]


def test_one_that_was_charged_and_left_the_line_does_not_disturb_it() -> None:
    desk = Desk()
    desk(up(1), ask("a1", "ann"), ask("a2", "ann"), *(ask(f"u{i}", f"u{i}") for i in range(9)))
    desk(Progressed({r("a1"): 50}))
    desk(Withdrawn(r("a2")))
    assert [desk.scheduler.position(r(f"u{i}")) for i in range(9)] == list(range(1, 10))


# Config and books --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("max_queued", -1, "0 or more"),
        ("max_attempts", 0, "1 or more"),
        ("kv_headroom", 0.0, "above 0, at most 1"),
        ("chat_reserve", 1.0, "0 or more, below 1"),
        ("decode_cost", 0.0, "above 0"),
        ("prefill_cost", float("nan"), "0 or more"),
        ("half_life_s", 0.0, "above 0"),
        ("max_predicted_ttft_s", 0.0, "above 0, or left out"),
        ("user_weights", {"ann": 0.0}, "for 'ann'; it must be above 0"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} .*{wanted}"):
        SchedulerConfig(**{name: value})  # type: ignore[arg-type]


def test_books_that_do_not_balance_tell_the_story() -> None:
    budget = EngineBudget(E, up(2).state, 1.0, 0.0, Steering(Pace(), SchedulerConfig()))
    budget.lease(r("a"), 100)
    budget.validate()
    budget.kv_used += 1
    with pytest.raises(InvariantError, match="engine e: leases add up to 100 KV tokens, the counter says 101"):
        budget.validate()
