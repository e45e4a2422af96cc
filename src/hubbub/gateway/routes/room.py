"""How the server does, now and over the last ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubbub.core.errors import NotFound
from hubbub.core.keys import Scope
from hubbub.core.types import Priority
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.wire.room import (
    EngineGaugesOut,
    EngineNow,
    EngineSeries,
    RoomOut,
    UserGaugeOut,
    WholeNow,
    WholeSeries,
)
from hubbub.runtime.gauges import ENGINE, STEP_S, WHOLE, Sample, UserGauge


async def retrieve(call: Call[None, NoQuery]) -> RoomOut:
    """Users are named to admins, and to themselves."""
    gauges = call.gateway.gauges
    if gauges is None:
        raise NotFound("this server keeps no gauges; `hubbub serve` does")
    moments = gauges.moments()
    whole = [moment.whole for moment in moments]
    engines = []
    for name in gauges.engines:
        found = [moment.engines.get(name, {}) for moment in moments]
        engines.append(
            EngineGaugesOut(id=name, now=EngineNow(**_last(found)), history=EngineSeries(**_columns(found, ENGINE)))
        )
    return RoomOut(
        at=moments[-1].at,
        step_s=STEP_S,
        times=[round(moment.at, 1) for moment in moments],
        now=WholeNow(**_last(whole)),
        history=WholeSeries(**_columns(whole, WHOLE)),
        engines=engines,
        users=_users(call, gauges.users()),
    )


def _last(samples: Sequence[Sample]) -> Any:
    return {name: _short(value) for name, value in samples[-1].items()}


def _columns(samples: Sequence[Sample], names: Sequence[str]) -> Any:
    return {name: [_short(sample.get(name)) for sample in samples] for name in names}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _users(call: AnyCall, loads: Sequence[UserGauge]) -> list[UserGaugeOut]:
    admin = call.caller.allows(Scope.ADMIN)
    named = [load for load in loads if admin or load.user == call.user]
    rows = [
        UserGaugeOut(user=load.user, tier=load.priority.value, running=load.running, waiting=load.waiting)
        for load in named
    ]
    for tier in Priority:
        others = [load for load in loads if load not in named and load.priority is tier]
        if others:
            running, waiting = sum(load.running for load in others), sum(load.waiting for load in others)
            rows.append(UserGaugeOut(user=None, tier=tier.value, running=running, waiting=waiting))
    return rows
