"""``hubbub plan``: every command runs, prints JSON and pages on request, and names the option at fault."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hubbub.cli.plan import plan_app
from hubbub.core.errors import HubbubError
from hubbub.settings import load

RUN = CliRunner()


def run(*words: str) -> str:
    result = RUN.invoke(plan_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_memory_as_a_table_and_as_json() -> None:
    table = run("memory", "-m", "Qwen-7B", "-w", "RTX PRO 6000", "-c", "8k")
    assert "first principles" in table
    plan = json.loads(run("memory", "-m", "Qwen-7B", "-w", "RTX PRO 6000", "-c", "8192", "--json"))
    assert plan["kv_per_chat"]["value"] == 4 * 2**30


def test_chats_with_a_page_and_charts(tmp_path: Path) -> None:
    page, folder = tmp_path / "p.html", tmp_path / "charts"
    run(
        "chats",
        "-n",
        "20",
        "-m",
        "Qwen2.5-3B",
        "-w",
        "L40S",
        "--no-search",
        "--html",
        str(page),
        "--charts",
        str(folder),
        "--png",
    )
    assert "<svg" in page.read_text("utf-8")
    assert {p.name for p in folder.iterdir()} >= {"throughput.svg", "throughput.png", "wait.svg", "kv.svg"}


def test_corpus_alone_beside_chats_and_from_a_sample(tmp_path: Path) -> None:
    alone = json.loads(run("corpus", "-b", "1GB", "-m", "Qwen2.5-7B", "-w", "RTX 4090", "--json"))
    beside = json.loads(
        run("corpus", "-b", "1GB", "-m", "Qwen2.5-7B", "-w", "RTX PRO 6000", "--beside", "20", "--json")
    )
    assert alone["tokens"]["value"] == beside["tokens"]["value"]
    assert beside["beside_chats"] == 20
    sample = tmp_path / "my.txt"
    sample.write_text("Море шумит, и чайки кричат над причалом. " * 200, "utf-8")
    mine = json.loads(
        run("corpus", "-b", "1GB", "-m", "Qwen2.5-7B", "-w", "RTX 4090", "--sample", str(sample), "--json")
    )
    assert mine["bytes_per_token"]["provenance"] == "measured here"


def test_scenarios_compare_and_recommend(tmp_path: Path) -> None:
    assert "2.08 M minutes" in run("corpus", "--scenarios", "--json")
    rows = json.loads(run("compare", "--machines", "RTX 4090,H100", "--models", "Qwen3-8B", "--json"))["rows"]
    assert len(rows) == 2
    plan = tmp_path / "plan.toml"
    text = run("recommend", "-w", "RTX 4090", "-n", "10", "--models", "Qwen3-8B,Qwen3-0.6B", "--plan", str(plan))
    assert "engine flags:" in text
    (tmp_path / "hubbub.toml").write_text('[server]\nport = 1234\n[engine]\nkind = "simulated"\n', "utf-8")
    settings = load({}, file=tmp_path / "hubbub.toml", environ={}, plan=plan).settings
    (planned,) = settings.engines.values()
    assert (planned.kind, planned.model, planned.options.context_window) == ("vllm", "Qwen/Qwen3-8B", 4096)
    assert (planned.chats, settings.server.port) == (10, 1234)


def test_a_plan_for_this_machine_serves(tmp_path: Path) -> None:
    """What is recommended here is started as it was written, and answers."""
    plan = tmp_path / "plan.toml"
    run("recommend", "-n", "2", "--models", "SmolLM2-135M", "--context", "1024", "--plan", str(plan))
    command = (sys.executable, "-m", "hubbub", "serve", "--plan", str(plan), "--port", "0", "--data", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip().rpartition(" ")[2]
            with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
                (engine,) = json.load(answer)["engines"]
        finally:
            server.terminate()
    assert (engine["id"], engine["state"]["max_sequences"]) == ("main", 2)


def test_validate_writes_one_object_a_row_in_order(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "model,quant,engine,hardware,n_gpu,metric,batch_or_concurrency,input_len,output_len,value\n"
        "Qwen3-8B,BF16,vLLM,H100,1,output_tok_s_total,16,256,256,1500\n"
        "Qwen3-8B,BF16,vLLM,abacus,1,output_tok_s_total,16,256,256,1500\n",
        "utf-8",
    )
    out, tables = tmp_path / "out.json", tmp_path / "tables.json"
    text = run("validate", "--csv", str(rows), "--json", str(out), "--tables", str(tables))
    written = json.loads(out.read_text("utf-8"))
    assert [set(one) for one in written] == [{"predicted", "low", "high", "reason"}] * 2
    assert written[0]["low"] < written[0]["predicted"] < written[0]["high"]
    assert written[1]["predicted"] is None
    assert "abacus" in written[1]["reason"]
    assert "1 out of scope" in text
    assert json.loads(tables.read_text("utf-8"))["by_metric"]["output_tok_s_total"]["rows"] == 1


def test_lists_of_models_cards_and_this_machine() -> None:
    assert "Qwen3-8B" in run("models")
    assert "RTX-4090" in run("cards")
    assert "fingerprint" in run("machine")
    assert {row["name"] for row in json.loads(run("models", "--json"))} >= {"Qwen3-8B", "SmolLM2-135M"}
    assert {row["name"] for row in json.loads(run("cards", "--json"))} >= {"RTX-4090", "H100-SXM"}
    assert json.loads(run("machine", "--json"))["machine"]["count"] >= 1


@pytest.mark.parametrize(
    ("words", "param"),
    [
        (["corpus", "-b", "-1"], "bytes"),
        (["chats", "-n", "0", "-w", "L4"], "chats"),
        (["chats", "--ttft", "-1", "-w", "L4"], "ttft"),
        (["memory", "-m", "nope", "-w", "L4"], "model"),
        (["memory", "-w", "abacus"], "hardware"),
        (["memory", "-w", "L4", "-q", "zip"], "quant"),
        (["memory", "-w", "L4", "-e", "vlm"], "engine"),
        (["memory", "-w", "L4", "--tp", "-1"], "tp"),
        (["corpus", "-w", "L4", "--prompt", "nan"], "prompt"),
        (["memory", "-w", "L4", "-c", "999999"], "context"),
        (["memory", "-w", "L4", "--share", "3"], "share"),
        (["validate", "--csv", "/nowhere.csv"], "csv"),
        (["corpus", "-w", "L4", "--lang", "xx"], "lang"),
    ],
)
def test_bad_input_names_the_option(words: list[str], param: str) -> None:
    result = RUN.invoke(plan_app, words)
    assert isinstance(result.exception, HubbubError)
    assert result.exception.param == param
