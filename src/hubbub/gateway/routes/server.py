"""Models, and the server about itself."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET

from hubbub.core.keys import Scope
from hubbub.gateway.call import AnyCall, Call, NoQuery
from hubbub.gateway.wire.models import ModelList, ModelOut
from hubbub.runtime.served import Served

PUBLIC_HEALTH = ("status", "ready", "version")


async def models(call: Call[None, NoQuery]) -> ModelList:
    """Models, then their adapters."""
    served = call.gateway.hub.served()
    adapters = [name for name in served.adapters if name not in served.models]
    return ModelList(data=[_model_out(call, served, name) for name in (*served.models, *adapters)])


async def model(call: Call[None, NoQuery]) -> ModelOut:
    wanted, served = call.arg("model"), call.gateway.hub.served()
    if wanted not in served.models and wanted not in served.adapters:
        raise served.model_not_found(wanted)
    return _model_out(call, served, wanted)


def _model_out(call: AnyCall, served: Served, name: str) -> ModelOut:
    parent = name if name in served.models else served.adapters[name][0]
    window = call.gateway.hub.window(parent)
    return ModelOut(id=name, parent=UNSET if parent == name else parent, max_model_len=window or UNSET)


async def health(call: Call[None, NoQuery]) -> web.Response:
    """503 while no engine is ready. Who is not an admin is told no more than that."""
    said = call.gateway.health()
    if not call.caller.allows(Scope.ADMIN):
        said = {name: said[name] for name in PUBLIC_HEALTH if name in said}
    return web.Response(
        body=msgspec.json.encode(said), content_type="application/json", status=200 if said["ready"] else 503
    )


async def metrics(call: Call[None, NoQuery]) -> web.Response:
    return web.Response(
        text=call.gateway.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def openapi(call: Call[None, NoQuery]) -> web.Response:
    return web.Response(body=call.gateway.openapi, content_type="application/json")
