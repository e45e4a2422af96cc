"""Plans for a server: made in a process beside it, so that the simulator never stands in a chat's way. The same process
fits this machine's coefficients to the server's traffic.

The process is started by the first request and kept. One request at a time; one that takes too long costs the process
its life, and the next request gets a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubbub.core.errors import BadRequest, NotFound, Overloaded
from hubbub.planner.folder import calibration_folder

PATIENCE_S = 60.0
"""The longest plan there is, a comparison of all machines, takes some 20 s on a busy machine."""
MOST_WAITING = 16
LINE_BYTES = 64 * 2**20
"""A plan with its curves has some 100 kB."""


Points = list[tuple[tuple[float, float], float]]


class PlanService:
    """``calibrations``: the folder of this machine's coefficients."""

    def __init__(self, patience_s: float = PATIENCE_S, calibrations: Path | None = None) -> None:
        self._patience_s = patience_s
        self._folder = calibrations or calibration_folder()
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The plan. Raises BadRequest naming the field, NotFound (no such model or card), or Overloaded."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded(f"{self._waiting} plans are being waited for; try again soon", retry_after=5.0)
        self._waiting += 1
        try:
            plan: dict[str, Any] = await self._said({"plan": dict(body)})
            return plan
        finally:
            self._waiting -= 1

    def has_records(self) -> bool:
        """Whether something was measured on this machine; looks at the disk."""
        return any(not path.name.startswith("cpu-") for path in self._folder.glob("*.json"))

    async def refine(self, model: str, engine: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """Refine this machine's record by what was seen. Raises BadRequest, NotFound or Overloaded."""
        told: dict[str, Any] = await self._said({"refine": {"model": model, "engine": engine, "steps": steps}})
        return told

    async def beginning(self, model: str, engine: str) -> Points:
        """What the record says of times to the first token (``refine.beginning``); nothing where there is none. Raises
        as ``refine``."""
        said: Any = await self._said({"beginning": {"model": model, "engine": engine}})
        return [((x[0], x[1]), y) for x, y in said]

    async def _said(self, asked: Mapping[str, Any]) -> Any:
        line = json.dumps({**asked, "folder": str(self._folder)}).encode() + b"\n"
        async with self._turn:
            said = await self._ask(line)
        if "error" in said:
            kind = NotFound if said["code"] == NotFound.code else BadRequest
            raise kind(said["error"], param=said["param"])
        return said["told"]

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, line: bytes) -> dict[str, Any]:
        whole = False
        try:
            process = self._process or await self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(self._patience_s):
                process.stdin.write(line)
                await process.stdin.drain()
                said = await process.stdout.readline()
            whole = said.endswith(b"\n")
        except TimeoutError:
            raise BadRequest(
                f"this plan takes longer than {self._patience_s:g} s; ask for fewer chats, machines or models"
            ) from None
        except ConnectionError:
            raise Overloaded("the planner was stopped amid this plan; try again", retry_after=1.0) from None
        finally:
            if not whole:  # its next words would be the answer to this
                await self.close()
        if not whole:
            raise Overloaded("the planner was stopped amid this plan; try again", retry_after=1.0)
        answer: dict[str, Any] = json.loads(said)
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hubbub.planner.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        return self._process
