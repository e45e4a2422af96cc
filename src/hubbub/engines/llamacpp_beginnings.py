"""System prompts that several chats have, read once and copied from there into the chats' slots.

llama-server keeps what it has read in the slot that read it: two hundred chats with one system prompt read it two
hundred times. But it can write a slot to a file and read it back (``/slots/N?action=save`` and ``restore``), which
takes milliseconds where reading a prompt anew takes seconds. So the second chat that comes with a system prompt has it
read alone, without an answer, and written out; the slots of all later ones get it from there. What one user's chats
have is never laid before another's: else the time to the first token would tell what was asked.

State: ``_files`` has a future for each beginning that came twice: its file's name and bytes, or None where it can't be
had; the one used longest ago goes first. ``_in_slot`` is what each slot begins with, as far as we know: after a restart
of the server it is less, which costs time alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import aiohttp
import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.core.types import Json, Request, Role
from hubbub.engines.dialect import Site
from hubbub.engines.wire_body import messages_body

LEAST_CHARACTERS = 64
"""Of a system prompt and the tools: some 16 tokens. Shorter ones are as soon read as fetched."""
MOST_BYTES = 1 << 30
"""Of all files together."""
REMEMBERED = 4096
"""Beginnings that came once."""
_PROBES = ("A", "B")
"""Two questions. What the chat template makes of both alike ends where a question begins."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """``key``: a digest of it, its user and its adapter. ``messages`` and ``tools`` as they are on the wire."""

    key: bytes
    messages: tuple[Json, ...]
    tools: tuple[Json, ...]

    def asking(self, question: str) -> dict[str, Json]:
        """What the chat template is given."""
        body: dict[str, Json] = {"messages": [*self.messages, {"role": "user", "content": question}]}
        return body | {"tools": list(self.tools)} if self.tools else body


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    size: int


class _Said(msgspec.Struct):
    """Of ``/apply-template`` and of ``/slots``."""

    prompt: str = ""
    n_written: int = 0


class Beginnings:
    """``folder``: the server's ``--slot-save-path``."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._once: OrderedDict[bytes, None] = OrderedDict()
        self._files: OrderedDict[bytes, asyncio.Future[_File | None]] = OrderedDict()
        self._in_slot: dict[int, bytes] = {}

    async def lay(self, site: Site, request: Request, slot: int, lora: Json = None) -> bool:
        """Whether the slot, which is the request's, now holds this request's beginning and nothing else. False where it
        had it already, or where the server shall read it itself. Raises nothing: at worst it is read once more."""
        beginning = beginning_of(request)
        before = self._in_slot.pop(slot, b"")
        if beginning is None:
            return False
        laid = False
        if beginning.key != before and not self._is_first(beginning.key):
            laid = await self._laid(site, beginning, slot, lora)
            if not laid:
                return False
        self._in_slot[slot] = beginning.key
        return laid

    def _is_first(self, key: bytes) -> bool:
        """Remembers it then."""
        if key in self._files or key in self._once:
            return False
        self._remember(key)
        return True

    def _remember(self, key: bytes) -> None:
        self._once[key] = None
        if len(self._once) > REMEMBERED:
            self._once.popitem(last=False)

    async def _laid(self, site: Site, beginning: Beginning, slot: int, lora: Json) -> bool:
        known = self._files.get(beginning.key)
        if known is None:
            return await self._read(site, beginning, slot, lora) is not None
        self._files.move_to_end(beginning.key)
        file = await asyncio.shield(known)
        if file is None:
            return False
        try:
            if lora is not None:
                # A slot remembers its last request's adapter; with another, what is laid there would be thrown out.
                await _post(site, "/completion", {"prompt": " ", "n_predict": 0, "id_slot": slot, "lora": lora})
            await _post(site, f"/slots/{slot}?action=restore", {"filename": file.name})
        except EngineUnavailable:
            self._files.pop(beginning.key, None)
            return False
        return True

    async def _read(self, site: Site, beginning: Beginning, slot: int, lora: Json) -> _File | None:
        """Has the server read it in this slot, and keeps it. One does so, the others wait."""
        coming: asyncio.Future[_File | None] = asyncio.get_running_loop().create_future()
        self._files[beginning.key] = coming
        self._once.pop(beginning.key, None)
        file = None
        try:
            file = await self._written(site, beginning, slot, lora)
        except EngineUnavailable:
            pass
        except asyncio.CancelledError:
            # Its chat left: the next one tries.
            self._files.pop(beginning.key, None)
            self._remember(beginning.key)
            raise
        finally:
            coming.set_result(file)
            self._make_room()
        return file

    async def _written(self, site: Site, beginning: Beginning, slot: int, lora: Json) -> _File:
        whole = [(await _post(site, "/apply-template", beginning.asking(probe))).prompt for probe in _PROBES]
        alike = takewhile(lambda two: two[0] == two[1], zip(*whole, strict=False))
        words: dict[str, Json] = {"prompt": "".join(one for one, _ in alike), "n_predict": 0, "id_slot": slot}
        if lora is not None:
            words["lora"] = lora
        await _post(site, "/completion", words | {"cache_prompt": False})
        name = beginning.key.hex() + ".kv"
        said = await _post(site, f"/slots/{slot}?action=save", {"filename": name})
        return _File(name, said.n_written)

    def _make_room(self) -> None:
        done = {key: coming.result() for key, coming in self._files.items() if coming.done()}
        size = sum(file.size for file in done.values() if file is not None)
        for key, file in done.items():
            if size <= self._most_bytes:
                return
            del self._files[key]
            if file is not None:
                size -= file.size
                (self._folder / file.name).unlink(missing_ok=True)


def beginning_of(request: Request) -> Beginning | None:
    """None: none that is worth it."""
    system = tuple(takewhile(lambda message: message.role in (Role.SYSTEM, Role.DEVELOPER), request.messages))
    if len(system) == len(request.messages):
        return None
    messages, tools = tuple(messages_body(system)), tuple(dict(tool) for tool in request.sampling.tools)
    if sum(len(message.text) for message in system) + len(msgspec.json.encode(tools)) < LEAST_CHARACTERS:
        return None
    whole = msgspec.json.encode([request.user, request.adapter, messages, tools])
    return Beginning(hashlib.sha256(whole).digest(), messages, tools)


async def _post(site: Site, path: str, body: Mapping[str, Json]) -> _Said:
    """Takes as long as it takes. Raises EngineUnavailable."""
    try:
        async with site.session.post(
            site.base + path, data=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
        ) as response:
            data = await response.read()
        if response.status != 200:
            raise EngineUnavailable(f"{path} answered {response.status}")
        return msgspec.json.decode(data, type=_Said)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as fault:
        raise EngineUnavailable(f"{path}: {fault}") from fault
