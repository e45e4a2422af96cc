"""The simulator: it drives the real scheduler, keeps its books, and behaves as queues must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.errors import BadRequest
from hubbub.planner.chats import Targets, chat_report, largest, simulate
from hubbub.planner.enginesim import EngineLimits, EngineSim, Sequence
from hubbub.planner.setup import Setup, make_setup, step_model
from hubbub.planner.simulate import Bulk, Chats, Simulation


@pytest.fixture(scope="module")
def setup() -> Setup:
    return make_setup("Qwen3-8B", "H100")


def test_the_step_model_is_the_array_model(setup: Setup) -> None:
    model = step_model(setup, 64)
    singles = sum(model.decode(8, 8 * (1000 + i)) for i in range(50))
    assert model.run(8, 8000, 50) == pytest.approx(singles)
    steps = model.steps_within(8, 8000, singles / 2, 50)
    assert model.run(8, 8000, steps) >= singles / 2 > model.run(8, 8000, steps - 2)


def test_more_sequences_share_a_step_and_longer_contexts_slow_it(setup: Setup) -> None:
    model = step_model(setup, 128)
    assert model.decode(64, 64_000) < 20 * model.decode(1, 1000)
    assert model.decode(8, 800_000) > model.decode(8, 8000)


def test_an_event_jump_is_as_good_as_single_steps(setup: Setup) -> None:
    model = step_model(setup, 16)

    def finish(limit: float) -> float:
        engine = EngineSim(model, EngineLimits(16, 100_000, 2048))
        for i in range(5):
            engine.submit(Sequence(f"r{i}", f"c{i}", 300, 100 + 10 * i, 0.0))
        now = 0.0
        while not engine.idle:
            now, _ = engine.advance(now, now + limit)
        return now

    assert finish(1e9) == pytest.approx(finish(0.0), rel=0.01)


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 200)), min_size=1, max_size=25),
    room=st.integers(1200, 4000),
    most=st.integers(1, 12),
    admission=st.sampled_from(["continuous", "slots", "static"]),
)
def test_every_sequence_ends_and_all_tokens_are_given_back(
    prompts: list[tuple[int, int]], room: int, most: int, admission: str
) -> None:
    model = step_model(make_setup("Qwen2.5-0.5B", "RTX 3060"), 16)
    engine = EngineSim(model, EngineLimits(most, room, 512, admission))
    for i, (prompt, answer) in enumerate(prompts):
        engine.submit(Sequence(f"r{i}", f"c{i % 3}", prompt, answer, 0.0))
    now, ended = 0.0, []
    for _ in range(20_000):
        if engine.idle:
            break
        before = now
        now, done = engine.advance(now, now + 5.0)
        assert now > before
        assert len(engine.running) + len(engine.reading) <= most
        ended += done
    assert sorted(s.key for s in ended) == sorted(f"r{i}" for i in range(len(prompts)))
    assert all(s.done == s.answer and s.first is not None for s in ended)
    assert engine.used == 0
    assert engine.kept_tokens == sum(engine.kept.values()) <= room


def test_a_full_cache_preempts_and_still_finishes(setup: Setup) -> None:
    engine = EngineSim(step_model(setup, 16), EngineLimits(16, 1000, 2048))
    for i in range(6):
        engine.submit(Sequence(f"r{i}", f"c{i}", 150, 300, 0.0))
    now, count = 0.0, 0
    while not engine.idle:
        now, done = engine.advance(now, 1e9)
        count += len(done)
    assert count == 6
    assert engine.counters.preemptions > 0


def test_the_same_seed_gives_the_same_world(setup: Setup) -> None:
    one, two, other = (Simulation(setup, Chats(30), seed=s).run(200, 50) for s in (7, 7, 8))
    assert one.ttft == two.ttft
    assert one.ttft != other.ttft


def test_nobody_and_nothing_ends_at_once(setup: Setup) -> None:
    assert Simulation(setup, Chats(0)).run().tokens_s == 0


def test_little_s_law_holds(setup: Setup) -> None:
    chats = Chats(100, think_s=10)
    outcome = simulate(setup, chats, requests=2000)
    rate = len(outcome.e2e) / outcome.seconds
    inside = rate * (float(np.mean(outcome.e2e)) + chats.think_s)
    assert inside == pytest.approx(100, rel=0.1)


def test_more_chats_wait_longer_and_the_largest_number_is_near_the_limit() -> None:
    setup = make_setup("Qwen2.5-7B", "RTX 4090", quant="AWQ")
    chats, targets = Chats(50, context=4096), Targets(2.0, 0.1)
    count = largest(setup, chats, targets)
    assert 5 < count < 500
    assert targets.met(simulate(setup, replace(chats, count=max(1, count // 2))))
    assert not targets.met(simulate(setup, replace(chats, count=count * 2)))


def test_a_window_closes_once_its_targets_are_missed() -> None:
    setup, targets = make_setup("Qwen2.5-7B", "RTX-4090", quant="AWQ"), Targets(0.5, 0.1)
    crowd = Chats(600, think_s=2.0, context=4096)
    whole = simulate(setup, crowd, requests=1200)
    short = simulate(setup, crowd, requests=1200, targets=targets)
    assert not targets.met(whole)
    assert not targets.met(short)
    assert len(short.ttft) < len(whole.ttft) / 3
    kept = simulate(setup, replace(crowd, count=4), requests=1200, targets=targets)
    assert targets.met(kept)
    assert kept == simulate(setup, replace(crowd, count=4), requests=1200)


def test_chats_come_before_the_corpus() -> None:
    setup = make_setup("Qwen2.5-7B", "RTX PRO 6000")
    alone = simulate(setup, Chats(40, context=4096))
    beside = simulate(setup, Chats(40, context=4096), Bulk(256))
    assert beside.bulk_tokens > 0
    assert np.percentile(beside.ttft, 50) < 40 * np.percentile(alone.ttft, 50)
    only = simulate(setup, Chats(0), Bulk(256))
    assert only.bulk_tokens_s > beside.bulk_tokens_s


def test_two_copies_serve_nearly_twice_as_much() -> None:
    one = simulate(make_setup("Qwen3-8B", "L40S"), Chats(0), Bulk(512))
    two = simulate(make_setup("Qwen3-8B", "L40S", gpus=2, tp=1), Chats(0), Bulk(1024))
    assert two.bulk_tokens_s == pytest.approx(2 * one.bulk_tokens_s, rel=0.15)


def test_who_waits_for_a_report_is_told_what_is_simulated(setup: Setup) -> None:
    told: list[str] = []
    chat_report(setup, Chats(4, context=2048), told=told.append)
    assert told[0] == "4 chats"
    assert any(line.startswith("the largest number that keeps the targets: ") for line in told)
    assert "what would change it: KV cache in 8 bit" in told


def test_a_chat_report_answers_and_zero_chats_are_an_error(setup: Setup) -> None:
    report = chat_report(setup, Chats(60, context=4096), search=False)
    assert 0 < report["ttft"]["p50"]["value"] <= report["ttft"]["p99"]["value"]
    assert {row["change"].split(":")[0] for row in report["changes"]} >= {"KV cache in 8 bit", "bigger card"}
    with pytest.raises(BadRequest, match="chats"):
        chat_report(setup, Chats(0))


def test_steps_that_are_alike_are_taken_in_one_jump(setup: Setup) -> None:
    engine = EngineSim(step_model(setup, 8), EngineLimits(8, 100_000, 8192))
    for i in range(8):
        engine.submit(Sequence(f"r{i}", f"c{i}", 64, 5000, 0.0))
    now, turns = 0.0, 0
    while not engine.idle:
        now, _ = engine.advance(now, 1e9)
        turns += 1
    assert engine.counters.steps >= 5000
    assert turns < 20
