"""A server as a process of its own that is killed, and whose engine is killed, and that is started again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from hubbub.cli.server_process import ServerProcess

READY_S = 180.0
REAL = ("--engine", "openvino", "--model", "smollm2")
LONG_LIVES = """
[scheduler]
max_attempts = 1000
[hub]
max_interruptions = 1000
"""


class Keeper:
    """Starts the server, kills it or its engine, starts it again; knows where it is now."""

    def __init__(self, folder: Path, engine: Sequence[str], config: str) -> None:
        self.data = folder / "data"
        self.url = ""
        self.log = folder / "server.log"
        self._config = folder / "hubbub.toml"
        self._config.write_text(config)
        self._engine_flags = engine
        self._port = "0"
        self._up = asyncio.Event()
        self._running: ServerProcess | None = None

    async def start(self) -> None:
        flags = ("--port", self._port, "--data", str(self.data), "--config", str(self._config))
        self._running = await ServerProcess.launch([*flags, *self._engine_flags], self.log)
        self.url = await self._running.ready(READY_S)
        self._up.set()

    async def where(self) -> str:
        await self._up.wait()
        return self.url

    async def kill(self) -> None:
        """-9, and wait until its engine is gone, too: it holds the model."""
        running = self._now_down()
        family = psutil.Process(running.pid).children(recursive=True)
        running.process.kill()
        await running.process.wait()
        _, orphans = await asyncio.to_thread(psutil.wait_procs, family, timeout=20)
        assert orphans == []
        await self.start()

    async def kill_in_place(self) -> None:
        """As :meth:`kill`, and it comes back under its old address, as a server with a port of its own does."""
        self._port = self.url.rpartition(":")[2]
        await self.kill()

    async def stop(self) -> None:
        """SIGTERM."""
        running = self._now_down()
        await running.stop()
        assert running.process.returncode == 0, running.tail()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill_engine(self, http: aiohttp.ClientSession) -> None:
        pid = await self._engine(http)
        assert pid is not None
        psutil.Process(pid).kill()
        while await self._engine(http) in (None, pid):
            await asyncio.sleep(0.1)

    async def _engine(self, http: aiohttp.ClientSession) -> int | None:
        async with http.get(f"{self.url}/health") as response:
            [engine] = (await response.json())["engines"]
            return engine.get("pid") if engine["ready"] else None  # it has none while it is replaced

    def _now_down(self) -> ServerProcess:
        running, self._running = self._running, None
        assert running is not None
        self._up.clear()
        return running


@asynccontextmanager
async def kept(folder: Path, engine: Sequence[str] = REAL, config: str = LONG_LIVES) -> AsyncIterator[Keeper]:
    keeper = Keeper(folder, engine, config)
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.stop()


def hubbub(*arguments: str) -> str:
    argv = [sys.executable, "-m", "hubbub", *arguments]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return said.stdout + said.stderr
