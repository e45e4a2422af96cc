"""Which model and adapter a question is for."""

from __future__ import annotations

import pytest

from hubbub.core.errors import BadRequest, ModelNotFound
from hubbub.core.pool import Pool
from hubbub.core.types import EngineState, Style
from hubbub.runtime.served import pool_for, served_by


def state(*models: str, adapters: tuple[str, ...] = ()) -> EngineState:
    return EngineState(models, 8192, 4, 1000, adapters=adapters)


SERVED = served_by([state("small"), state("big", adapters=("pirate", "bard")), state("big", adapters=("pirate",))], {})


def test_what_is_served_is_what_all_engines_have() -> None:
    assert SERVED.models == ("small", "big")
    assert SERVED.adapters == {"pirate": ("big",), "bard": ("big",)}


@pytest.mark.parametrize(
    ("model", "adapter", "style", "pool"),
    [
        ("", None, Style(), Pool("small")),
        ("big", None, Style(), Pool("big")),
        ("", None, Style(model="big"), Pool("big")),
        ("small", None, Style(model="big"), Pool("small")),
        ("big", "pirate", Style(), Pool("big", "pirate")),
        ("", "pirate", Style(), Pool("big", "pirate")),
        ("pirate", None, Style(), Pool("big", "pirate")),
        ("pirate", "pirate", Style(), Pool("big", "pirate")),
        ("pirate", None, Style(adapter="bard"), Pool("big", "pirate")),
        ("", None, Style(adapter="bard"), Pool("big", "bard")),
        ("", None, Style(model="bard"), Pool("big", "bard")),
        ("", "", Style(model="bard"), Pool("big")),
        ("", "pirate", Style(adapter="bard"), Pool("big", "pirate")),
        ("", "", Style(adapter="bard"), Pool("small")),
        ("big", "", Style(adapter="bard"), Pool("big")),
    ],
)
def test_a_request_goes_before_the_style(model: str, adapter: str | None, style: Style, pool: Pool) -> None:
    assert pool_for(SERVED, model, adapter, style) == pool


@pytest.mark.parametrize(
    ("model", "adapter", "style", "says"),
    [
        ("", "cook", Style(), "adapter 'cook' is not loaded here; there is pirate, bard; leave it out"),
        ("", None, Style(adapter="cook"), "change the style of the chat"),
        ("small", "pirate", Style(), "adapter 'pirate' is for big, not for small"),
        ("pirate", "bard", Style(), "model 'pirate' is an adapter itself"),
    ],
)
def test_an_adapter_that_is_not_there_is_a_400(model: str, adapter: str | None, style: Style, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        pool_for(SERVED, model, adapter, style)
    assert refused.value.param == "adapter"


def test_a_model_that_is_not_there_is_a_404_that_lists_those_there_are() -> None:
    with pytest.raises(
        ModelNotFound, match="'huge' is not served here; there is small, big, and the adapters pirate, bard"
    ):
        pool_for(SERVED, "huge", None, Style())
    absent = served_by([state("small")], {"far": "it does not answer\nat all"})
    with pytest.raises(ModelNotFound, match=r"there is small; engine far is not ready: it does not answer$"):
        pool_for(absent, "huge", None, Style())
    with pytest.raises(BadRequest, match="there are none"):
        pool_for(absent, "", "pirate", Style())
