"""vLLM's command line and what is asked of it. The real one: tests/integration/engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, NotFound
from hubbub.core.types import ChatId, EngineId, Message, Priority, Request, RequestId, Role, UserId
from hubbub.engines.hf_model import Model
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.metrics_text import Samples
from hubbub.engines.vllm import VLLMOptions, arguments, build, environ
from hubbub.engines.vllm_dialect import VLLMDialect
from support.lora_adapter import write_peft

MODEL = Model("org/model", "model", {"model_type": "qwen3"})


def spec(**fields: object) -> EngineSpec:
    return EngineSpec(EngineId("vllm"), "vllm", Path("logs"), **fields)  # type: ignore[arg-type]


def flag(flags: list[str], name: str) -> str:
    return flags[flags.index(name) + 1]


def test_chats_are_sequences_and_hubbub_queues() -> None:
    flags = arguments(MODEL, spec(chats=200), VLLMOptions(), cpu=False)
    assert flag(flags, "--max-num-seqs") == "200"
    assert flag(flags, "--scheduling-policy") == "priority"
    assert flag(flags, "--tool-call-parser") == "hermes"
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-auto-tool-choice"} <= set(flags)
    assert not [word for word in flags if word.startswith("--max-num-queued")]
    assert "--enforce-eager" not in flags
    assert "--kv-cache-memory-bytes" not in flags


def test_a_cpu_is_not_given_all_memory() -> None:
    chosen = int(flag(arguments(MODEL, spec(), VLLMOptions(), cpu=True), "--kv-cache-memory-bytes"))
    assert chosen > 0
    asked = arguments(MODEL, spec(), VLLMOptions(kv_gib=1.5), cpu=True)
    assert flag(asked, "--kv-cache-memory-bytes") == str(3 << 29)


def test_options_are_flags() -> None:
    options = VLLMOptions(context_window=4096, offload_gib=8, tensor_parallel=2, eager=True, flags="--seed 3")
    flags = arguments(MODEL, spec(), options, cpu=False)
    assert flag(flags, "--max-model-len") == "4096"
    assert flag(flags, "--kv-offloading-size") == "8"
    assert flag(flags, "--tensor-parallel-size") == "2"
    assert "--enforce-eager" in flags
    assert flags[-2:] == ["--seed", "3"]


def test_adapters_leave_a_slot_empty_on_a_cpu(tmp_path: Path) -> None:
    adapters = {name: str(write_peft(tmp_path / name, seed)) for seed, name in enumerate(("red", "blue"))}
    cpu, gpu = (arguments(MODEL, spec(adapters=adapters), VLLMOptions(), cpu=cpu) for cpu in (True, False))
    assert flag(cpu, "--max-loras") == "3"
    assert flag(gpu, "--max-loras") == "2"
    assert flag(gpu, "--max-lora-rank") == "8"
    assert f"red={tmp_path / 'red'}" in gpu


def test_a_rank_beyond_vllm_is_refused(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "red", 1)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 1024'))
    with pytest.raises(ConfigError, match="rank 1024"):
        arguments(MODEL, spec(adapters={"red": str(folder)}), VLLMOptions(), cpu=False)


def test_threads_are_bound_or_counted(tmp_path: Path) -> None:
    local = Model(str(tmp_path), "model")
    assert "VLLM_CPU_OMP_THREADS_BIND" not in environ(local, VLLMOptions(), cpu=True)
    counted = environ(local, VLLMOptions(threads=3), cpu=True)
    assert (counted["VLLM_CPU_OMP_THREADS_BIND"], counted["OMP_NUM_THREADS"]) == ("nobind", "3")
    assert counted["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environ(MODEL, VLLMOptions(), cpu=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context_window": -1}, "context_window"),
        ({"dtype": "int4"}, "dtype"),
        ({"tensor_parallel": 0}, "tensor_parallel"),
        ({"flags": "'open"}, "flags"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VLLMOptions(**options)  # type: ignore[arg-type]


def test_without_an_environment_the_command_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="hubbub engine install vllm"):
        build(spec(environments=tmp_path))


def request(priority: Priority, user: str) -> Request:
    messages = (Message(Role.USER, "Hello."),)
    return Request(RequestId("r"), UserId(user), ChatId("c"), "model", 1, priority=priority, messages=messages)


def test_the_lower_number_is_the_chat() -> None:
    dialect = VLLMDialect()
    chat, bulk = (dialect.body(request(priority, "anna")) for priority in (Priority.CHAT, Priority.BULK))
    assert chat["priority"] < bulk["priority"]
    assert chat["cache_salt"] == bulk["cache_salt"] != dialect.body(request(Priority.CHAT, "boris"))["cache_salt"]


def test_a_server_of_others_may_know_no_priorities() -> None:
    assert "priority" not in VLLMDialect(priorities=False).body(request(Priority.BULK, "anna"))


def test_samples_are_found_among_thousands() -> None:
    text = (
        '# HELP a:running x\na:running{engine="0",why="a \\"b\\" {c}"} 3.0\na:running{engine="1"} 4.0\n'
        "a:running_created 9.0\nb 1e3\nb nonsense\n"
    )
    samples = Samples(text, ("a:running", "b", "c"))
    assert samples.total("a:running") == 7
    assert samples.most("a:running") == 4
    assert samples.all("a:running")[0].labels["engine"] == "0"
    assert samples.total("b") == 1000
    assert samples.total("c") == 0
