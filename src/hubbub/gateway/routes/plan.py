"""Plans."""

from __future__ import annotations

import msgspec

from hubbub.core.errors import NotFound
from hubbub.core.types import Json
from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.wire.plan import PlanCreate


async def create(call: Call[PlanCreate, NoQuery]) -> dict[str, Json]:
    plan = call.gateway.plan
    if plan is None:
        raise NotFound("this server makes no plans; `hubbub plan` does")
    given = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    return await plan(given)
