"""The front's end of the stepper: starts the process, sends it work, hands on what it says, notices its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec

from hubbub.core.errors import EngineUnavailable
from hubbub.engines.openvino_server.protocol import (
    Add,
    Drop,
    Failed,
    Op,
    Ready,
    Say,
    Splitter,
    Step,
    frame,
    say_decoder,
)
from hubbub.engines.openvino_server.stepper import Config

READ_BYTES = 1 << 20
END_PATIENCE_S = 5.0


class StepperLink:
    """One stepper process. ``on_step`` is called for each step, ``on_end`` once with the reason it is gone."""

    def __init__(self) -> None:
        self.on_step: Callable[[Step], None] = lambda step: None
        self.on_end: Callable[[str], None] = lambda why: None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    async def start(self, config: Config) -> Ready:
        """Returns once the model is loaded. Raises EngineUnavailable with the stepper's last words."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hubbub.engines.openvino_server.stepper",
            msgspec.json.encode(config).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=READ_BYTES,
        )
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._process, ready))
        return await ready

    def send(self, op: Op) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(frame(op))

    def add(self, add: Add) -> None:
        self.send(add)

    def drop(self, request_id: int) -> None:
        self.send(Drop(request_id))

    async def close(self) -> None:
        """Ends the process, in the middle of a step if need be: it has nothing to save."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Future[Ready]) -> None:
        assert process.stdout is not None
        splitter, last_words = Splitter(), ""
        while data := await process.stdout.read(READ_BYTES):
            for body in splitter.feed(data):
                said: Say = say_decoder.decode(body)
                if isinstance(said, Step):
                    self.on_step(said)
                elif isinstance(said, Ready):
                    ready.set_result(said)
                elif isinstance(said, Failed):
                    last_words = said.message
        code = await process.wait()
        why = f"the stepper ended with status {code}" + (f": {last_words}" if last_words else "")
        if not ready.done():
            ready.set_exception(EngineUnavailable(f"the model could not be loaded: {why}"))
            return
        self.on_end(why)
