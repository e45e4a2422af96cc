"""The supervisor over real processes: small Python scripts that start, fail, hang and fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from hubbub.core.errors import EngineUnavailable
from hubbub.engines.supervisor import Command, Phase, Status, Supervisor

ANNOUNCE = "import sys, time; print('warming up'); print('{\"port\": 7}', flush=True); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('{\"port\": %d}' % p.pid, flush=True); time.sleep(600)"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('{\"port\": 7}', flush=True); time.sleep(600)"
)


async def announced(launch: Mapping[str, Any]) -> bool:
    return "port" in launch


async def never(_launch: Mapping[str, Any]) -> bool:
    return False


def command(script: str, tmp_path: Path, **changes: Any) -> Command:
    defaults: dict[str, Any] = {
        "argv": (sys.executable, "-c", script),
        "log_path": tmp_path / "child.log",
        "announces": True,
        "ready_s": 20.0,
        "grace_s": 2.0,
        "backoff_first_s": 0.02,
        "backoff_most_s": 0.1,
    }
    return Command(**{**defaults, **changes})


class History:
    """All statuses so far, and a way to wait for one."""

    def __init__(self) -> None:
        self.seen: list[Status] = []
        self._news = asyncio.Event()

    def note(self, status: Status) -> None:
        self.seen.append(status)
        self._news.set()

    async def until(self, wanted: Callable[[Status], bool]) -> Status:
        async with asyncio.timeout(30):
            while True:
                for status in self.seen:
                    if wanted(status):
                        return status
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def supervised(what: Command, probe: Any = announced) -> AsyncIterator[tuple[Supervisor, History]]:
    history = History()
    supervisor = Supervisor(what, probe, history.note)
    try:
        yield supervisor, history
    finally:
        await supervisor.stop()


async def until_group_gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while group_of(pid):
            await asyncio.sleep(0.01)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while is_alive(pid):
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group_of(pid: int) -> list[int]:
    """Living members of the process group that ``pid`` leads."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == pid and is_alive(process.pid):
                members.append(process.pid)
    return members


async def test_ready_with_what_it_announced(tmp_path: Path) -> None:
    async with supervised(command(ANNOUNCE, tmp_path)) as (supervisor, history):
        status = await supervisor.start()
        assert status.phase is Phase.READY
        assert status.launch == {"port": 7}
        assert status.pid is not None
        assert psutil.Process(status.pid).cmdline()[1:2] == ["-c"]
        assert status.started_at is not None
        assert [seen.phase for seen in history.seen][-1] is Phase.READY
        assert supervisor.log.last() == 'warming up\n{"port": 7}'
    assert "warming up" in (tmp_path / "child.log").read_text()
    assert supervisor.status.phase is Phase.STOPPED


async def test_stop_leaves_nothing(tmp_path: Path) -> None:
    async with supervised(command(WITH_CHILD, tmp_path)) as (supervisor, _):
        status = await supervisor.start()
        assert status.pid is not None
        assert len(group_of(status.pid)) == 3  # the command, its child, the leash's watcher
        await supervisor.stop()
        await until_gone(status.launch["port"])
        await until_group_gone(status.pid)


async def test_stop_kills_what_ignores_being_asked(tmp_path: Path) -> None:
    async with supervised(command(STUBBORN, tmp_path, grace_s=0.1)) as (supervisor, _):
        status = await supervisor.start()
        await supervisor.stop()
        assert status.pid is not None
        await until_group_gone(status.pid)


async def test_killed_with_9_it_comes_back(tmp_path: Path) -> None:
    async with supervised(command(WITH_CHILD, tmp_path)) as (supervisor, history):
        first = await supervisor.start()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        down = await history.until(lambda status: status.phase is Phase.RESTARTING)
        assert "killed by SIGKILL" in down.trouble
        second = await history.until(lambda status: status.phase is Phase.READY and status.restarts == 1)
        assert second.pid not in (None, first.pid)
        await until_gone(first.launch["port"])  # the grandchild went with its group


async def test_a_hung_process_is_killed_and_comes_back(tmp_path: Path) -> None:
    async with supervised(command(ANNOUNCE, tmp_path)) as (supervisor, history):
        first = await supervisor.start()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        supervisor.kill()
        await history.until(lambda status: status.phase is Phase.READY and status.restarts == 1)


async def test_an_early_end_fails_at_once_with_the_last_lines(tmp_path: Path) -> None:
    script = "import sys; print('loading'); sys.exit('no such model: x.gguf')"
    async with supervised(command(script, tmp_path, ready_s=600.0)) as (supervisor, _):
        with pytest.raises(EngineUnavailable) as caught:
            await supervisor.start()
        assert "exit code 1" in caught.value.message
        assert "no such model: x.gguf" in caught.value.message
        assert supervisor.status.phase is Phase.STOPPED
        assert "no such model" in supervisor.status.trouble


async def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async with supervised(command("", tmp_path, argv=("/nonexistent/engine",))) as (supervisor, _):
        with pytest.raises(EngineUnavailable, match="No such file"):
            await supervisor.start()


async def test_never_ready_is_given_up_and_ended(tmp_path: Path) -> None:
    async with supervised(command(WITH_CHILD, tmp_path, ready_s=0.5), never) as (supervisor, history):
        with pytest.raises(EngineUnavailable, match=r"not ready within 0\.5 s"):
            await supervisor.start()
        started = await history.until(lambda status: status.pid is not None)
        assert started.pid is not None
        await until_group_gone(started.pid)


async def test_stop_ends_a_start_that_still_waits(tmp_path: Path) -> None:
    async with supervised(command(ANNOUNCE, tmp_path, ready_s=600.0), never) as (supervisor, history):
        start = asyncio.create_task(supervisor.start())
        started = await history.until(lambda status: status.pid is not None)
        await supervisor.stop()
        with pytest.raises(EngineUnavailable, match="stopped before"):
            await start
        assert started.pid is not None
        await until_group_gone(started.pid)


async def test_a_crash_loop_goes_on_with_longer_pauses_and_says_so(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    script = f"import pathlib, sys, time\nif pathlib.Path({str(flag)!r}).exists(): sys.exit('broken')\n{ANNOUNCE}"
    async with supervised(command(script, tmp_path)) as (supervisor, history):
        await supervisor.start()
        flag.touch()
        supervisor.kill()
        looping = await history.until(lambda status: status.restarts >= 3 and status.phase is Phase.RESTARTING)
        assert "broken" in looping.trouble
        flag.unlink()
        await history.until(lambda status: status.phase is Phase.READY and status.restarts >= 3)


async def test_the_log_is_bounded(tmp_path: Path) -> None:
    script = "print('x' * 99 + chr(10), end='') or [print('y' * 99) for _ in range(2000)];" + ANNOUNCE
    async with supervised(command(script, tmp_path, log_bytes=10_000, log_keep=1)) as (supervisor, _):
        await supervisor.start()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["child.log", "child.log.1"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())


PARENT = """
import asyncio, sys
from pathlib import Path
from hubbub.engines.supervisor import Command, Supervisor

async def probe(launch):
    return True

async def main():
    command = Command((sys.executable, "-c", sys.argv[1]), announces=True)
    supervisor = Supervisor(command, probe)
    status = await supervisor.start()
    print(status.pid, status.launch["port"], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_parent_killed_with_9_leaves_no_orphan() -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, WITH_CHILD), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child, grandchild = map(int, (await asyncio.wait_for(parent.stdout.readline(), 30)).split())
    assert is_alive(child)
    parent.kill()
    await parent.wait()
    await until_gone(child)
    await until_gone(grandchild)
