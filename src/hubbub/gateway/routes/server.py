"""Models, and the server about itself."""

from __future__ import annotations

import msgspec
from aiohttp import web

from hubbub.core.errors import ModelNotFound
from hubbub.core.keys import Scope
from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.wire.models import ModelList, ModelOut

PUBLIC_HEALTH = ("status", "ready", "version")


async def models(call: Call[None, NoQuery]) -> ModelList:
    return ModelList(data=[ModelOut(id=name) for name in call.gateway.hub.models()])


async def model(call: Call[None, NoQuery]) -> ModelOut:
    wanted, known = call.arg("model"), call.gateway.hub.models()
    if wanted not in known:
        raise ModelNotFound(f"model {wanted!r} is not served here; there is {', '.join(known)}", param="model")
    return ModelOut(id=wanted)


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
