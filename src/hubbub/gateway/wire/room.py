"""The engine room: gauges now and over the last minutes. Beyond the OpenAI contract.

Rates are tokens a second; fills and hits are shares from 0 to 1; times are seconds, of the answers that ended in the
last minute. null: nothing can be said.
"""

from __future__ import annotations

from typing import Literal

from hubbub.gateway.wire.base import Out

Value = float | None


class EndsNow(Out, frozen=True, kw_only=True):
    input_tokens_s: float
    output_tokens_s: float
    kv_fill: Value
    cache_hits: Value
    ttft_p50_s: Value
    ttft_p95_s: Value
    itl_p50_s: Value
    itl_p95_s: Value


class EndsSeries(Out, frozen=True, kw_only=True):
    input_tokens_s: list[Value]
    output_tokens_s: list[Value]
    kv_fill: list[Value]
    cache_hits: list[Value]
    ttft_p50_s: list[Value]
    ttft_p95_s: list[Value]
    itl_p50_s: list[Value]
    itl_p95_s: list[Value]


class WholeNow(EndsNow, frozen=True, kw_only=True):
    """All engines together; requests by class."""

    running_chat: float
    running_bulk: float
    waiting_chat: float
    waiting_bulk: float


class WholeSeries(EndsSeries, frozen=True, kw_only=True):
    running_chat: list[Value]
    running_bulk: list[Value]
    waiting_chat: list[Value]
    waiting_bulk: list[Value]


class EngineNow(EndsNow, frozen=True, kw_only=True):
    """``waiting``: what the engine has been given and has not begun."""

    running: float
    waiting: float


class EngineSeries(EndsSeries, frozen=True, kw_only=True):
    running: list[Value]
    waiting: list[Value]


class EngineGaugesOut(Out, frozen=True, kw_only=True):
    id: str
    now: EngineNow
    history: EngineSeries


class UserGaugeOut(Out, frozen=True, kw_only=True):
    """``user`` is null for all others together: names are told to admins only. ``tier``: chat or bulk."""

    user: str | None
    tier: str
    running: int
    waiting: int


class RoomOut(Out, frozen=True, kw_only=True):
    """``times``: Unix seconds of the values in every ``history``, oldest first, ``step_s`` apart."""

    object: Literal["room"] = "room"
    at: float
    step_s: float
    times: list[float]
    now: WholeNow
    history: WholeSeries
    engines: list[EngineGaugesOut]
    users: list[UserGaugeOut]
