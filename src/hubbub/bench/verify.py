"""After a run: is everything that was said still there?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from hubbub.bench.board import Board, Fate, Talk, Turn

READING_AT_ONCE = 32
PAGE = 100
"""Items a page: the most the API gives."""


class _Part(msgspec.Struct):
    text: str = ""


class _Item(msgspec.Struct):
    id: str = ""
    type: str = ""
    role: str = ""
    content: list[_Part] = []


class _Page(msgspec.Struct):
    data: list[_Item]
    has_more: bool = False
    last_id: str | None = None


async def verify(session: aiohttp.ClientSession, board: Board) -> None:
    """Read back every conversation; turns that are not in it as they were streamed become lost."""
    gate = asyncio.Semaphore(READING_AT_ONCE)

    async def check(talk: Talk) -> None:
        async with gate:
            try:
                said = await _items(session, talk.id)
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                for turn in talk.turns:
                    if turn.accepted and turn.fate is not Fate.LOST:
                        board.settle(turn, Fate.LOST, "not_readable", str(error) or type(error).__name__)
                return
        for turn, reason in missing(talk.turns, said):
            board.settle(turn, Fate.LOST, "not_in_store", f"conversation {talk.id}: {reason}")

    await asyncio.gather(*(check(talk) for talk in board.talks if talk.id))


def missing(turns: Sequence[Turn], said: Sequence[tuple[str, str]]) -> list[tuple[Turn, str]]:
    """Accepted turns whose question or answer is not among ``said`` (role, text) in order, each with the reason."""
    faults, place = [], 0
    for turn in turns:
        if not turn.accepted or turn.fate is Fate.LOST:
            continue
        wanted = [("user", turn.question, "question")]
        if turn.fate is Fate.OK and turn.answer:
            wanted.append(("assistant", turn.answer, "answer"))
        for role, text, name in wanted:
            try:
                place = said.index((role, text), place) + 1
            except ValueError:
                faults.append((turn, f"the {name} {text[:60]!r} is missing"))
                break
    return faults


async def _items(session: aiohttp.ClientSession, chat: str) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    after: str | None = None
    while True:
        query = {"limit": str(PAGE), "order": "asc"} | ({"after": after} if after else {})
        async with session.get(f"/v1/conversations/{chat}/items", params=query, raise_for_status=True) as response:
            page = msgspec.json.decode(await response.read(), type=_Page)
        said += [
            (item.role, "".join(part.text for part in item.content)) for item in page.data if item.type == "message"
        ]
        after = page.last_id or (page.data[-1].id if page.data else None)
        if not page.has_more or after is None:
            return said
