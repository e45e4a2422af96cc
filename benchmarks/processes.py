"""Servers under measurement: started on a free port of this machine, waited for, weighed, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import create_subprocess_exec
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

START_SECONDS = 90.0
STOP_SECONDS = 10.0
INSTALL_SECONDS = 240.0
TOOLS = Path(__file__).parent.parent / ".make" / "tools" / "bin"


class CannotMeasure(Exception):
    """A server cannot be had or does not start; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Weight:
    """CPU seconds until now, and resident bytes now, of a process and those below it."""

    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Server:
    """``without`` are process ids below ``pid`` that are not part of it (an engine that a gateway runs)."""

    name: str
    url: str
    pid: int
    log: Path

    def weight(self, without: frozenset[int] = frozenset()) -> Weight:
        cpu, rss = 0.0, 0
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for member in (process, *process.children(recursive=True)):
                if member.pid not in without:
                    times = member.cpu_times()
                    cpu, rss = cpu + times.user + times.system, rss + member.memory_info().rss
        return Weight(cpu, rss)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def started(name: str, command: Sequence[str], port: int, folder: Path, probe: str) -> AsyncIterator[Server]:
    """The command, once ``probe`` (a path) answers 200 on its port. Raises CannotMeasure with the log's last lines."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _answers(process, url + probe, log)
        yield Server(name, url, process.pid, log)
    finally:
        await _end(process)


async def _answers(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            if process.returncode is not None:
                raise CannotMeasure(f"ended with exit code {process.returncode}: {_tail(log)}")
            if asyncio.get_running_loop().time() > deadline:
                raise CannotMeasure(f"does not answer after {START_SECONDS:.0f} s: {_tail(log)}")
            await asyncio.sleep(0.2)


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-3:])[-300:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole session, since some servers leave workers behind."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def installed(package: str, folder: Path) -> Path:
    """``bin`` of a virtual environment with the package alone in it. Raises CannotMeasure with the reason."""
    done = folder / ".installed"
    if not done.exists():
        print(f"installing {package} into {folder}", flush=True)
        python = str(folder / "bin" / "python")
        if uv := shutil.which("uv", path=f"{os.environ['PATH']}{os.pathsep}{TOOLS}"):
            await _ran(uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder))
            await _ran(uv, "pip", "install", "-q", "-p", python, package)
        else:
            await _ran(sys.executable, "-m", "venv", str(folder))
            await _ran(python, "-m", "pip", "install", "-q", package)
        done.touch()
    return folder / "bin"


async def _ran(*command: str) -> None:
    process = await create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), INSTALL_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CannotMeasure(f"not installed within {INSTALL_SECONDS:.0f} s") from None
    if process.returncode:
        raise CannotMeasure("cannot be installed: " + said.decode(errors="replace").strip()[-200:])
