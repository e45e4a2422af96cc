"""Plans for Hubbub's own engine on a CPU, and what this machine's CPU is taken for."""

from __future__ import annotations

import numpy as np
import pytest

from hubbub.planner.calibration import Sample, calibrated, expected
from hubbub.planner.cases import Work
from hubbub.planner.chats import memory_report
from hubbub.planner.detect import memory_bandwidth, multiply_rate
from hubbub.planner.setup import default_engine, make_setup


def test_a_cpu_runs_the_embedded_engine_where_it_reads_the_model() -> None:
    own = make_setup("SmolLM2-135M", "CPU")
    assert own.engine.family == "openvino"
    assert own.engine.interleaves
    assert own.engine.token_budget(own.machine.card) == 256
    assert own.max_sequences == 256
    assert own.quant.kv_bytes == pytest.approx(1.1875)
    assert make_setup("Qwen3-30B-A3B", "CPU").engine.family == "llamacpp"
    assert make_setup("Gemma-3-12B", "CPU").engine.family == "llamacpp"
    assert make_setup("SmolLM2-135M", "CPU", kv="16").quant.kv_bytes == 2
    card = make_setup("Qwen3-8B", "RTX 4090")
    assert default_engine(card.machine, card.quant, card.shape) == "vllm"


def test_its_cache_holds_what_its_own_sizing_gives_it() -> None:
    setup = make_setup("SmolLM2-135M", "CPU", engine="hubbub")
    assert setup.memory.kv_tokens == 256 * 1024
    report = memory_report(setup, 2048)
    assert report["chats_resident"]["value"] == 128
    assert report["usable"]["provenance"] == "the engine's default"


def test_without_rows_of_its_own_it_starts_from_llama_cpp_and_learns_what_is_measured() -> None:
    own = make_setup("SmolLM2-135M", "CPU", engine="openvino")
    kin = make_setup("SmolLM2-135M", "CPU", engine="llama.cpp", kv="16")
    work = Work("static", 64, 64, 1.0)
    for name in ("weights", "prefill", "layer_us"):
        mine, theirs = (s.model.values([s.case(work)])[name][0] for s in (own, kin))
        assert mine == pytest.approx(theirs, rel=0.1), name
    guesses = [expected(own, Sample(n, 64.0, 24.0, 1.0, 1.0, 1.0)) for n in (1, 4, 8, 16)]
    slower = [Sample(g.streams, 64.0, 24.0, g.ttft_s * 2, g.itl_s * 2, g.rate / 2) for g in guesses]
    tuned, record = calibrated(own, slower, "here")
    assert record.residual_after < 0.1
    again = [expected(tuned, s) for s in slower]
    assert np.median([a.itl_s / s.itl_s for a, s in zip(again, slower, strict=True)]) == pytest.approx(1, abs=0.1)


def test_what_is_measured_is_what_a_processor_can_be() -> None:
    assert 0.5 < memory_bandwidth(megabytes=8, seconds=0.01) < 5000
    assert 1e-4 < multiply_rate(seconds=0.01) < 500
