"""Rows of published measurements: understood, predicted, never a crash."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core.errors import BadRequest, NotFound
from hubbub.planner.accuracy import markdown
from hubbub.planner.cases import OutOfScope, parse_row
from hubbub.planner.coefficients import bundled
from hubbub.planner.problem import read_published
from hubbub.planner.validate import error_tables, predict_rows, read_rows

COLUMNS = """source_url source_name date model params quant engine engine_version hardware n_gpu metric
batch_or_concurrency input_len output_len value notes file""".split()  # noqa: SIM905


def row(**fields: Any) -> dict[str, str]:
    base = dict.fromkeys(COLUMNS, "")
    usual = {
        "model": "Qwen3-8B",
        "engine": "vLLM",
        "engine_version": "0.11.0",
        "hardware": "H100",
        "n_gpu": 1,
        "quant": "BF16",
    }
    return {k: str(v) for k, v in (base | usual | fields).items()}


@pytest.fixture(scope="module")
def published() -> list[dict[str, str]]:
    """A third of them: rows of one run share its simulation, and every run has several."""
    return read_published()[::3]


def test_the_published_rows_are_in_scope_and_near(published: list[dict[str, str]]) -> None:
    predictions = predict_rows(published)
    tables = error_tables(published, predictions)
    assert len(predictions) == len(published)
    ours = [
        p
        for p, r in zip(predictions, published, strict=True)
        if not any(word in r["hardware"] for word in ("AMD", "Gaudi", "Ascend", "Intel", "SN40L"))
    ]
    assert np.mean([p.predicted is None for p in ours]) < 0.05
    assert tables["all"]["median"] < 0.10
    assert tables["by_class"]["memory"]["median"] < 0.03
    assert tables["all"]["median"] < 0.3 * tables["all"]["roofline_median"]
    assert tables["all"]["coverage"] > 0.85


def test_bands_hold_their_prediction(published: list[dict[str, str]]) -> None:
    for p in predict_rows(published[::37]):
        if p.predicted is not None:
            assert p.low is not None
            assert p.high is not None
            assert p.low <= p.predicted <= p.high
            assert all(math.isfinite(x) for x in (p.low, p.predicted, p.high))


@pytest.mark.parametrize(
    "metric",
    """output_tok_s_e2e_batch1 total_tok_s_e2e_batch1 tok_s_e2e_batch1 decode_tok_s_batch1 decode_tok_s_total
    prefill_tok_s
    output_tok_s_total output_tok_s_per_gpu total_tok_s req_s ttft_ms_mean ttft_ms_p99 ttft_ms_median tpot_ms_mean
    itl_ms_mean itl_ms_p99 e2e_latency_ms_mean e2e_latency_ms_p99 ttft_ms_batch gpu_memory_gb ram_gb weights_gib
    activation_peak_gib non_torch_gib kv_cache_gib kv_cache_tokens kv_blocks16 benchmark_duration_s""".split(),  # noqa: SIM905
)
def test_every_metric_of_the_readme_has_a_prediction(metric: str) -> None:
    (found,) = predict_rows([row(metric=metric, batch_or_concurrency=16, input_len=512, output_len=128)])
    assert found.predicted is not None, found.reason
    assert found.predicted > 0


def test_what_the_columns_mean() -> None:
    burst = parse_row(row(metric="ttft_ms_mean", batch_or_concurrency="500 burst", input_len=512, output_len=128))
    assert (burst.work.mode, burst.work.requests) == ("burst", 500)
    rate = parse_row(row(metric="ttft_ms_mean", batch_or_concurrency="16 req/s", input_len=512, output_len=128))
    assert (rate.work.mode, rate.work.rate) == ("rate", 16)
    full = parse_row(
        row(metric="output_tok_s_total", batch_or_concurrency="max load (offline)", input_len=128, output_len=128)
    )
    assert full.work.mode == "saturated"
    split = parse_row(
        row(metric="total_tok_s", notes="TP2,PP4; random", n_gpu=8, engine="TensorRT-LLM", batch_or_concurrency="max")
    )
    assert (split.machine.tp, split.machine.pipeline) == (2, 4)
    cpu = parse_row(
        row(metric="decode_tok_s_batch1", n_gpu=0, hardware="Ryzen 9 7950X", engine="llama.cpp", quant="Q4_K_M")
    )
    assert cpu.machine.card.cpu


def test_faster_cards_and_newer_engines_are_predicted_faster() -> None:
    def speed(**fields: Any) -> float:
        (found,) = predict_rows(
            [row(metric="output_tok_s_total", batch_or_concurrency=32, input_len=256, output_len=256, **fields)]
        )
        assert found.predicted is not None
        return found.predicted

    assert speed(hardware="H100") > speed(hardware="A100 80GB") > speed(hardware="L4")
    assert speed(engine_version="0.11.0") > speed(engine_version="0.4.2")
    assert speed(model="Qwen3-4B") > speed(model="Qwen3-14B")


def test_out_of_scope_rows_say_why() -> None:
    with pytest.raises(OutOfScope, match="unknown metric"):
        parse_row(row(metric="happiness"))
    with pytest.raises(OutOfScope, match="no card named"):
        parse_row(row(metric="req_s", hardware="abacus"))


CELL = st.one_of(
    st.text(max_size=25), st.sampled_from(["", "nan", "-1", "1e400", "ShareGPT", "8x H100", "AWQ", "0", "16 req/s"])
)


@settings(max_examples=150, deadline=None)
@given(
    cells=st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELL)),
    metric=st.sampled_from(["ttft_ms_mean", "total_tok_s", "gpu_memory_gb", ""]),
)
def test_no_row_whatever_it_holds_makes_it_crash(cells: dict[str, str], metric: str) -> None:
    (found,) = predict_rows([cells | ({"metric": metric} if metric else {})])
    assert found.predicted is None or math.isfinite(found.predicted)
    assert found.reason


@settings(max_examples=100, deadline=None)
@given(field=st.sampled_from(COLUMNS), text=CELL)
def test_no_single_bad_cell_makes_it_crash(field: str, text: str) -> None:
    good = row(metric="output_tok_s_total", batch_or_concurrency=8, input_len=128, output_len=128)
    (found,) = predict_rows([good | {field: text}])
    assert found.predicted is None or math.isfinite(found.predicted)


def test_files_that_are_missing_or_lack_columns(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_rows(tmp_path / "gone.csv")
    path = tmp_path / "x.csv"
    path.write_text("model,value\nQwen3-8B,1\n", "utf-8")
    with pytest.raises(BadRequest, match="hardware, metric"):
        read_rows(path)


def test_a_written_file_reads_back_in_order(tmp_path: Path) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    writer.writerows(
        [row(metric="req_s", batch_or_concurrency=4, value=1), row(metric="bad"), row(metric="total_tok_s", value=9)]
    )
    path = tmp_path / "rows.csv"
    path.write_text(buffer.getvalue(), "utf-8")
    predictions = predict_rows(read_rows(path))
    assert [p.predicted is None for p in predictions] == [False, True, False]
    assert json.loads(json.dumps([p.as_json() for p in predictions]))[1]["reason"].startswith("unknown metric")


def test_the_shipped_coefficients_say_how_well_they_did() -> None:
    report = bundled().report
    assert report["in sample"]["throughput"]["median"] < 0.1
    assert report["one model on one card left out"]["throughput"]["median"] < 0.15
    assert report["pure roofline"]["all"]["median"] > 0.4


def test_the_documentation_holds_the_accuracy_of_the_shipped_coefficients() -> None:
    text = (Path(__file__).parents[2] / "docs" / "planner.md").read_text("utf-8")
    written = text.partition("<!-- accuracy -->\n")[2].partition("\n<!-- /accuracy -->")[0]
    assert written == markdown()
