"""The demo itself: a server of its own, the load, the view, the verdict.

The server is a process in a session of its own. It is ended whatever happens here, an interruption too, unless the run
was good and ``keep`` was asked for.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from hubbub import __version__
from hubbub.bench.load import Load, Unreachable
from hubbub.bench.machine import describe
from hubbub.bench.report import Plan, Result
from hubbub.cli.demo_view import DemoView, summary
from hubbub.cli.server_process import ServerDied, ServerProcess
from hubbub.cli.vitals import Vitals
from hubbub.core.errors import ConfigError

START_SECONDS = 900.0
"""A large model on a slow disk takes minutes; a server that dies is seen at once."""
FRAMES_PER_SECOND = 4
LINE_SECONDS = 5.0
SAMPLING = {"temperature": 0.2, "top_p": 0.9}
"""What the makers of the bundled model advise (the card of SmolLM2-135M-Instruct); small models ramble at more."""
PICTURE_AT = 0.35
"""Share of all tokens, were every answer as long as it may be, that are out when the picture is taken."""


@dataclass(frozen=True, slots=True)
class Options:
    chats: int
    turns: int
    max_tokens: int
    json_file: Path | None
    keep: bool
    model: str | None
    engine: str | None
    port: int
    data: Path | None
    seed: int
    picture: Path | None


def run(options: Options) -> int:
    """The exit code. Raises KeyboardInterrupt and ConfigError."""
    for file in (options.json_file, options.picture):
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{file} cannot be written: there is no folder {file.absolute().parent}")
    temporary = options.data is None
    data = Path(tempfile.mkdtemp(prefix="hubbub-demo-")) if options.data is None else options.data
    kept = True
    try:
        code = _in_loop(_demo(options, data, Console()))
        kept = options.keep or code != 0
    except ServerDied as died:
        print(f"hubbub: {died.message}", file=sys.stderr)  # noqa: T201
        code = 1
    except KeyboardInterrupt:
        kept = False
        raise
    finally:
        if temporary and not kept:
            shutil.rmtree(data, ignore_errors=True)
    if temporary and kept:
        print(f"The data is in {data}", file=sys.stderr)  # noqa: T201
    return code


def _in_loop(main: Coroutine[Any, Any, int]) -> int:
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


async def _demo(options: Options, data: Path, console: Console) -> int:
    if sys.platform != "win32":
        _end_on(signal.SIGTERM, signal.SIGHUP)
    log = data / "logs" / "server.log"
    console.print(f"Starting hubbub serve, its log is {log}", highlight=False, soft_wrap=True)
    began = time.perf_counter()
    server = await ServerProcess.launch(_flags(options, data), log)
    leave = False
    try:
        url = await server.ready(START_SECONDS)
        async with Vitals(url).watching() as vitals:
            await _unless_dead(server, vitals.ready())
            start_s = time.perf_counter() - began
            console.print(f"Ready on {url} after {start_s:.1f} s with {vitals.model}", highlight=False)
            result = await _drive(options, server, vitals, console)
        engine_bytes = vitals.engine.peak or None
        console.print(summary(result, vitals.server.peak, engine_bytes))
        if options.json_file is not None:
            told = _told(options, result, vitals) | {"start_s": round(start_s, 3)}
            options.json_file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        if not result.sound:
            await server.check()
        leave = options.keep and result.sound
        if leave:
            said = f"The server stays up on {url}, process {server.pid}. Stop it with: kill {server.pid}"
            console.print(said, highlight=False, soft_wrap=True)
        return 0 if result.sound else 1
    finally:
        if not leave:
            await server.stop()


def _end_on(*signals: signal.Signals) -> None:
    """These end the demo as Ctrl-C does."""
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, signal.raise_signal, signal.SIGINT)


def _flags(options: Options, data: Path) -> list[str]:
    flags = ["--host", "127.0.0.1", "--port", str(options.port), "--data", str(data), "--keys", "off"]
    if options.engine is not None:
        flags += ["--engine", options.engine]
    if options.model is not None:
        flags += ["--model", options.model]
    return flags


async def _unless_dead(server: ServerProcess, wait: Coroutine[Any, Any, None]) -> None:
    """Wait, unless the server dies first. Raises ServerDied."""
    death, waiting = asyncio.create_task(server.process.wait()), asyncio.create_task(wait)
    try:
        await asyncio.wait((death, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ServerDied(f"the server ended with exit code {server.process.returncode}:\n{server.tail()}")
    finally:
        death.cancel()
        waiting.cancel()


async def _drive(options: Options, server: ServerProcess, vitals: Vitals, console: Console) -> Result:
    """Run the load and show it. Raises ServerDied when the server cannot be talked to from the start."""
    plan = Plan(
        vitals.url,
        model=vitals.model,
        chats=options.chats,
        turns=options.turns,
        max_tokens=options.max_tokens,
        seed=options.seed,
        extra=SAMPLING,
    )
    load = Load(plan)
    view = DemoView(load.board, vitals, f"Hubbub {__version__}: {plan.chats} chats on {vitals.model}")
    running = asyncio.create_task(load.run())
    try:
        if console.is_terminal:
            with Live(view, console=console, auto_refresh=False, transient=True) as live:
                await _frames(running, view, options.picture, live.refresh)
        else:
            await _frames(running, view, options.picture, _Lines(view, console))
        return await running
    except Unreachable as error:
        await server.check()
        raise ServerDied(f"{error}\n{server.tail()}") from error
    finally:
        running.cancel()


async def _frames(
    running: asyncio.Task[Result], view: DemoView, picture: Path | None, draw: Callable[[], None]
) -> None:
    while not running.done():
        await asyncio.wait((running,), timeout=1 / FRAMES_PER_SECOND)
        view.tick()
        draw()
        if picture is not None and view.board.tokens() >= PICTURE_AT * view.board.most_tokens:
            picture.write_text(view.picture())
            picture = None


class _Lines:
    """Now and then a line, where no view can be drawn."""

    def __init__(self, view: DemoView, console: Console) -> None:
        self._view, self._console = view, console
        self._next = time.perf_counter() + LINE_SECONDS

    def __call__(self) -> None:
        if time.perf_counter() >= self._next:
            self._next += LINE_SECONDS
            self._console.print(self._view.line(), highlight=False, soft_wrap=True)


def _told(options: Options, result: Result, vitals: Vitals) -> dict[str, Any]:
    """The JSON: the result, what the processes weighed, and what it was measured on."""
    return result.as_json() | {
        "server_rss_bytes": vitals.server.peak,
        "engine_rss_bytes": vitals.engine.peak or None,
        "engine": [engine.get("id") for engine in vitals.engines],
        "engine_restarts": vitals.restarts,
        "settings": {
            "max_tokens": options.max_tokens,
            "seed": options.seed,
            "engines": [engine.get("state") for engine in vitals.engines],
        },
        "version": __version__,
        "machine": describe(),
    }
