"""Plans: how many chats fit, how fast, how long for a gigabyte. Beyond the OpenAI contract."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from hubbub.gateway.wire.base import In

Name = Annotated[str, Meta(max_length=100)]
Names = Annotated[list[Name], Meta(max_length=30)]
Share = Annotated[float, Meta(gt=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=1e7)]
Tokens = Annotated[float, Meta(gt=0, le=1e6)]
Count = Annotated[int, Meta(ge=0, le=100_000)]
Size = Annotated[str, Meta(min_length=1, max_length=20)]


class PlanCreate(In, frozen=True, kw_only=True):
    """The options of ``hubbub plan KIND``, spelt as its long flags with ``_``; what is left out has the command's
    default. Without ``hardware``: the server's own machine. ``bytes``: 1GB, 1GiB, 1e9. Times in seconds. ``choices``:
    the models, cards, types of weights and languages that can be named."""

    kind: Literal["memory", "chats", "corpus", "scenarios", "compare", "recommend", "choices"] = "memory"
    model: Name | None = None
    hardware: Name | None = None
    quant: Name | None = None
    kv: Name | None = None
    engine: Name | None = None
    engine_version: Name | None = None
    gpus: Annotated[int, Meta(ge=1, le=4096)] | None = None
    tp: Annotated[int, Meta(ge=0, le=4096)] | None = None
    max_num_seqs: Annotated[int, Meta(ge=0, le=4096)] | None = None
    context: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    chats: Count | None = None
    think: Seconds | None = None
    question: Tokens | None = None
    answer: Tokens | None = None
    turns: Annotated[float, Meta(ge=1, le=10_000)] | None = None
    ttft: Annotated[float, Meta(gt=0, le=1e5)] | None = None
    itl: Annotated[float, Meta(gt=0, le=1e5)] | None = None
    search: bool | None = None
    curve: bool | None = None
    bytes: Size | None = None
    lang: Name | None = None
    record: Tokens | None = None
    prompt: Tokens | None = None
    shared: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    pack: Annotated[int, Meta(ge=1, le=1000)] | None = None
    accept: Share | None = None
    beside: Count | None = None
    machines: Names | None = None
    models: Names | None = None
    engines: Names | None = None
    quants: Names | None = None
    days: Annotated[float, Meta(gt=0, le=1e5)] | None = None
