"""Models."""

from __future__ import annotations

from typing import Literal

from hubbub.gateway.wire.base import Out


class ModelOut(Out, frozen=True, kw_only=True):
    """``created`` is 0: a local file's age says nothing of the model's."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "local"


class ModelList(Out, frozen=True, kw_only=True):
    data: list[ModelOut]
    object: Literal["list"] = "list"
