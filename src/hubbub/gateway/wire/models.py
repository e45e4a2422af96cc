"""Models."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from hubbub.gateway.wire.base import Out


class ModelOut(Out, frozen=True, kw_only=True):
    """``created`` is 0: a local file's age says nothing of the model's. A LoRA adapter is a model with a ``parent``.
    ``max_model_len``: tokens of input and output, while an engine says so."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "local"
    parent: str | UnsetType = UNSET
    max_model_len: int | UnsetType = UNSET


class ModelList(Out, frozen=True, kw_only=True):
    data: list[ModelOut]
    object: Literal["list"] = "list"
