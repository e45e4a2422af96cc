"""The correction by neighbours: what it takes over from measured rows, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.planner.cases import Case, Work, parse_row
from hubbub.planner.coefficients import alike, bundled
from hubbub.planner.residuals import Residuals, of_rows, packed, unpacked
from hubbub.planner.setup import make_setup


def case(model: str = "Qwen3-8B", card: str = "H100", streams: float = 16.0, tokens: float = 512.0) -> Case:
    return make_setup(model, card, engine="vllm").case(Work("static", tokens, tokens, streams))


def rows(*values: float) -> Residuals:
    cases = [case(streams=16.0 * (1 + i / 100)) for i in range(len(values))]
    return of_rows(cases, ["throughput"] * len(values), np.array(values))


def at(found: Residuals, one: Case, kind: str = "throughput") -> float:
    return float(found.at([one], [kind])[0])


def test_what_all_neighbours_say_is_taken_over_and_fades_with_distance() -> None:
    found = rows(0.2, 0.19, 0.21, 0.2)
    near, further, far = (at(found, case(streams=s)) for s in (16.0, 64.0, 1000.0))
    assert near == pytest.approx(0.19, abs=0.03)
    assert near > further > far >= 0


def test_another_engine_or_kind_of_metric_is_left_alone() -> None:
    found = rows(0.2, 0.2)
    other = make_setup("Qwen3-8B", "H100", engine="sglang").case(Work("static", 512, 512, 16.0))
    assert at(found, other) == 0
    assert at(found, case(), "prefill") == 0
    assert at(of_rows([], [], np.array([])), case()) == 0


def test_one_row_far_off_is_believed_less_than_one_near() -> None:
    assert at(rows(3.0), case()) < at(rows(0.3), case())


def test_a_source_helps_its_own_rows_only() -> None:
    own = replace(case(), origin="set|site")
    found = of_rows([own] * 3, ["throughput"] * 3, np.array([0.2, 0.2, 0.2]))
    assert at(found, own) > at(found, case())


@given(values=st.lists(st.floats(-2, 2), min_size=1, max_size=60), streams=st.floats(1, 500))
def test_a_correction_is_finite_and_within_what_the_rows_say(values: list[float], streams: float) -> None:
    said = at(rows(*values), case(streams=streams))
    assert np.isfinite(said)
    assert abs(said) <= max(abs(v) for v in values) * 1.5 + 1e-9


def test_packed_rows_come_back() -> None:
    found = rows(0.2, -0.1, 0.05)
    again = unpacked(packed(found))
    assert again.names == found.names
    assert at(again, case()) == pytest.approx(at(found, case()), abs=1e-3)


def test_pieces_and_tokens_have_no_neighbours_in_common() -> None:
    found = of_rows([case()] * 3, [alike("tpot_ms_mean")] * 3, np.array([0.3, 0.3, 0.3]))
    assert at(found, case(), alike("e2e_ms_mean")) > 0.1
    assert at(found, case(), alike("itl_ms_mean")) == 0


def test_the_shipped_correction_moves_throughput_and_times_within_reason() -> None:
    setup = make_setup("Qwen3-8B", "H100", engine="vllm")
    cases = [setup.case(Work("static", 512, 512, 16.0), m) for m in ("output_tok_s_total", "ttft_ms_mean")]
    factors = bundled().correction(cases)
    assert all(0.5 < factor < 2 for factor in factors)
    assert replace(bundled(), rows=None).correction(cases).tolist() == [1, 1]


def test_a_row_is_of_the_model_its_command_serves() -> None:
    row = {
        "model": "Qwen/Qwen3-30B-A3B",
        "params": "30.5B",
        "hardware": "H100",
        "metric": "output_tok_s_total",
        "engine": "vLLM",
        "quant": "BF16",
        "batch_or_concurrency": "8",
        "notes": "random; cmd: vllm serve Qwen/Qwen3-8B",
        "source_url": "https://github.com/gpustack/gpustack/blob/main/docs/x.md",
        "file": "lab.csv",
    }
    found = parse_row(row)
    assert found.shape.name == "Qwen3-8B"
    assert found.origin == "lab.csv|github.com/gpustack/gpustack"
    same = parse_row(row | {"notes": "cmd: vllm serve Qwen/Qwen3-30B-A3B-FP8"})
    assert same.shape.name == "Qwen3-30B-A3B"
