"""Memory, corpus, scenarios, comparison, recommendation, reports: what a user is told."""

from __future__ import annotations

import json

import pytest

from hubbub.core.errors import BadRequest, ContextTooLong, NotFound
from hubbub.planner.charts import write_png
from hubbub.planner.chats import memory_report
from hubbub.planner.compare import Ask, compare
from hubbub.planner.corpus import Job, corpus_report, scenarios
from hubbub.planner.hardware import make_machine
from hubbub.planner.recommend import Wish, recommend
from hubbub.planner.report import charts_of, html_report, is_figure
from hubbub.planner.requests import plan_request
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.simulate import Chats
from hubbub.planner.tokens import text_size


@pytest.fixture(scope="module")
def setup() -> Setup:
    return make_setup("Qwen2.5-7B", "RTX 4090", quant="AWQ")


def _figures(data: object) -> list[dict[str, float]]:
    if is_figure(data):
        return [data]  # type: ignore[list-item]
    if isinstance(data, dict):
        return [f for value in data.values() for f in _figures(value)]
    if isinstance(data, list):
        return [f for value in data for f in _figures(value)]
    return []


def test_memory_adds_up_and_says_how_many_chats_fit(setup: Setup) -> None:
    report = memory_report(setup, 4096)
    parts = sum(report[key]["value"] for key in ("weights", "engine_overhead", "kv_room"))
    assert parts == pytest.approx(report["usable"]["value"])
    assert report["kv_per_chat"]["value"] == 224 * 2**20
    assert report["chats_resident"]["value"] == report["kv_room"]["value"] // report["kv_per_chat"]["value"]


def test_two_hundred_chats_of_4k_on_qwen25_7b_need_43_8_gib() -> None:
    setup = make_setup("Qwen2.5-7B", "RTX PRO 6000")
    assert 200 * memory_report(setup, 4096)["kv_per_chat"]["value"] / 2**30 == pytest.approx(43.75)


def test_weights_that_do_not_fit_say_by_how_much_and_what_would() -> None:
    with pytest.raises(BadRequest, match=r"GiB more than .* bits a weight would fit"):
        memory_report(make_setup("Qwen3-32B", "RTX 4090"), 4096)


def test_a_context_beyond_the_window_is_refused() -> None:
    with pytest.raises(ContextTooLong, match="window of Qwen3-8B"):
        make_setup("Qwen3-8B", "H100", context=100_000)


def test_tensor_parallel_cards_share_weights_and_heads() -> None:
    one, two = make_setup("Qwen3-14B", "L40S"), make_setup("Qwen3-14B", "L40S", gpus=2)
    assert two.memory.weights_bytes == one.memory.weights_bytes / 2
    assert two.memory.kv_tokens > 2 * one.memory.kv_tokens


def test_an_8_bit_cache_holds_twice_the_tokens() -> None:
    plain, small = make_setup("Qwen3-8B", "L40S"), make_setup("Qwen3-8B", "L40S", kv="fp8")
    assert small.memory.kv_tokens == pytest.approx(2 * plain.memory.kv_tokens, rel=0.001)


def test_a_gigabyte_of_russian_is_168_to_215_million_tokens(setup: Setup) -> None:
    report = corpus_report(setup, Job(10**9, "ru"))
    tokens = report["tokens"]
    assert 167e6 < tokens["low"] < tokens["value"] < tokens["high"] < 216e6
    assert report["generated_tokens"]["value"] == pytest.approx(tokens["value"] / 0.85)
    seconds = report["generated_tokens"]["value"] / report["speed"]["value"]
    assert report["time"]["value"] == pytest.approx(seconds)


def test_bytes_a_token_that_the_asker_knows_count_before_the_table(setup: Setup) -> None:
    known = corpus_report(setup, Job(10**9, "ru", accept=0.5, bytes_per_token=2.0))
    assert known["tokens"]["value"] == 5e8
    assert known["generated_tokens"]["value"] == 1e9
    assert known["bytes_per_token"]["provenance"] == "as you stated it"
    asked = {"kind": "corpus", "model": "Qwen3-0.6B", "hardware": "H100", "bytes": "1GB", "bytes_per_token": 4}
    assert plan_request(asked)["tokens"]["value"] == 2.5e8
    with pytest.raises(BadRequest, match="bytes_per_token"):
        plan_request(asked | {"bytes_per_token": -1})


def test_every_figure_has_a_band_and_a_provenance(setup: Setup) -> None:
    figures = _figures(corpus_report(setup, Job(10**9))) + _figures(memory_report(setup, 4096))
    assert len(figures) > 15
    for figure in figures:
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["provenance"]


