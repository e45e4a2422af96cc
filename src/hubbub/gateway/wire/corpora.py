"""Recipes and corpora. Beyond the OpenAI contract."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hubbub.core.types import Json
from hubbub.gateway.wire.base import In, Out

Amount = Annotated[str, Meta(max_length=40)]
"""``20MB``, ``1GiB``, ``5M tokens``, ``1000 records``; a number is bytes."""
CorpusName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
CorpusStatus = Literal["waiting", "running", "paused", "finished", "stopped", "failed"]


class RecipeOut(Out, frozen=True, kw_only=True):
    """``recipe``: the whole file. ``linked``: its pages refer to one another."""

    name: str
    object: Literal["recipe"] = "recipe"
    description: str
    bytes: str
    languages: list[str]
    linked: bool
    recipe: str


class RecipeList(Out, frozen=True, kw_only=True):
    data: list[RecipeOut]
    object: Literal["list"] = "list"


class RecipeCheck(In, frozen=True, kw_only=True):
    """``bytes``: the target, where it is not to be the recipe's. ``prompts``: work items to show."""

    recipe: str
    bytes: Amount | int | None = None
    prompts: Annotated[int, Meta(ge=0, le=20)] = 3


class RecipeProblem(Out, frozen=True, kw_only=True):
    """``line`` counts from 1; 0 where the whole is meant. ``message`` says the fix, too."""

    line: int
    key: str
    message: str


class RecipeMessage(Out, frozen=True, kw_only=True):
    role: str
    content: str


class RecipePrompt(Out, frozen=True, kw_only=True):
    item: int
    title: str
    messages: list[RecipeMessage]


class RecipeChecked(Out, frozen=True, kw_only=True):
    """``ok``: there are no problems, and the rest says what it is. ``target`` is in ``unit``."""

    ok: bool
    object: Literal["recipe.check"] = "recipe.check"
    problems: list[RecipeProblem]
    name: str
    description: str
    target: int
    unit: str
    languages: list[str]
    linked: bool
    steps: list[str]
    prompts: list[RecipePrompt]


class CorpusCreate(In, frozen=True, kw_only=True):
    """``bytes`` and ``seed``: where they are not to be the recipe's."""

    name: CorpusName
    recipe: str
    bytes: Amount | int | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class CorpusProgress(Out, frozen=True, kw_only=True):
    """A run at one moment; ``at`` is Unix seconds. Rates are of the last minute, ``accept_rate`` and
    ``near_duplicates`` shares of the whole run. ``eta_s`` and its band: seconds to the target. ``amount`` and
    ``target`` are in ``unit``. ``rejected`` and ``faults`` are counts by reason."""

    at: float
    unit: str
    amount: int
    target: int
    bytes: int
    records: int
    items: int
    tokens_s: float
    bytes_s: float
    records_s: float
    accept_rate: float
    near_duplicates: float
    in_flight: int
    limit: int
    eta_s: float | None
    eta_low_s: float | None
    eta_high_s: float | None
    rejected: dict[str, int]
    faults: dict[str, int]
    diversity: dict[str, float | None]


class RejectedText(Out, frozen=True, kw_only=True):
    reason: str
    item: int
    text: str


class CorpusOut(Out, frozen=True, kw_only=True):
    """``bytes``: the target as it was ordered; empty for the recipe's. ``progress`` is null before it began.
    ``samples``: the newest texts that were rejected, some of each reason; null in a list."""

    name: str
    object: Literal["corpus"] = "corpus"
    created_at: int
    state: CorpusStatus
    reason: str
    linked: bool
    model: str
    bytes: str
    seed: int | None
    recipe: str
    progress: CorpusProgress | None
    samples: list[RejectedText] | None


class CorpusList(Out, frozen=True, kw_only=True):
    data: list[CorpusOut]
    object: Literal["list"] = "list"


class CorpusDeleted(Out, frozen=True, kw_only=True):
    name: str
    object: Literal["corpus.deleted"] = "corpus.deleted"
    deleted: bool = True


class RecordList(Out, frozen=True, kw_only=True):
    """``data``: records as they are in the shards (docs/corpus-recipes.md). ``first``: the place of the first of them,
    from 0; the next page is ``after = first + the number of them - 1``. ``total``: all that are accepted so far."""

    data: list[dict[str, Json]]
    object: Literal["list"] = "list"
    first: int
    total: int
    has_more: bool
