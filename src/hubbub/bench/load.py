"""The load generator: one process, one event loop, up to 10,000 chats that all stream at once.

Theory of operation. All chats are opened first; then each runs its turns one after the other in a task of its own, all
at the same time. A refusal (429, or 503 with Retry-After) is waited out as a polite client does. When the last turn has
ended, every conversation is read back and compared with what was streamed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import aiohttp
import msgspec

from hubbub.bench.board import Board, Fate, Phase, Talk, Turn
from hubbub.bench.prompts import questions
from hubbub.bench.report import Plan, Result
from hubbub.bench.sse import ChatDialect, Dialect, Lines, ResponsesDialect, Seen
from hubbub.bench.verify import verify
from hubbub.runtime.open_files import raise_file_limit

OPENING_AT_ONCE = 64
JSON = {"Content-Type": "application/json"}
RETRY_SECONDS = 1.0
"""Where a refusal does not say how long to wait."""


class Unreachable(Exception):
    """The server cannot be talked to at all: no turn was tried."""


class _Failed(Exception):
    """A request that was answered by an error. ``retry_after``: seconds until a retry can help, None if none can."""

    def __init__(self, code: str, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.code, self.message, self.retry_after = code, message, retry_after


class Load:
    """One run. ``board`` can be watched while ``run`` goes on."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.board = Board(plan)
        self._dice = Random(plan.seed)  # noqa: S311 - jitter of retries
        dialect: Callable[[], Dialect] = ResponsesDialect if plan.api == "responses" else ChatDialect
        self._dialect = dialect
        self._model = plan.model

    async def run(self) -> Result:
        """Raises Unreachable where the server does not answer at the start."""
        raise_file_limit(self.plan.chats + 256)
        plan, board = self.plan, self.board
        board.talks = [Talk(n, [Turn(text) for text in questions(plan.seed, n, plan.turns)]) for n in range(plan.chats)]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=plan.silence_seconds)
        headers = {"Authorization": f"Bearer {plan.api_key}"} if plan.api_key else {}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(plan.url, connector=connector, timeout=timeout, headers=headers) as session:
            self._model = self._model or await self._first_model(session)
            await self._open(session)
            board.began = time.perf_counter()
            await asyncio.gather(*(self._talk(session, talk) for talk in board.talks))
            board.ended = time.perf_counter()
            if plan.api == "responses":
                await verify(session, board)
        return self._result(time.perf_counter() - board.ended)

    async def _first_model(self, session: aiohttp.ClientSession) -> str:
        try:
            async with session.get("/v1/models") as response:
                body = await response.json(content_type=None)
                return str(body["data"][0]["id"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{self.plan.url} does not answer: {error or type(error).__name__}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise Unreachable(f"{self.plan.url}/v1/models lists no model") from error

    async def _open(self, session: aiohttp.ClientSession) -> None:
        """Make every conversation. One that cannot be made fails all turns of its chat."""
        if self.plan.api == "chat":
            return
        gate = asyncio.Semaphore(OPENING_AT_ONCE)

        async def create(talk: Talk) -> None:
            async with gate:
                try:
                    async with session.post("/v1/conversations", json={}) as response:
                        await _check(response)
                        talk.id = str((await response.json())["id"])
                except _Failed as failed:
                    self._give_up(talk, failed.code, failed.message)
                except (aiohttp.ClientError, TimeoutError) as error:
                    self._give_up(talk, "unreachable", str(error))

        await asyncio.gather(*(create(talk) for talk in self.board.talks))

    def _give_up(self, talk: Talk, code: str, message: str) -> None:
        talk.phase = Phase.DONE
        for turn in talk.turns:
            self.board.settle(turn, Fate.FAILED, code, message)

    async def _talk(self, session: aiohttp.ClientSession, talk: Talk) -> None:
        await asyncio.sleep(self.plan.spread_seconds * talk.number / self.plan.chats)
        for index, turn in enumerate(talk.turns):
            if turn.fate is None:
                talk.phase, talk.pieces = Phase.WAITING, []
                await self._turn(session, talk, index)
        talk.phase = Phase.DONE

    async def _turn(self, session: aiohttp.ClientSession, talk: Talk, index: int) -> None:
        """One question until it is answered, has failed, or patience has run out."""
        turn, first_try = talk.turns[index], time.perf_counter()
        path, body = self._body(talk, index)
        while turn.fate is None:
            try:
                async with session.post(path, data=body, headers=JSON) as response:
                    await _check(response)
                    turn.accepted = True
                    await self._stream(response, talk, turn, first_try)
            except _Failed as failed:
                if failed.retry_after is None or time.perf_counter() - first_try > self.plan.patience_seconds:
                    self.board.settle(turn, Fate.FAILED, failed.code, failed.message)
                else:
                    self.board.refused += 1
                    await asyncio.sleep(failed.retry_after * (1 + self._dice.random() / 2))
            except aiohttp.ClientConnectorError as error:
                self.board.settle(turn, Fate.FAILED, "unreachable", str(error))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                if turn.fate is None:  # else the connection broke after the terminal event: nothing is lost
                    self.board.settle(turn, Fate.LOST, "stream_cut", str(error) or type(error).__name__)

    def _body(self, talk: Talk, index: int) -> tuple[str, bytes]:
        plan, question = self.plan, talk.turns[index].question
        if plan.api == "responses":
            body: dict[str, Any] = {
                "model": self._model,
                "conversation": talk.id,
                "input": question,
                "max_output_tokens": plan.max_tokens,
                "store": True,
            }
            return "/v1/responses", msgspec.json.encode({**body, "stream": True, **plan.extra})
        body = {
            "model": self._model,
            "messages": [*_history(talk.turns[:index]), {"role": "user", "content": question}],
            "max_tokens": plan.max_tokens,
            "stream_options": {"include_usage": True},
        }
        return "/v1/chat/completions", msgspec.json.encode({**body, "stream": True, **plan.extra})

    async def _stream(self, response: aiohttp.ClientResponse, talk: Talk, turn: Turn, first_try: float) -> None:
        lines, dialect, last = Lines(), self._dialect(), 0.0
        try:
            async for data in response.content.iter_any():
                spoke = False
                for event in lines.feed(data):
                    seen = dialect.read(event)
                    if seen is not None:
                        self._note(talk, turn, seen)
                        spoke = spoke or bool(seen.text)
                if spoke:
                    now = time.perf_counter()
                    if last:
                        self.board.itl.add(now - last)
                    else:
                        self.board.ttft.add(now - first_try)
                        talk.phase = Phase.RUNNING
                    last = now
        finally:
            turn.answer = "".join(talk.pieces)
            self.board.counted(turn)
        if turn.fate is None:
            self.board.settle(turn, Fate.LOST, "no_terminal_event", "the stream ended without saying how")

    def _note(self, talk: Talk, turn: Turn, seen: Seen) -> None:
        board = self.board
        if seen.text:
            board.said(talk, seen.text)
        if seen.tokens is not None:
            turn.tokens = seen.tokens.output
            board.input_tokens += seen.tokens.input
            board.cached_tokens += seen.tokens.cached
        if seen.end:
            board.settle(turn, Fate.OK if seen.end == "ok" else Fate.FAILED, seen.end, seen.message)

    def _result(self, verify_s: float) -> Result:
        board = self.board
        if board.began is None or board.ended is None:
            raise RuntimeError("the run has not ended")
        return Result(
            chats=self.plan.chats,
            turns=self.plan.turns,
            ok=board.fates[Fate.OK],
            failed=board.fates[Fate.FAILED],
            lost=board.fates[Fate.LOST],
            output_tokens=board.output_tokens,
            input_tokens=board.input_tokens,
            cached_tokens=board.cached_tokens,
            wall_s=board.ended - board.began,
            ttft=board.ttft,
            itl=board.itl,
            refused=board.refused,
            failures=dict(board.failures),
            examples=dict(board.examples),
            model=self._model,
            verify_s=verify_s,
        )


def _history(turns: Sequence[Turn]) -> list[dict[str, str]]:
    said = []
    for turn in turns:
        said.append({"role": "user", "content": turn.question})
        said.append({"role": "assistant", "content": turn.answer})
    return said


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raises _Failed for anything but success."""
    if response.status < 400:
        return
    text = await response.text(errors="replace")
    try:
        error = msgspec.json.decode(text)["error"]
        code, message = str(error.get("code") or f"http_{response.status}"), str(error.get("message"))
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        code, message = f"http_{response.status}", text[:200]
    raise _Failed(code, message, _retry_after(response))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds to wait before another try; None where another try is no use."""
    said = response.headers.get("Retry-After")
    if response.status != 429 and not (response.status == 503 and said):
        return None
    try:
        return max(0.05, float(said)) if said else RETRY_SECONDS
    except ValueError:  # a date: as good as no number for a load
        return RETRY_SECONDS
