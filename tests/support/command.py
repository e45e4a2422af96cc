"""The ``hubbub`` command: in this process, which spares the seconds that a new one needs to load it, or in one of its
own where it serves, or where the process is what is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from hubbub.cli import main as command

Done = subprocess.CompletedProcess[str]
COMMAND = (sys.executable, "-m", "hubbub")
ALONE_S = 60


def environ(**more: str) -> dict[str, str]:
    """That of the tests without settings of ours, on a wide terminal, away from the hub."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return inherited | {"COLUMNS": "200", "HF_HUB_OFFLINE": "1"} | more


def alone(*arguments: str, cwd: Path, **more: str) -> Done:
    """In a process of its own. Raises TimeoutExpired."""
    argv = [*COMMAND, *arguments]
    told = environ(**more)
    return subprocess.run(argv, cwd=cwd, env=told, capture_output=True, text=True, timeout=ALONE_S, check=False)


def hubbub(*arguments: str, cwd: Path, **more: str) -> Done:
    """What it prints and its exit code, from arguments to exit as ``main`` has them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, environ(**more), clear=True),
        mock.patch.object(sys, "argv", ["hubbub", *arguments]),
    ):
        try:
            command.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(arguments, code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


async def asked(*arguments: str, cwd: Path, **more: str) -> Done:
    """``hubbub`` beside a running event loop."""
    return await asyncio.to_thread(hubbub, *arguments, cwd=cwd, **more)


async def good(*arguments: str, cwd: Path) -> str:
    """What it prints; it has to succeed."""
    done = await asked(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout
