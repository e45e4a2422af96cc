"""``plan calibrate``: some short runs against the real engine, to which ``calibration`` fits this machine.

Seven points: one stream short and long, 4 to 64 streams, a long prompt, a mix. Each is a burst of streaming chat
completions; the time to the first token and between tokens are taken at the client.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import aiohttp
import numpy as np

from hubbub.core.errors import EngineUnavailable
from hubbub.planner.calibration import Sample

_TEXT = "the sea wind carries old stories over quiet hills and every lamp keeps a small name for the night"
_WORDS = _TEXT.split()
TIMEOUT_S = 110.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Point:
    """``streams`` requests at once, each of ``tokens_in`` words or so, answered with ``tokens_out`` tokens."""

    streams: int
    tokens_in: int
    tokens_out: int


def points(context: int, slow: bool) -> list[Point]:
    """The plan of measurement. ``slow``: a CPU, where many streams of long prompts would take minutes."""
    out = 24 if slow else 64
    long = max(64, min(512 if slow else 3000, context - out - 64))
    many = (4, 16, 64) if slow else (8, 32, 64)
    return [
        Point(1, 16, out),
        Point(1, long, out),
        *(Point(n, 32, out) for n in many),
        Point(8 if slow else 32, min(200, long), out),
        Point(1, long // 2, 4),
    ]


def _prompt(tokens: int, salt: str) -> str:
    """Different from the first word, so that no prefix cache helps; words here are about a token each."""
    return f"{salt} " + " ".join(_WORDS[(i * 7 + len(salt)) % len(_WORDS)] for i in range(max(tokens - 8, 1)))


async def _stream(
    session: aiohttp.ClientSession, url: str, model: str, point: Point, salt: str, extra: dict[str, Any]
) -> tuple[float, ...]:
    """Seconds to the first token and to the last, tokens in and out of one request. In: those that had to be read,
    without what the prefix cache knew (a template's own beginning, which no prompt can be without)."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _prompt(point.tokens_in, salt)}],
        "max_tokens": point.tokens_out,
        "temperature": 0.8,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra,
    }
    begin, first, last, pieces = time.perf_counter(), 0.0, 0.0, 0
    tokens_in, tokens_out = float(point.tokens_in), 0.0
    async with session.post(f"{url}/chat/completions", json=body) as answer:
        if answer.status >= 400:
            text = (await answer.text())[:200]
            raise EngineUnavailable(f"url: {url} answered {answer.status} to a chat completion: {text}", param="url")
        async for line in answer.content:
            if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line[5:])
            if event.get("usage"):
                usage = event["usage"]
                cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
                tokens_in = float(usage.get("prompt_tokens") or tokens_in) - cached
                tokens_out = float(usage.get("completion_tokens") or 0)
            delta = (event.get("choices") or [{}])[0].get("delta") or {}
            if delta.get("content"):
                pieces += 1
                last = time.perf_counter()
                first = first or last
    if not pieces:
        raise EngineUnavailable(f"url: {url} streamed no text", param="url")
    return first - begin, last - begin, tokens_in, tokens_out or float(pieces)


async def measure(url: str, model: str, plan: Sequence[Point], tell: Callable[[str], None]) -> list[Sample]:
    """Run the points, at most ``TIMEOUT_S`` in all (later ones are left out), again while there is time for all of
    them; the median of each counts: a machine that others share is at times faster and at times slower than it mostly
    is. Raises EngineUnavailable."""
    begin = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            extra = await _warm(session, url, model)
            rounds = [await _round(session, url, model, plan, tell, extra, begin + TIMEOUT_S - 10)]
            for turn in range(1, ROUNDS):
                spent = time.perf_counter() - begin
                if len(rounds[0]) < len(plan) or spent * (turn + 1) / turn > TIMEOUT_S - 15:
                    break
                tell(f"once more, to tell what is usual from what disturbed it ({turn + 1} of {ROUNDS})")
                rounds.append(await _round(session, url, model, plan, tell, extra, begin + TIMEOUT_S - 10))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineUnavailable(f"url: no engine answers at {url}: {error}", param="url") from error
    return [middle([found[i] for found in rounds if i < len(found)]) for i in range(len(rounds[0]))]


async def measure_once(url: str, point: Point, model: str = "", timeout_s: float = TIMEOUT_S) -> Sample:
    """One point, once, at an engine that is awake. Raises EngineUnavailable."""
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            if not model:
                async with session.get(f"{url}/models") as answer:
                    model = str((await answer.json())["data"][0]["id"])
            extra = await _warm(session, url, model)
            (sample,) = await _round(session, url, model, [point], lambda _: None, extra, math.inf)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineUnavailable(f"url: no engine answers at {url}: {error}", param="url") from error
    return sample


async def _round(
    session: aiohttp.ClientSession,
    url: str,
    model: str,
    plan: Sequence[Point],
    tell: Callable[[str], None],
    extra: dict[str, Any],
    end: float,
) -> list[Sample]:
    samples: list[Sample] = []
    for number, point in enumerate(plan, 1):
        begin = time.perf_counter()
        if begin > end:
            tell(f"{len(plan) - number + 1} points left out: two minutes are up")
            break
        salts = [secrets.token_hex(8) for _ in range(point.streams)]
        rows = await asyncio.gather(*(_stream(session, url, model, point, salt, extra) for salt in salts))
        found = _sample(point, rows, time.perf_counter() - begin)
        samples.append(found)
        tell(
            f"{number}/{len(plan)}: {point.streams} streams of {found.tokens_in:.0f} tokens: "
            f"first token {found.ttft_s * 1e3:.0f} ms, {found.itl_s * 1e3:.1f} ms a token, {found.rate:.1f} tokens/s"
        )
    return samples


def middle(samples: Sequence[Sample]) -> Sample:
    """One point measured several times: the median of each of its figures."""
    streams, *figures = zip(*map(astuple, samples), strict=True)
    return Sample(streams[0], *map(statistics.median, figures))


async def _warm(session: aiohttp.ClientSession, url: str, model: str) -> dict[str, Any]:
    """One request to wake the engine; what it takes beside the standard fields (answers of full length, or nothing)."""
    full: dict[str, Any] = {"ignore_eos": True}
    try:
        await _stream(session, url, model, Point(1, 16, 8), "warm", full)
    except EngineUnavailable as error:
        if "ignore_eos" not in error.message:
            raise
        full = {}
        await _stream(session, url, model, Point(1, 16, 8), "warm", full)
    return full


def _sample(point: Point, rows: Sequence[tuple[float, ...]], seconds: float) -> Sample:
    first = np.array([r[0] for r in rows])
    whole = np.array([r[1] for r in rows])
    out = np.array([r[3] for r in rows])
    gaps = (whole - first) / np.maximum(out - 1, 1)
    return Sample(
        point.streams,
        float(np.mean([r[2] for r in rows])),
        float(out.mean()),
        float(first.mean()),
        float(gaps.mean()),
        float(out.sum() / seconds),
    )
