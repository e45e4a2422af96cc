"""What must hold when things are killed, full or taken: the real command, real processes, the real model."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest

from hubbub.cli.server_process import ServerProcess

CHATS = 200


@asynccontextmanager
async def server(data: Path, *flags: str) -> AsyncIterator[tuple[ServerProcess, str]]:
    running = await ServerProcess.launch(["--port", "0", "--data", str(data), *flags], data.parent / f"{data.name}.log")
    try:
        yield running, await running.ready(120)
    finally:
        await running.stop()


def hubbub(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "hubbub", *arguments]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environ, check=False)


@dataclass
class Acknowledged:
    """What the server has said it keeps: texts by chat, in order."""

    texts: dict[str, list[str]] = field(default_factory=dict)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:

    async for line in response.content:
        if line.startswith(b"data: {"):
            yield msgspec.json.decode(line[6:])


async def chat_on(http: aiohttp.ClientSession, url: str, number: int, seen: Acknowledged) -> None:
    """Turn after turn until the server is gone. An event is believed when it has arrived."""
    async with http.post(f"{url}/v1/conversations", json={}) as response:
        chat = (await response.json())["id"]
    texts = seen.texts.setdefault(chat, [])
    for turn in range(1000):
        question = f"Question {turn} of chat {number}"
        body = {"conversation": chat, "input": question, "stream": True, "max_output_tokens": 12}
        async with http.post(f"{url}/v1/responses", json=body) as response:
            async for event in events(response):
                if event["type"] == "response.created":
                    texts.append(question)
                if event["type"] in ("response.completed", "response.incomplete"):
                    texts.append(event["response"]["output"][0]["content"][0]["text"])


async def kept(http: aiohttp.ClientSession, url: str, chat: str) -> list[str]:
    async with http.get(f"{url}/v1/conversations/{chat}/items?limit=100&order=asc") as response:
        assert response.status == 200
        return [item["content"][0]["text"] for item in (await response.json())["data"]]


async def test_a_killed_server_keeps_every_acknowledged_item(tmp_path: Path) -> None:
    data, seen = tmp_path / "data", Acknowledged()
    flags = ("--engine", "simulated")
    async with server(data, *flags) as (running, url), aiohttp.ClientSession() as http:
        tasks = [asyncio.create_task(chat_on(http, url, n, seen)) for n in range(CHATS)]
        while sum(map(len, seen.texts.values())) < 4 * CHATS:
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0.01)
        family = psutil.Process(running.pid).children(recursive=True)
        running.process.kill()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, aiohttp.ClientError) for end in ended), ended
        _, orphans = await asyncio.to_thread(psutil.wait_procs, family, timeout=10)
        assert orphans == []
    assert len(seen.texts) == CHATS
    checked = await asyncio.to_thread(hubbub, "store", "verify", "--data", str(data))
    assert checked.stdout.startswith("sound: "), checked.stdout + checked.stderr
    async with server(data, *flags) as (_, url), aiohttp.ClientSession() as http:
        for chat, texts in seen.texts.items():
            assert (await kept(http, url, chat))[: len(texts)] == texts
        ask, status = {"conversation": next(iter(seen.texts)), "input": "Still there?"}, 409
        while status == 409:  # the answer that the kill interrupted is still being written
            async with http.post(f"{url}/v1/responses", json=ask) as response:
                status, answer = response.status, await response.json()
        assert answer["status"] == "completed"


async def terminal(http: aiohttp.ClientSession, url: str, number: int, started: asyncio.Event) -> list[str]:
    body = {"input": f"Count from {number} to a thousand.", "stream": True, "max_output_tokens": 120, "temperature": 0}
    ends = []
    async with http.post(f"{url}/v1/responses", json=body) as response:
        async for event in events(response):
            if event["type"] == "response.output_text.delta":
                started.set()
            if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
                ends.append(event["type"])
    return ends


async def test_a_killed_engine_comes_back_and_its_answers_go_on(tmp_path: Path) -> None:
    flags = ("--engine", "openvino", "--model", "smollm2")
    async with server(tmp_path / "data", *flags) as (_, url), aiohttp.ClientSession() as http:
        started = [asyncio.Event() for _ in range(8)]
        tasks = [asyncio.create_task(terminal(http, url, n, started[n])) for n in range(8)]
        await asyncio.gather(*(event.wait() for event in started))
        pid = await engine_pid(http, url)
        psutil.Process(pid).kill()
        ends = await asyncio.gather(*tasks)
        assert all(len(end) == 1 for end in ends)
        assert {end[0] for end in ends} <= {"response.completed", "response.incomplete"}
        assert await engine_pid(http, url) != pid
        assert await terminal(http, url, 9, asyncio.Event()) != []


async def engine_pid(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/health") as response:
        return int((await response.json())["engines"][0]["pid"])


@dataclass(frozen=True)
class SmallDisk:
    """A place with little room: ``shell`` starts a command there, ``error`` is what its server says when it is full."""

    data: Path
    shell: str
    error: tuple[int, str]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A real small file system where tests may mount one, else a limit on the size of files."""
    if os.geteuid() != 0:
        yield SmallDisk(tmp_path / "data", "ulimit -f 1024; exec", (500, "storage_error"))
        return
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    yield SmallDisk(place / "data", "exec", (507, "storage_full"))
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_is_told_and_corrupts_nothing(tmp_path: Path, small_disk: SmallDisk) -> None:
    data = small_disk.data
    argv = [sys.executable, "-m", "hubbub", "serve", "--port", "0", "--data", str(data), "--engine", "simulated"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f'{small_disk.shell} "$@"', "bash", *argv, stdout=output, stderr=output
        )
    running = ServerProcess(process, log, 0)
    try:
        url = await running.ready(60)
        async with aiohttp.ClientSession() as http:
            said = [await refusal(http, url, n) for n in range(40)]
            full = [answer for answer in said if answer]
            assert full, "the disk was never full"
            assert {(status, error["code"]) for status, error in full} == {small_disk.error}
            async with http.get(f"{url}/health") as response:
                assert response.status == 200
    finally:
        await running.stop()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,size=30m", str(data.parent)], check=True)
    checked = await asyncio.to_thread(hubbub, "store", "verify", "--data", str(data))
    assert checked.stdout.startswith("sound: "), checked.stdout + checked.stderr
    async with server(data, "--engine", "simulated") as (_, url), aiohttp.ClientSession() as http:
        assert await refusal(http, url, 99) is None


async def refusal(http: aiohttp.ClientSession, url: str, number: int) -> tuple[int, Any] | None:
    items = [{"type": "message", "role": "user", "content": f"{number} {n} " + "long " * 4000} for n in range(10)]
    async with http.post(f"{url}/v1/conversations", json={"items": items}) as response:
        return None if response.status == 200 else (response.status, (await response.json())["error"])


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = hubbub("serve", "--port", port, "--engine", "simulated", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert_one_line(done.stderr, f"cannot listen on 127.0.0.1:{port}: Address already in use")


def test_a_model_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    done = hubbub("serve", "--port", "0", "--model", str(tmp_path / "none.gguf"), "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert_one_line(done.stderr, "none.gguf")


def assert_one_line(said: str, text: str) -> None:
    lines: Sequence[str] = said.strip().splitlines()
    assert text in lines[-1], said
    assert "Traceback" not in said
