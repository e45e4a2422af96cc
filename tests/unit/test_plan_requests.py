"""``/v1/plan``'s fields: a wrong type or value names the field, and nothing is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.planner.requests import Asked, plan_request


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": 7}, "kind"),
        ({"kind": "fortune"}, "kind"),
        ({"colour": "red"}, "colour"),
        ({"model": ["Qwen3-8B"]}, "model"),
        ({"model": {"name": "Qwen3-8B"}}, "model"),
        ({"hardware": 4090}, "hardware"),
        ({"hardware": "RTX 4091"}, "hardware"),
        ({"hardware": "H100", "gpus": [1]}, "gpus"),
        ({"hardware": "H100", "gpus": 1.5}, "gpus"),
        ({"hardware": "H100", "tp": -1}, "tp"),
        ({"hardware": "H100", "engine": "vlm"}, "engine"),
        ({"hardware": "H100", "context": True}, "context"),
        ({"hardware": "H100", "context": 10**400}, "context"),
        ({"hardware": "H100", "context": "9999999"}, "context"),
        ({"hardware": "H100", "max_num_seqs": "many"}, "max_num_seqs"),
        ({"kind": "chats", "hardware": "H100", "chats": {}}, "chats"),
        ({"kind": "chats", "hardware": "H100", "chats": "0"}, "chats"),
        ({"kind": "chats", "hardware": "H100", "think": "long"}, "think"),
        ({"kind": "chats", "hardware": "H100", "ttft": float("nan")}, "ttft"),
        ({"kind": "chats", "hardware": "H100", "search": "no"}, "search"),
        ({"kind": "corpus", "hardware": "H100", "bytes": "-1"}, "bytes"),
        ({"kind": "corpus", "hardware": "H100", "bytes": []}, "bytes"),
        ({"kind": "corpus", "hardware": "H100", "pack": "two"}, "pack"),
        ({"kind": "corpus", "hardware": "H100", "accept": 2}, "accept"),
        ({"kind": "corpus", "hardware": "H100", "lang": 5}, "lang"),
        ({"kind": "corpus", "hardware": "H100", "beside": -1}, "beside"),
        ({"kind": "compare", "machines": {"a": 1}}, "machines"),
        ({"kind": "compare", "machines": ["H100", 7]}, "machines"),
        ({"kind": "compare", "models": ["Qwen3-8B"] * 65}, "models"),
        ({"kind": "recommend", "hardware": "H100", "models": "nope"}, "models"),
        ({"kind": "recommend", "hardware": "H100", "days": 0}, "days"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(HubbubError) as caught:
        plan_request(body, tmp_path)
    assert caught.value.param == field


def test_null_is_as_good_as_absent_and_lists_may_be_texts() -> None:
    asked = Asked({"chats": None, "models": "Qwen3-8B, Qwen3-4B", "machines": []})
    assert asked.count("chats", 200) == 200
    assert asked.names("models", ("a",)) == ("Qwen3-8B", "Qwen3-4B")
    assert asked.names("machines", ("a",)) == ("a",)
    assert not asked.has("machines")


def test_a_near_miss_is_told() -> None:
    for body, near in (
        ({"model": "Qwen3-8X"}, "Qwen3-8B"),
        ({"hardware": "RTX 4091"}, "RTX-4090"),
        ({"hardware": "H100", "engine": "vlm"}, "vllm"),
        ({"kind": "recommend", "hardware": "H100", "models": ["qwen3-8b"]}, "Qwen3-8B"),
    ):
        with pytest.raises(HubbubError, match=f"did you mean .*{near}"):
            plan_request({"hardware": "H100"} | body)


def test_bytes_are_read_as_people_write_them() -> None:
    sizes = [Asked({"bytes": text}).size("bytes", "1GB") for text in ("1GB", "1GiB", "1e9", 10**9)]
    assert sizes == [10**9, 2**30, 10**9, 10**9]
    with pytest.raises(BadRequest):
        Asked({"bytes": False}).size("bytes", "1GB")
