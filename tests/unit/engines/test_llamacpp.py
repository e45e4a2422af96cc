"""What llama-server is asked, by which flags it starts, and which slot a chat gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.core.errors import BadRequest, ConfigError, ModelNotFound
from hubbub.core.types import ChatId, EngineId, Message, Priority, Request, RequestId, Role, UserId
from hubbub.engines import llamacpp, xllamacpp_server
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.llamacpp import LlamaCppOptions
from hubbub.engines.llamacpp_dialect import LlamaCppDialect
from hubbub.engines.llamacpp_layout import Layout
from hubbub.engines.llamacpp_slots import SlotTable
from hubbub.engines.models import ModelKind, ModelSource, ResolvedModel

MODEL = ResolvedModel(Path("m.gguf"), "m", ModelSource.FILE, ModelKind.GGUF, "a test")


def asked(request: str, chat: str = "c", **fields: object) -> Request:
    message = Message(Role.USER, "hello")
    return Request(RequestId(request), UserId("u"), ChatId(chat), "m", 9, messages=(message,), **fields)  # type: ignore[arg-type]


def slot_of(slots: SlotTable, request: str) -> int | None:
    place = slots.place(RequestId(request))
    return None if place is None else place.slot


def test_what_one_user_left_is_of_no_use_to_another() -> None:
    slots = SlotTable(1)
    dialect = LlamaCppDialect((), (), slots)
    for user, warm in (("anna", True), ("anna", True), ("boris", False), ("boris", True)):
        request = replace(asked("r", user), user=UserId(user))
        give_back = slots.take(request)
        assert dialect.body(request)["cache_prompt"] is warm
        dialect.answered(request, 200, lambda _: None)
        give_back()


def test_a_slot_is_nobodys_after_a_request_that_was_not_answered() -> None:
    slots = SlotTable(1)
    dialect = LlamaCppDialect((), (), slots)
    seen = []
    for user, status in (("anna", 200), ("boris", 503), ("boris", 0), ("anna", 200), ("anna", 0), ("anna", 200)):
        request = replace(asked("r", user), user=UserId(user))
        give_back = slots.take(request)
        seen.append(dialect.body(request)["cache_prompt"])
        if status:
            dialect.answered(request, status, lambda _: None)
        give_back()
    # What boris asked may have come to the slot or not: of no use to him, nor to anna.
    assert seen == [True, False, False, False, True, True]


def test_a_model_that_is_not_served_is_told() -> None:
    with pytest.raises(ModelNotFound, match="smollm2"):
        LlamaCppDialect(["smollm2"]).body(asked("r"))


def test_a_chat_comes_back_to_its_slot() -> None:
    slots = SlotTable(3)
    for number, chat in enumerate("abc"):
        give_back = slots.take(asked("r", chat))
        assert slot_of(slots, "r") == number
        give_back()
        give_back()
    slots.take(asked("1", "b"))
    slots.take(asked("2", "new"))  # a's, used longest ago
    slots.take(asked("3", "c"))
    assert [slot_of(slots, str(n)) for n in (1, 2, 3)] == [1, 0, 2]
    slots.take(asked("4", "late"))
    assert slot_of(slots, "4") is None


def test_bulk_stays_in_slots_of_bulk() -> None:
    slots = SlotTable(2)
    slots.take(asked("r", "item 1", priority=Priority.BULK))()
    slots.take(asked("r", "chat"))()
    slots.take(asked("r", "item 2", priority=Priority.BULK))
    assert slot_of(slots, "r") == 0


def test_adapters_go_by_number_also_where_there_is_none() -> None:
    dialect = LlamaCppDialect(["m"], ["warm", "dry"])
    assert dialect.body(asked("r", adapter="dry"))["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    plain = dialect.body(asked("r"))
    assert plain["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]
    assert plain["model"] == "m"
    with pytest.raises(BadRequest, match="warm, dry"):
        dialect.body(asked("r", adapter="cold"))
    assert "lora" not in LlamaCppDialect().body(asked("r"))


def test_the_slot_is_part_of_the_body() -> None:
    slots = SlotTable(1)
    dialect = LlamaCppDialect((), (), slots)
    give_back = slots.take(asked("r"))
    assert dialect.body(asked("r"))["id_slot"] == 0
    give_back()
    assert "id_slot" not in dialect.body(asked("r"))


def test_both_servers_take_the_flags() -> None:
    flags = llamacpp.arguments(
        MODEL, Layout(4, 512, 1024, True), [Path("a.gguf")], LlamaCppOptions(kv_type="q8_0"), Path("f")
    )
    read = xllamacpp_server.parser().parse_args([*flags, "--port", "5"])
    assert (read.cache_ram, read.cache_idle_slots) == (0, False)
    assert (read.parallel, read.kv_unified, read.kv_unified_per_slot, read.ctx_size) == (4, True, 512, 1024)
    assert (read.lora, read.lora_init_without_apply, read.cache_type_v) == (["a.gguf"], True, "q8_0")


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"kv_layout": "round"}, {"kv_type": "int3"}, {"kv_tokens": -5}])
def test_bad_settings_name_the_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LlamaCppOptions(**wrong)  # type: ignore[arg-type]


def test_a_binary_that_is_not_there_is_told(tmp_path: Path) -> None:
    options = LlamaCppOptions(binary=str(tmp_path / "llama-server"))
    with pytest.raises(ConfigError, match="llama-server"):
        llamacpp.build(EngineSpec(EngineId("l"), "llamacpp", tmp_path, "smollm2", options=options))
