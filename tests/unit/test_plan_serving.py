"""Benchmarks of serving, simulated: what no formula of means holds."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from hubbub.planner.cases import Case, Work
from hubbub.planner.engines import parse_engine
from hubbub.planner.serving import figures, lengths, simulated
from hubbub.planner.setup import Setup, StepModel, make_setup
from hubbub.planner.step_time import table_of

SETUP = make_setup("Llama-3.1-8B", "H100", engine="vllm", engine_version="0.15")


def told(work: Work, *metrics: str, setup: Setup = SETUP, drafts: int = 0) -> list[float]:
    cases = [replace(setup.case(work, metric), drafts=drafts) for metric in metrics]
    return [float(value) for value in figures(cases, setup.model.values(cases))]


def test_lengths_keep_their_mean_and_their_bounds() -> None:
    drawn = lengths(217, 0.6, 1000, random.Random(1))
    assert np.mean(drawn) == pytest.approx(217, rel=0.01)
    assert min(drawn) >= 4
    assert max(drawn) <= 1024
    assert lengths(100, 0.0, 3, random.Random(1)) == [100, 100, 100]


def test_one_client_never_waits() -> None:
    work = Work("closed", 1000, 100, 1, 50)
    case = SETUP.case(work, "ttft_ms_mean")
    values = SETUP.model.values([case])
    model = StepModel(table_of([case]), values, 1)
    alone = model.mixed(1, 0, model.prompt(1000), 1) * values["ramp"][0] + model.request_s
    assert told(work, "ttft_ms_mean") == pytest.approx([1e3 * alone], rel=0.02)


def test_a_prompt_beside_sequences_hides_the_reading_of_weights_and_no_arithmetic() -> None:
    """On a CPU a step of many sequences is bound by arithmetic, as their prompts are: the two add up."""
    case = make_setup("SmolLM2-135M", "CPU", quant="Q4_1", engine="openvino").case(Work("closed", 100, 100, 200))
    model = StepModel(table_of([case]), make_setup("SmolLM2-135M", "CPU").model.values([case]), 200)
    prompt = model.prompt(100)
    assert model.mixed(200, 0, prompt, 0) - model.decode(200, 0) == pytest.approx(prompt, rel=0.05)
    card = StepModel(
        table_of([SETUP.case(Work("closed", 100, 100))]), SETUP.model.values([SETUP.case(Work("closed", 100, 100))]), 4
    )
    prompt = card.prompt(20)
    assert card.mixed(1, 0, prompt, 0) - card.decode(1, 0) < prompt / 4


def test_an_engine_asked_too_much_serves_what_it_can_and_its_queue_grows() -> None:
    easy = told(Work("rate", 1000, 200, rate=1), "output_tok_s_total", "ttft_ms_mean", "tpot_ms_mean")
    much = told(Work("rate", 1000, 200, rate=40), "output_tok_s_total", "ttft_ms_mean", "tpot_ms_mean")
    more = told(Work("rate", 1000, 200, rate=80), "output_tok_s_total", "ttft_ms_mean", "tpot_ms_mean")
    assert easy[0] == pytest.approx(200, rel=0.15)
    assert more[0] == pytest.approx(much[0], rel=0.1)
    assert more[1] > much[1] > 10 * easy[1]
    assert more[2] == pytest.approx(much[2], rel=0.2)


def test_short_answers_feel_prompts_more_than_tokens_do() -> None:
    """The mean over requests of the time a token is above the mean over tokens, where lengths vary."""
    tpot, itl = told(Work("burst", 217, 201, 1000, 1000, varied=True), "tpot_ms_mean", "itl_ms_mean")
    assert tpot > 1.1 * itl
    sglang = make_setup("Llama-3.1-8B", "H100", engine="sglang")
    first, between = told(Work("burst", 217, 201, 1000, 1000, varied=True), "tpot_ms_mean", "itl_ms_mean", setup=sglang)
    assert first / between > tpot / itl  # its prompts stop those that decode altogether


def test_drafts_make_tokens_come_together() -> None:
    work = Work("closed", 200, 200, 2, 40)
    plain = told(work, "output_tok_s_total", "tpot_ms_mean", "itl_ms_mean")
    drafted = told(work, "output_tok_s_total", "tpot_ms_mean", "itl_ms_mean", drafts=4)
    assert drafted[0] > 1.3 * plain[0]
    assert drafted[1] < plain[1] / 1.3
    assert drafted[2] > plain[2]


def test_a_window_ends_an_answer_but_not_what_is_counted() -> None:
    asked = Work("static", 2048, 2048, 16)
    (whole,) = told(asked, "total_tok_s")
    (cut,) = told(replace(asked, window=2048.0), "total_tok_s")
    assert cut > 10 * whole


def test_rows_of_one_run_are_one_simulation_and_the_rest_is_closed_form() -> None:
    case: Case = SETUP.case(Work("closed", 200, 100, 8, 64), "ttft_ms_mean")
    assert simulated(case)
    assert not simulated(replace(case, metric="decode_tok_s_total"))
    assert not simulated(replace(case, work=replace(case.work, mode="saturated")))
    assert told(case.work, "ttft_ms_mean") == told(case.work, "ttft_ms_mean")


def test_who_comes_in_a_crowd_waits_at_the_door() -> None:
    case = SETUP.case(Work("burst", 100, 10, 500, 500), "ttft_ms_mean")
    values = SETUP.model.values([case])
    now, later = (float(figures([case], values | {"door_ms": np.array([ms])})[0]) for ms in (0.0, 10.0))
    assert later - now == pytest.approx(500 * 10.0 * values["scale"][0], rel=1e-6)


def test_sglang_takes_room_as_answers_grow_where_tensorrt_keeps_it_from_the_start() -> None:
    work = Work("burst", 200, 800, 200, 200)
    setup = make_setup("Qwen3-32B", "H100", engine="sglang", max_sequences=2048)
    one, other = (table_of([replace(setup, engine=parse_engine(name)).case(work)]) for name in ("sglang", "trtllm"))
    tokens = one.kv_tokens[0] / one.cap[0], other.kv_tokens[0] / other.cap[0]
    assert tokens == pytest.approx((200 + 400, 200 + 800), rel=0.01)
