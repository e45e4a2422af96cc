"""The small server over transformers, as far as it goes without torch; and what its adapter launches."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, NotFound, Unsupported
from hubbub.core.types import ChatId, EngineId, Message, Request, RequestId, Role, Sampling, UserId
from hubbub.engines import fastchat, hf_transformers, transformers_server
from hubbub.engines.fastchat import FastChatDialect
from hubbub.engines.hf_model import Model
from hubbub.engines.hf_transformers import TransformersOptions
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.launched import LaunchedEngine
from hubbub.engines.machine import inspect_machine
from hubbub.engines.transformers_server import Turns


async def test_one_adapter_speaks_at_a_time_first_come_first_served() -> None:
    switched: list[str] = []
    inside: list[str] = []
    turns = Turns(switched.append)
    gates = {name: asyncio.Event() for name in ("a1", "a2", "b1", "a3")}

    async def speak(name: str) -> None:
        async with turns.of(name[0]):
            inside.append(name)
            assert len({one[0] for one in inside}) == 1
            await gates[name].wait()
            inside.remove(name)

    tasks = [asyncio.create_task(speak(name)) for name in gates]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (inside, turns.waiting) == (["a1", "a2"], 2)
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)
    assert switched == ["a", "b", "a"]


async def test_who_leaves_the_queue_holds_up_nobody() -> None:
    turns = Turns(lambda _adapter: None)
    async with turns.of("a"):
        waits = asyncio.create_task(turns.of("b").__aenter__())
        behind = asyncio.create_task(turns.of("a").__aenter__())
        await asyncio.sleep(0)
        assert turns.waiting == 2
        waits.cancel()
        await asyncio.wait([waits])
        await behind
        assert turns.waiting == 0


def test_each_token_draws_by_a_seed_of_its_own() -> None:
    class State:
        logit_processor_kwargs = {"seed": 7}  # noqa: RUF012

    first, again = State(), State()
    seeds = [transformers_server._next_seed(first) for _ in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == [transformers_server._next_seed(again) for _ in range(100)]


def test_what_is_launched_takes_the_flags(tmp_path: Path) -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "max_position_embeddings": 4096}
    (tmp_path / "config.json").write_text(json.dumps(config))
    flags = hf_transformers.arguments(Model(str(tmp_path), "m"), 8, TransformersOptions(threads=3), inspect_machine())
    read = transformers_server.parser().parse_args([*flags, "--port", "5", "--adapter", "warm=/a"])
    assert (read.chats, read.kv_tokens, read.threads, read.adapter) == (8, 8 * 1024, 3, ["warm=/a"])


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"batched_tokens": 0}, {"dtype": "int1"}])
def test_bad_settings_name_the_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TransformersOptions(**wrong)  # type: ignore[arg-type]


def test_an_environment_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 1}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    spec = EngineSpec(EngineId("e"), "fastchat", tmp_path, str(tmp_path), environments=tmp_path)
    with pytest.raises(NotFound, match="hubbub engine install fastchat"):
        fastchat.build(spec)
    with pytest.raises(ConfigError, match="no adapters"):
        fastchat.build(EngineSpec(EngineId("e"), "fastchat", tmp_path, adapters={"warm": "x"}))


@pytest.mark.parametrize(("chats", "sequences", "sent"), [(0, 0, 5), (2, 0, 2), (200, 0, 5), (200, 12, 12)])
def test_fastchat_is_sent_few_at_once(tmp_path: Path, chats: int, sequences: int, sent: int) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    options = fastchat.FastChatOptions(python="python", sequences=sequences)
    spec = EngineSpec(EngineId("e"), "fastchat", tmp_path, str(tmp_path), chats=chats, options=options)
    engine = fastchat.build(spec)
    assert isinstance(engine, LaunchedEngine)
    assert engine.wire.config.limits.max_sequences == sent
    argv = engine.supervisor.command.argv
    assert argv[argv.index("--chats") + 1] == str(sent)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"partial": "It"}, "partial"),
        ({"sampling": Sampling(response_format={"type": "json_object"})}, "response_format"),
    ],
)
def test_what_fastchat_cannot_is_refused(fields: dict[str, object], param: str) -> None:
    message = Message(Role.USER, "hello")
    request = Request(RequestId("r"), UserId("u"), ChatId("c"), "m", 9, messages=(message,), **fields)  # type: ignore[arg-type]
    with pytest.raises(Unsupported) as refused:
        FastChatDialect(["m"]).body(request)
    assert refused.value.param == param
