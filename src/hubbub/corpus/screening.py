"""Filters beside the event loop: in this process, or in others where one core cannot keep up.

A gigabyte at full speed costs as much CPU in filters as in requests. ``screen`` is pure, so where it runs changes
nothing: items go out in batches, gathered for some milliseconds, and come back in any order.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Protocol

from hubbub.corpus.items import Said, WorkItem
from hubbub.corpus.judge import Judge, Screened
from hubbub.corpus.parents import ends_with_parent
from hubbub.corpus.recipe import Recipe

BATCH = 64
"""Items of one message to a process."""
GATHER_S = 0.01


class Screener(Protocol):
    async def screen(self, item: WorkItem, said: Sequence[Said]) -> Screened: ...


class Here:
    """In this process, at once."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def screen(self, item: WorkItem, said: Sequence[Said]) -> Screened:
        return self._judge.screen(item, said)


class Beside:
    """In processes of ``pool``, each of which was begun by ``_begin``."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._batch: list[tuple[WorkItem, tuple[Said, ...]]] = []
        self._answers: list[asyncio.Future[Screened]] = []

    async def screen(self, item: WorkItem, said: Sequence[Said]) -> Screened:
        loop = asyncio.get_running_loop()
        if not self._batch:
            loop.call_later(GATHER_S, self._send)
        self._batch.append((item, tuple(said)))
        answer: asyncio.Future[Screened] = loop.create_future()
        self._answers.append(answer)
        return await answer

    def _send(self) -> None:
        batch, answers = self._batch, self._answers
        self._batch, self._answers = [], []
        for start in range(0, len(batch), BATCH):
            waiting = answers[start : start + BATCH]
            sent = asyncio.get_running_loop().run_in_executor(self._pool, _screen, batch[start : start + BATCH])
            sent.add_done_callback(lambda done, waiting=waiting: _give(done, waiting))  # type: ignore[misc]


def _give(done: asyncio.Future[list[Screened]], waiting: Sequence[asyncio.Future[Screened]]) -> None:
    if done.cancelled():
        for answer in waiting:
            answer.cancel()
        return
    fault = done.exception()
    for place, answer in enumerate(waiting):
        if answer.done():
            continue
        if fault is not None:
            answer.set_exception(fault)
        else:
            answer.set_result(done.result()[place])


@contextlib.contextmanager
def screening(recipe: Recipe, judge: Judge, processes: int) -> Iterator[Screener]:
    """``processes``: 0 screens in this one."""
    if not processes:
        yield Here(judge)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the event loop's threads and locks
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(recipe, os.getpid())) as pool:
        yield Beside(pool)
        pool.shutdown(cancel_futures=True)


# In the other process -------------------------------------------------------------------------------------------------

_judge: Judge


def _begin(recipe: Recipe, parent: int) -> None:
    global _judge  # noqa: PLW0603  (the pool has no other way to keep what a process is begun with)
    _judge = Judge(recipe)
    ends_with_parent(parent)


def _screen(batch: Sequence[tuple[WorkItem, tuple[Said, ...]]]) -> list[Screened]:
    return [_judge.screen(item, said) for item, said in batch]
