"""Shares and bounds, on a small closed world: one engine that gives every running request one token a step."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.core.events import Arrived, Close, Command, Dispatch, EngineUp, Finished, Progressed
from hubbub.core.scheduler import Scheduler, SchedulerConfig
from hubbub.core.types import ChatId, EngineId, EngineState, Priority, Request, RequestId, Usage, UserId

CHAT = Priority.CHAT


class Hall:
    """Users with endless chats on one engine. Costs are 1, so that service is counted in tokens."""

    def __init__(self, slots: int, kv: int = 10**9, **config: object) -> None:
        defaults: dict[str, object] = {"prefill_cost": 1.0, "half_life_s": 1e9, "max_queued": 10**6}
        self.scheduler = Scheduler(SchedulerConfig(**(defaults | config)))  # type: ignore[arg-type]
        self.now = 0.0
        self.left: dict[RequestId, int] = {}
        self.requests: dict[RequestId, tuple[Request, int]] = {}
        self.served: Counter[str] = Counter()
        self.dispatched: list[RequestId] = []
        self.ended: deque[Request] = deque()
        self.obey(self.scheduler.handle(EngineUp(EngineId("e"), EngineState(("m",), 8192, slots, kv)), 0.0))

    def ask(self, user: str, chat: str, prompt: int, output: int) -> RequestId:
        request = Request(RequestId(f"r{len(self.requests)}"), UserId(user), ChatId(chat), "m", prompt)
        self.requests[request.id] = request, output
        self.obey(self.scheduler.handle(Arrived(request), self.now))
        return request.id

    def obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            request, output = self.requests[command.request]
            match command:
                case Dispatch():
                    self.left[request.id] = output
                    self.served[request.user] += request.prompt_tokens
                    self.dispatched.append(request.id)
                case Close():
                    self.ended.append(request)

    def step(self) -> None:
        """One token for all that run; those that have all of theirs end."""
        self.now += 0.02
        for request_id in self.left:
            self.left[request_id] -= 1
            self.served[self.requests[request_id][0].user] += 1
        self.obey(self.scheduler.handle(Progressed(dict.fromkeys(self.left, 1)), self.now))
        for ended in [request_id for request_id, left in self.left.items() if left <= 0]:
            del self.left[ended]
            request, output = self.requests[ended]
            self.obey(self.scheduler.handle(Finished(ended, Usage(request.prompt_tokens, output)), self.now))
        self.scheduler.validate()


SIZES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=4)


@given(
    slots=st.integers(1, 4), mine=SIZES, yours=SIZES, weight=st.sampled_from([1.0, 2.0, 5.0]), chats=st.integers(1, 6)
)
def test_two_backlogged_users_get_their_shares(
    slots: int, mine: list[tuple[int, int]], yours: list[tuple[int, int]], weight: float, chats: int
) -> None:
    """Attained service per weight differs by no more than what was already under way: a slot each, of the largest."""
    hall = Hall(slots, user_weights={"a": weight})
    sizes = {"a": mine, "b": yours}
    asked: Counter[str] = Counter()

    def refill() -> None:
        waiting = hall.scheduler.users(CHAT)
        for user in ("a", "b"):
            queued = waiting[UserId(user)].queued if UserId(user) in waiting else 0
            for _ in range(slots + 1 - queued):
                prompt, output = sizes[user][asked[user] % len(sizes[user])]
                hall.ask(user, f"{user}{asked[user] % chats}", prompt, output)
                asked[user] += 1

    refill()
    largest = max(prompt + output for size in sizes.values() for prompt, output in size)
    for _ in range(80):
        hall.step()
        refill()
        # Before b's first request came, a had filled all slots: the allowance is one request a slot, and one more.
        assert abs(hall.served["a"] / weight - hall.served["b"]) <= largest * (slots + 1)


@given(slots=st.integers(1, 8), heavy=st.integers(20, 190), output=st.integers(1, 12), prompt=st.integers(1, 40))
def test_ten_light_users_are_served_as_if_alone(slots: int, heavy: int, output: int, prompt: int) -> None:
    """One user with many chats open, ten with one each: a light one waits for its turn among the light ones only."""
    hall = Hall(slots)
    for chat in range(heavy):
        hall.ask("heavy", f"h{chat}", prompt, output)
    for _ in range(5):
        hall.step()
    asked = {hall.ask(f"light{i}", f"l{i}", prompt, output): len(hall.dispatched) for i in range(10)}
    for step in range(20 * output + 60):
        hall.step()
        while hall.ended:
            request = hall.ended.popleft()
            new = hall.ask(request.user, request.chat, prompt, output)
            if request.user != "heavy" and step < 6 * output:
                asked[new] = len(hall.dispatched)
        if step >= 6 * output and asked.keys() <= set(hall.dispatched):
            break
    place = {name: i for i, name in enumerate(hall.dispatched)}
    for name, before in asked.items():
        others = Counter[str](hall.requests[other][0].user for other in hall.dispatched[before : place[name]])
        # At the level of the returner stands at most the head of the heavy user's line, of earlier arrival. More
        # can only come while the engine's slots turn over together.
        assert others["heavy"] <= 2
        assert max((n for user, n in others.items() if user != "heavy"), default=0) <= 2


@given(past=st.integers(0, 200), others=st.integers(1, 5), idle=st.sampled_from([0.0, 1.0, 1e4]))
def test_who_returns_is_neither_credited_nor_punished(past: int, others: int, idle: float) -> None:
    """After any past, one who comes back from idleness waits at most ``max_debt`` tokens of each other user's."""
    debt = 100.0
    hall = Hall(1, max_debt=debt, half_life_s=60.0)
    first = hall.ask("idler", "i", 1 + past * 50, 1)
    hall.step()
    assert hall.ended.popleft().id == first
    hall.now += idle
    for i in range(others):
        for turn in range(40):
            hall.ask(f"u{i}", f"c{i}.{turn}", 20, 1)
    for _ in range(10 * others):
        hall.step()
    before = len(hall.dispatched)
    hall.ask("idler", "i", 20, 1)
    levels = hall.scheduler.users(CHAT)
    assert levels[UserId("idler")].attained >= min(u.attained for n, u in levels.items() if n != "idler") * (1 - 1e-9)
    while hall.requests[hall.dispatched[-1]][0].user != "idler":
        hall.step()
    # Each request of another costs 21 tokens; the last of each user may have begun below the bound.
    assert len(hall.dispatched) - before <= others * (debt / 21 + 2) + 1


