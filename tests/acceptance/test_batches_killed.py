"""A batch on a server that is killed again and again: one line of results for each line asked, and none else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from hubbub.cli.server_process import ServerProcess

ROWS = 400
STOPS = 4
"""By turns a kill and a stop in order."""
DEADLINE_S = 120.0
# Slow enough that the kills hit the middle, whatever the machine.
SETTINGS = '[engine]\nkind = "simulated"\nflags = "--step-ms 20 --max-sequences 16"\n'


async def launched(data: Path) -> tuple[ServerProcess, str]:
    file = data.parent / "hubbub.toml"
    file.write_text(SETTINGS)
    flags = ["--port", "0", "--data", str(data), "--config", str(file)]
    running = await ServerProcess.launch(flags, data.parent / "server.log")
    return running, await running.ready(60)


async def killed(running: ServerProcess) -> None:
    running.process.kill()
    await running.process.wait()


async def order(http: aiohttp.ClientSession, url: str, text: bytes) -> dict[str, Any]:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", text, filename="in.jsonl")
    async with http.post(f"{url}/v1/files", data=form) as response:
        file = (await response.json())["id"]
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with http.post(f"{url}/v1/batches", json=body) as response:
        made: dict[str, Any] = await response.json()
        return made


async def until(http: aiohttp.ClientSession, url: str, batch: str, rows: int) -> dict[str, Any]:
    """The batch once ``rows`` of it are done, or it has ended."""
    while True:
        async with http.get(f"{url}/v1/batches/{batch}") as response:
            seen: dict[str, Any] = await response.json()
        if seen["request_counts"]["completed"] >= rows or seen["status"] not in ("validating", "in_progress"):
            return seen


def a_row(number: int) -> bytes:
    message = {"role": "user", "content": f"Question {number}"}
    body = {"model": "simulated", "messages": [message], "max_tokens": 12, "seed": number, "temperature": 0}
    line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"


async def finished(http: aiohttp.ClientSession, url: str, batch: str) -> dict[str, Any]:
    """The batch once its end is written."""
    while True:
        seen = await until(http, url, batch, ROWS)
        if seen["status"] == "completed":
            return seen
        assert seen["status"] in ("in_progress", "finalizing")


async def test_a_killed_server_answers_every_line_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    text = b"".join(a_row(number) for number in range(ROWS))
    async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as http:
        running, url = await launched(data)
        try:
            batch, kept = (await order(http, url, text))["id"], 0
            for kill in range(1, STOPS + 1):
                seen = await until(http, url, batch, ROWS * kill // (STOPS + 2))
                assert seen["status"] == "in_progress"
                assert seen["request_counts"]["completed"] >= kept
                kept = seen["request_counts"]["completed"]
                await (killed(running) if kill % 2 else running.stop())
                (data / "files" / "file-torn").write_bytes(b"what a kill left behind")
                running, url = await launched(data)
            done = await finished(http, url, batch)
            assert done["request_counts"] == {"total": ROWS, "completed": ROWS, "failed": 0}
            assert done["error_file_id"] is None
            async with http.get(f"{url}/v1/files/{done['output_file_id']}/content") as response:
                lines = [json.loads(line) for line in (await response.text()).splitlines()]
        finally:
            await running.stop()
    assert [line["custom_id"] for line in lines] == [f"row-{number}" for number in range(ROWS)]
    assert all(line["response"]["body"]["choices"][0]["message"]["content"] for line in lines)
    tokens = sum(line["response"]["body"]["usage"]["total_tokens"] for line in lines)
    assert tokens == done["usage"]["total_tokens"]
    left = {path.name for path in (data / "files").iterdir() if path.name.startswith("file-")}
    assert left == {done["input_file_id"], done["output_file_id"]}
