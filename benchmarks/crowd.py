"""People who talk in a closed loop: each asks, reads the whole answer, thinks, and asks again.

Theory of operation. A crowd is some people with the same habits on one server; each is a task. Every request leaves one
``Asked`` in ``told``, whatever became of it, so that a benchmark counts what it likes over any span of time. Tokens
are known when an answer ends and are spread evenly over the time in which it was written: ``tokens_within``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
import msgspec

from hubbub.bench.prompts import questions
from hubbub.bench.sse import Lines, ResponsesDialect

REFUSED = (429, 503)
RETRY_SECONDS = 1.0
"""Where a refusal does not say how long to wait."""


@dataclass(frozen=True, slots=True)
class Habits:
    """``think_s``: mean of the exponential pause between an answer and the next question. ``turns``: questions before
    a new conversation is begun. ``extra``: more fields of the body, ``headers`` of the request. ``polite``: waits as
    long as a refusal says. Without ``conversations`` every question stands alone."""

    think_s: float = 5.0
    max_tokens: int = 48
    turns: int = 4
    seed: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    polite: bool = True
    conversations: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Seconds of ``time.perf_counter``; ``first_at`` is 0 where nothing was said. ``end``: ``ok``, an
    HTTP status of a refusal as ``429``, or what went wrong. ``retry_after``: what a refusal said, in seconds. ``read``:
    tokens of the prompt that no cache had."""

    began: float
    first_at: float
    ended: float
    tokens: int
    end: str
    retry_after: float = 0.0
    read: int = 0

    @property
    def ttft(self) -> float:
        return self.first_at - self.began

    @property
    def itl(self) -> float:
        return (self.ended - self.first_at) / (self.tokens - 1) if self.tokens > 1 else 0.0


class Crowd:
    """Run :meth:`live` for everybody; cancel it to send them away."""

    def __init__(self, http: aiohttp.ClientSession, url: str, people: int, habits: Habits) -> None:
        self.told: list[Asked] = []
        self._http, self._url, self._people, self._habits = http, url, people, habits

    async def live(self) -> None:
        await asyncio.gather(*(self._person(number) for number in range(self._people)))

    async def _person(self, number: int) -> None:
        habits = self._habits
        dice = Random(f"{habits.seed}/{number}")
        await asyncio.sleep(dice.random() * habits.think_s)
        visit = 0
        while True:
            visit += 1
            chat = await self._conversation() if habits.conversations else ""
            for text in questions(habits.seed * 1_000_003 + visit, number, habits.turns):
                await self._until_answered(chat, text)
                await asyncio.sleep(dice.expovariate(1 / habits.think_s) if habits.think_s else 0.0)

    async def _conversation(self) -> str:
        while True:
            try:
                url = f"{self._url}/v1/conversations"
                async with self._http.post(url, json={}, headers=self._habits.headers) as response:
                    if response.status == 200:
                        return str((await response.json())["id"])
            except (aiohttp.ClientError, TimeoutError) as error:
                self._note(time.perf_counter(), str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _until_answered(self, chat: str, text: str) -> None:
        while True:
            asked = await self._ask(chat, text)
            self.told.append(asked)
            if asked.end == "ok":
                return
            await asyncio.sleep(asked.retry_after if self._habits.polite and asked.retry_after else RETRY_SECONDS)

    async def _ask(self, chat: str, text: str) -> Asked:
        habits, began = self._habits, time.perf_counter()
        body: dict[str, Any] = {"input": text, "max_output_tokens": habits.max_tokens, "stream": True, **habits.extra}
        data = msgspec.json.encode({**body, "conversation": chat} if chat else body)
        headers = {"Content-Type": "application/json", **habits.headers}
        try:
            async with self._http.post(f"{self._url}/v1/responses", data=data, headers=headers) as response:
                if response.status != 200:
                    await response.read()
                    after = float(response.headers.get("Retry-After") or 0.0)
                    return Asked(began, 0.0, time.perf_counter(), 0, str(response.status), after)
                return await _read(response, began)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Asked(began, 0.0, time.perf_counter(), 0, str(error) or type(error).__name__)

    def _note(self, began: float, end: str) -> None:
        self.told.append(Asked(began, 0.0, time.perf_counter(), 0, end))


async def _read(response: aiohttp.ClientResponse, began: float) -> Asked:
    lines, dialect, first_at, last_at = Lines(), ResponsesDialect(), 0.0, 0.0
    tokens, read, end = 0, 0, "the stream was cut"
    async for data in response.content.iter_any():
        for event in lines.feed(data):
            seen = dialect.read(event)
            if seen is None:
                continue
            if seen.text:
                last_at = time.perf_counter()
                first_at = first_at or last_at
            if seen.end:
                end = seen.end
                if seen.tokens:
                    tokens, read = seen.tokens.output, seen.tokens.input - seen.tokens.cached
    return Asked(began, first_at, last_at or time.perf_counter(), tokens, end, read=read)


def tokens_within(told: Iterable[Asked], since: float, until: float) -> float:
    """Tokens said in that span."""
    total = 0.0
    for asked in told:
        if asked.end == "ok" and asked.tokens:
            length = max(asked.ended - asked.first_at, 1e-9)
            inside = min(asked.ended, until) - max(asked.first_at, since)
            total += asked.tokens * max(0.0, min(1.0, inside / length))
    return total


def read_within(told: Iterable[Asked], since: float, until: float) -> int:
    """Tokens of prompts read in that span, by when their first tokens came."""
    return sum(asked.read for asked in told if asked.end == "ok" and since <= asked.first_at < until)


def present_within(told: Iterable[Asked], since: float, until: float) -> float:
    """Seconds of that span in which somebody was being answered."""
    covered, reached = 0.0, since
    for began, ended in sorted((asked.began, asked.ended) for asked in told):
        if min(ended, until) > max(began, reached):
            covered += min(ended, until) - max(began, reached)
            reached = min(ended, until)
    return covered


def quantile(values: Iterable[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
