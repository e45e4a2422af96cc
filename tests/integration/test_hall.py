"""The scheduler before a simulated engine on virtual time: what it foretells, whom it sends away, what bulk gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from hubbub.core.scheduler import SchedulerConfig
from hubbub.core.types import FinishReason, Priority, RequestId
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_prompt import Speech
from support.hall import Asked, Hall, People, Rows, length

FEW_SLOTS = Pace(base=0.02, per_sequence=0.001, per_context_token=0.0, per_prefill_token=5e-4, jitter=0.1,
                 max_sequences=24, kv_tokens=200_000, batch_tokens=512)  # fmt: skip


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def test_who_waits_is_told_for_how_long() -> None:
    hall = Hall(FEW_SLOTS)
    People(hall, 120, think_s=5.0, answer=60).come()
    hall.run(150)
    said = [a.ttft / a.foreseen for a in hall.told if a.began > 30 and a.foreseen and a.first]
    assert len(said) > 500
    assert 0.8 < quantile(said, 0.05) < quantile(said, 0.95) < 1.3
    assert not [a for a in hall.told if a.refused is not None]


def test_who_is_sent_away_and_comes_back_as_told_is_let_in() -> None:
    """400 people who hardly think, on 24 slots: the wait would be a minute, 20 s are allowed."""
    hall = Hall(FEW_SLOTS, SchedulerConfig(max_predicted_ttft_s=20))
    People(hall, 400, think_s=0.5, answer=60).come()
    hall.run(200)
    refused: Counter[str] = Counter()
    tries: Counter[int] = Counter()
    for asked in hall.told:
        if asked.refused is not None:
            assert 1 <= asked.refused <= 120
            refused[asked.request.chat] += 1
        elif asked.request.chat in refused:
            tries[refused.pop(asked.request.chat)] += 1
    assert tries.total() > 500
    assert tries[1] > 0.9 * tries.total()
    # The first 400 came at once, when nothing was known of the engine: nobody is refused on a guess.
    waited = [a.ttft for a in hall.told if a.first and a.began > 60]
    assert quantile(waited, 0.95) < 1.5 * 20
    assert hall.batch.pace.max_sequences == len(hall.batch.running), "refusing has left the engine idle"


def test_what_an_engine_has_to_read_counts_also_where_slots_are_free() -> None:
    """Long prompts on an engine that reads slowly: the hundredth would wait for all before it."""
    slow = Pace(base=0.02, per_sequence=0.0, per_context_token=0.0, per_prefill_token=1e-3, jitter=0.0)
    hall = Hall(slow, SchedulerConfig(max_predicted_ttft_s=30))
    for number in range(20):
        hall.ask(f"u{number}", f"c{number}", tuple(f"{number}.{word}" for word in range(200 * (1 + number % 4))), 5)
        hall.run(2)
    first = [hall.ask("late", f"l{n}", tuple(f"l{n}.{word}" for word in range(1000)), 5) for n in range(100)]
    let_in = [a for a in first if a.refused is None]
    assert 20 < len(let_in) < 45, "a thousand tokens a second, thirty seconds"
    hall.run(60)
    assert all(a.first for a in let_in)
    assert max(a.ttft for a in let_in) < 1.3 * 30


def test_what_the_cache_has_is_not_counted() -> None:
    """The same chats again: nothing of what they have said before has to be read."""
    slow = Pace(base=0.02, per_sequence=0.0, per_context_token=0.0, per_prefill_token=1e-3, jitter=0.0)
    hall = Hall(slow, SchedulerConfig(max_predicted_ttft_s=10))
    prompts = {n: tuple(f"{n}.{word}" for word in range(800)) for n in range(60)}
    for n, prompt in prompts.items():
        hall.ask("u", f"c{n}", prompt, 2)
        hall.run(2)
    again = [hall.ask("u", f"c{n}", (*prompt, "and", "now"), 2) for n, prompt in prompts.items()]
    assert not [a for a in again if a.refused is not None]
    hall.run(10)
    assert max(a.ttft for a in again if a.first) < 5


def seen(hall: Hall, since: float) -> tuple[float, float, float]:
    """95th percentile of the chats' TTFT; tokens a second of chats and of bulk."""
    chats = [a for a in hall.told if a.request.priority is Priority.CHAT and a.began >= since and a.first]

    def rate(priority: Priority) -> float:
        def after(asked: Asked) -> float:
            begin, end = asked.first or hall.now, asked.ended or hall.now
            return asked.tokens * max(0.0, min(1.0, (end - since) / max(end - begin, 1e-9)))

        return sum(after(a) for a in hall.told if a.request.priority is priority) / (hall.now - since)

    return quantile((a.ttft for a in chats), 0.95), rate(Priority.CHAT), rate(Priority.BULK)


