"""A Ray cluster on this machine: each node a process group of its own, that can be killed like a machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hubbub.engines.launched import free_port

RAY = Path(sys.executable).with_name("ray")
WORKER = "ray::"


@dataclass
class Cluster:
    """``address``: what RAY_ADDRESS must say. Nodes are numbered as they came."""

    address: str
    folder: str
    nodes: list[Process] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "RAY_ADDRESS": self.address, "RAY_USAGE_STATS_ENABLED": "0"}

    async def join(self, cpus: int) -> int:
        where = ["--address", self.address]
        if not self.nodes:
            where = ["--no-monitor", "--head", "--port", self.address.rpartition(":")[2], "--include-dashboard=false"]
            where += ["--temp-dir", self.folder]
        node = await asyncio.create_subprocess_exec(
            *(str(RAY), "start", "--block", "--disable-usage-stats", "--num-cpus", str(cpus), *where),
            *("--node-ip-address", "127.0.0.1", "--object-store-memory", str(80 << 20)),
            "--include-log-monitor=false",
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
            env=self.environ,
        )
        self.nodes.append(node)
        return len(self.nodes) - 1

    async def kill(self, node: int) -> None:
        """All its processes at once."""
        process = self.nodes[node]
        members = psutil.Process(process.pid).children(recursive=True)
        for member in (*members, psutil.Process(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        await process.wait()

    def workers(self) -> list[psutil.Process]:
        """Processes that have a task in hand, on all nodes."""
        found = []
        for node in self.nodes:
            if node.returncode is None:
                for process in psutil.Process(node.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if process.cmdline()[:1] and process.cmdline()[0].startswith(WORKER + "work"):
                            found.append(process)
        return found


@asynccontextmanager
async def ray_cluster(cpus: int) -> AsyncIterator[Cluster]:
    """One node to begin with."""
    # The sockets of a cluster lie in its folder, and their paths have to be short.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(f"127.0.0.1:{free_port()}", folder)
        await cluster.join(cpus)
        try:
            yield cluster
        finally:
            for number, node in enumerate(cluster.nodes):
                if node.returncode is None:
                    await cluster.kill(number)