@given(streams=st.integers(2, 5), prompt=st.integers(1, 30))
def test_ever_new_users_cannot_starve_one_who_waits(streams: int, prompt: int) -> None:
    """Overload by users that nobody has seen before: the wait is a few turns of the queue, however long it lasts."""
    room = 20
    hall = Hall(1, max_queued=room)
    hall.ask("old", "o", 200, 1)
    waiting = hall.ask("old", "o2", 10, 1)
    steps = 0
    while waiting not in hall.dispatched:
        for stream in range(streams):
            hall.ask(f"new{steps}.{stream}", "c", prompt, 1)
        hall.step()
        steps += 1
        assert steps <= 4 * room


@given(big=st.integers(700, 5000), small=st.integers(50, 300), bypass=st.integers(0, 8))
def test_a_big_request_is_passed_a_bounded_number_of_times(big: int, small: int, bypass: int) -> None:
    hall = Hall(8, kv=1000, max_bypass=bypass, expected_output=0.0, kv_headroom=1.0)
    for i in range(4):
        hall.ask(f"s{i}", "c", small, 3)
    request = hall.ask("big", "c", big, 3)
    before = len(hall.dispatched)
    for _ in range(40):
        hall.step()
        while hall.ended:
            ended = hall.ended.popleft()
            hall.ask(ended.user, ended.chat, small, 3)
    # Those that stand before it in fair order go first; only those behind it are counted as passing.
    assert hall.dispatched.index(request) - before <= max(bypass, 1) + 8


def test_order_stands_still_over_any_time() -> None:
    """Decay, also past many rescalings, moves nobody while nothing happens."""
    hall = Hall(1, half_life_s=0.5)
    hall.ask("a", "a", 300, 5)
    for user, prompt in (("b", 1), ("a", 2), ("c", 3), ("a", 4)):
        hall.ask(user, f"{user}{prompt}", prompt, 1)
    queue = [request for request in hall.requests if request not in hall.left]
    before = [hall.scheduler.position(request) for request in queue]
    for jump in (0.4, 1.0, 100.0, 127.9, 128.1, 1e5):
        hall.now += jump
        hall.obey(hall.scheduler.handle(Progressed({}), hall.now))
        hall.scheduler.validate()
        assert [hall.scheduler.position(request) for request in queue] == before


def test_accounts_of_the_long_gone_are_forgotten() -> None:
    hall = Hall(1, half_life_s=1.0)
    for i in range(50):
        hall.ask(f"u{i % 10}", f"c{i}", 10, 1)
        hall.step()
    assert len(hall.scheduler.users(CHAT)) == 0
    before = hall.scheduler.known_accounts()
    hall.now += 100
    hall.ask("u0", "c0", 10, 1)
    hall.step()
    assert before == 60
    assert hall.scheduler.known_accounts() == 2


@pytest.mark.parametrize("half_life", [0.001, 1.0, float("inf")])
def test_a_long_run_stays_in_balance(half_life: float) -> None:
    hall = Hall(3, half_life_s=half_life)
    for i in range(12):
        hall.ask(f"u{i % 4}", f"c{i}", 10 + i, 3)
    for _ in range(300):
        hall.step()
        while hall.ended:
            request = hall.ended.popleft()
            hall.ask(request.user, request.chat, request.prompt_tokens, 3)
    assert max(hall.served.values()) <= 2 * min(hall.served.values())
