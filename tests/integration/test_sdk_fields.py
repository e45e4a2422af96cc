"""Which request fields do what: complete, against the official client's own list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from hubbub.gateway.openapi import document
from hubbub.gateway.reference import api_page, api_schema
from hubbub.gateway.routes.table import ROUTES
from hubbub.gateway.wire import support
from hubbub.gateway.wire.chat_completions import CompletionCreate
from hubbub.gateway.wire.responses import InputTokensCreate, ResponseCreate

EXTENSIONS = {CompletionCreate: {"adapter"}, ResponseCreate: {"adapter", "after"}}
"""Fields of this server alone."""
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("params", "table", "model"),
    [
        ((CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming), support.COMPLETIONS, CompletionCreate),
        ((ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming), support.RESPONSES, ResponseCreate),
        ((InputTokenCountParams,), support.INPUT_TOKENS, InputTokensCreate),
    ],
)
def test_every_field_of_the_client_is_decided(
    params: tuple[Any, ...], table: Mapping[str, support.Field], model: type[msgspec.Struct]
) -> None:
    known = {name for kind in params for name in kind.__annotations__}
    for kind in params:
        for base in kind.__orig_bases__:
            known |= set(getattr(base, "__annotations__", ()))
    known |= EXTENSIONS.get(model, set())
    assert set(table) == known
    assert set(model.__struct_fields__) == known


def test_true_is_not_one() -> None:
    body = CompletionCreate(messages=[{}], model="m", n=1, logprobs=False, top_logprobs=0)
    support.check(body, support.COMPLETIONS)


def test_the_pages_about_the_interface_are_up_to_date() -> None:
    """`python -m hubbub.gateway.reference docs` writes them anew."""
    assert (DOCS / "api.md").read_text() == api_page()
    assert (DOCS / "openapi.json").read_text() == api_schema()


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    described = document(ROUTES)
    text = msgspec.json.encode(described).decode()
    for name in re.findall(r"#/components/schemas/([^\"]+)", text):
        assert name in described["components"]["schemas"]
    assert sum(len(methods) for methods in described["paths"].values()) == len(ROUTES)
