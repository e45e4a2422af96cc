"""The engine room: every engine, its health and its load; drain one, restart one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hubbub.core.types import EngineState
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.wire.base import In
from hubbub.gateway.wire.engines import EngineDrain, EngineList, EngineLog, EngineOut, EngineRestart
from hubbub.runtime.engine_room import EngineView

ABSENT = EngineState(models=(), context_window=0, max_sequences=0, kv_tokens=0)


class LogQuery(In, frozen=True, kw_only=True):
    lines: Annotated[int, Meta(ge=1, le=2000)] = 200


async def index(call: Call[None, NoQuery]) -> EngineList:
    return EngineList(data=[engine_out(view) for view in call.gateway.engines.views()])


async def retrieve(call: Call[None, NoQuery]) -> EngineOut:
    return _told(call)


async def log(call: Call[None, LogQuery]) -> EngineLog:
    name = call.arg("engine")
    return EngineLog(id=name, lines=await call.gateway.engines.log(name, call.query.lines))


async def drain(call: Call[EngineDrain, NoQuery]) -> EngineOut:
    call.gateway.engines.drain(call.arg("engine"), not call.body.undo)
    return _told(call)


async def restart(call: Call[EngineRestart, NoQuery]) -> EngineOut:
    """Answers at once; the engine is ``restarting`` until it is back."""
    call.gateway.engines.restart(call.arg("engine"), force=call.body.force)
    return _told(call)


def engine_out(view: EngineView) -> EngineOut:
    state, facts = view.state or ABSENT, view.facts
    return EngineOut(
        id=view.id,
        kind=facts.get("kind", ""),
        ready=view.state is not None,
        draining=view.draining,
        restarting=view.restarting,
        trouble=view.trouble,
        models=list(state.models),
        adapters=list(state.adapters),
        mixes_adapters=state.mixes_adapters,
        running=view.running,
        waiting=state.waiting,
        max_sequences=state.max_sequences,
        context_window=state.context_window,
        kv_tokens=state.kv_tokens,
        kv_used=state.kv_used,
        details=dict(state.details),
        can_restart=view.ours,
        pid=facts.get("pid"),
        rss_bytes=facts.get("rss_bytes"),
        restarts=facts.get("restarts"),
        cost_usd=facts.get("cost_usd"),
    )


def _told(call: AnyCall) -> EngineOut:
    return engine_out(call.gateway.engines.view(call.arg("engine")))