def test_bulk_beside_chats_is_held_to_what_they_hardly_notice() -> None:
    alone, beside, crowded = Hall(), Hall(), Hall(config=SchedulerConfig(bulk_ttft_share=1e9))
    for hall in (alone, beside, crowded):
        if hall is not alone:
            Rows(hall, 300).come()
        People(hall, 50).come()
        hall.run(60)
        since = hall.now
        hall.run(120)
        hall.scheduler.validate()
    late, chat_rate, _ = seen(alone, since)
    late_beside, chat_beside, bulk_beside = seen(beside, since)
    late_crowded, _, _ = seen(crowded, since)
    assert late_beside < 1.25 * late
    assert late_crowded > 1.5 * late, "the load is too light to need steering"
    assert chat_beside > 0.75 * chat_rate, "answers are a little longer under way, so that less is asked"
    assert bulk_beside > 0.5 * chat_rate
    assert max(beside.limits[60:]) < 64


def test_how_much_is_harmless_is_learnt_within_half_a_minute_and_kept() -> None:
    hall = Hall(seed=2)
    People(hall, 50, think_s=20.0).come()
    hall.run(2)
    Rows(hall, 300).come()
    hall.run(90)
    learnt, settled = hall.limits[30], hall.limits[45:]
    assert 5 <= quantile(settled, 0.05) <= quantile(settled, 0.95) <= 40
    assert quantile(settled, 0.05) / 2 <= learnt <= 2 * quantile(settled, 0.95)


def test_an_engine_that_becomes_slower_makes_bulk_no_worse_for_chats() -> None:
    """Half as fast from the first minute on. What is told of late chats is over the next two."""
    ttft = []
    for bulk in (0, 300):
        hall = Hall()
        People(hall, 50, think_s=20.0).come()
        hall.run(2)
        Rows(hall, bulk).come()
        hall.run(58)
        pace = hall.batch.pace
        hall.batch.pace = replace(pace, base=2 * pace.base, per_sequence=2 * pace.per_sequence,
                                  per_prefill_token=2 * pace.per_prefill_token)  # fmt: skip
        hall.run(120)
        ttft.append(seen(hall, 60)[0])
    assert ttft[1] < 1.4 * ttft[0]


def as_much_as_it_makes(rows: int, since: float, until: float) -> float:
    """Tokens a second of an engine with so many of the hall's rows in it at any time, and no scheduler before it."""
    hall = Hall()
    like, batch, now, said, begun = Rows(hall, 0), hall.batch, 0.0, 0, 0
    while now < until:
        while len(batch.running) + len(batch.waiting) < rows:
            begun += 1
            speech = Speech(like.text(0, begun), ("x",) * length(hall.dice, like.answer), FinishReason.STOP)
            batch.add(RequestId(f"{begun}"), speech, now)
        now += batch.begin()
        tokens = sum(chunk.tokens for _, chunk in batch.end(now))
        said += tokens if now > since else 0
    return said / (until - since)


def test_bulk_without_chats_gets_the_engine_and_gives_way_when_they_come() -> None:
    hall = Hall()
    Rows(hall, 300).come()
    hall.run(30)
    assert hall.limits[-1] == int(0.9 * 256)
    assert len(hall.batch.running) > 0.9 * hall.limits[-1]
    since, before = hall.now, sum(asked.tokens for asked in hall.told)
    hall.run(90)
    said = sum(asked.tokens for asked in hall.told) - before
    assert said / (hall.now - since) > 0.97 * as_much_as_it_makes(hall.limits[-1], 30, 120)
    People(hall, 50).come()
    hall.run(90)
    assert hall.scheduler.view().running[Priority.BULK] < 64
    assert hall.limits[-1] < 64


def test_trouble_cuts_bulk() -> None:
    """An engine that takes fewer than it says: some wait inside it."""
    pace = Pace(max_sequences=256, kv_tokens=4_000, prefix_cache=False)
    hall = Hall(pace)
    hall.batch.pace = Pace(max_sequences=16, kv_tokens=1_000_000, prefix_cache=False)
    Rows(hall, 100, prompt=20, shared=0, answer=30).come()
    People(hall, 2, think_s=1.0, answer=10).come()
    hall.run(60)
    assert hall.limits[-1] < 24


def test_ten_users_with_one_chat_each_beside_one_with_190_are_served_as_if_alone() -> None:
    """24 slots, and 190 chats of one user that hardly think: the ten wait for the next slot that comes free."""
    steady = replace(FEW_SLOTS, per_sequence=0.0, per_prefill_token=0.0, base=0.04)  # steps are as long alone
    alone, beside = Hall(steady), Hall(steady)
    ten = [People(hall, 10, think_s=3.0, answer=60) for hall in (alone, beside)]
    People(beside, 190, think_s=0.2, answer=60, name="many", one_user=True).come()
    for people in ten:
        people.come()
        people.hall.run(150)
    answers, positions = [], []
    for hall in (alone, beside):
        mine = [a for a in hall.told if a.request.user.startswith("u") and a.ended and a.began > 20]
        answers.append(len(mine))
        positions += [a.ttft for a in mine] if hall is beside else []
    theirs = [a.ttft for a in beside.told if a.request.user.startswith("many") and a.first and a.began > 20]
    assert answers[1] > 0.85 * answers[0]
    assert quantile(positions, 0.95) < 60 * 0.04, "no longer than one answer takes"
    assert quantile(theirs, 0.5) > 10 * quantile(positions, 0.5), "the 190 wait for each other"
    assert not [a for a in beside.told if a.request.user.startswith("u") and a.refused is not None]
