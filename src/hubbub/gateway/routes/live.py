"""All that happens in one user's chats, over one stream."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.live_frames import LiveFrames

FRAME_S = 1 / 15
"""The least time between two frames: what comes meanwhile goes together."""
QUEUE_S = 1.0
"""How often places in the queue are looked at where nothing else happens."""


async def follow(call: Call[None, NoQuery]) -> NoReturn:
    """A snapshot, then frames until the reader leaves, falls too far behind, or the server stops: a reader that comes
    back is told all by the next snapshot."""
    gateway = call.gateway
    with gateway.hub.watch(call.user) as feed:
        frames = LiveFrames(feed)
        async with gateway.streams.open(call.request) as stream:
            stream.behind = frames.behind
            await stream.write(frames.snapshot())
            while True:
                stream.waiting = True
                await feed.news(QUEUE_S if frames.waits() else None)
                stream.waiting = False
                await stream.write(await frames.frame(gateway, call.user))
                await asyncio.sleep(FRAME_S)
