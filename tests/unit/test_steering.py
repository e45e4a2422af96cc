"""What is learnt of an engine, and what that makes of newcomers and of bulk."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.config import SchedulerConfig
from hubbub.core.events import Arrived, Dispatch, EngineUp, Failed, Finished, Progressed, Queueing, Refuse, Ticked, Wait
from hubbub.core.fit import Fit
from hubbub.core.pace import BULK, CHAT, GAIN, First, Pace, late
from hubbub.core.promises import GRACE_S, Promises
from hubbub.core.scheduler import Scheduler
from hubbub.core.steering import QUIET_S, Steering
from hubbub.core.steps import Steps
from hubbub.core.types import (
    ChatId,
    EngineId,
    EngineState,
    Priority,
    Request,
    RequestId,
    Usage,
    UserId,
)

E = EngineId("e")
ANN, BOB = UserId("ann"), UserId("bob")


# Fit ---------------------------------------------------------------------------------------------------------------


@pytest.mark.large
@settings(max_examples=30)
@given(
    base=st.floats(0, 2),
    slopes=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
    points=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), min_size=30, max_size=60),
)
def test_a_line_is_found_again(base: float, slopes: tuple[float, float], points: list[tuple[int, int]]) -> None:
    points = [*points, (0, 0), (400, 0), (0, 60), (400, 60)]
    fit = Fit(1000)
    for a, b in points:
        fit.learn((a, b), base + slopes[0] * a + slopes[1] * b)
    high = base + slopes[0] * 400 + slopes[1] * 60
    for a, b in ((0, 0), (400, 0), (0, 60), (400, 60)):
        assert fit.at((a, b)) == pytest.approx(base + slopes[0] * a + slopes[1] * b, abs=0.12 * high)


def test_no_slope_is_below_zero_and_none_is_made_up() -> None:
    fit = Fit(64)
    assert fit.at((5, 5)) == 0
    for x in range(20):
        fit.learn((x, 7), 10 - 0.1 * x)
    assert fit.slope == (0.0, 0.0) or fit.at((19, 7)) >= 0
    fit.solve()
    assert fit.slope == (0.0, 0.0)
    assert fit.at((1000, 1000)) == pytest.approx(fit.mean_y)


def test_old_samples_fade() -> None:
    fit = Fit(16)
    for x in range(100):
        fit.learn((x % 10, 0), 5.0)
    for x in range(100):
        fit.learn((x % 10, 0), 1.0 + (x % 10))
    assert fit.at((9, 0)) == pytest.approx(10, rel=0.05)


# Promises ----------------------------------------------------------------------------------------------------------


def test_a_promise_is_kept_for_its_user_from_when_it_is_due() -> None:
    promises = Promises()
    promises.give(ANN, 0.0, 10.0, 2.0)
    assert promises.owed(9.0) == 2.0
    assert not promises.redeem(ANN, 9.0)
    assert not promises.redeem(BOB, 10.0)
    assert promises.redeem(ANN, 10.0)
    assert (promises.owed(10.0), len(promises)) == (0.0, 0)
    assert not promises.redeem(ANN, 10.0)
    promises.validate()


def test_a_promise_that_nobody_keeps_lapses() -> None:
    promises = Promises()
    promises.give(ANN, 0.0, 10.0, 2.0)
    promises.give(ANN, 0.0, 40.0, 3.0)
    assert promises.owed(15.0 + GRACE_S) == 5.0
    assert promises.owed(15.1 + GRACE_S) == 3.0
    assert not promises.redeem(ANN, 39.0)
    assert promises.owed(1000.0) == 0.0
    promises.validate()


@settings(max_examples=30)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.floats(1, 120), st.floats(0.01, 5), st.booleans()),
        max_size=40,
    )
)
def test_what_is_owed_is_what_was_promised(steps: list[tuple[str, float, float, float, bool]]) -> None:
    promises, now = Promises(), 0.0
    for user, passed, after, cost, comes in steps:
        now += passed
        if comes:
            promises.redeem(UserId(user), now)
        else:
            promises.give(UserId(user), now, after, cost)
        promises.owed(now)
        promises.validate()
    assert promises.owed(now + 1000) == 0 == len(promises)


# Steering ----------------------------------------------------------------------------------------------------------


def steering(bulk: int, chats: int = 5, most: int = 128, ahead: int = 0) -> Steering:
    """On an engine that has learnt: 20 ms a step, 1 ms for each that speaks; chats' first tokens came after two steps
    and 0.1 s, one in ten after 0.4 s."""
    pace = Pace()
    for n in range(40):
        pace.steps.fit.learn((chats + n, n % 2 * 50), 0.02 + 0.001 * (chats + n) + n % 2 * 0.05)
        pace.firsts.append(First(0.1 if n % 10 else 0.4, 2.0, min(bulk, 1), ahead))
    pace.steps.fit.solve()
    pace.speaking = {CHAT: chats, BULK: bulk}
    made = Steering(pace, SchedulerConfig())
    made.most = most
    return made


def test_the_limit_rises_while_it_is_used_up_to_what_late_chats_do_not_notice() -> None:
    made = steering(bulk=0)
    made.tick(0.0)
    begun = made.limit
    assert begun <= 3, "nobody knows yet how much is too much"
    made.tick(1.0)
    assert made.limit == begun, "nobody wants more"
    for second in range(2, 60):
        made.pace.speaking[BULK] = int(made.limit)
        made.tick(second)
    # A fifth of the late ones' 0.4 s, two steps of 1 ms each, and what longer steps bring with them.
    assert made.limit == pytest.approx(0.2 * 0.4 / (GAIN * 0.002), rel=0.1)
    assert not made.admits(100.0)
    made.pace.speaking[BULK] -= 2
    assert made.admits(100.0)


def test_bulk_is_read_one_at_a_time_and_not_beside_a_chat_unless_there_is_little_of_it() -> None:
    made = steering(bulk=10)
    made.limit = 16.0
    assert made.admits(100.0)
    made.pace.reading[BULK], made.pace.tokens[BULK] = 1, 20
    assert not made.admits(100.0)
    made.pace.tokens[BULK] = 5
    assert made.admits(100.0), "so few hide in a step"
    made.pace.reading[BULK], made.pace.reading[CHAT] = 0, 1
    assert not made.admits(100.0)
    made.pace.speaking[BULK] = 7
    assert made.admits(100.0)


def test_a_limit_below_one_is_a_share_of_time() -> None:
    made = steering(bulk=1, ahead=300)
    made.limit = 1.0
    made.tick(0.0)
    assert 0 < made.limit < 1, "each has 300 tokens to read"
    made.pace.speaking[BULK], made.limit = 0, 0.25
    made.pace.last_bulk = (10.0, 2.0)
    assert not made.admits(15.9)
    assert made.admits(16.1)


def test_too_much_is_cut_at_once_and_trouble_cuts_now_and_then() -> None:
    made = steering(bulk=100)
    made.limit = 100.0
    made.tick(0.0)
    assert made.limit == 75.0
    made.trouble(1.0)
    assert made.limit == pytest.approx(56.25)
    made.trouble(2.0)
    assert made.limit == pytest.approx(56.25), "what was sent before still causes some"
    made.trouble(7.0)
    assert made.limit == pytest.approx(42.2, abs=0.1)
    assert made.cuts == 3


@pytest.mark.large
@settings(max_examples=40)
@given(
    firsts=st.lists(
        st.builds(First, st.floats(0.01, 60), st.floats(1.5, 40), st.integers(0, 250), st.integers(0, 5000)),
        min_size=8,
        max_size=128,
    ),
    row=st.floats(1e-6, 0.01),
    token=st.floats(0, 0.01),
    share=st.floats(0.01, 2),
    seconds=st.floats(0, 1),
)
def test_what_is_harmless_is_the_most_that_holds_the_late_ones(
    firsts: list[First], row: float, token: float, share: float, seconds: float
) -> None:
    pace = Pace()
    pace.firsts.extend(firsts)
    pace.steps.fit.slope = (row, token)
    bulk = pace.bulk_for_ttft(share, seconds, 200)
    played = [pace.alone(first) for first in firsts]
    goal = max(seconds, (1 + share) * late([alone for alone, _ in played]))
    assert all(alone > 0 and each > 0 for alone, each in played)

    def at(number: float) -> float:
        return late([alone + each * number for alone, each in played])

    assert at(200 if bulk == inf else bulk) <= goal * (1 + 1e-9)
    assert bulk == inf or at(bulk + max(0.1, 0.05 * bulk)) > goal


@pytest.mark.large
@settings(max_examples=40)
@given(
    base=st.floats(0.002, 0.1),
    row=st.floats(1e-5, 0.004),
    rows=st.lists(st.tuples(st.integers(1, 120), st.integers(8, 40), st.integers(0, 200)), min_size=12, max_size=40),
)
def test_steps_are_learnt_from_what_is_said_in_them(base: float, row: float, rows: list[tuple[int, int, int]]) -> None:
    """``rows``: who speaks, for how many steps, and the tokens that are read in each meanwhile."""
    steps, now = Steps(), 0.0
    rows = [*rows, (1, 20, 0), (120, 20, 0), (1, 20, 200), (120, 20, 200)]
    for speak, count, read in rows:
        steps.turn(now, speak)
        now += count * (base + row * (speak + read))
        steps.said += count * speak
        steps.read += count * read
        steps.sample(now, reading=0)
    assert steps.count == pytest.approx(sum(count for _, count, _ in rows))
    assert steps.fit.samples == len(rows)
    for speak, read in ((1, 0), (120, 0), (120, 200)):
        seconds = base + row * (speak + read)
        assert steps.fit.at((speak, read)) == pytest.approx(seconds, abs=0.15 * (base + row * 320))


def test_steps_in_which_somebody_still_reads_are_no_sample_for_long() -> None:
    steps = Steps()
    for second in range(40):
        steps.turn(second, 5)
        steps.said += 50
        steps.sample(second + 1, reading=1)
    assert steps.fit.samples == 3


def test_without_chats_bulk_has_the_engine_to_itself() -> None:
    made = steering(bulk=0, chats=0)
    assert made.room(0.0) == 128
    made.pace.last_chat = 0.0
    made.tick(1.0)
    assert made.room(1.0) == 2
    assert made.room(QUIET_S - 1) == 2
    assert made.room(QUIET_S + 1) == 128
    assert Steering(Pace(), SchedulerConfig()).limit == inf


# In the scheduler --------------------------------------------------------------------------------------------------


class Desk:
    def __init__(self, slots: int = 100, **config: object) -> None:
        self.scheduler = Scheduler(SchedulerConfig(**config))  # type: ignore[arg-type]
        self.now = 0.0
        self.feed(EngineUp(E, EngineState(("m",), 8192, slots, 10**6, prefix_cache=True)))

    def feed(self, event: object, after: float = 0.0) -> list[object]:
        self.now += after
        commands = self.scheduler.handle(event, self.now)  # type: ignore[arg-type]
        self.scheduler.validate()
        return list(commands)

    def ask(self, name: str, prompt: int = 100, chat: str = "", priority: Priority = CHAT, user: str = "u") -> object:
        request = Request(RequestId(name), UserId(user), ChatId(chat or name), "m", prompt, priority)
        return self.feed(Arrived(request))[0]

    def whole(self, name: str, seconds: float, usage: Usage, chat: str = "") -> None:
        """Ask, first token after so long, end."""
        self.ask(name, usage.input_tokens, chat)
        self.feed(Progressed({RequestId(name): 1}), seconds)
        self.feed(Finished(RequestId(name), usage))


def test_reading_is_foreseen_from_first_tokens() -> None:
    desk = Desk(max_predicted_ttft_s=10)
    for n in range(1, 20):
        desk.whole(f"w{n}", n * 0.1, Usage(n * 100, 1))
    assert isinstance(desk.ask("a", 9000), Dispatch), "an idle engine is not refused anybody"
    refused = desk.ask("b", 3000)
    assert isinstance(refused, Refuse)
    assert refused.reason == "the first word would take about 12 s, at most 10 s is allowed"
    assert refused.retry_after == pytest.approx(2, abs=0.5)
    assert isinstance(desk.ask("c", 200, user="v"), Refuse), "behind the 3,000 that were promised"
    desk.now += refused.retry_after
    assert isinstance(desk.ask("b", 3000), Dispatch), "as promised"


def test_a_chat_that_was_here_has_less_to_read() -> None:
    desk = Desk(max_predicted_ttft_s=10)
    for n in range(1, 20):
        desk.whole(f"w{n}", n * 0.1, Usage(n * 100, 1))
    desk.whole("old", 9.0, Usage(9000, 1), chat="old")
    desk.ask("a", 9000)
    assert isinstance(desk.ask("old2", 9100, chat="old"), Dispatch)
    assert isinstance(desk.ask("new", 9100), Refuse)
    # The cache did not have it: the chat is believed to have to read half of it the next time.
    desk.feed(Finished(RequestId("a"), Usage(9000, 1)), 9.0)
    desk.feed(Progressed({RequestId("old2"): 1}), 9.0)
    desk.feed(Finished(RequestId("old2"), Usage(9100, 1, 0)))
    desk.ask("b", 9000, user="w")
    assert isinstance(desk.ask("old3", 9200, chat="old", user="w"), Refuse)


def test_those_in_line_hear_where_they_are() -> None:
    desk = Desk(slots=1)
    desk.whole("w", 2.0, Usage(10, 1))
    desk.ask("a")
    desk.ask("b", user="v")
    desk.ask("c", user="x")
    told = desk.feed(Ticked(), 1.0)
    assert told == [Wait(RequestId("b"), 1), Wait(RequestId("c"), 2)]
    first, second = (wait.seconds for wait in told if isinstance(wait, Wait))
    assert first is not None
    assert second is not None
    assert 1 < first < second < 8


@pytest.mark.parametrize("event", [Queueing(E), Failed(RequestId("b0"), "engine_unavailable", "busy", retryable=True)])
def test_an_engine_with_trouble_gets_less_bulk(event: object) -> None:
    desk = Desk(max_attempts=1)
    for n in range(40):
        desk.ask(f"b{n}", priority=BULK)
    desk.ask("c")
    desk.feed(Ticked())
    before = desk.scheduler.view().bulk_limits[E]
    desk.feed(Queueing(EngineId("gone")))
    assert desk.scheduler.view().bulk_limits[E] == before
    desk.feed(event)
    assert desk.scheduler.view().bulk_limits[E] < before
