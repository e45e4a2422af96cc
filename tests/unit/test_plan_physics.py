"""Step time and coefficients: what must hold whatever the fit says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.planner.cases import Work
from hubbub.planner.closed_forms import figure, roofline, timings
from hubbub.planner.coefficients import bundled, groups
from hubbub.planner.engines import parse_engine
from hubbub.planner.setup import make_setup
from hubbub.planner.step_time import COEFFICIENTS, FLOORS, MOST, Steps, coefficient, table_of

MODELS = ["Qwen2.5-0.5B", "Qwen3-8B", "Qwen3-30B-A3B", "Gemma-3-12B", "Qwen-7B", "DeepSeek-V2-Lite-16B"]
CARDS = ["RTX 4090", "H100", "A100 80GB", "L4", "M2 Ultra", "RTX PRO 6000"]
ENGINES = ["vllm", "sglang", "llama.cpp", "lmdeploy", "transformers", "tensorrt-llm", "an engine nobody knows"]


@given(
    model=st.sampled_from(MODELS),
    card=st.sampled_from(CARDS),
    engine=st.sampled_from(ENGINES),
    mode=st.sampled_from(["static", "closed", "burst", "rate", "saturated"]),
    tokens_in=st.floats(0, 30_000),
    tokens_out=st.floats(1, 4000),
    streams=st.floats(1, 2000),
)
def test_every_timing_is_finite_and_positive(
    model: str, card: str, engine: str, mode: str, tokens_in: float, tokens_out: float, streams: float
) -> None:
    setup = replace(make_setup(model, card), engine=parse_engine(engine))
    work = Work(mode, tokens_in, tokens_out, streams, 500.0 if mode != "saturated" else math.inf, 4.0)
    case = setup.case(work)
    table = table_of([case])
    result = timings(Steps(table, setup.model.values([case])))
    for name in ("duration", "requests_s", "ttft_mean", "ttft_p99", "tpot", "itl"):
        value = float(getattr(result, name)[0])
        assert math.isfinite(value), name
        assert value > 0, name
    assert result.ttft_p99[0] >= 0.5 * result.ttft_mean[0]


@given(
    model=st.sampled_from(MODELS), card=st.sampled_from(CARDS), batch=st.integers(1, 200), context=st.integers(1, 8000)
)
def test_a_step_grows_with_batch_and_context_and_never_beats_the_bandwidth(
    model: str, card: str, batch: int, context: int
) -> None:
    setup = make_setup(model, card)
    case = setup.case(Work("closed", 100, 100))
    table = table_of([case])
    steps = Steps(table, setup.model.values([case]))

    def at(b: float, c: float) -> float:
        return float(steps.decode(np.array([b]), np.array([c]))[0])

    assert at(batch + 1, context) > at(batch, context)
    assert at(batch, context + 500) > at(batch, context)
    read = float(steps.weights_read(np.array([float(batch)]))[0])
    assert at(batch, context) > FLOORS["weights"] * read / table.bandwidth[0]


def test_an_unknown_card_falls_back_to_its_family() -> None:
    model = bundled()
    known = make_setup("Qwen3-8B", "RTX 4090").case(Work("static", 100, 100))
    unseen = make_setup("Qwen3-8B", "RTX 4080").case(Work("static", 100, 100))
    assert groups(known)["cards"] == groups(unseen)["cards"]
    assert model.nearness(unseen) == "engine"
    low, high = model.band(unseen)
    near_low, near_high = model.band(known)
    assert high / low > near_high / near_low > 1
    values = model.values([unseen])
    assert all(np.isfinite(values[name]).all() for name in COEFFICIENTS)


def test_effects_never_add_up_to_a_prompt_read_at_a_hundredth_of_the_rate() -> None:
    start = np.array([1.45])
    assert coefficient("prefill", start, np.array([9.0]))[0] < 0.8 + 0.65 * np.exp(MOST)
    assert coefficient("prefill", start, np.array([0.1]))[0] == pytest.approx(0.8 + 0.65 * np.exp(0.1), rel=1e-3)


def test_the_roofline_is_a_baseline_without_overheads() -> None:
    case = make_setup("Qwen3-8B", "H100").case(Work("static", 1, 1000, 1.0), "decode_tok_s_batch1")
    table = table_of([case])
    rate = float(figure("decode_tok_s_batch1", table, Steps(table, roofline(table)))[0])
    read = table.always[0] / (0.8 * table.bandwidth[0])
    assert rate == pytest.approx(1 / read, rel=0.05)


@pytest.mark.parametrize(
    ("name", "version", "date", "family", "label"),
    [
        ("vLLM", "0.4.2", "", "vllm", "v0.4"),
        ("vLLM", "", "2024-10", "vllm", "v0.6"),
        ("vllm", "v0.17.1", "2026", "vllm", "v0.15"),
        ("Ollama / llama.cpp", "", "2025-12", "llamacpp", "new"),
        ("NIM (TensorRT-LLM)", "1.8.0", "2025", "trtllm", "new"),
        ("HF Transformers", "Transformers 4.38.2, AutoGPTQ 0.7.1", "2024-06", "hf", "old"),
        ("text-generation-webui llama-cpp GGUF 4bit", "", "2023-12", "llamacpp", "old"),
        ("something new", "", "", "other", "new"),
    ],
)
def test_engines_as_tables_spell_them(name: str, version: str, date: str, family: str, label: str) -> None:
    kind = parse_engine(name, version, date)
    assert (kind.family, kind.version) == (family, label)
