"""Whoever sends a value that a field does not take is told which it takes."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import pytest

from hubbub.core.errors import BadRequest
from hubbub.gateway.wire.base import In, decode
from hubbub.gateway.wire.batches import BatchCreate


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Circle(In, frozen=True, kw_only=True, tag="circle", tag_field="type"):
    fill: Colour


class Square(In, frozen=True, kw_only=True, tag="square", tag_field="type"):
    side: Literal["short", "long"] | None = None


class Drawing(In, frozen=True, kw_only=True):
    shapes: list[Circle | Square]
    named: dict[str, Circle | Square] | None = None
    scale: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"shapes": [{"type": "circle", "fill": "green"}]}', "shapes[0].fill: ...; give one of red, blue"),
        (b'{"shapes": [{"type": "square", "side": "x"}]}', "shapes[0].side: ...; give one of long, short"),
        (b'{"shapes": [{"type": "cube"}]}', "shapes[0].type: ...; give one of circle, square"),
        (b'{"shapes": [], "named": {"a": {"type": "cube"}}}', "named[...].type: ...; give one of circle, square"),
        (b'{"shapes": [], "scale": 3}', "scale: ...; give one of 1, 2"),
    ],
)
def test_the_values_that_a_field_takes_are_named(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(body, Drawing)
    field, _, rest = caught.value.message.partition(": ")
    assert f"{field}: ...;{rest.rpartition(';')[2]}" == said
    assert caught.value.param == field


def test_a_batch_for_an_endpoint_that_has_none() -> None:
    body = b'{"input_file_id": "f", "endpoint": "/v1/embeddings", "completion_window": "24h"}'
    with pytest.raises(BadRequest, match="'/v1/embeddings'; give one of /v1/chat/completions, /v1/responses"):
        decode(body, BatchCreate)
    with pytest.raises(BadRequest) as caught:
        decode(body.replace(b'"/v1/embeddings"', b"5"), BatchCreate)
    assert "give one of" not in caught.value.message
