"""Is this grammar one that the engine can compile, and soon? Asked before the engine is.

A schema that xgrammar refuses makes ``pipeline.step()`` raise in the middle of a step, and every request of the
pipeline is stuck from then on (seen in 2026.4.1). And while it compiles one, no chat gets a token. So each new grammar
is first compiled in a process of its own (``grammar_compiler``), which starts with the first one and is killed where it
takes too long.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import OrderedDict
from pathlib import Path

import psutil

from hubbub.core.errors import BadRequest, EngineUnavailable

REMEMBERED = 512
MAX_BYTES = 256 << 10
COMPILE_S = 8.0
"""Of processor time, on whatever threads, so that a busy machine refuses nobody. A usual schema takes 0.03 s, one with
a text of at most 100 characters 1.7 s, of at most 300 or any more 5.5 s; objects 400 deep take 17 s."""
WAIT_S = 60.0
LOOK_S = 0.1
START_S = 60.0
LINE_BYTES = 1 << 20


class GrammarChecker:
    """``model``: where its tokenizer is, ``vocabulary`` its number of tokens."""

    def __init__(self, model: Path, vocabulary: int) -> None:
        self._arguments = (str(model), str(vocabulary))
        self._compiler: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._verdicts: OrderedDict[str, str] = OrderedDict()

    async def check(self, grammar: str, param: str) -> None:
        """Raises BadRequest naming ``param`` and what is wrong, EngineUnavailable where nothing can be asked."""
        if len(grammar) > MAX_BYTES:
            raise BadRequest(f"{param}: the schema is longer than {MAX_BYTES:,} characters", param=param)
        verdict = self._verdicts.get(grammar)
        if verdict is None:
            async with self._one_at_a_time:
                verdict = await self._verdict_of(grammar)
        if verdict:
            raise BadRequest(f"{param}: the schema cannot be compiled: {verdict}", param=param)

    async def _verdict_of(self, grammar: str) -> str:
        verdict = self._verdicts.get(grammar)  # of one who asked the same before
        if verdict is None:
            verdict = self._verdicts[grammar] = await self._ask(grammar)
            if len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        return verdict

    async def close(self) -> None:
        compiler, self._compiler = self._compiler, None
        if compiler is not None and compiler.returncode is None:
            compiler.kill()
            await compiler.wait()

    async def _ask(self, grammar: str) -> str:
        """Empty when it compiles, else the reason."""
        try:
            compiler = self._compiler
            if compiler is None or compiler.returncode is not None:
                compiler = await self._start()
            assert compiler.stdin is not None
            compiler.stdin.write(json.dumps(grammar).encode() + b"\n")
            verdict = await self._heard(compiler)
        except TimeoutError:
            verdict = (
                f"it takes more than {COMPILE_S:g} s of processor time; nest less, make patterns and lists shorter"
            )
            await self.close()
        except BaseException:
            await self.close()  # an answer that comes later would be taken for that of the next
            raise
        if verdict is None:
            await self.close()
            return "the compiler broke off; make it simpler"
        return verdict

    async def _heard(self, compiler: asyncio.subprocess.Process) -> str | None:
        """What it says in time, None where it has ended. Raises TimeoutError."""
        began = _processor_s(compiler.pid)
        answer = asyncio.create_task(_answer(compiler, WAIT_S))
        try:
            while not (await asyncio.wait([answer], timeout=LOOK_S))[0]:
                if _processor_s(compiler.pid) - began > COMPILE_S:
                    raise TimeoutError
        finally:
            answer.cancel()
        return await answer

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "hubbub.engines.openvino_server.grammar_compiler", *self._arguments)
        try:
            compiler = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=LINE_BYTES)
            self._compiler = compiler
            ready = await _answer(compiler, START_S)
        except (OSError, TimeoutError):
            ready = None
        if ready is None:
            await self.close()
            raise EngineUnavailable("the compiler of schemas does not start; the engine's log says why")
        return compiler


def _processor_s(pid: int) -> float:
    """Seconds of processor time that the process has had; 0 where it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


async def _answer(compiler: asyncio.subprocess.Process, seconds: float) -> str | None:
    """The next line it says; None where it has ended. Raises TimeoutError."""
    assert compiler.stdout is not None
    async with asyncio.timeout(seconds):
        line = await compiler.stdout.readline()
    return None if not line else str(json.loads(line))