def test_scenarios_correct_the_notes_with_numbers() -> None:
    plan = scenarios()
    assert [row["way"][0] for row in plan["scenarios"]] == ["A", "B", "C", "D"]
    api, one, ten, batched = plan["scenarios"]
    assert "2.08 M minutes" in api["reason"]
    days = [row["ours"][0]["time"]["value"] / 86400 for row in (one, ten, batched)]
    assert days[0] > days[1] > days[2]
    assert 0.7 < days[2] < 2.5
    story = json.dumps(plan["corrections"])
    assert "43.8 GiB" in story
    assert "4.0 GiB at 8k" in story


@pytest.mark.parametrize(
    ("job", "param"),
    [
        (Job(10**6, accept=0), "accept"),
        (Job(10**6, record=0), "record"),
        (Job(10**6, prompt=10, shared=50), "shared"),
        (Job(10**6, lang="xx"), "lang"),
    ],
)
def test_bad_jobs_name_the_option(setup: Setup, job: Job, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        corpus_report(setup, job)
    assert caught.value.param == param


def test_a_smaller_vocabulary_makes_more_tokens_of_russian_only() -> None:
    assert text_size("ru", 32_000).bytes_per_token.value < 0.8 * text_size("ru").bytes_per_token.value
    assert text_size("en", 32_000).bytes_per_token.value == text_size("en").bytes_per_token.value


def test_compare_takes_fewer_bits_where_the_weights_leave_no_room_for_chats() -> None:
    rows = compare(Ask(Job(10**9)), ["RTX 5090", "H100"], ["Qwen3-14B"])["rows"]
    quants = {row["machine"]: row["quant"] for row in rows}
    assert quants == {"RTX-5090": "AWQ", "H100-SXM": "BF16"}
    stated = compare(Ask(Job(10**9)), ["RTX 5090"], ["Qwen3-14B"], quants=["BF16"])["rows"]
    assert (stated[0]["quant"], stated[0]["chats_resident"]) == ("BF16", 0), "what is asked for is kept"


def test_compare_marks_the_front_and_keeps_what_does_not_fit_with_the_reason() -> None:
    plan = compare(Ask(Job(10**9)), ["RTX 4090", "H100", "RTX 4060"], ["Qwen3-32B"])
    rows = {row["machine"]: row for row in plan["rows"]}
    assert not rows["RTX 4060"]["fits"]
    assert "more than" in rows["RTX 4060"]["why"]
    assert any(row.get("pareto") for row in plan["rows"])
    assert rows["H100-SXM"]["time"]["value"] < rows["RTX-4090"]["time"]["value"]


def test_recommend_keeps_the_targets_and_names_a_runner_up() -> None:
    wish = Wish(Chats(20, context=4096), models=("Qwen3-14B", "Qwen3-8B", "Qwen3-0.6B"))
    found = recommend(make_machine("RTX 4090"), wish)
    assert found["best"]["meets"]
    assert found["best"]["model"] in ("Qwen3-14B", "Qwen3-8B")
    assert found["runner_up"]
    assert {"--max-model-len", "--ctx-size"} & set(found["best"]["flags"])


def test_recommend_says_when_nothing_fits() -> None:
    with pytest.raises(BadRequest, match="none of"):
        recommend(make_machine("GTX 1660"), Wish(Chats(10), models=("Qwen3-32B",)))


def test_the_report_is_one_page_with_charts_and_no_outside_links() -> None:
    plan = plan_request({"kind": "compare", "machines": ["RTX 4090", "L40S"], "models": ["Qwen2.5-7B"]})
    page = html_report([("Compared", plan)])
    assert "<svg" in page
    assert "90 % band" in page
    assert "src=" not in page
    assert "href=" not in page
    assert all(svg.startswith("<svg") for svg in charts_of(plan).values())


def test_requests_are_checked_field_by_field() -> None:
    for body, param in (
        ({"kind": "dance"}, "kind"),
        ({"kind": "corpus", "bytes": "-1"}, "bytes"),
        ({"kind": "chats", "hardware": "RTX 4090", "chats": 0}, "chats"),
        ({"kind": "memory", "colour": 1}, "colour"),
    ):
        with pytest.raises(BadRequest) as caught:
            plan_request(body)
        assert caught.value.param == param
    with pytest.raises(NotFound):
        plan_request({"kind": "memory", "model": "nope", "hardware": "RTX 4090"})


def test_png_is_written_where_a_renderer_is_installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    plan = plan_request({"kind": "scenarios", "bytes": "1GB"})
    path = tmp_path_factory.mktemp("png") / "x.png"
    write_png(charts_of(plan)["scenarios"], path)
    assert path.read_bytes().startswith(b"\x89PNG")
