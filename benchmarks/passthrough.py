"""The least a gateway in Python can do: aiohttp on uvloop, bytes in, bytes out, nothing read, nothing kept.

usage: python -m benchmarks.passthrough UPSTREAM PORT
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

SESSION = web.AppKey("session", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    session = request.app[SESSION]
    headers = {"Content-Type": request.content_type}
    async with session.request(request.method, request.rel_url.path_qs, data=body, headers=headers) as upstream:
        response = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
        await response.prepare(request)
        async for data in upstream.content.iter_any():
            await response.write(data)
        return response


async def serve(upstream: str, port: int) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(upstream, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        app[SESSION] = session
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
