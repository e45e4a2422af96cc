"""Peak resident memory of processes, sampled."""

from __future__ import annotations

from collections.abc import Iterable

import psutil


class PeakMemory:
    """The largest RSS seen of a process and, unless told otherwise, of all processes below it."""

    def __init__(self, *, children: bool = True) -> None:
        self.peak = 0
        self.now = 0
        self._children = children

    def sample(self, pids: Iterable[int]) -> None:
        """Look once. Processes that have gone count as nothing. Bytes."""
        family: dict[int, psutil.Process] = {}
        for pid in pids:
            try:
                process = psutil.Process(pid)
                members = [process, *process.children(recursive=True)] if self._children else [process]
            except psutil.NoSuchProcess:
                continue
            family.update({member.pid: member for member in members})
        self.now = sum(_rss(member) for member in family.values())
        self.peak = max(self.peak, self.now)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
